"""The largest decays, and the weights that keep classes apart."""

import ncollapse as nc
import numpy as np
import pytest

KEYWORDS = dict(widths=64, layer_decay=5e-3, feature_decay=5e-4)


def fates(counts, **keywords):
    return [group.fate for group in nc.predict(counts, **dict(KEYWORDS, **keywords)).groups]


@pytest.mark.parametrize("loss", ["squared", "cross-entropy"])
def test_below_the_limit_all_classes_are_apart_and_above_it_not(loss):
    counts = "500x5,50x5"
    limits = nc.limits(counts, loss=loss, **KEYWORDS)
    assert limits.kept == "below"
    for key in ("layer_decay", "feature_decay"):
        limit = limits.feature_decay if key == "feature_decay" else limits.layer_decays[0]
        assert fates(counts, loss=loss, **{key: limit * (1 - 1e-9)}) == ["distinct", "distinct"]
        assert fates(counts, loss=loss, **{key: limit * (1 + 1e-9)}) == ["distinct", "coincident"]
    # The law of contrasts: q = N root(decays/n) = 1.
    assert limits.feature_decay == pytest.approx(50 / 2750**2 / 5e-3, rel=1e-12)


def test_limits_are_in_the_units_of_the_caller():
    plain = nc.limits("500x5,50x5", **KEYWORDS)
    scaled = dict(KEYWORDS, layer_decay=5e-3 * 0.2, feature_decay=5e-4 * 0.2 * 2750)
    mean = nc.limits("500x5,50x5", reduction="mean", feature_reduction="mean", **scaled)
    assert mean.scale == pytest.approx(plain.scale, rel=1e-14)
    assert mean.layer_decays[0] == pytest.approx(0.2 * plain.layer_decays[0], rel=1e-14)
    assert mean.feature_decay == pytest.approx(0.2 * 2750 * plain.feature_decay, rel=1e-14)


def test_weights_keep_all_classes_apart():
    counts = "500x5,50x5,5x5"
    limits = nc.limits(counts, loss="cross-entropy", **KEYWORDS)
    weights, samples = limits.class_weights, np.repeat([500, 50, 5], 5)
    assert weights.shape == (15,) and weights @ samples == pytest.approx(samples.sum(), rel=1e-12)
    assert fates(counts, loss="cross-entropy")[2] == "coincident"
    prediction = nc.predict(counts, loss="cross-entropy", class_weights=weights, **KEYWORDS)
    for group in prediction.groups:
        assert group.fate == "distinct"
        assert group.probability_own - group.probability_sibling >= 0.1 - 1e-9  # 1 - largest_q
    assert nc.limits(counts, loss="cross-entropy", **dict(KEYWORDS, layer_decay=1.0)).class_weights is None


def test_ranks_and_ratios_of_norms():
    counts = "500x5,50x5"
    rank = nc.limits(counts, rank=5, **KEYWORDS)
    assert rank.scale > nc.limits(counts, **KEYWORDS).scale
    for scale, kept in ((1 - 1e-9, True), (1 + 1e-9, False)):
        scaled = {key: value * rank.scale * scale if "decay" in key else value for key, value in KEYWORDS.items()}
        assert (nc.predict(counts, **scaled).rank >= 5) == kept
    ratio = nc.limits(counts, norm_ratio=0.5, **KEYWORDS)
    scaled = {key: value * ratio.scale if "decay" in key else value for key, value in KEYWORDS.items()}
    norms = nc.predict(counts, **scaled).norms()
    assert norms.min() / norms.max() == pytest.approx(0.5, rel=1e-6)
    assert nc.limits(counts, rank=100, **KEYWORDS).kept == "never"
    assert nc.limits([7], **KEYWORDS).kept == "always"


@pytest.mark.parametrize("keywords", [dict(), dict(bias=False), dict(class_weights="inverse-root")])
def test_ranks_are_kept_up_to_the_limit_under_cross_entropy_too(keywords):
    counts = [100, 50, 20, 9]
    keywords = dict(KEYWORDS, loss="cross-entropy", **keywords)
    law = nc.limits(counts, **keywords)
    assert law.kept is None and law.scale is None and law.feature_decay is None, "no two classes have one count"
    assert nc.limits([7], **keywords).kept == "always"
    for rank in (1, 2, 3):
        limits = nc.limits(counts, rank=rank, **keywords)
        assert limits.kept == "below"
        # The promise is 2e-6 of a factor on both decays, 4e-6 of one of them.
        for factor, kept in ((1 - 4e-6, True), (1 + 4e-6, False)):
            at = dict(keywords, feature_decay=limits.feature_decay * factor)
            prediction = nc.predict(counts, **at)
            assert (prediction.rank >= rank) == kept and abs(prediction.gap) < 1e-12
    assert nc.limits(counts, rank=4, **keywords).kept == "never"
    many = list(range(100, 151))
    with pytest.raises(ValueError, match="rank: the classes have 51 different counts or weights, at most 50"):
        nc.limits(many, rank=3, loss="cross-entropy", **KEYWORDS)


def test_deep_models_have_a_limit_for_each_layer():
    limits = nc.limits("500x5,50x5", layers=2, **KEYWORDS)
    assert len(limits.layer_decays) == 2 and limits.class_weights is None and limits.separable_scale is None
    assert set(limits.to_dict()) == {
        "kept",
        "scale",
        "layer_decays",
        "feature_decay",
        "separable_scale",
        "class_weights",
    }
    assert "kept='below'" in repr(limits)


@pytest.mark.parametrize(
    "message, keywords",
    [
        ("rank and norm_ratio: both given", dict(rank=3, norm_ratio=0.5)),
        ("^rank: 0 given, whole numbers from 1 on are accepted", dict(rank=0)),
        ("^norm_ratio: 2.0 given", dict(norm_ratio=2.0)),
        ("^largest_q: 1.0 given", dict(largest_q=1.0)),
        ("no closed form for a ratio of norms with this loss", dict(norm_ratio=0.5, loss="cross-entropy")),
        ("^rank: 0 given, whole numbers from 1 on are accepted", dict(rank=0, loss="cross-entropy")),
        (
            "limits: none are known, .*no certificate.*two or more layers; ncollapse.descend",
            dict(layers=2, loss="cross-entropy", rank=3),
        ),
        (
            "limits: none are known, .*no certificate.*two or more layers; ncollapse.descend",
            dict(layers=2, loss="cross-entropy"),
        ),
        ("limits: none are known, .* for nonnegative features; ncollapse.descend", dict(nonnegative_features=True)),
    ],
)
def test_refuses_bad_arguments(message, keywords):
    with pytest.raises(ValueError, match=message):
        nc.limits("50x3,5x3", **dict(KEYWORDS, **keywords))
