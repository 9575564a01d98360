"""Predictions compared with dense decompositions, and with the objective written out in NumPy."""

import copy
import json
import pickle
import time

import ncollapse as nc
import numpy as np
import pytest
from oracle import EPSILON, objective

LETTERS = [1500] + [600] * 5 + [50] * 20


def closed_form(counts, layer_decay, feature_decay, bias):
    """Theorems 4.1 and 4.2 of Liu 2024 from a dense decomposition: objective and Gram matrices."""
    counts = np.asarray(counts, float)
    total, roots = counts.sum(), np.sqrt(counts)
    target = np.diag(roots) - (np.outer(counts, roots) / total if bias else 0)
    left, sigma, right = np.linalg.svd(target)
    sigma[sigma < 1e-9 * sigma[0]] = 0
    with np.errstate(divide="ignore"):
        e = np.minimum(1, total * np.sqrt(layer_decay * feature_decay) / sigma)
    z = sigma * (1 - e)
    ratio = np.sqrt(feature_decay / layer_decay)
    least = (np.where(sigma > 0, sigma**2 * e * (2 - e), 0)).sum() / (2 * total)
    classifiers = (left * z * ratio) @ left.T
    means = (right.T * z / ratio) @ right / np.outer(roots, roots)
    return least, classifiers, means, (z > 0).sum()


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("counts", [LETTERS, [500, 500, 400, 100, 7], [30, 30, 30]])
def test_squared_loss_is_the_closed_form(counts, bias):
    layer_decay, feature_decay = 5e-3, 5e-4
    prediction = nc.predict(counts, widths=64, layer_decay=layer_decay, feature_decay=feature_decay, bias=bias)
    least, classifiers, means, rank = closed_form(counts, layer_decay, feature_decay, bias)
    # A dense decomposition of K x K, to K epsilons of its largest value.
    rounding = 100 * len(counts) * EPSILON
    assert prediction.method == "closed form" and prediction.gap == 0 and prediction.is_unique
    assert prediction.objective == prediction.lower_bound == pytest.approx(least, rel=rounding)
    assert prediction.rank == rank == prediction.classifiers().shape[1]
    np.testing.assert_allclose(prediction.gram(), classifiers, atol=rounding * classifiers.max())
    np.testing.assert_allclose(prediction.gram("class_means"), means, atol=rounding * means.max())
    own = prediction.classifiers()
    np.testing.assert_allclose(own @ own.T, classifiers, atol=rounding * classifiers.max())
    np.testing.assert_allclose(prediction.norms() ** 2, np.diag(classifiers), atol=rounding * classifiers.max())
    if bias:
        np.testing.assert_allclose(prediction.bias, np.array(counts) / sum(counts), rtol=4 * EPSILON)
    else:
        assert prediction.bias is None


@pytest.mark.parametrize(
    "loss, weights",
    [("squared", None), ("cross-entropy", None), ("cross-entropy", "inverse-root"), ("squared", "inverse")],
)
@pytest.mark.parametrize("bias", [True, False])
def test_a_prediction_has_its_objective_and_no_gradient(loss, weights, bias):
    counts, layer_decay, feature_decay = [200, 80, 80, 11], 4e-3, 1e-3
    prediction = nc.predict(
        counts,
        widths=16,
        layer_decay=layer_decay,
        feature_decay=feature_decay,
        loss=loss,
        class_weights=weights,
        bias=bias,
    )
    alpha = {None: np.ones(4), "inverse": 1 / np.array(counts), "inverse-root": np.array(counts) ** -0.5}[weights]
    alpha = alpha * sum(counts) / (alpha @ np.array(counts))
    intercept = prediction.bias if bias else np.zeros(4)
    value, by_classifiers, by_means, by_bias = objective(
        counts, prediction.classifiers(), prediction.class_means(), intercept, layer_decay, feature_decay, loss, alpha
    )
    assert prediction.objective == pytest.approx(value, rel=1e-12)
    assert prediction.lower_bound <= value * (1 + 1e-12) and abs(prediction.gap) < 1e-10
    # A gap g bounds a gradient by the root of 2 g times the curvature, which is below 1 here.
    for gradient in (by_classifiers, by_means, by_bias)[: 3 if bias else 2]:
        assert np.abs(gradient).max() < 1e-6


def test_minority_classes_collapse_and_weights_bring_them_back():
    keywords = dict(widths=512, layer_decay=5e-3, feature_decay=5e-4)
    prediction = nc.predict("1500,600x5,50x20", **keywords)
    assert [(group.count, group.multiplicity, group.fate) for group in prediction.groups] == [
        (1500, 1, "single"), (600, 5, "distinct"), (50, 20, "coincident"),
    ]  # fmt: skip
    group = prediction.groups[2]
    assert group.classes == list(range(6, 26)) and group.nearest_angle == 0 and group.coincidence_scale < 1
    # q = N root(decays/n) is 1 where they come together, and proportional to all decays together.
    assert group.coincidence_scale == pytest.approx(1 / (5500 * np.sqrt(5e-3 * 5e-4 / 50)), rel=1e-12)
    weighted = nc.predict("1500,600x5,50x20", loss="cross-entropy", class_weights="inverse-root", **keywords)
    assert all(group.fate != "coincident" for group in weighted.groups)
    plain = nc.predict("1500,600x5,50x20", loss="cross-entropy", **keywords)
    assert plain.groups[2].fate == "coincident"


def test_angles_are_those_of_the_classifiers():
    for loss in ("squared", "cross-entropy"):
        prediction = nc.predict([90, 40, 40, 9], widths=8, layer_decay=1e-3, feature_decay=1e-3, loss=loss)
        rows = prediction.classifiers()
        unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        expected = np.degrees(np.arccos(np.clip(unit @ unit.T, -1, 1)))
        # An arc cosine near 1 has the root of the rounding.
        np.testing.assert_allclose(prediction.angles(), expected, atol=1e-5)
        assert (prediction.angles().diagonal() == 0).all()
        group = prediction.groups[1]
        assert group.nearest_angle == pytest.approx(np.delete(expected[1], 1).min(), abs=1e-5)
        assert np.degrees(1) > 0 and group.nearest_class in (0, 2, 3)


def test_a_thousand_counts_have_their_matrices_at_once():
    counts = np.arange(1000, 0, -1)
    prediction = nc.predict(counts, widths=1024, layer_decay=1e-5, feature_decay=1e-5)
    start = time.process_time()
    grams = {of: prediction.gram(of) for of in ("classifiers", "class_means")}
    angles = prediction.angles()
    # Of the processor: one by one, the angles alone take 15 seconds.
    assert time.process_time() - start < 3
    for of, rows in (("classifiers", prediction.classifiers()), ("class_means", prediction.class_means())):
        norms = np.linalg.norm(rows, axis=1)
        # Sums of a thousand products.
        assert (np.abs(grams[of] - rows @ rows.T) <= 1000 * EPSILON * np.outer(norms, norms)).all()
    norms = prediction.norms()
    cosines = grams["classifiers"] / np.outer(norms, norms)
    # An arc cosine near 1 has the root of the rounding.
    np.testing.assert_allclose(angles, np.degrees(np.arccos(np.clip(cosines, -1, 1))), atol=1e-5)
    assert (angles.diagonal() == 0).all() and (angles == angles.T).all()
    # Small angles keep their digits.
    r, t = np.unravel_index(np.argmin(angles + 180 * np.eye(1000)), angles.shape)
    unit = prediction.classifiers()[[r, t]] / norms[[r, t], None]
    assert angles[r, t] == pytest.approx(np.degrees(2 * np.arcsin(np.linalg.norm(unit[0] - unit[1]) / 2)), rel=1e-9)


def test_reductions_scale_the_loss():
    counts, classes, total = [50, 20, 20], 3, 90
    for reduction, alpha in (("mean", 2 / classes), ("half-mean", 1 / classes), ("sum", 2.0), ("half-sum", 1.0)):
        scaled = nc.predict(
            counts,
            widths=8,
            layer_decay=alpha * 4e-3,
            feature_decay=alpha * total * 1e-3,
            reduction=reduction,
            feature_reduction="mean",
        )
        plain = nc.predict(counts, widths=8, layer_decay=4e-3, feature_decay=1e-3)
        assert scaled.objective == pytest.approx(plain.objective, rel=8 * EPSILON)
        assert scaled.loss == pytest.approx(alpha * plain.objective, rel=16 * EPSILON)
    entropy = [
        nc.predict(counts, widths=8, layer_decay=4e-3, feature_decay=1e-3, loss="cross-entropy", reduction=r)
        for r in (None, "mean")
    ]
    assert entropy[0].objective == entropy[1].objective == entropy[0].loss


def test_deep_layers_and_nonnegative_features():
    deep = nc.predict([60, 60, 20], widths=[16, 12], layer_decay=1e-3, feature_decay=1e-3)
    assert deep.rank == 2 and deep.directions[0]["layers"][0] > 0
    assert (
        nc.predict([60, 60, 20], widths=16, layers=2, layer_decay=1e-3, feature_decay=1e-3).objective == deep.objective
    )
    relu = nc.predict(
        [60, 60, 20], widths=16, layer_decay=1e-3, feature_decay=1e-3, bias=False, nonnegative_features=True
    )
    assert relu.method == "nonnegative features" and relu.rank == 3
    means = relu.class_means()
    np.testing.assert_allclose(means @ means.T, np.diag(np.diag(means @ means.T)), atol=1e-15)
    np.testing.assert_allclose(relu.gram("class_means"), means @ means.T, atol=1e-15)
    smoothed = nc.predict(
        [60, 60, 20], widths=16, layer_decay=1e-3, feature_decay=1e-3, bias=False, label_smoothing=0.1
    )
    assert smoothed.method == "certified"


INTERVAL = dict(widths=8, layer_decay=5e-4, feature_decay=1e-5, nonnegative_features=True)


def test_says_that_an_objective_is_the_end_of_an_interval():
    interval = nc.predict([500, 50, 5], **INTERVAL)
    assert not interval.is_proved and interval.is_unique is None and interval.method == "interval"
    assert 0.05 < interval.gap and interval.lower_bound < interval.objective
    assert repr(interval).startswith("Prediction(interval: objective from 8.6897e-4 to 9.277")
    read = interval.to_dict()
    assert read["is_proved"] is False and read["is_unique"] is None and read["method"] == "interval"
    # A descent ends below the upper end, and is compared with nothing.
    run = nc.descend([500, 50, 5], steps=3000, **INTERVAL)
    assert run.optimum is None and run.gap is None
    assert interval.lower_bound <= run.objective * (1 + 1e-12)
    # Without a bias it is proved, and a descent knows its gap.
    words = dict(widths=16, layer_decay=1e-3, feature_decay=1e-3, bias=False, nonnegative_features=True)
    proved = nc.predict([60, 60, 20], **words)
    assert proved.is_proved and proved.is_unique and proved.method == "nonnegative features"
    run = nc.descend([60, 60, 20], steps=50, **words)
    assert run.optimum == proved.objective and run.gap == pytest.approx(run.objective / proved.objective - 1)


def test_a_prediction_is_pickled_and_copied():
    decays, weights = np.array([1e-3, 2e-3]), np.array([1.0, 2.0, 2.0])
    for counts, words in (
        (np.array([50, 20, 20]), dict(widths=np.array([8, 6]), layer_decay=decays, feature_decay=np.float32(1e-3))),
        ("50,20x2", dict(widths=8, layer_decay=1e-3, feature_decay=1e-3, loss="cross-entropy", class_weights=weights)),
    ):
        prediction = nc.predict(counts, **words)
        saved = pickle.dumps(prediction)
        expected = prediction.to_dict()
        decays *= 2
        weights *= [1.0, 3.0, 5.0]
        read = pickle.loads(saved)
        assert read.to_dict() == expected and (read.gram() == prediction.gram()).all()
        assert pickle.loads(pickle.dumps(prediction)).to_dict() == expected, "it does not share arrays with its caller"
        for group, other in zip(prediction.groups, pickle.loads(pickle.dumps(prediction.groups))):
            assert other.to_dict() == group.to_dict() and other.coincidence_scale == group.coincidence_scale
        assert copy.copy(prediction) is prediction and copy.deepcopy([prediction])[0] is prediction


def test_dictionaries_have_the_names_of_attributes_and_no_number_that_json_lacks():
    prediction = nc.predict([500, 50, 50, 7], widths=8, layer_decay=1e-3, feature_decay=1e-3)
    infinite = [group.coincidence_scale for group in prediction.groups]
    assert np.inf in infinite, "a single class never joins another"
    read = prediction.to_dict()
    json.dumps(read, allow_nan=False)
    assert all(hasattr(prediction, key) for key in read)
    for key in ("objective", "loss", "rank", "is_unique", "is_proved", "num_classes", "method", "model"):
        assert read[key] == getattr(prediction, key)
    assert read["counts"] == prediction.counts.tolist() and read["bias"] == prediction.bias.tolist()
    assert read["groups"][0]["coincidence_scale"] is None
    limits = nc.limits([7], widths=8, layer_decay=1e-3, feature_decay=1e-3)
    assert limits.scale == np.inf and limits.to_dict()["scale"] is None
    json.dumps(limits.to_dict(), allow_nan=False)


def test_counts_may_be_text_lists_or_arrays():
    keywords = dict(widths=8, layer_decay=1e-3, feature_decay=1e-3)
    expected = nc.predict([50, 20, 20], **keywords).objective
    for counts in ("50,20x2", (50, 20, 20), np.array([50, 20, 20], np.uint8), np.array([50, 20, 20])):
        assert nc.predict(counts, **keywords).objective == expected


def test_a_prediction_is_plain_and_says_what_it_is():
    for loss in ("squared", "cross-entropy"):
        prediction = nc.predict([50, 20, 20], widths=8, layer_decay=1e-3, feature_decay=1e-3, loss=loss)
        read = json.loads(json.dumps(prediction.to_dict()))
        assert read["groups"][1]["classes"] == [1, 2] and read["rank"] == prediction.rank
        assert "rank 2 of 3" in repr(prediction) and "2 classes of 20 samples: distinct" in repr(prediction.groups[1])
        singular = np.linalg.svd(prediction.classifiers(), compute_uv=False)
        np.testing.assert_allclose(prediction.singular_values("classifiers")[:2], singular, rtol=1e-12)


@pytest.mark.parametrize(
    "message, keywords",
    [
        (r"^counts: class 1 .* has -2 samples, at least 1 is needed", dict(counts=[5, -2])),
        (r"^counts: class 1 .* has 0 samples", dict(counts=[5, 0])),
        ("^counts: the list is empty", dict(counts=[])),
        (r"^counts: dtype float64 given, .* take `counts.astype\(int\)`", dict(counts=[5.0, 2.0])),
        (r"^counts: shape \[1, 2\] given", dict(counts=[[5, 2]])),
        ('^counts: entry 1 .* is "005"', dict(counts="1,005")),
        ("widths: 3 values given for 2 layers", dict(widths=[4, 4, 4], layers=2)),
        ("layers: 0 given, 1 to 10000 are accepted", dict(layers=0)),
        ("^widths: the width d_1 is 0", dict(widths=0)),
        ("^layer_decay: 0.0 given, positive finite numbers are accepted", dict(layer_decay=0.0)),
        ("^layer_decay: -1.0 given, positive finite", dict(layer_decay=-1.0)),
        (r"^layer_decay\[1\]: -2.0 given, positive finite", dict(layer_decay=[1e-3, -2.0])),
        ("layer_decay: an empty list given, accepted: a number, or one for each layer", dict(layer_decay=[])),
        ("^feature_decay: inf given, positive finite", dict(feature_decay=float("inf"))),
        ('loss: "hinge" given, accepted: squared, cross-entropy', dict(loss="hinge")),
        ('reduction: "none" given, accepted: mean, half-mean, sum, half-sum', dict(reduction="none")),
        ("reduction: sum given, which scales the squared error", dict(reduction="sum", loss="cross-entropy")),
        ('feature_reduction: "sum" given, accepted: total, mean', dict(feature_reduction="sum")),
        ("^class_weights: 3 given, one for each of 2 classes", dict(class_weights=[1, 2, 3])),
        ('^class_weights: entry 0 .* is "balanced"', dict(class_weights="balanced")),
        ("^bias_decay: -1.0 given, finite numbers from 0 on", dict(bias_decay=-1.0)),
        ("^label_smoothing: 2.0 given", dict(label_smoothing=2.0)),
        ("^ldam: -1.0 given, finite numbers from 0 on", dict(ldam=-1.0)),
        ("^logit_adjustment: NaN given", dict(logit_adjustment=float("nan"))),
        ("^class_weights: effective:BETA, beta: 2.0 given", dict(class_weights="effective:2")),
        ("^class_weights: -1.0 given for class 1", dict(class_weights=[1, -1])),
        ("bias_decay: given with bias=False", dict(bias=False, bias_decay=1e-3)),
        (
            "no certificate of a global minimum for two or more layers; accepted is a descent: ncollapse.descend",
            dict(widths=[4, 4], loss="cross-entropy"),
        ),
        ("no certificate of a global minimum for two or more layers", dict(widths=[4, 4], loss="cross-entropy")),
        (
            "the width d_1 is 1, but the minimizer has rank 2",
            dict(counts=[5, 4, 3], widths=1, loss="cross-entropy", layer_decay=1e-4),
        ),
    ],
)
def test_refuses_bad_arguments(message, keywords):
    keywords = dict(dict(counts=[5, 2], widths=4, layer_decay=1e-3, feature_decay=1e-3), **keywords)
    with pytest.raises(ValueError, match=message):
        nc.predict(keywords.pop("counts"), **keywords)


def test_refuses_words_that_are_not_there():
    prediction = nc.predict([5, 2], widths=4, layer_decay=1e-3, feature_decay=1e-3)
    for call in (prediction.gram, prediction.norms, prediction.angles, prediction.singular_values):
        with pytest.raises(ValueError, match='of: "weights" given, accepted'):
            call("weights")
    with pytest.raises(TypeError):
        nc.predict([5, 2], widths=4, layer_decay=1e-3, feature_decay=1e-3, momentum=0.9)


def test_a_million_classes_have_norms_but_no_matrix_of_all_pairs():
    prediction = nc.predict("10x1000000", widths=1_000_000, layer_decay=1e-9, feature_decay=1e-9, bias=False)
    norms = prediction.norms()
    assert norms.shape == (1_000_000,) and (norms == prediction.groups[0].classifier_norm).all()
    for matrix in (prediction.gram, prediction.angles):
        with pytest.raises(ValueError, match="1000000 x 1000000 numbers do not fit in memory"):
            matrix()
