"""Networks compared with their optimum: the networks of the command's tests, whose numbers other programs computed."""

import json

import ncollapse as nc
import numpy as np
import pytest

TRAINED = ["penalized", "relu", "entropy", "balanced", "weight-decay", "two-layers", "adamw", "collapsed"]


def arrays(folder, flags):
    """The arrays that the flags of the command name."""
    named, name = {}, None
    for word in flags:
        if word.startswith("--"):
            name = named.setdefault(word[2:], [])
        else:
            name.append(word)
    load = lambda key: [np.load(folder / word) for word in named[key]]
    weights, bias = load("weights"), np.load(folder / named["bias"][0]) if "bias" in named else None
    return np.concatenate(load("features")), np.concatenate(load("labels")), weights, bias, named


def keywords(named):
    decays = {key: named[key] for key in ("layer-decay", "feature-decay") if key in named}
    words = {}
    if decays:
        words["layer_decay"] = [float(value) for word in decays["layer-decay"] for value in word.split(",")]
        words["feature_decay"] = float(decays["feature-decay"][0])
    for key, keyword in (("loss-convention", "reduction"), ("feature-convention", "feature_reduction"),
                         ("loss", "loss"),
                         ("class-weights", "class_weights")):  # fmt: skip
        if key in named:
            words[keyword] = named[key][0]
    return words


def compare(measured, expected, rounding, path=""):
    """Every number that was expected, relative to its size and absolutely, to the tolerance."""
    if isinstance(expected, dict):
        for key, value in expected.items():
            if key != "rounding":
                compare(measured[key], value, rounding, f"{path}/{key}")
    elif isinstance(expected, list):
        assert len(measured) == len(expected), path
        for ours, theirs in zip(measured, expected):
            compare(ours, theirs, rounding, path)
    elif isinstance(expected, float):
        assert measured is not None and abs(measured - expected) <= rounding * max(1, abs(expected)), path
    elif expected is not None:  # what the oracle does not compute
        assert measured == expected, path


@pytest.mark.parametrize("case", ["plain", "deep", "single"])
def test_has_the_numbers_of_the_oracle(networks, case):
    folder = networks / "networks" / case
    content = json.loads((folder / "expected.json").read_text())
    features, labels, weights, bias, named = arrays(folder, content["flags"])
    if "labels-from" in named:
        labels = labels - int(named["labels-from"][0])
    measured = nc.measure(features, labels, weights, bias, **keywords(named))
    # Features are squared once, so that misfits near zero have the root of the rounding. The names are the command's.
    compare(measured._data, content["expected"], 1e-8)


@pytest.mark.parametrize("case", TRAINED)
def test_finds_what_a_network_was_trained_with(networks, case):
    folder = networks / "trained" / case
    content = json.loads((folder / "expected.json").read_text())
    features, labels, weights, bias, named = arrays(folder, content["flags"])
    measured = nc.measure(features, labels, weights, bias, **keywords(named))
    compare(measured.implied, content["expected"]["implied"], 1e-7)
    if "loss" in content["expected"]:
        assert measured.fits == content["expected"]["loss"]


def optimal(counts=(40, 30, 20, 10), width=8, loss="squared", noise=1e-3, seed=0, scale=1.0):
    """A network near the optimum of its decays."""
    layer_decay, feature_decay = 1e-2, 1e-3
    prediction = nc.predict(list(counts), widths=width, layer_decay=layer_decay, feature_decay=feature_decay, loss=loss)
    rng = np.random.default_rng(seed)
    frame = np.linalg.qr(rng.standard_normal((width, prediction.rank)))[0]
    weights, means = prediction.classifiers() @ frame.T, prediction.class_means() @ frame.T
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    features = scale * means[labels]
    return (
        features + noise * np.abs(means).max() * rng.standard_normal(features.shape),
        labels,
        weights,
        prediction.bias,
    )


@pytest.mark.parametrize("loss", ["squared", "cross-entropy"])
def test_a_network_at_its_optimum_has_reached_it(loss):
    features, labels, weights, bias = optimal(loss=loss)
    measured = nc.measure(features, labels, weights, bias)
    assert measured.applies and measured.fits == loss and measured.has_reached and measured.findings == []
    assert "has reached its optimum" in measured.verdict and measured.decays_from == "arrays"
    assert measured.layer_decays[0] == pytest.approx(1e-2, rel=1e-2)
    assert measured.feature_decay == pytest.approx(1e-3, rel=1e-2)
    assert measured.accuracy == 1 and measured.nc4 is not None
    judged = {row.name: row.verdict for row in measured.verdicts}
    assert judged["relative gap"] == judged["distance, all blocks"] == judged["NC3 product"] == "reached"


def test_says_where_the_arguments_and_the_arrays_differ():
    features, labels, weights, bias = optimal()
    words = dict(reduction="half-sum", feature_reduction="total", loss="squared")
    said = nc.measure(features, labels, weights, bias, layer_decay=1e-2, feature_decay=1e-3, **words)
    assert said.applies and said.decays_from == "arguments" and said.has_reached
    wrong = nc.measure(features, labels, weights, bias, layer_decay=2e-2, feature_decay=1e-3, **words)
    # Under "sum" the number that is said would be right.
    assert not wrong.applies
    assert wrong.findings[0].startswith("the layer: you say 0.020000 under half-sum; the arrays say")
    assert wrong.findings[0].endswith(" under sum")
    other = nc.measure(features, labels, weights, bias, layer_decay=3e-2, feature_decay=1e-3, **words)
    assert other.findings[0].startswith("the layer: you say 0.030000; the arrays say 0.0")
    assert {row.verdict for row in wrong.verdicts} == {"-"} and wrong.has_reached is None
    other = nc.measure(features, labels, weights, bias, loss="cross-entropy")
    assert "you say cross-entropy; the arrays say squared" in other.findings[0]


def deep(counts=(40, 30, 20, 10), widths=(8, 6), seed=0):
    """A network of two linear layers at the optimum of their decays, which a descent has found."""
    run = nc.descend(list(counts), widths=list(widths), layer_decay=1e-2, feature_decay=1e-3, seed=seed, gap=1e-13)
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    return run.class_means[labels], labels, run.weights, run.bias


def test_a_list_of_layers_implies_the_decay_of_each():
    features, labels, weights, bias = deep()
    assert [layer.shape for layer in weights] == [(6, 8), (4, 6)]
    measured = nc.measure(features, labels, weights, bias)
    assert measured.applies and measured.has_reached and len(measured.layer_decays) == 2
    # The descent has left a relative gap of 1e-13, and a gradient of its root.
    assert measured.layer_decays == pytest.approx([1e-2, 1e-2], rel=1e-5)
    assert set(measured.singular_values) == {"product", "features", "layer 1", "layer 2"}
    blocks = [np.linalg.svd(layer, compute_uv=False) for layer in weights]
    for layer, values in zip(("layer 1", "layer 2"), blocks):
        np.testing.assert_allclose(measured.singular_values[layer]["measured"], values, atol=1e-13)
        # One for each class: the optimum has no others. To roots of the gap, relative to singular values of size one.
        predicted = measured.singular_values[layer]["predicted"]
        assert len(predicted) == 4
        np.testing.assert_allclose(np.pad(predicted, (0, len(values) - 4)), values, atol=1e-5)


def test_the_product_of_layers_is_compared_by_its_geometry():
    features, labels, weights, bias = deep()
    product = weights[1] @ weights[0]
    words = dict(layer_decay=1e-2, feature_decay=1e-3, reduction="half-sum", feature_reduction="total")
    measured = nc.measure(features, labels, product, bias, layers=2, widths=[8, 6], **words)
    assert measured.applies and measured.gap is None and measured.has_reached is None
    assert measured.verdict.startswith("compared by its geometry alone")
    assert measured.implied["squared"]["layer_decay"] == [] and measured.implied["loss"] is None
    # Of the layers the geometric mean of their decays is known, to the root of the gap of the descent.
    assert measured.implied["squared"]["product_decay"] == pytest.approx(1e-2, rel=1e-5)
    judged = {row.name: row.verdict for row in measured.verdicts}
    assert judged["NC2 classifier"] == judged["NC3 product"] == judged["NC4 disagreement"] == "reached"
    assert "relative gap" not in judged
    # As one layer the arrays say something else.
    assert not nc.measure(features, labels, product, bias, **words).applies
    # Two decays say that there are two layers.
    two = nc.measure(features, labels, product, bias, **dict(words, layer_decay=[1e-2, 1e-2]))
    assert two.rank == measured.rank and two.nc3 == measured.nc3
    silent = nc.measure(features, labels, product, bias, layers=2)
    assert silent.optimum is None and not silent.applies

    def refused(message, weights, **words):
        with pytest.raises(ValueError, match=message):
            nc.measure(features, labels, weights, bias, **words)

    refused("layers: 0 given, 1 to 10000 are accepted", product, layers=0)
    refused("weights: 2 matrices given for 3 layers; accepted are all of them, or their product", weights, layers=3)
    refused(r"widths: \[7, 6\] given; accepted, .* are 2 numbers, the first 8", product, widths=[7, 6])
    refused(r"widths: \[8, 6\] given; accepted, with the product", weights, widths=[8, 6])
    refused("layer_decay: 3 values given for 2 layers", product, layers=2, layer_decay=[1e-2] * 3, feature_decay=1e-3)


def test_one_hot_labels_are_refused_with_what_to_take():
    features, labels, weights, bias = optimal()
    with pytest.raises(ValueError, match=r"labels: shape \[100, 4\] given, .* one-hot rows or scores take the argmax"):
        nc.measure(features, np.eye(4)[labels], weights, bias)


def test_finds_class_weights_and_a_forgotten_bias():
    layer_decay, feature_decay, counts = 1e-2, 1e-3, [40, 30, 20, 10]
    words = dict(loss="cross-entropy", layer_decay=layer_decay, feature_decay=feature_decay)
    prediction = nc.predict(counts, widths=8, class_weights="inverse", **words)
    labels = np.repeat(np.arange(4), counts)
    features, weights = prediction.class_means()[labels], prediction.classifiers()
    measured = nc.measure(features, labels, weights, prediction.bias)
    assert measured.implied["class_weights"] == "inverse" and measured.has_reached
    said = nc.measure(features, labels, weights, prediction.bias, feature_reduction="total", **words)
    assert said.findings[0] == "you give no class weights; the arrays say inverse"
    features, labels, weights, bias = optimal()
    forgotten = nc.measure(features, labels, weights)
    assert any("was bias forgotten?" in finding for finding in forgotten.findings)


def test_has_groups_and_ranks_of_classes():
    features, labels, weights, bias = optimal(counts=(30, 20, 20, 10), noise=0.1)
    measured = nc.measure(features, labels, weights, bias)
    decided = (features @ weights.T + bias).argmax(1) == labels
    groups = {group["count"]: group for group in measured.accuracy_by_group}
    assert list(groups) == [30, 20, 10] and groups[20]["classes"] == [1, 2]
    for count, group in groups.items():
        assert group["accuracy"] == pytest.approx(decided[np.isin(labels, group["classes"])].mean())
    for k, rank in enumerate(measured.class_effective_ranks):
        values = np.linalg.svd(features[labels == k], compute_uv=False)
        parts = values / values.sum()
        # The Gram matrix squares singular values, none of which is below a hundredth of the largest.
        assert rank == pytest.approx(np.exp(-(parts * np.log(parts)).sum()), rel=1e-9)


def test_random_arrays_have_no_verdict():
    rng = np.random.default_rng(0)
    measured = nc.measure(rng.standard_normal((200, 6)), rng.integers(0, 3, 200), rng.standard_normal((3, 6)))
    assert not measured.applies and measured.optimum is None and measured.findings
    assert measured.verdict.startswith("no verdict") and "NC1" in str(measured)
    assert measured.gap is None and measured.nc1 > 0


def test_batches_are_like_arrays_and_are_gone_through_several_times():
    features, labels, weights, bias = optimal()
    whole = nc.measure(features, labels, weights, bias).to_dict()
    batches = [(features[start : start + 17], labels[start : start + 17]) for start in range(0, 100, 17)]
    parts = nc.measure_batches(batches, weights, bias).to_dict()
    # Other orders of sums of 100 terms; misfits are roots of differences.
    compare(parts, {key: value for key, value in whole.items() if key not in ("implied", "verdict")}, 1e-9)
    compare(parts["implied"], whole["implied"], 1e-6)
    with pytest.raises(ValueError, match="batches: there are none; give what can be gone through several times"):
        nc.measure_batches(iter(batches), weights, bias)


def test_batches_are_tuples_or_lists():
    features, labels, weights, bias = optimal()
    batches = [(features[start : start + 17], labels[start : start + 17]) for start in range(0, 100, 17)]
    expected = nc.measure_batches(batches, weights, bias).to_dict()
    assert nc.measure_batches([list(batch) for batch in batches], weights, bias).to_dict() == expected
    with pytest.raises(ValueError, match=r"batch 2 \(counted from 0\): labels: 16 given, the features have 17 rows"):
        nc.measure_batches([*batches[:2], (features[:17], labels[:16])], weights, bias)


@pytest.mark.parametrize(
    "batch, name",
    [
        (np.ones((2, 8)), "a ndarray of 2"),
        ((np.ones((2, 8)), [0, 1], [0, 1]), "a tuple of 3"),
        ([np.ones((2, 8))], "a list of 1"),
        ({"features": np.ones((2, 8)), "labels": [0, 1]}, "a dict of 2"),
        ("ab", "a str of 2"),
        (7, "a int"),
    ],
)
def test_says_what_a_batch_is(batch, name):
    features, labels, weights, bias = optimal()
    with pytest.raises(TypeError, match=rf"batches: batch 1 \(counted from 0\) is {name}, accepted are pairs"):
        nc.measure_batches([(features, labels), batch], weights, bias)
    with pytest.raises(TypeError, match=r"batches: 7 \(int\) given, accepted: what gives pairs"):
        nc.measure_batches(7, weights, bias)


def test_reads_single_precision_and_other_orders_alike():
    features, labels, weights, bias = optimal()
    features = features.astype(np.float32)
    expected = nc.measure(features.astype(np.float64), labels, weights, bias).to_dict()
    for layout in (features, np.asfortranarray(features), features[:, None, :][:, 0], features[:, :, None, None]):
        assert nc.measure(layout, labels.astype(np.uint8), weights, bias).to_dict() == expected


def test_shows_itself_in_a_notebook_and_in_json():
    measured = nc.measure(*optimal())
    read = json.loads(json.dumps(measured.to_dict()))
    assert read["implied"]["loss"] == "squared" and read["singular_values"]["product"]["predicted"]
    page = measured._repr_html_()
    assert page.count("<tr>") == len(measured.verdicts) + 1 and "has reached its optimum" in page
    assert repr(measured) == f"Measurement({measured.verdict})"
    names = {name for kind in (nc.Measurement, nc.Metrics) for name in kind.__annotations__}
    assert set(read) == names | {"verdict", "verdicts"}
    for name in ("nc1_unweighted", "nc2_classifier", "gap", "is_unique"):
        assert read[name] == getattr(measured, name)
    assert measured.is_proved and measured.is_unique and measured.distances["features"] <= measured.distance


@pytest.mark.parametrize("loss", ["squared", "cross-entropy"])
def test_a_prediction_takes_the_decays_that_were_found(loss):
    features, labels, weights, bias = optimal(loss=loss)
    measured = nc.measure(features, labels, weights, bias)
    decays = dict(layer_decay=measured.layer_decays, feature_decay=measured.feature_decay)
    prediction = nc.predict(measured.counts, widths=8, loss=measured.fits, **decays)
    # The same computation of the same numbers.
    assert prediction.objective == measured.optimum and prediction.rank == measured.rank


def test_results_are_equal_if_their_numbers_are():
    arrays = optimal()
    first, second = nc.measure(*arrays), nc.measure(*arrays)
    assert first == second and first != nc.measure(arrays[0] * 1.01, *arrays[1:]) and first != first.to_dict()
    words = dict(widths=4, layer_decay=1e-3, feature_decay=1e-3)
    assert nc.descend([5, 2], steps=9, **words) == nc.descend([5, 2], steps=9, **words)
    assert nc.limits([5, 2], **words) == nc.limits([5, 2], **words) != nc.limits([5, 3], **words)


def test_a_gap_of_rounding_is_said_in_words():
    prediction = nc.predict([6, 2], widths=2, layer_decay=1e-2, feature_decay=1e-3)
    rows = np.repeat([0, 1], [6, 2])
    words = dict(layer_decay=1e-2, feature_decay=1e-3, reduction="half-sum", feature_reduction="total")
    measured = nc.measure(prediction.class_means()[rows], rows, prediction.classifiers(), prediction.bias, **words)
    assert abs(measured.gap) < 1e-14 and measured.has_reached
    assert measured.verdict == "the network has reached its optimum: it has the least objective, to rounding"


@pytest.mark.parametrize("value", [-1, -100])
def test_says_that_labels_below_zero_are_not_skipped(value):
    features, labels, weights, bias = optimal()
    labels[13] = value
    message = rf"labels: entry 13 .* is {value}, accepted are 0 to 3 .*: samples with such a label, as ignore_"
    with pytest.raises(ValueError, match=message):
        nc.measure(features, labels, weights, bias)
    # One label of 4 among labels from 0 is not a way of counting.
    labels[13] = 4
    with pytest.raises(ValueError, match="labels: entry 13 .* is 4, accepted are 0 to 3 for 4 classes$"):
        nc.measure(features, labels, weights, bias)


def test_plots(monkeypatch):
    matplotlib = pytest.importorskip("matplotlib")
    matplotlib.use("Agg")
    figure = nc.measure(*optimal()).plot()
    assert [axis.get_title() for axis in figure.axes][:2] == ["classifiers, predicted", "classifiers, measured"]


def test_refuses_what_does_not_fit():
    features, labels, weights, bias = optimal()

    def refused(message, *arguments, **words):
        with pytest.raises(ValueError, match=message):
            nc.measure(*arguments, **words)

    with pytest.raises(TypeError, match="labels: None given"):
        nc.measure(features, None, weights, bias)
    refused("labels: 99 given, the features have 100 rows", features, labels[1:], weights, bias)
    refused(
        "weights: 8 x 4 given, features of width 8 need a layer that reads 8 numbers: is it the transpose",
        features,
        labels,
        weights.T,
    )
    refused(
        "labels: entry .* is 4, accepted are 0 to 3 for 4 classes: are they counted from 1",
        features,
        labels + 1,
        weights,
        bias,
    )
    refused("class 3 .* has 0 samples", features, np.minimum(labels, 2), weights, bias)
    refused(
        "weights: 8 x 4 given with a bias of 4 numbers: is it the transpose", features, labels, weights.T, bias
    )
    refused("feature_decay: layer_decay is needed with it", features, labels, weights, bias, feature_decay=1e-3)
    both = dict(layer_decay=1e-3, feature_decay=1e-3)
    refused("layer_decay: reduction is needed with it", features, labels, weights, bias, **both)
    refused("feature_decay: feature_reduction is needed", features, labels, weights, bias, reduction="mean", **both)
    words = dict(both, reduction="mean", feature_reduction="mean")
    for keyword in both:
        refused(f"^{keyword}: -1.0 given, positive", features, labels, weights, bias, **dict(words, **{keyword: -1.0}))
    refused("bias_decay: bias is needed with it", features, labels, weights, bias_decay=1e-3)
    broken = features.copy()
    broken[70, 3] = np.nan
    refused(r"features: column 3 of row 70 \(counted from 0\) is NaN", broken, labels, weights, bias)


def test_a_layer_decay_alone_says_that_features_are_not_penalized(networks):
    flags = json.loads((networks / "trained" / "weight-decay" / "expected.json").read_text())["flags"]
    features, labels, weights, bias, _ = arrays(networks / "trained" / "weight-decay", flags)
    words = dict(layer_decay=1e-3, loss="squared")
    alone = nc.measure(features, labels, weights, bias, reduction="half-mean", **words)
    assert alone == nc.measure(features, labels, weights, bias, reduction="half-mean", feature_decay=0, **words)
    assert alone.optimum is None and any("features were not penalized" in finding for finding in alone.findings)
    # 1e-3 under half-mean is what it was trained with.
    assert not any("you say" in finding for finding in alone.findings)
    other = nc.measure(features, labels, weights, bias, reduction="mean", **words)
    assert any("you say 0.001000 under mean; the arrays say 1.0000e-3 under half-mean" in f for f in other.findings)
