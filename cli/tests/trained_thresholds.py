"""What the thresholds of `src/metrics/assessment` tell apart, measured on networks that are trained here.

    pip install numpy==2.* scipy==1.*
    python3 cli/tests/trained_thresholds.py

Trains each case of `trained.py` from two seeds, to the end and to two earlier stages, and prints for every constant the
range of its number on either side of it. Nothing is written. It takes some minutes.
"""

import dataclasses

import numpy as np

from implied import LOSSES, chain, implied
from trained import CASES, Case, plain, scatter, train

STAGES = (100, 1000)
SEEDS = (0, 1)


def readings(case):
    """Class weights by name."""
    return {"none": None, "inverse": case.samples / (len(case.counts) * np.array(case.counts, float))}


def residuals(layers, bias, features, labels, loss, alpha):
    scores = chain(layers, features) + (0 if bias is None else bias[:, None])
    classes = len(scores)
    if loss == "cross_entropy":
        powers = np.exp(scores - scores.max(0))
        scores = powers / powers.sum(0)
    return (np.eye(classes)[:, labels] - scores) * (np.ones(classes) if alpha is None else alpha)[labels]


def mean_misfit(layers, bias, features, labels, loss, alpha):
    """Of class means, each counted as often as it has samples."""
    counts = np.bincount(labels)
    means = np.stack([features[:, labels == k].mean(1) for k in range(len(counts))], axis=1)
    pull = chain(layers, np.eye(len(features))).T @ residuals(
        layers, bias, means, np.arange(len(counts)), loss, alpha
    )
    if np.all(features >= 0):
        pull = np.where(means > 0, pull, 0)
    pull, means = pull * np.sqrt(counts), means * np.sqrt(counts)
    return np.linalg.norm(pull - np.vdot(pull, means) / np.vdot(means, means) * means) / np.linalg.norm(pull)


def look(case, stored):
    """All numbers that thresholds judge, by reading."""
    layers, bias, features, labels = arrays = plain(stored)
    scores = chain(layers, features)
    result = {
        "scatter": scatter(arrays),
        "spread": float(np.sqrt(np.mean(np.sum((scores - scores.mean(1, keepdims=True)) ** 2, axis=0)))),
    }
    for name, alpha in readings(case).items():
        decays = implied(*arrays, alpha)[0]
        for loss in LOSSES:
            own = decays[loss]
            result[name, loss] = {
                "decay": min(own["layer_decay"]),
                "layers": max(own["layer_misfit"]),
                "features": own["feature_misfit"],
                "features_decay": own["feature_decay"],
                "means": min(own["feature_misfit"], mean_misfit(*arrays, loss, alpha)),
                "bias": own["bias_decay"],
                "bias_misfit": own["bias_misfit"],
                "pull": np.linalg.norm(residuals(*arrays, loss, alpha).sum(1))
                / np.sqrt(case.samples)
                / np.linalg.norm(residuals(*arrays, loss, alpha)),
            }
    return result


def spread(name, values):
    values = sorted(values)
    if not values:
        return f"  {name}: none"
    return f"  {name}: {len(values)} values, {values[0]:.2g} to {values[-1]:.2g} (median {np.median(values):.2g})"


def own_reading(case):
    return ("inverse" if case.balanced else "none", case.loss.replace("-", "_"))


def trained():
    """Every case from several seeds, to the end and to earlier stages: (case, stage, numbers)."""
    for name, case in CASES.items():
        for seed in SEEDS:
            case_of_seed = dataclasses.replace(case, seed=case.seed + 1000 * seed)
            for stage in (*STAGES, None) if seed == 0 and not case.adamw else (None,):
                stored = train(case_of_seed, stage) if stage else train(case_of_seed)
                yield name, case_of_seed, stage, look(case_of_seed, stored)


def shuffled(per_class, width, classes, rng):
    """The part of samples nearest to their own class mean, if labels have nothing to do with features."""
    features = rng.standard_normal((width, per_class * classes))
    labels = np.repeat(np.arange(classes), per_class)
    means = np.stack([features[:, labels == k].mean(1) for k in range(classes)], axis=1)
    return np.mean(np.argmin(np.linalg.norm(features[:, :, None] - means[:, None, :], axis=0), axis=1) == labels)


def main():
    runs = list(trained())
    ended = [(name, case, numbers) for name, case, stage, numbers in runs if stage is None]
    judged = [(name, case, numbers) for name, case, numbers in ended if not case.adamw and not case.adjustment]
    held = [run for run in judged if run[1].is_held]
    judged = [run for run in judged if not run[1].is_held]
    penalized = [run for run in judged if run[1].is_penalized]
    own = lambda case, numbers: numbers[own_reading(case)]
    other = lambda case, numbers: [numbers[key] for key in numbers if isinstance(key, tuple) and key != own_reading(case)]
    is_parallel = lambda numbers: all(numbers["none", loss]["layers"] <= 0.05 for loss in LOSSES)

    print("STATIONARY 0.05: misfit of the layers")
    print(spread("own loss, trained to the end", [own(case, numbers)["layers"] for _, case, numbers in judged]))
    wrong = [r["layers"] for _, case, n in judged if not is_parallel(n) for r in other(case, n) if r["decay"] > 0]
    print(spread("another loss or weights, with positive decays", wrong))
    print(spread("AdamW", [own(case, n)["layers"] for _, case, n in ended if case.adamw]))
    for stage in STAGES:
        moving = [own(case, n)["layers"] for _, case, at, n in runs if at == stage and not case.adjustment and not case.is_held]
        print(spread(f"own loss, {stage} steps of L-BFGS", moving))

    print("PENALIZED 0.5: misfit of the features")
    print(spread("penalized", [own(case, n)["features"] for _, case, n in penalized]))
    is_early = lambda case: case.is_penalized and not case.is_held and not case.adjustment
    early = [own(case, n) for _, case, at, n in runs if at and is_early(case)]
    print(spread("penalized, earlier stages, layers at rest", [r["features"] for r in early if r["layers"] <= 0.05]))
    print(spread("not penalized", [own(case, n)["features"] for _, case, n in judged if not case.is_penalized]))

    print("PENALIZED 0.5: misfit of class means, or of features if that is less")
    print(spread("penalized, and held by decays before them", [own(case, n)["means"] for _, case, n in held]))
    print(spread("not penalized", [own(case, n)["means"] for _, case, n in judged if not case.is_penalized]))

    print("CONTRADICTED 0.1: misfit of class means, or of features if that is less")
    print(spread("own loss", [own(case, n)["means"] for _, case, n in penalized]))
    print(spread("own loss, earlier stages, layers at rest", [r["means"] for r in early if r["layers"] <= 0.05]))
    adjusted = [n[key] for _, case, n in ended if case.adjustment for key in n if isinstance(key, tuple)]
    print(spread("logit adjustment, layers at rest", [r["means"] for r in adjusted if r["layers"] <= 0.05]))

    print("COLLAPSED 0.01: scatter within classes relative to that between them")
    print(spread("penalized", [n["scatter"] for _, case, n in ended if case.is_penalized and not case.is_held]))
    print(spread("not penalized", [n["scatter"] for _, case, n in ended if not case.is_penalized]))

    print("FREE 0.05: decay of the bias relative to that of the layers, where its misfit is at most 0.05")
    ratios = [(case, own(case, n)) for _, case, n in judged if case.bias]
    at_rest = [(case, abs(r["bias"]) / r["decay"]) for case, r in ratios if r["bias_misfit"] <= 0.05]
    print(spread("free", [ratio for case, ratio in at_rest if not case.weight_decay]))
    print(spread("free, at any misfit", [abs(r["bias"]) / r["decay"] for case, r in ratios if not case.weight_decay]))
    print(spread("penalized", [ratio for case, ratio in at_rest if case.weight_decay]))

    print("CONSTANT 0.01: how much outputs differ from sample to sample")
    print(spread("all cases", [n["spread"] for _, _, n in ended]))
    for strength in (0.3, 0.5, 1.0):
        gone = [Case("squared", [24, 18, 14, 10, 6], seed, [strength], strength) for seed in SEEDS]
        numbers = [look(case, train(case))["spread"] for case in gone]
        print(spread(f"squared loss, both decays {strength}", numbers))

    print("TELLING 8 samples a class, SEPARATED 0.5: nearest to their own class mean, of labels that mean nothing")
    rng = np.random.default_rng(0)
    for per_class in (1, 2, 4, 8, 16, 32):
        parts = [shuffled(per_class, width, classes, rng) for width in (8, 64) for classes in (4, 10, 26)]
        print(spread(f"{per_class} a class", parts))


if __name__ == "__main__":
    main()
