"""Small networks trained here, and what `neural-collapse measure` must find in their arrays.

    pip install numpy==2.* scipy==1.*
    python3 cli/tests/trained.py            # trains, and writes cli/tests/trained/<case>/
    python3 cli/tests/trained.py --numbers  # writes the numbers of these files, without training
    python3 cli/tests/trained.py --check    # computes the numbers again from these files, and trains again

Inputs are noisy clusters, one for each class, of unequal counts. A network is one hidden layer of tanh, linear features of
width 8, with a ReLU or a LeakyReLU after them in two cases, and the linear layers that are stored. Gradients are by hand. Adam goes some of
the way, L-BFGS the rest. Everything is trained in float64 and stored in float32, as frameworks have it; numbers are
computed in float64 from the arrays as stored. Samples are rows in the files, and columns here.

Training ends elsewhere if another machine rounds differently. So `--check` holds newly trained networks to the same claims
as the stored ones, and does not compare arrays.
"""

import argparse
import json
import pathlib
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import minimize

from implied import LOSSES, implied

HERE = pathlib.Path(__file__).parent / "trained"
INPUTS, WIDTH = 6, 8
STATIONARY, PENALIZED = 0.05, 0.5  # misfits up to which `measure` believes in a penalty


@dataclass
class Case:
    """How a network is trained. Decays are those of training: mu/2 |W|^2, and mu_H/2 times the mean of |h|^2."""

    loss: str
    counts: list
    seed: int
    layer_decays: list = field(default_factory=list)
    feature_decay: float = 0.0
    weight_decay: float = 0.0  # of all weights and biases
    inner: list = field(default_factory=list)  # widths between layers
    hidden: int = 24
    relu: bool = False
    leaky: float = 0.0  # the slope of a LeakyReLU after the features
    balanced: bool = False
    adamw: bool = False
    either: bool = False  # the layers are at rest under both losses, with another decay for each
    bias: bool = True  # of the last layer
    adjustment: float = 0.0  # times log(n_k/N), added to the logits in training

    @property
    def samples(self):
        return sum(self.counts)

    @property
    def scale(self):
        """The loss of training is `scale` times that of the theory: MSELoss is a mean over all K N numbers."""
        return 2 / len(self.counts) if self.loss == "squared" else 1.0

    @property
    def class_weights(self):
        """The balanced weights N/(K n_k), which the weighted mean of PyTorch leaves as they are."""
        return self.samples / (len(self.counts) * np.array(self.counts, float)) if self.balanced else None

    @property
    def penalties(self):
        """Of the layers, in training."""
        return self.layer_decays or [self.weight_decay] * (1 + len(self.inner))

    @property
    def slope(self):
        """Of what comes after the features, where they are negative."""
        return 0.0 if self.relu else self.leaky or 1.0

    @property
    def is_held(self):
        """Whether features are penalized, and decays of the layers before them hold them as well."""
        return self.is_penalized and self.weight_decay > 0

    @property
    def is_undecided(self):
        return self.either and not self.bias

    @property
    def is_penalized(self):
        return self.feature_decay > 0


CASES = {
    "penalized": Case("squared", [24, 18, 14, 10, 6], 1, [1e-2], 4e-3),
    "relu": Case("squared", [24, 20, 16, 12], 11, [1e-2], 1e-2, hidden=48, relu=True),
    "entropy": Case("cross-entropy", [26, 18, 12, 8], 3, [2e-2], 1e-2),
    "balanced": Case("cross-entropy", [36, 20, 10, 6], 4, [2e-2], 1e-2, balanced=True),
    "weight-decay": Case("squared", [24, 18, 14, 10, 6], 5, weight_decay=2e-3),
    "two-layers": Case("squared", [26, 18, 12, 8], 6, [4e-3, 6e-3], 5e-3, inner=[7]),
    "adamw": Case("cross-entropy", [24, 18, 14, 10, 6], 7, weight_decay=5e-2, adamw=True),
    "collapsed": Case("squared", [30, 20, 4, 4, 3, 3], 8, [0.1], 0.1),
    # Layers at rest under both losses: with as many samples in every class, with two classes, with one direction left.
    "even": Case("squared", [16, 16, 16, 16], 31, [1e-2], 1e-2, either=True),
    "two": Case("squared", [20, 12], 21, [1e-2], 1e-2, either=True),
    "two-entropy": Case("cross-entropy", [20, 12], 21, [2e-2], 1e-2),
    "majority": Case("squared", [60, 4, 4, 4], 1, [0.2], 0.2, either=True),
    # The same without a bias, whose sum would tell: nothing does.
    "undecided": Case("cross-entropy", [16, 16, 16, 16], 32, [0.35], 0.35, either=True, bias=False),
    # Logit adjustment, of which class weights come close.
    "adjusted": Case("cross-entropy", [36, 12], 33, [2e-2], 1e-2, adjustment=1.0),
    # Penalized features that the decays of the layers before them hold as well, the negative ones of a LeakyReLU or all.
    "leaky": Case("squared", [24, 20, 16, 12], 11, [1e-2], 1e-2, weight_decay=1e-4, hidden=48, leaky=0.01),
    "held": Case("squared", [24, 18, 14, 10, 6], 1, [1e-2], 4e-3, weight_decay=1e-3),
    "adjusted-four": Case("cross-entropy", [36, 20, 10, 6], 34, [2e-2], 1e-2, adjustment=1.0),
}


def clusters(case, rng):
    """Inputs and labels in random order."""
    centers = 3 * rng.standard_normal((INPUTS, len(case.counts)))
    labels = rng.permutation(np.repeat(np.arange(len(case.counts)), case.counts))
    return centers[:, labels] + rng.standard_normal((INPUTS, len(labels))), labels


class Network:
    """The network of a case, with all its parameters in one vector, and the loss of training."""

    def __init__(self, case, rng):
        self.case, self.inputs, self.labels = case, *clusters(case, rng)
        classes = len(case.counts)
        self.targets = np.eye(classes)[:, self.labels]
        weights = np.ones(classes) if case.class_weights is None else case.class_weights
        self.alpha = weights[self.labels]
        sides = [INPUTS, case.hidden, WIDTH, *case.inner, classes]
        self.shapes = [shape for a, b in zip(sides, sides[1:]) for shape in ((b, a), (b, 1))]
        for place in range(2, 2 + len(case.inner)):
            self.shapes[2 * place + 1] = (0, 1)  # only the last layer has a bias
        if not case.bias:
            self.shapes[-1] = (0, 1)
        self.shifts = case.adjustment * np.log(np.array(case.counts) / case.samples)[:, None]
        draw = lambda shape: rng.standard_normal(shape) / np.sqrt(shape[1]) if shape[1] > 1 else np.zeros(shape)
        self.start = np.concatenate([draw(shape).ravel() for shape in self.shapes])

    def parts(self, vector):
        """Matrices and biases in turn."""
        ends = np.cumsum([rows * columns for rows, columns in self.shapes])
        return [part.reshape(shape) for part, shape in zip(np.split(vector, ends[:-1]), self.shapes)]

    def forward(self, parts):
        """Hidden units, features, and what each of the linear layers after them gives."""
        hidden = np.tanh(parts[0] @ self.inputs + parts[1])
        features = parts[2] @ hidden + parts[3]
        values = [np.where(features > 0, features, self.case.slope * features)]
        for weights, bias in zip(parts[4::2], parts[5::2]):
            values.append(weights @ values[-1] + (bias if len(bias) else 0))
        return hidden, values

    def loss(self, scores):
        """The mean loss as training scales it, and its gradient by the outputs."""
        samples, scale = self.case.samples, self.case.scale
        if self.case.loss == "squared":
            rest = scores - self.targets
            return scale / (2 * samples) * np.sum(self.alpha * rest**2), scale / samples * self.alpha * rest
        scores = scores + self.shifts
        shifted = scores - scores.max(0)
        log_sum = np.log(np.exp(shifted).sum(0))
        losses = log_sum - np.sum(self.targets * shifted, axis=0)
        return np.sum(self.alpha * losses) / samples, self.alpha * (np.exp(shifted - log_sum) - self.targets) / samples

    def penalties(self, parts):
        """The decay of every part; AdamW's is not one of the loss."""
        if self.case.adamw:
            return [0.0] * len(parts)
        decays = [self.case.weight_decay] * len(parts)
        for layer, decay in enumerate(self.case.layer_decays):
            decays[4 + 2 * layer] = decay
        return decays

    def objective(self, vector):
        """What training minimizes, and its gradient."""
        parts = self.parts(vector)
        hidden, values = self.forward(parts)
        total, pull = self.loss(values[-1])
        slopes = [None] * len(parts)
        for layer in reversed(range(len(values) - 1)):
            place = 4 + 2 * layer
            slopes[place] = pull @ values[layer].T
            slopes[place + 1] = pull.sum(1, keepdims=True) if len(parts[place + 1]) else np.zeros((0, 1))
            pull = parts[place].T @ pull
        of_features = self.case.feature_decay / self.case.samples
        total += of_features / 2 * np.sum(values[0] ** 2)
        pull = pull + of_features * values[0]
        pull = np.where(values[0] > 0, pull, self.case.slope * pull)
        slopes[2], slopes[3] = pull @ hidden.T, pull.sum(1, keepdims=True)
        pull = parts[2].T @ pull * (1 - hidden**2)
        slopes[0], slopes[1] = pull @ self.inputs.T, pull.sum(1, keepdims=True)
        for place, decay in enumerate(self.penalties(parts)):
            total += decay / 2 * np.sum(parts[place] ** 2)
            slopes[place] = slopes[place] + decay * parts[place]
        return total, np.concatenate([slope.ravel() for slope in slopes])


def adam(network, vector, steps, rate, decoupled=0.0, cosine=False):
    """Full batches; with a decoupled decay it is AdamW."""
    mean, square = np.zeros_like(vector), np.zeros_like(vector)
    for step in range(1, steps + 1):
        slope = network.objective(vector)[1]
        mean, square = 0.9 * mean + 0.1 * slope, 0.999 * square + 0.001 * slope**2
        now = rate * (1 + np.cos(np.pi * step / steps)) / 2 if cosine else rate
        direction = mean / (1 - 0.9**step) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        vector = vector - now * (direction + decoupled * vector)
    return vector


def train(case, iterations=8000):
    """The arrays of a trained network as a framework would store them."""
    network = Network(case, np.random.default_rng(case.seed))
    if case.adamw:
        vector = adam(network, network.start, 2000, 1e-3, case.weight_decay, cosine=True)
    else:
        vector = adam(network, network.start, 2000, 3e-3)
        options = {"maxiter": iterations, "maxfun": 2 * iterations, "maxcor": 40, "ftol": 0.0, "gtol": 1e-9}
        vector = minimize(network.objective, vector, jac=True, method="L-BFGS-B", options=options).x
    parts = network.parts(vector)
    layers, bias = parts[4::2], {"b.npy": parts[-1][:, 0].astype("<f4")} if case.bias else {}
    names = ["W"] if len(layers) == 1 else [f"W{place + 1}" for place in range(len(layers))]
    stored = {f"{name}.npy": np.ascontiguousarray(layer, "<f4") for name, layer in zip(names, layers)}
    features = np.ascontiguousarray(network.forward(parts)[1][0].T, "<f4")
    return stored | bias | {"H.npy": features, "y.npy": network.labels.astype("<i8")}


def orthogonal_optimum(case):
    """The least objective with nonnegative features, in the theory's units: squared loss, one layer, a free bias.

    Class means on orthogonal rays: column k of S = W M diag(sqrt(n)) is a threshold of the norm of r = sqrt(n_k) (e_k - b).
    That is the minimum if E'E has no positive entry off its diagonal, for the residual E of S: then lambda^2 - E'E is
    copositive."""
    counts, samples = np.array(case.counts, float), case.samples
    layer, feature = case.layer_decays[0] / case.scale, case.feature_decay / case.scale / samples
    decay, bias = np.sqrt(layer * feature), counts / samples
    for _ in range(20000):
        rest = (np.eye(len(counts)) - bias[:, None]) * np.sqrt(counts)
        means = rest * np.maximum(1 - samples * decay / np.linalg.norm(rest, axis=0), 0)
        bias = (np.eye(len(counts)) - means / np.sqrt(counts)) @ counts / samples
    residual = ((np.eye(len(counts)) - bias[:, None]) * np.sqrt(counts) - means) / samples
    inner = residual.T @ residual
    assert np.all(inner[~np.eye(len(counts), dtype=bool)] <= 0), "not proved to be the minimum"
    return samples / 2 * np.sum(residual**2) + decay * np.sum(np.linalg.norm(means, axis=0))


def objective(case, weights, bias, features, labels):
    """Squared loss, one layer, in the theory's units."""
    rest = weights[0] @ features + bias[:, None] - np.eye(len(case.counts))[:, labels]
    layer, feature = case.layer_decays[0] / case.scale, case.feature_decay / case.scale / case.samples
    return np.sum(rest**2) / (2 * case.samples) + layer / 2 * np.sum(weights[0] ** 2) + feature / 2 * np.sum(features**2)


def plain(stored):
    """Layers, bias or None, features d x N and labels in float64."""
    layers = [array.astype(float) for name, array in stored.items() if name.startswith("W")]
    bias = stored["b.npy"].astype(float) if "b.npy" in stored else None
    return layers, bias, stored["H.npy"].astype(float).T, stored["y.npy"]


def frame(columns):
    """NC2 of balanced classes: Papyan et al. 2020, figures 2 to 4, and the Gram matrix of a simplex or orthogonal frame."""
    classes, norms = columns.shape[1], np.linalg.norm(columns, axis=0)
    cosines = ((columns / norms).T @ (columns / norms))[np.triu_indices(classes, 1)]
    gram = columns.T @ columns / np.linalg.norm(columns.T @ columns)
    simplex = (np.eye(classes) - np.ones((classes, classes)) / classes) / np.sqrt(classes - 1)
    return {
        "equinorm": float(norms.std() / norms.mean()),
        "equiangularity": float(cosines.std()),
        "maximal_angle": float(np.abs(cosines + 1 / (classes - 1)).mean()),
        "simplex": float(np.linalg.norm(gram - simplex)),
        "orthogonal": float(np.linalg.norm(gram - np.eye(classes) / np.sqrt(classes))),
    }


def more(layers, bias, features, labels):
    """What scripts find in the JSON besides: accuracy by groups of equal counts, effective ranks, Gram matrices, frames."""
    counts, product = np.bincount(labels), np.linalg.multi_dot(layers[::-1]) if len(layers) > 1 else layers[0]
    means = np.stack([features[:, labels == k].mean(1) for k in range(len(counts))], axis=1)
    scores = product @ features + (0 if bias is None else bias[:, None])
    decided = np.argmax(scores, 0) == labels
    nearest = np.argmin(np.linalg.norm(features[:, :, None] - means[:, None, :], axis=0), axis=1) == labels
    groups = []
    for count in sorted(set(counts.tolist()), reverse=True):
        classes = [k for k in range(len(counts)) if counts[k] == count]
        own = np.isin(labels, classes)
        parts = {"accuracy": float(decided[own].mean()), "nearest_center_accuracy": float(nearest[own].mean())}
        groups.append({"count": count, "classes": classes, **parts})

    def effective_rank(matrix):
        values = np.linalg.svd(matrix, compute_uv=False)
        parts = values[values > 0] / values.sum()
        return float(np.exp(-np.sum(parts * np.log(parts))))

    gram = lambda columns: (columns.T @ columns).tolist()
    unit = lambda matrix: matrix / np.linalg.norm(matrix)
    duality = lambda columns: float(np.sum((unit(product.T) - unit(columns)) ** 2))
    centered = means - features.mean(1, keepdims=True)
    unweighted = means - means.mean(1, keepdims=True)
    return {
        "accuracy_by_group": groups,
        "class_effective_ranks": [effective_rank(features[:, labels == k]) for k in range(len(counts))],
        "gram_matrices": {
            "classifiers": gram(product.T),
            "centered_classifiers": gram((product - product.mean(0)).T),
            "class_means": gram(means),
            "centered_class_means": gram(centered),
            "unweighted_centered_class_means": gram(unweighted),
        },
        "frames": {
            "classifiers": frame(product.T),
            "means": frame(centered),
            "unweighted_means": frame(unweighted),
            "uncentered_means": frame(means),
            "self_duality": duality(centered),
            "unweighted_self_duality": duality(unweighted),
        },
    }


def of_class_means(layers, bias, features, labels):
    """The misfit of the features at class means, squared loss and one layer, and the largest of a class where positive."""
    counts = np.bincount(labels)
    means = np.stack([features[:, labels == k].mean(1) for k in range(len(counts))], axis=1)
    pull = layers[0].T @ (np.eye(len(counts)) - layers[0] @ means - bias[:, None]) / len(labels)
    roots = np.sqrt(counts)
    misfit = lambda a, h: float(np.linalg.norm(a - np.sum(a * h) / np.sum(h * h) * h) / np.linalg.norm(a))
    positive = means > 0
    kept = np.where(positive, means, 0), np.where(positive, pull, 0)
    decay = np.sum(counts * kept[0] * kept[1]) / np.sum(counts * kept[0] ** 2)
    largest = max(np.linalg.norm(kept[1] - decay * kept[0], axis=0) / np.linalg.norm(kept[1], axis=0))
    return {"all": misfit(pull * roots, means * roots), "positive": float(largest)}


def expected(case, stored):
    arrays = plain(stored)
    assert np.array_equal(np.bincount(arrays[-1]), case.counts)
    values, rounding = implied(*arrays, case.class_weights)
    penalties = None if case.adamw else [decay / case.scale for decay in case.penalties]
    result = {
        "loss": None if case.adamw or case.adjustment or case.is_undecided else case.loss,
        "layer_decay": penalties,
        "feature_decay": case.feature_decay / case.scale / case.samples if case.is_penalized else None,
        "bias_decay": case.weight_decay / case.scale if case.weight_decay and not case.adamw else None,
        "class_weights": "inverse" if case.balanced else "none",
        "implied": values,
        "rounding": rounding,
        "more": more(*arrays),
    }
    if case.is_held:
        result["class_means"] = of_class_means(*arrays)
    if case.relu:
        optimum = orthogonal_optimum(case)
        found = objective(case, *arrays)
        result |= {"optimum": float(case.scale * optimum), "gap": float((found - optimum) / optimum)}
    return result


def scatter(arrays):
    """What samples vary about their class means, compared with what these vary."""
    features, labels = arrays[2], arrays[3]
    means = np.stack([features[:, labels == k].mean(1) for k in range(labels.max() + 1)], axis=1)[:, labels]
    return np.sum((features - means) ** 2) / np.sum((means - features.mean(1, keepdims=True)) ** 2)


def claims(case, stored):
    """What a network must be for its case to test anything."""
    arrays, result = plain(stored), expected(case, stored)
    fits = lambda decays: max(decays["layer_misfit"]) <= STATIONARY and min(decays["layer_decay"]) > 0
    readings = {"inverse": case.samples / (len(case.counts) * np.array(case.counts, float)), "none": None}
    fitting = {
        (weights, loss): fits(decays)
        for weights, alpha in readings.items()
        for loss, decays in implied(*arrays, alpha)[0].items()
    }
    if case.adamw:
        assert not any(fitting.values()), fitting
        assert all(min(result["implied"][loss]["layer_misfit"]) > 0.1 for loss in LOSSES)
        return
    if case.adjustment:
        # Features that have collapsed, and are not at rest where the layers are.
        away = {reading: implied(*arrays, readings[reading[0]])[0][reading[1]] for reading in fitting}
        assert scatter(arrays) <= 1e-3 and all(0.1 < away[reading]["feature_misfit"] for reading in away), away
        return
    loss = case.loss.replace("-", "_")
    found = [reading for reading, does_fit in fitting.items() if does_fit and reading[0] == result["class_weights"]]
    assert (result["class_weights"], loss) in found, fitting
    assert (len(found) == 1) != case.either, fitting
    assert not case.is_undecided or found == [("none", other) for other in LOSSES], fitting
    assert not case.balanced or not any(fitting["none", other] for other in LOSSES), fitting
    decays = result["implied"][loss]
    assert max(decays["layer_misfit"]) <= (1e-2 if case.is_held else 1e-3), decays
    assert np.allclose(decays["layer_decay"], result["layer_decay"], rtol=1e-3), decays
    if case.is_held:
        assert decays["feature_misfit"] > PENALIZED, decays
    elif case.is_penalized:
        assert decays["feature_misfit"] <= PENALIZED, decays
        assert np.isclose(decays["feature_decay"], result["feature_decay"], rtol=1e-3), decays
    else:
        assert decays["feature_misfit"] > PENALIZED, decays
        assert decays["bias_misfit"] <= 1e-3 and np.isclose(decays["bias_decay"], result["bias_decay"], rtol=1e-3)
    assert not case.relu or 0 <= result["gap"] <= 1e-3, result["gap"]


def flags(stored):
    """The command line of `measure`, in the case's folder: no decays."""
    layers = [name for name in stored if name.startswith("W")]
    bias = ["--bias", "b.npy"] if "b.npy" in stored else []
    return ["--weights", *layers, *bias, "--features", "H.npy", "--labels", "y.npy"]


def decay_flags(case):
    """What training minimized, for the same command line; null if there is no such thing."""
    if not case.is_penalized:
        return None
    words = ["--layer-decay", ",".join(str(decay) for decay in case.layer_decays)]
    words += ["--feature-decay", str(case.feature_decay), "--feature-convention", "mean"]
    words += ["--loss-convention", "mean"] if case.loss == "squared" else ["--loss", case.loss]
    words += ["--logit-adjustment", str(case.adjustment)] if case.adjustment else []
    return words + (["--class-weights", "inverse"] if case.balanced else [])


def write(name, stored):
    folder = HERE / name
    folder.mkdir(parents=True, exist_ok=True)
    for file, array in stored.items():
        np.save(folder / file, array)
    write_numbers(name, stored)


def read(name):
    """The arrays as stored, in the order in which the flags name them."""
    files = [word for word in json.loads((HERE / name / "expected.json").read_text())["flags"] if word.endswith(".npy")]
    return {file: np.load(HERE / name / file) for file in files}


def write_numbers(name, stored):
    case, folder = CASES[name], HERE / name
    content = {"flags": flags(stored), "decay_flags": decay_flags(case), "expected": expected(case, stored)}
    (folder / "expected.json").write_text(json.dumps(content, indent=2) + "\n")


def close(left, right, rounding=None):
    """Whether two trees are equal but for rounding: that of a tree of the same form, or one of a formula."""
    if isinstance(left, dict):
        part = lambda key: None if rounding is None else rounding[key]
        return left.keys() == right.keys() and all(close(left[key], right[key], part(key)) for key in left)
    if isinstance(left, list) and isinstance(right, list):
        parts = [None] * len(left) if rounding is None else rounding
        return len(left) == len(right) and all(map(close, left, right, parts))
    if isinstance(left, float):
        return abs(left - right) <= (1e-9 * abs(right) if rounding is None else rounding)
    return left == right


def check(name):
    """The stored arrays, and those of a new training."""
    case, folder = CASES[name], HERE / name
    claims(case, train(case))
    content, stored = json.loads((folder / "expected.json").read_text()), read(name)
    claims(case, stored)
    assert content["flags"] == flags(stored) and content["decay_flags"] == decay_flags(case), name
    committed, again = content["expected"], expected(case, stored)
    assert close(again.pop("implied"), committed.pop("implied"), committed["rounding"]), name
    # A bound on rounding, itself of numbers that rounding moves.
    assert np.allclose(list(leaves(again.pop("rounding"))), list(leaves(committed.pop("rounding"))), rtol=1e-2), name
    assert close(again, committed), name


def leaves(tree):
    """All numbers of a tree."""
    if isinstance(tree, (dict, list)):
        for branch in tree.values() if isinstance(tree, dict) else tree:
            yield from leaves(branch)
    elif tree is not None:
        yield tree


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="check these files instead of writing them")
    parser.add_argument("--numbers", action="store_true", help="compute the numbers again, of the arrays as they are")
    parser.add_argument("cases", nargs="*", default=list(CASES), help="only these")
    arguments = parser.parse_args()
    for name in arguments.cases:
        if arguments.check:
            check(name)
            continue
        if arguments.numbers:
            write_numbers(name, read(name))
            continue
        stored = train(CASES[name])
        claims(CASES[name], stored)
        write(name, stored)


if __name__ == "__main__":
    main()
