"""Arrays of small networks near collapse, and the numbers `neural-collapse measure` must print for them.

    pip install mpmath==1.3.0 numpy==2.* ml_dtypes==0.* safetensors==0.*
    python3 cli/tests/networks.py            # writes cli/tests/networks/<case>/
    python3 cli/tests/networks.py --check    # computes everything again and compares with these files

Every oracle takes another way than the crate: d x d scatter matrices and their pseudo-inverses, a dense singular value
decomposition of the K x K target, the minimum for every singular value by a grid, the nearest minimizer by orthogonal
Procrustes. Numbers are computed in float64 from the arrays as stored. The objective and its optimum are in units of the
training loss, distances and implied decays in those of the theory. Samples are rows in the files, and columns here.
"""

import argparse
import json
import pathlib

import ml_dtypes
import numpy as np
from mpmath import mp, mpf, sqrt
from safetensors.numpy import save_file

from implied import implied

mp.dps = 40
HERE = pathlib.Path(__file__).parent / "networks"
NOISE = 0.05

# counts, widths, bias, layer decays and feature decay as trained with, conventions
SPECS = {
    "plain": ([11, 7, 7, 3], [6], True, ["0.05"], "0.11", "half-sum", "total"),
    "deep": ([9, 9, 5, 4, 4], [8, 7, 6], False, ["3e-3", "4e-3", "5e-3"], "0.12", "mean", "mean"),
    "single": ([6, 1, 4], [5], True, ["0.1"], "0.06", "sum", "total"),
}
SPECS |= {"product": SPECS["deep"], "tensors": SPECS["plain"], "halves": SPECS["plain"], "shards": SPECS["single"]}
SEEDS = {"plain": 3, "tensors": 3, "deep": 2, "product": 2, "single": 6, "halves": 3, "shards": 6}

# Tensors as safetensors store them: the library's own reader for NumPy does not know the types of eight bits.
DTYPES = {"F32": "<f4", "I32": "<i4", "BF16": ml_dtypes.bfloat16, "F8_E4M3": ml_dtypes.float8_e4m3fn}


def alpha(loss, classes):
    """The training loss is alpha/(2N) ||residual||^2 and the penalties."""
    return {"mean": 2 / classes, "half-mean": 1 / classes, "sum": 2.0, "half-sum": 1.0}[loss]


class Theory:
    """Global minimizers: what they share, per singular value of the target."""

    def __init__(self, counts, widths, bias, layer_decays, feature_decay, loss, feature):
        self.counts, self.bias = np.array(counts, float), bias
        self.samples, classes = sum(counts), len(counts)
        self.alpha = alpha(loss, classes)
        self.feature_penalty = float(feature_decay) / (self.samples if feature == "mean" else 1)  # of ||H||^2 / 2
        self.layer_penalties = [float(decay) for decay in layer_decays]
        self.lambdas = [penalty / self.alpha for penalty in self.layer_penalties]
        self.lambda_h = self.feature_penalty / self.alpha
        self.roots = np.sqrt(self.counts)
        target = np.diag(self.roots)
        if bias:
            target = target - np.outer(self.counts, self.roots) / self.samples
        self.u, self.sigma, vt = np.linalg.svd(target)
        self.v = vt.T
        self.sigma[self.sigma < 1e-9] = 0.0  # the one zero of the centered labels
        assert classes <= min(widths)
        pairs = [self.direction(sigma) for sigma in self.sigma]
        levels = np.array([level for level, _ in pairs])  # lambda_H h^2 = lambda_l w_l^2
        self.minimum = sum(cost for _, cost in pairs)
        self.h = np.sqrt(levels / self.lambda_h)
        self.w_layers = [np.sqrt(levels / decay) for decay in self.lambdas]
        self.w = np.prod(self.w_layers, axis=0)
        self.levels, self.z, self.kept = levels, self.w * self.h, levels > 0

    def direction(self, sigma):
        """a^2 and the minimum of (sigma - z)^2/(2N) + (L+1)/2 a^2 over a >= 0, with z = a^(L+1) / sqrt(all lambdas).

        A grid from 0 to z = sigma, then bisection on the slope between the neighbors of its least point."""
        if sigma == 0:
            return 0.0, 0.0
        layers, sigma, samples = len(self.lambdas), mpf(sigma), self.samples
        product = mpf(self.lambda_h)
        for decay in self.lambdas:
            product *= mpf(decay)

        def value(a):
            return (sigma - a ** (layers + 1) / sqrt(product)) ** 2 / (2 * samples) + mpf(layers + 1) / 2 * a**2

        def slope(a):
            return (a ** (layers + 1) / sqrt(product) - sigma) * a ** (layers - 1) / sqrt(product) / samples + 1

        top = (sigma * sqrt(product)) ** (mpf(1) / (layers + 1))
        grid = [top * i / 2000 for i in range(2001)]
        values = [value(a) for a in grid]
        least = values.index(min(values))
        if least == 0:
            assert min(values[1000:]) > values[0] * (1 + mpf("1e-3")), "too close to a collapse"
            return 0.0, float(values[0])
        assert values[least] < values[0] * (1 - mpf("1e-3")), "too close to a collapse"
        low, high = grid[least - 1], grid[least + 1]
        for _ in range(120):
            middle = (low + high) / 2
            low, high = (middle, high) if slope(middle) < 0 else (low, middle)
        return float(low**2), float(value(low))

    def minimizer(self, widths, rng):
        """A minimizer in a random gauge. Frames times V do not depend on the basis inside equal singular values."""
        frames = [np.linalg.qr(rng.standard_normal((width, len(self.counts))))[0] @ self.v for width in widths]
        lefts = frames[1:] + [self.u]
        weights = [left * w @ frame.T for left, w, frame in zip(lefts, self.w_layers, frames)]
        return weights, frames[0] * self.h @ self.v.T / self.roots


def noisy(array, rng):
    return array + NOISE * np.sqrt(np.mean(array**2)) * rng.standard_normal(array.shape)


def network(case):
    """Weights, bias or None, features (N x d) and labels, in the types of the files."""
    counts, widths, bias, *_ = SPECS[case]
    theory, rng = Theory(*SPECS[case]), np.random.default_rng(SEEDS[case])
    weights, means = theory.minimizer(widths, rng)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    features = noisy(means[:, labels], rng).T
    weights = [noisy(matrix, rng) for matrix in weights]
    offset = noisy(theory.counts / theory.samples, rng) if bias else None
    if case in ("deep", "product"):
        return weights, offset, np.asfortranarray(features, "<f4"), labels.astype("u1")
    types = {"plain": ("<f8", "<i8"), "single": (">f4", "<i2"), "tensors": ("<f4", "<i4")}
    real, integer = types.get(case, ("<f8", "<i8"))
    # Rows after rows: the writer of tensors takes the memory as it lies.
    weights, features = [np.ascontiguousarray(matrix, real) for matrix in weights], np.ascontiguousarray(features, real)
    return weights, offset.astype(real), features, labels.astype(integer)


def arrays(case):
    """What is stored, by name: of an array file, or of a tensor."""
    weights, bias, features, labels = network(case)
    if case == "product":
        weights = [np.linalg.multi_dot(weights[::-1])]
    if case == "tensors":
        return {"fc.weight": weights[0], "fc.bias": bias, "features": features, "labels": labels}
    if case == "halves":
        return halves(weights[0], bias, features, labels)
    if case == "shards":
        return shards(weights[0], bias, features, labels)
    names = ["W"] if len(weights) == 1 else [f"W{i + 1}" for i in range(len(weights))]
    stored = {f"{name}.npy": np.ascontiguousarray(matrix) for name, matrix in zip(names, weights)}
    stored |= {} if bias is None else {"b.npy": bias}
    return stored | {"H.npy": features, "y.npy": labels}


def halves(weight, bias, features, labels):
    """Floats of 16 bits with the sides that a convolution and a pooling leave, labels one-hot."""
    features = np.asfortranarray(features[:, :, None, None], "<f2")
    return {
        "W.npy": weight[:, :, None, None].astype(ml_dtypes.bfloat16),
        "b.npy": bias[None].astype(">f2"),
        "H.npy": features,
        "y.npy": np.eye(len(bias), dtype="<f4")[labels],
    }


def shards(weight, bias, features, labels):
    """A model in two files, features in three of three types, labels whole floats in one row."""
    first, second, third = np.split(features, [2, 9])
    return {
        "fc.weight": weight.astype(ml_dtypes.float8_e4m3fn),
        "fc.bias": bias[:, None].astype(ml_dtypes.bfloat16),
        "H-1.npy": first.astype("<f2"),
        "H-2.npy": second.astype(">f4"),
        "H-10.npy": third.astype(ml_dtypes.bfloat16),
        "y.npy": labels[None].astype("<f8"),
    }


def files(case, names):
    """The file of every tensor."""
    if case == "tensors":
        return {name: "model.safetensors" for name in names}
    return {name: f"model-{i + 1:05}-of-{len(names):05}.safetensors" for i, name in enumerate(names)}


def write(case, stored):
    folder = HERE / case
    folder.mkdir(parents=True, exist_ok=True)
    tensors = {name: array for name, array in stored.items() if not name.endswith(".npy")}
    weight_map = files(case, tensors)
    for file in set(weight_map.values()):
        save_file({name: array for name, array in tensors.items() if weight_map[name] == file}, folder / file)
    if case == "shards":
        index = {"metadata": {"total_size": sum(array.nbytes for array in tensors.values())}, "weight_map": weight_map}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index, indent=2) + "\n")
    for name, array in stored.items():
        if name.endswith(".npy"):
            np.save(folder / name, array)


def tensor(path, name):
    content = path.read_bytes()
    end = 8 + int.from_bytes(content[:8], "little")
    entry = json.loads(content[8:end])[name]
    begin, stop = entry["data_offsets"]
    return np.frombuffer(content[end + begin : end + stop], DTYPES[entry["dtype"]]).reshape(entry["shape"])


def read(case):
    """The stored arrays in the order in which they are named in the flags: weights, bias, features, labels."""
    stored = arrays(case)
    weight_map = files(case, [name for name in stored if not name.endswith(".npy")])
    folder = HERE / case
    load = lambda name: tensor(folder / weight_map[name], name) if name in weight_map else np.load(folder / name)
    # NumPy forgets the name of a type that is not its own, and keeps its bytes.
    typed = lambda name, array: array.view(ml_dtypes.bfloat16) if array.dtype.str == "|V2" else array
    return {name: typed(name, load(name)) for name in stored}


def plain(case, stored):
    """The same as matrices, vectors and class numbers."""
    values = [np.asarray(array, np.float64) for array in stored.values()]
    if case == "halves":
        weight, bias, features, labels = values
        return [weight[:, :, 0, 0], bias[0], features[:, :, 0, 0], labels.argmax(1)]
    if case == "shards":
        weight, bias, *features, labels = values
        return [weight, bias[:, 0], np.concatenate(features), labels[0]]
    return values


def unit(matrix):
    return matrix / np.linalg.norm(matrix)


def nc1(features, labels, means):
    """All conventions; the scatter between classes has rank K - 1."""
    classes, frequencies = means.shape[1], np.bincount(labels) / len(labels)
    deviations = features - means[:, labels]
    within = deviations @ deviations.T / len(labels)

    def ratio(center, weights):
        centered = means - center[:, None]
        between = centered * weights @ centered.T
        cutoff = 1e-10
        values = np.linalg.eigvalsh(between)
        assert np.sum(values > cutoff * values[-1]) == classes - 1
        return float(np.trace(within @ np.linalg.pinv(between, rcond=cutoff, hermitian=True)))

    equal, mean = np.full(classes, 1 / classes), means @ frequencies
    paper = ratio(mean, equal) / classes
    return {
        "paper": paper,
        "unweighted": ratio(means.mean(1), equal) / classes,
        "weighted": ratio(mean, frequencies) / classes,
        "undivided": classes * paper,
    }


def classic(features, labels, means):
    """tr Sigma_W / tr Sigma_B, and the mean over pairs of classes of their variability relative to their distance."""
    counts, classes = np.bincount(labels), means.shape[1]
    squares = np.sum((features - means[:, labels]) ** 2, axis=0)
    center = features.mean(1)
    between = np.sum((means - center[:, None]) ** 2) / classes
    variances = [squares[labels == k].sum() / counts[k] for k in range(classes)]
    gaps = lambda k, j: np.sum((means[:, k] - means[:, j]) ** 2)
    pairs = [(variances[k] + variances[j]) / (2 * gaps(k, j)) for k in range(classes) for j in range(k)]
    return float(squares.mean() / between), float(np.mean(pairs))


def nearest_center(scores, features, labels, means):
    """The fraction of samples that the network and the nearest class mean decide differently; no decision is close."""
    distances = np.linalg.norm(features[:, :, None] - means[:, None, :], axis=0).T
    for decision in (-scores, distances):
        first, second = np.sort(decision, axis=0)[:2]
        assert np.min(second - first) > 1e-4 * np.max(np.abs(decision))
    return float(np.mean(np.argmax(scores, axis=0) != np.argmin(distances, axis=0)))


def distances(theory, weight, bias, features, labels, means):
    """To the nearest minimizer of the model with one layer, block by block, in balanced variables.

    Each is relative to what that block is at the minimizer. The nearest one is that of the layer and the features."""
    (decay,), kept = theory.lambdas, theory.kept
    rho = np.sqrt(theory.levels[kept])
    u, v = theory.u[:, kept], theory.v[:, kept]
    w, h = np.sqrt(decay) * weight, np.sqrt(theory.lambda_h) * means * theory.roots
    left, _, right = np.linalg.svd((w.T @ u + h @ v) * rho, full_matrices=False)
    frame = left @ right  # maximizes the inner product with both
    layer, center = u * rho @ frame.T, frame * rho @ v.T
    deviations = theory.lambda_h * np.sum((features - means[:, labels]) ** 2)
    best = theory.counts / theory.samples
    return {
        "layers": [float(np.linalg.norm(w - layer) / np.linalg.norm(layer))],
        "features": float(np.sqrt(np.sum((h - center) ** 2) + deviations) / np.linalg.norm(center)),
        "bias": None if bias is None else float(np.linalg.norm(bias - best) / np.linalg.norm(best)),
    }


def expected(case, stored):
    values = plain(case, stored)
    bias = values[-3] if SPECS[case][2] else None
    weights = values[: -3 if bias is not None else -2]
    features, labels = values[-2].T, values[-1].astype(int)
    theory, classes = Theory(*SPECS[case]), len(SPECS[case][0])
    assert np.array_equal(np.bincount(labels), SPECS[case][0])
    means = np.stack([features[:, labels == k].mean(1) for k in range(classes)], axis=1)

    product = np.linalg.multi_dot(weights[::-1]) if len(weights) > 1 else weights[0]
    scores = product @ features + (0 if bias is None else bias[:, None])
    a, b = theory.u.T @ product, (means * theory.roots) @ theory.v
    kept, samples = theory.kept, theory.samples
    assert not np.any(theory.sigma[kept] == 0)
    scale = (theory.w[kept] ** 2 + samples * theory.lambda_h) / theory.sigma[kept]
    deviation = lambda measured, ideal: float(np.linalg.norm(unit(measured) - unit(ideal)))

    optimum, objective = theory.alpha * theory.minimum, None
    if len(weights) == len(theory.lambdas):
        objective = theory.alpha / (2 * samples) * np.sum((scores - np.eye(classes)[:, labels]) ** 2)
        objective += sum(decay / 2 * np.sum(matrix**2) for decay, matrix in zip(theory.layer_penalties, weights))
        objective = float(objective + theory.feature_penalty / 2 * np.sum(features**2))
    blocks = None
    if len(theory.lambdas) == 1:
        blocks = distances(theory, product, bias, features, labels, means)
    decays, rounding = implied(weights, bias, features, labels, has_all_layers=len(weights) == len(theory.lambdas))
    trace_ratio, cdnv = classic(features, labels, means)
    return {
        "implied": decays,
        "rounding": rounding,
        "nc1": nc1(features, labels, means),
        "nc2": {
            "classifier": deviation(a @ a.T, np.diag(theory.w**2)),
            "features": deviation(b.T @ b, np.diag(theory.h**2)),
        },
        "nc3": {
            "product": deviation(a @ b, np.diag(theory.z)),
            "alignment": deviation(a[kept], scale[:, None] * b[:, kept].T),
        },
        "nc4": nearest_center(scores, features, labels, means),
        "objective": objective,
        "optimum": float(optimum),
        "gap": None if objective is None else float((objective - optimum) / optimum),
        "distance": blocks and max(*blocks["layers"], blocks["features"], blocks["bias"] or 0.0),
        "distances": blocks,
        "trace_ratio": trace_ratio,
        "cdnv": cdnv,
    }


def flags(case, names):
    """The command line of `measure`, in the case's folder."""
    _, widths, bias, layer_decays, feature_decay, loss, feature = SPECS[case]
    names = [f"model.safetensors:{name}" for name in names] if case == "tensors" else names
    if case == "shards":
        names = [f"model.safetensors.index.json:{name}" for name in names[:2]] + ["H-*.npy", "y.npy"]
    words = ["--weights", *names[: -3 if bias else -2]]
    words += ["--bias", names[-3]] if bias else []
    words += ["--features", names[-2], "--labels", names[-1]]
    words += ["--layers", str(len(widths))] if case == "product" else []
    words += ["--layer-decay", ",".join(layer_decays), "--feature-decay", feature_decay]
    return words + ["--loss-convention", loss, "--feature-convention", feature]


def close(left, right):
    """Whether two trees of numbers are equal but for rounding."""
    if isinstance(left, dict):
        return left.keys() == right.keys() and all(close(left[key], right[key]) for key in left)
    if isinstance(left, list):
        return len(left) == len(right) and all(map(close, left, right))
    if isinstance(left, float):
        return bool(np.isclose(left, right, rtol=1e-10, atol=1e-13))
    return left == right


def check(case):
    stored = read(case)
    for name, array in arrays(case).items():
        other = stored[name]
        layout = lambda array: (array.dtype, array.shape, array.flags.f_contiguous)
        assert layout(other) == layout(array), (case, name)
        # Another machine may round the last bit otherwise: half of one in eight of float8_e4m3fn.
        rtol = {1: 2**-3, 2: 2**-7, 4: 3e-7}.get(array.dtype.itemsize, 1e-12)
        other, array = np.asarray(other, np.float64), np.asarray(array, np.float64)
        assert np.allclose(other, array, rtol=rtol, atol=1e-9), (case, name)
    committed = json.loads((HERE / case / "expected.json").read_text())
    assert committed["flags"] == flags(case, list(stored)), case
    assert close(expected(case, stored), committed["expected"]), case


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="compare with the files instead of writing them")
    arguments = parser.parse_args()
    for case in SPECS:
        if arguments.check:
            check(case)
            continue
        write(case, arrays(case))
        stored = read(case)
        content = {"flags": flags(case, list(stored)), "expected": expected(case, stored)}
        (HERE / case / "expected.json").write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    main()
