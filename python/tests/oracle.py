"""The formulas written out in NumPy: d x d matrices and pseudo-inverses, no streaming, no closed form."""

import numpy as np

EPSILON = np.finfo(float).eps


def samples(counts, width, seed=0, spread=1.0, dtype=np.float64):
    """Features in random order about random class means, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.repeat(np.arange(len(counts)), counts))
    means = rng.standard_normal((len(counts), width))
    return (means[labels] + spread * rng.standard_normal((len(labels), width))).astype(dtype), labels


def class_means(features, labels):
    features = np.asarray(features, float)
    return np.stack([features[labels == k].mean(0) for k in range(labels.max() + 1)])


def scatters(features, labels):
    """S_W over N, deviations of class means from the mean of all features, class sizes."""
    features, means = np.asarray(features, float), class_means(features, labels)
    deviations = features - means[labels]
    counts = np.bincount(labels)
    return deviations.T @ deviations / len(labels), means, counts, features.mean(0)


def nc1(features, labels):
    """All four conventions: about the mean of all features, about that of the class means, weighted, undivided."""
    within, means, counts, center = scatters(features, labels)
    classes, samples = len(counts), len(labels)

    def trace(deviations, weights):
        between = (deviations * weights[:, None]).T @ deviations
        # The K - 1 directions of the class means, and no more.
        return np.trace(within @ np.linalg.pinv(between, rcond=1e-12, hermitian=True))

    even = np.full(classes, 1 / classes)
    paper = trace(means - center, even)
    unweighted = trace(means - means.mean(0), even)
    weighted = trace(means - center, counts / samples)
    return paper / classes, unweighted / classes, weighted / classes, paper


def cdnv(features, labels):
    means = class_means(features, labels)
    variances = [((features[labels == k] - means[k]) ** 2).sum(1).mean() for k in range(len(means))]
    pairs = [(k, l) for k in range(len(means)) for l in range(k)]
    return np.mean([(variances[k] + variances[l]) / 2 / ((means[k] - means[l]) ** 2).sum() for k, l in pairs])


def frame(vectors):
    """Distances of rows from the frames of balanced collapse."""
    classes = len(vectors)
    gram = vectors @ vectors.T
    norms = np.linalg.norm(vectors, axis=1)
    cosines = (gram / np.outer(norms, norms))[np.triu_indices(classes, 1)]
    unit = gram / np.linalg.norm(gram)
    simplex = (np.eye(classes) - 1 / classes) / np.sqrt(classes - 1)
    return {
        "equinorm": norms.std() / norms.mean(),
        "equiangularity": cosines.std(),
        "maximal_angle": np.abs(cosines + 1 / (classes - 1)).mean(),
        "simplex": np.linalg.norm(unit - simplex),
        "orthogonal": np.linalg.norm(unit - np.eye(classes) / np.sqrt(classes)),
    }


def objective(counts, classifiers, means, bias, layer_decay, feature_decay, loss="squared", weights=None):
    """1/N sum of losses at collapsed features, one mean for each class, and penalties; its gradient by W, H and b."""
    counts = np.asarray(counts, float)
    total, alpha = counts.sum(), np.ones(len(counts)) if weights is None else np.asarray(weights)
    logits = means @ classifiers.T + bias  # a row for each class
    targets = np.eye(len(counts))
    if loss == "squared":
        losses, residual = ((logits - targets) ** 2).sum(1) / 2, logits - targets
    else:
        shifted = logits - logits.max(1, keepdims=True)
        log_sum = np.log(np.exp(shifted).sum(1, keepdims=True))
        losses, residual = -(shifted - log_sum).diagonal(), np.exp(shifted - log_sum) - targets
    share = (alpha * counts / total)[:, None]
    value = (share[:, 0] * losses).sum()
    value += layer_decay / 2 * (classifiers**2).sum() + feature_decay / 2 * (counts[:, None] * means**2).sum()
    residual = share * residual
    by_classifiers = residual.T @ means + layer_decay * classifiers
    by_means = residual @ classifiers + feature_decay * counts[:, None] * means
    return value, by_classifiers, by_means, residual.sum(0)
