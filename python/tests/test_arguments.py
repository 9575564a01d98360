"""What is not accepted: a wrong type is a TypeError, a wrong value a ValueError, and both name the keyword."""

import inspect

import ncollapse as nc
import numpy as np
import pytest

MODEL = dict(widths=4, layer_decay=1e-3, feature_decay=1e-3)
TRUE_OR_FALSE = "True or False"
NUMBER = "a number"


def predict(**keywords):
    nc.predict(**dict(MODEL, **dict(dict(counts=[5, 2]), **keywords)))


def metrics(**keywords):
    nc.metrics(**keywords)


def limits(**keywords):
    nc.limits([5, 2], **dict(MODEL, **keywords))


def descend(**keywords):
    nc.descend([5, 2], **dict(MODEL, **keywords))


def measure(**keywords):
    nc.measure(**dict(dict(features=np.eye(4), labels=[0, 1, 0, 1], weights=np.eye(2, 4)), **keywords))


def accumulator(**keywords):
    nc.Accumulator(**dict(dict(num_classes=3, width=4), **keywords))


def to_bytes(**keywords):
    nc.Accumulator(3, 4).to_bytes(**keywords)


def update(**keywords):
    nc.Accumulator(2, 4).update(**dict(dict(features=np.eye(4), labels=[0, 1, 0, 1]), **keywords))


def threads(**keywords):
    nc.set_num_threads(**keywords)


TYPES = [
    (predict, "feature_decay", None, NUMBER),
    (predict, "feature_decay", "a", NUMBER),
    (predict, "feature_decay", [1e-3], NUMBER),
    (predict, "feature_decay", True, NUMBER),
    (predict, "layer_decay", None, "a number, or one for each layer"),
    (predict, "layer_decay", "a", "a number, or one for each layer"),
    (predict, "layers", 2.0, "a whole number from 1 to 10000"),
    (predict, "layers", True, "a whole number from 1 to 10000"),
    (predict, "widths", "wide", "a whole number or a list of them"),
    (predict, "widths", True, "a whole number or a list of them"),
    (predict, "widths", 4.0, "a whole number or a list of them"),
    (predict, "widths", None, "a whole number or a list of them"),
    (predict, "bias", 0, TRUE_OR_FALSE),
    (predict, "bias", None, TRUE_OR_FALSE),
    (predict, "nonnegative_features", 1, TRUE_OR_FALSE),
    (predict, "label_smoothing", None, NUMBER),
    (predict, "logit_adjustment", "a", NUMBER),
    (predict, "loss", 3, "squared, cross-entropy"),
    (predict, "reduction", 3, "mean, half-mean, sum, half-sum"),
    (predict, "feature_reduction", 3, "total, mean"),
    (predict, "weight_reduction", None, "samples, weights"),
    (limits, "rank", 1.5, "a whole number from 1 on"),
    (limits, "largest_q", None, NUMBER),
    (limits, "norm_ratio", "a", NUMBER),
    (descend, "steps", 1.5, "a whole number"),
    (descend, "seed", "a", "a whole number"),
    (descend, "gap", None, NUMBER),
    (descend, "collapsed", 1, TRUE_OR_FALSE),
    (descend, "full", None, TRUE_OR_FALSE),
    (descend, "method", 1, "gd, heavy-ball, nesterov, lbfgs, adam"),
    (descend, "callback", 1, "a function of one argument"),
    (measure, "layers", "a", "a whole number from 1 to 10000"),
    (measure, "feature_decay", "a", NUMBER),
    (measure, "widths", "a", "a whole number or a list of them"),
    (accumulator, "scatter", 1, TRUE_OR_FALSE),
    (accumulator, "num_classes", 3.0, "a whole number from 1 on"),
    (accumulator, "width", "a", "a whole number from 1 on"),
    (to_bytes, "compact", 1, TRUE_OR_FALSE),
    (update, "batch", True, "a whole number"),
    (update, "batch", 1.0, "a whole number"),
    (update, "features", None, "an array, or lists of numbers"),
    (update, "labels", None, "an array, or lists of numbers"),
    (update, "labels", "a", "an array, or lists of numbers"),
    (lambda other: nc.Accumulator(2, 2).merge(other), "other", 3, "an Accumulator"),
    (measure, "weights", None, "an array (K, d), or a list of the layers"),
    (metrics, "accumulator", None, "an Accumulator"),
    (predict, "counts", 5, "a list, an array, or text such as 500,600x2"),
    (threads, "threads", None, "a whole number from 0 to 1024"),
]


@pytest.mark.parametrize("call, keyword, value, accepted", TYPES)
def test_a_wrong_type_is_named_with_what_is_accepted(call, keyword, value, accepted):
    with pytest.raises(TypeError) as caught:
        call(**{keyword: value})
    given = "None" if value is None else f"{value!r} ({type(value).__name__})"
    assert str(caught.value) == f"{keyword}: {given} given, accepted: {accepted}"


ON = "whole numbers from 0 on are accepted"
VALUES = [
    (predict, "layers", -1, "1 to 10000 are accepted"),
    (predict, "layers", 10_001, "1 to 10000 are accepted"),
    (predict, "widths", -1, ON),
    (limits, "rank", -1, "whole numbers from 1 on are accepted"),
    (limits, "rank", 0, "whole numbers from 1 on are accepted"),
    (descend, "steps", -1, ON),
    (descend, "seed", -1, ON),
    (descend, "seed", 2**64, "0 to 18446744073709551615 are accepted"),
    (descend, "every", -1, "whole numbers from 1 on are accepted"),
    (measure, "layers", 0, "1 to 10000 are accepted"),
    (accumulator, "num_classes", -1, "whole numbers from 1 on are accepted"),
    (update, "batch", -1, ON),
    (threads, "threads", -1, "0 to 1024 are accepted"),
]


@pytest.mark.parametrize("call, keyword, value, accepted", VALUES)
def test_a_wrong_value_is_named_with_what_is_accepted(call, keyword, value, accepted):
    with pytest.raises(ValueError) as caught:
        call(**{keyword: value})
    assert str(caught.value) == f"{keyword}: {value} given, {accepted}"


class OnDevice:
    """An array on a device, of a library that is not PyTorch."""

    def __dlpack__(self, **keywords):
        raise BufferError("not on this device")

    def __dlpack_device__(self):
        return 2, 0


class WithShape(OnDevice):
    shape, dtype = (4,), np.dtype(np.int64)


class NotByChance:
    """An array that is not copied to memory unless it is asked to, as CuPy has it."""

    shape, dtype = (4,), np.dtype(np.int64)

    def __array__(self, *arguments, **keywords):
        raise TypeError("Implicit conversion to a NumPy array is not allowed")


class InMemory:
    """An array in memory, of a library that has DLPack and nothing else of NumPy."""

    def __init__(self, array):
        self.array = np.asarray(array)

    def __dlpack__(self, **keywords):
        return self.array.__dlpack__(**keywords)

    def __dlpack_device__(self):
        return self.array.__dlpack_device__()


class Unknown:
    shape, dtype = (4,), np.dtype(np.int64)


ARRAYS = [
    (predict, "counts"),
    (predict, "layer_decay"),
    (predict, "class_weights"),
    (update, "features"),
    (update, "labels"),
    (measure, "features"),
    (measure, "labels"),
    (measure, "weights"),
    (measure, "bias"),
]


@pytest.mark.parametrize("call, keyword", ARRAYS)
def test_names_the_keyword_of_an_array_that_it_cannot_read(call, keyword):
    for array in (OnDevice(), WithShape()):
        with pytest.raises(ValueError) as caught:
            call(**{keyword: array})
        assert str(caught.value) == (
            f"{keyword}: an array on a device (DLPack's type 2) that has no method `cpu` given, accepted are arrays in "
            "memory and tensors of PyTorch: copy it first"
        )
    if keyword == "features":
        return
    with pytest.raises(TypeError) as caught:
        call(**{keyword: NotByChance()})
    assert str(caught.value) == (
        f"{keyword}: NumPy makes no array of this: Implicit conversion to a NumPy array is not allowed; accepted: arrays "
        "in memory and tensors of PyTorch"
    )
    with pytest.raises(TypeError, match=f"^{keyword}: .* given, accepted: an array, or lists of numbers"):
        call(**{keyword: Unknown()})


@pytest.mark.parametrize("of", [np.float32, np.float16])
def test_names_features_that_it_cannot_read(of):
    class Wide(NotByChance):
        shape, dtype = (4, 4), np.dtype(of)

        def __getitem__(self, rows):
            return self

    class Other(Unknown):
        shape, dtype = (4, 4), np.dtype(of)

    for call in (update, measure):
        with pytest.raises(TypeError, match="^features: NumPy makes no array of this: .*; accepted: arrays in memory"):
            call(features=Wide())
        with pytest.raises(TypeError, match="^features: .* given, accepted: an array, or lists of numbers"):
            call(features=Other())


@pytest.mark.parametrize("form", ["csr_array", "coo_array", "csr_matrix", "coo_matrix"])
def test_refuses_sparse_arrays_of_scipy(form):
    make = getattr(pytest.importorskip("scipy.sparse", reason="SciPy is not installed"), form)
    for call, keyword, array in (
        (update, "features", np.eye(4)),
        (measure, "features", np.eye(4)),
        (measure, "weights", np.eye(2, 4)),
        (measure, "bias", np.ones((1, 2))),
        (update, "labels", np.ones((1, 4), int)),
        (predict, "counts", np.ones((1, 2), int)),
        (predict, "class_weights", np.ones((1, 2))),
    ):
        with pytest.raises(ValueError) as caught:
            call(**{keyword: make(array)})
        message = f"{keyword}: a sparse array of type {form} given, dense arrays are accepted: take its `toarray()`"
        assert str(caught.value) == message
        call(**{keyword: array if keyword != "counts" else [1, 1]})


def test_reads_arrays_that_have_dlpack_alone():
    features, labels, weights, bias = np.eye(4) + 0.1, np.array([0, 1, 0, 1]), np.eye(2, 4), np.zeros(2)
    expected = nc.measure(features, labels, weights, bias).to_dict()
    assert nc.measure(*map(InMemory, (features, labels, weights, bias))).to_dict() == expected
    decay, rule = np.array([1e-3]), np.array([1.0, 2.0])
    expected = nc.predict([5, 2], **dict(MODEL, layer_decay=decay, class_weights=rule)).to_dict()
    words = dict(MODEL, layer_decay=InMemory(decay), class_weights=InMemory(rule))
    assert nc.predict(InMemory([5, 2]), **words).to_dict() == expected


def test_accepts_numbers_of_numpy():
    words = dict(feature_decay=np.float32(1e-3), layers=np.int64(1), bias=np.bool_(True), label_smoothing=np.float16(0))
    prediction = nc.predict([5, 2], **dict(MODEL, **words))
    assert prediction.num_classes == 2 and prediction.bias is not None
    nc.Accumulator(np.int8(3), np.uint64(4), scatter=np.bool_(False)).update(np.eye(4), [0, 1, 2, 0], batch=np.int32(0))
    nc.predict([5, 2], **dict(MODEL, widths=np.array([4, 4]), layer_decay=np.array([1e-3, 1e-3])))
    with pytest.raises(ValueError, match="feature_decay: a number beyond 1.8e308 given"):
        predict(feature_decay=10**400)


def test_measure_takes_one_width_as_predict_does():
    prediction = nc.predict([5, 2], **MODEL)
    rows = np.repeat([0, 1], [5, 2])
    features, weights = prediction.class_means()[rows], prediction.classifiers()
    expected = nc.measure(features, rows, weights, prediction.bias)
    assert nc.measure(features, rows, weights, prediction.bias, widths=1).to_dict() == expected.to_dict()
    with pytest.raises(ValueError, match=r"widths: \[2\] given; accepted"):
        nc.measure(features, rows, weights, prediction.bias, widths=2)
    # One value serves all layers of a product.
    decays = dict(layer_decay=1e-3, feature_decay=1e-3, reduction="half-sum", feature_reduction="total")
    expected = nc.measure(features, rows, weights, prediction.bias, widths=[1, 1], **decays)
    one = nc.measure(features, rows, weights, prediction.bias, widths=1, layers=2, **decays)
    assert one.to_dict() == expected.to_dict()


def test_a_prediction_needs_its_keywords():
    with pytest.raises(TypeError, match="weight_reduction: None given|counts: None given"):
        nc.Prediction({})
    with pytest.raises(TypeError, match="keywords: 3 .int. given, accepted: a dictionary"):
        nc.Prediction(3)


@pytest.mark.parametrize("function", [nc.predict, nc.limits, nc.descend, nc.measure, nc.measure_batches])
def test_keywords_are_written_out(function):
    assert inspect.Parameter.VAR_KEYWORD not in {of.kind for of in inspect.signature(function).parameters.values()}
    with pytest.raises(TypeError, match=rf"^{function.__name__}\(\) got an unexpected keyword argument 'widht'"):
        function([1, 2], widht=3)
    with pytest.raises(TypeError, match=rf"^{function.__name__}\(\) missing"):
        function([1, 2])
