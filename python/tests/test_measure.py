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
    measured = nc.measure(features, labels, weights, bias, **keywords(named)).to_dict()
    # Features are squared once, so that misfits near zero have the root of the rounding.
    compare(measured, content["expected"], 1e-8)


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
    assert not wrong.applies and "the layer: you say 2.0000e-2; the arrays say" in wrong.findings[0]
    assert {row.verdict for row in wrong.verdicts} == {"-"} and wrong.has_reached is None
    other = nc.measure(features, labels, weights, bias, loss="cross-entropy")
    assert "you say cross-entropy; the arrays say squared" in other.findings[0]


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
    compare(parts, {key: value for key, value in whole.items() if key != "implied"}, 1e-9)
    compare(parts["implied"], whole["implied"], 1e-6)
    with pytest.raises(ValueError, match="batches: there are none; give what can be gone through several times"):
        nc.measure_batches(iter(batches), weights, bias)


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

    refused("labels: none given", features, None, weights, bias)
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
    refused("layer_decay: given without feature_decay", features, labels, weights, bias, layer_decay=1e-3)
    refused("feature_decay: given without layer_decay", features, labels, weights, bias, feature_decay=1e-3)
    both = dict(layer_decay=1e-3, feature_decay=1e-3)
    refused("layer_decay: reduction is needed with it", features, labels, weights, bias, **both)
    refused("feature_decay: feature_reduction is needed", features, labels, weights, bias, reduction="mean", **both)
    refused("bias_decay: bias is needed with it", features, labels, weights, bias_decay=1e-3)
    broken = features.copy()
    broken[70, 3] = np.nan
    refused(r"features: column 3 of row 70 \(counted from 0\) is NaN", broken, labels, weights, bias)
