"""The decays that the arrays of a network imply, for both losses: what `networks.py` and `trained.py` share.

Where training with penalties has come to rest, every gradient of the loss cancels that of the penalty. With R the targets
minus the outputs (squared loss) or minus their softmax (cross-entropy), each sample times the weight of its class, and
layers W_1 .. W_L:

    (W_L .. W_{l+1})' R (W_{l-1} .. W_1 H)'/N = decay_l W_l,    (W_L .. W_1)' R/N = decay_H H,    R 1/N = decay_b b

The decay is the number for which both sides are closest, and the misfit what is left, relative to the left side. Of
nonnegative features only the positive ones count. Every gradient is made from the arrays of all samples: the crate adds
up R H' in one pass, and multiplies that by layers.
"""

import numpy as np

EPSILON = float(np.finfo(float).eps)
LOSSES = ("squared", "cross_entropy")


def chain(matrices, first):
    """.. matrices[1] matrices[0] first."""
    for matrix in matrices:
        first = matrix @ first
    return first


def estimate(gradient, array, rounding, by_angle=False):
    """Decay and misfit of one block, and how far rounding of the gradient may move each of them: see `implied`."""
    size, norm = np.linalg.norm(gradient), np.linalg.norm(array)
    if size == 0 or norm == 0:
        return None, None, None, None
    decay = np.vdot(gradient, array) / norm**2
    misfit = np.linalg.norm(gradient - decay * array) / size
    relative = rounding / size + array.size * EPSILON
    off = 3 * relative
    if by_angle:
        off = max(off, min(6 * relative / max(misfit, EPSILON), np.sqrt(6 * relative)))
    return float(decay), float(misfit), float(relative * size / norm), float(off)


def implied(weights, bias, features, labels, class_weights=None, has_all_layers=True):
    """What the arrays imply, and how far two programs may differ that add in another order; features are d x N.

    A sum of n products is off by n epsilon/2 times the sum of their sizes at most, and so is each of the two programs.
    With |Z| the largest output of a sample that its layers could have if nothing canceled, and 1 for the target:

    - residuals are off by (widths + K + 4) epsilon (1 + 2 |Z|), softmax included: its relative error is twice that of the
      largest logit. They are no larger than 1 + 2 |Z| themselves;
    - so gradients, which are sums over N samples, are off by (N + widths + K + 4) epsilon times the norms of their
      factors, all entries taken positive;
    - a decay <A, W>/|W|^2 is off by what the gradient A is off, over |W|; a misfit by three times the relative error, twice
      in the difference and once in the norm. Of features the crate knows both norms and the cosine c of the angle between
      them alone: misfit^2 = 1 - c^2 is off by six times the relative error.
    """
    samples, classes = features.shape[1], weights[-1].shape[0]
    scores = chain(weights, features) + (0 if bias is None else bias[:, None])
    alpha = np.ones(classes) if class_weights is None else np.asarray(class_weights, float)
    targets = np.eye(classes)[:, labels]
    sizes = [np.abs(matrix) for matrix in weights]
    largest = chain(sizes, np.abs(features)) + (0 if bias is None else np.abs(bias)[:, None])
    bound = np.linalg.norm(np.tile((1 + 2 * largest.max(0)) * alpha[labels], (classes, 1)))
    terms = samples + classes + 4 + sum(matrix.shape[1] for matrix in weights)

    def decays(loss):
        powers = np.exp(scores - scores.max(0))
        outputs = scores if loss == "squared" else powers / powers.sum(0)
        residuals = (targets - outputs) * alpha[labels]

        def off(above, below):
            return terms * EPSILON * np.linalg.norm(above) * bound * np.linalg.norm(below) / samples

        layers = []
        for l, matrix in enumerate(weights if has_all_layers else []):
            above, below = chain(weights[l + 1 :], np.eye(len(matrix))), chain(weights[:l], features)
            is_last = l == len(weights) - 1
            size = 1.0 if is_last else chain(sizes[l + 1 :], np.eye(len(matrix)))
            rounding = off(size, chain(sizes[:l], np.abs(features)))
            layers.append(estimate(above.T @ residuals @ below.T / samples, matrix, rounding))
        product, size = chain(weights[1:], weights[0]), chain(sizes[1:], sizes[0])
        pull = product.T @ residuals / samples
        if np.all(features >= 0):
            pull = np.where(features > 0, pull, 0.0)
        of_features = estimate(pull, features, off(size, 1.0), by_angle=True)
        of_bias = (None, None, None, None)
        if bias is not None:
            of_bias = estimate(residuals.sum(1) / samples, bias, off(1.0, np.ones(samples)))

        def tree(first):
            return {
                "layer_decay": [layer[first] for layer in layers],
                "layer_misfit": [layer[first + 1] for layer in layers],
                "feature_decay": of_features[first],
                "feature_misfit": of_features[first + 1],
                "bias_decay": of_bias[first],
                "bias_misfit": of_bias[first + 1],
            }

        return tree(0), tree(2)

    both = {loss: decays(loss) for loss in LOSSES}
    return {loss: both[loss][0] for loss in LOSSES}, {loss: both[loss][1] for loss in LOSSES}
