"""Metrics compared with NumPy, with scikit-learn, and with the formulas of rhubarbwu's `neural_collapse`."""

import ncollapse as nc
import numpy as np
import pytest
from oracle import EPSILON, cdnv, class_means, frame, nc1, samples, scatters

COUNTS = [40, 25, 12, 6, 3]
# Sums of some hundred terms, and a pseudo-inverse whose condition is below 100.
ROUNDING = 1000 * 100 * EPSILON


@pytest.fixture(scope="module")
def data():
    features, labels = samples(COUNTS, 9, seed=3)
    rng = np.random.default_rng(5)
    weights, bias = rng.standard_normal((5, 9)), rng.standard_normal(5)
    accumulator = nc.Accumulator(5, 9)
    for start in range(0, len(labels), 20):
        accumulator.update(features[start : start + 20], labels[start : start + 20])
    return features, labels, weights, bias, nc.metrics(accumulator, weights, bias), accumulator


def test_nc1_has_all_four_conventions(data):
    features, labels, *_, metrics, _ = data
    ours = metrics.nc1, metrics.nc1_unweighted, metrics.nc1_weighted, metrics.nc1_undivided
    np.testing.assert_allclose(ours, nc1(features, labels), rtol=ROUNDING)


def test_trace_ratio_and_cdnv(data):
    features, labels, *_, metrics, _ = data
    within, means, counts, center = scatters(features, labels)
    between = ((means - center) ** 2).sum() / len(counts)
    assert metrics.trace_ratio == pytest.approx(np.trace(within) / between, rel=ROUNDING)
    assert metrics.cdnv == pytest.approx(cdnv(features, labels), rel=ROUNDING)


def test_frames_and_self_duality(data):
    features, labels, weights, _, metrics, _ = data
    _, means, _, center = scatters(features, labels)
    centered, unweighted = means - center, means - means.mean(0)
    sets = {"classifiers": weights, "means": centered, "unweighted_means": unweighted, "uncentered_means": means}
    for ours, vectors in sets.items():
        for name, expected in frame(vectors).items():
            assert metrics.frames[ours][name] == pytest.approx(expected, rel=ROUNDING), (ours, name)
    unit = lambda matrix: matrix / np.linalg.norm(matrix)
    for name, own in (("self_duality", centered), ("unweighted_self_duality", unweighted)):
        expected = ((unit(weights) - unit(own)) ** 2).sum()
        assert metrics.frames[name] == pytest.approx(expected, rel=ROUNDING)


def test_gram_matrices_centered_and_not(data):
    features, labels, weights, _, metrics, accumulator = data
    _, means, _, center = scatters(features, labels)
    sets = {
        "classifiers": weights,
        "centered_classifiers": weights - weights.mean(0),
        "class_means": means,
        "centered_class_means": means - center,
        "unweighted_centered_class_means": means - means.mean(0),
    }
    assert list(metrics.gram_matrices) == list(sets)
    for name, vectors in sets.items():
        gram = vectors @ vectors.T
        np.testing.assert_allclose(metrics.gram_matrices[name], gram, atol=ROUNDING * np.abs(gram).max())
    assert list(nc.metrics(accumulator).gram_matrices) == list(sets)[2:]
    many = nc.Accumulator(101, 2)
    many.update(np.random.default_rng(0).standard_normal((202, 2)), np.arange(202) % 101)
    assert nc.metrics(many).gram_matrices is None


def test_singular_values_row_sum_and_mean(data):
    features, labels, weights, _, metrics, _ = data
    _, means, counts, center = scatters(features, labels)
    weighted = means * np.sqrt(counts)[:, None]
    for block, matrix in (("product", weights), ("features", weighted)):
        values = np.linalg.svd(matrix, compute_uv=False)
        np.testing.assert_allclose(metrics.singular_values[block]["measured"], values, rtol=ROUNDING)
        share = values / values.sum()
        rank = np.exp(-(share * np.log(share)).sum())
        assert metrics.singular_values[block]["effective_rank"] == pytest.approx(rank, rel=ROUNDING)
    assert metrics.row_sum == pytest.approx(np.linalg.norm(weights.sum(0)) / np.linalg.norm(weights), rel=ROUNDING)
    expected = np.sqrt(counts.sum()) * np.linalg.norm(center) / np.linalg.norm(weighted)
    assert metrics.feature_mean == pytest.approx(expected, rel=ROUNDING)


def test_decays_that_squared_loss_implies(data):
    features, labels, weights, bias, metrics, _ = data
    residual = np.eye(5)[labels] - (features @ weights.T + bias)
    pull = residual.T @ features / len(labels)
    decay = (pull * weights).sum() / (weights**2).sum()
    implied = metrics.implied["squared"]
    assert implied["layer_decay"][0] == pytest.approx(decay, rel=ROUNDING)
    misfit = np.linalg.norm(pull - decay * weights) / np.linalg.norm(pull)
    assert implied["layer_misfit"][0] == pytest.approx(misfit, rel=ROUNDING)
    down = residual @ weights / len(labels)
    assert implied["feature_decay"] == pytest.approx((down * features).sum() / (features**2).sum(), rel=ROUNDING)
    mean = residual.mean(0)
    assert implied["bias_decay"] == pytest.approx((mean * bias).sum() / (bias**2).sum(), rel=ROUNDING)


def test_layers_and_their_product(data):
    features, labels, *_, accumulator = data
    rng = np.random.default_rng(7)
    layers = [rng.standard_normal((8, 9)), rng.standard_normal((5, 8))]
    metrics = nc.metrics(accumulator, layers)
    product = nc.metrics(accumulator, layers[1] @ layers[0])
    assert metrics.row_sum == pytest.approx(product.row_sum, rel=ROUNDING)
    for l, layer in enumerate(layers, 1):
        values = np.linalg.svd(layer, compute_uv=False)
        np.testing.assert_allclose(metrics.singular_values[f"layer {l}"]["measured"], values, rtol=ROUNDING)


# The formulas of rhubarbwu's `neural_collapse`, which takes the global mean as the plain mean of the class means
# unless it is told `weighted`, in float64.


def test_covariance_ratio_of_rhubarbwu_is_nc1_about_the_mean_of_class_means(data):
    features, labels, *_, metrics, _ = data
    means = class_means(features, labels)
    centered = means - means.mean(0)
    within = (features - means[labels]).T @ (features - means[labels]) / len(labels)
    between = centered.T @ centered / len(means)
    pinv = np.trace(np.linalg.pinv(between, rcond=1e-12) @ within) / len(means)
    assert metrics.nc1_unweighted == pytest.approx(pinv, rel=ROUNDING)


def test_structure_error_of_rhubarbwu_is_the_distance_from_the_simplex(data):
    features, labels, weights, _, metrics, _ = data
    _, means, counts, center = scatters(features, labels)  # its m_G with `weighted=True`
    structure = (means - center) @ (means - center).T
    structure /= np.linalg.norm(structure)
    classes = len(counts)
    structure += 1 / classes / np.sqrt(classes - 1)
    structure[np.diag_indices(classes)] -= 1 / np.sqrt(classes - 1)
    assert metrics.frames["means"]["simplex"] == pytest.approx(np.linalg.norm(structure), rel=ROUNDING)


def test_cdnv_of_rhubarbwu_is_the_mean_over_pairs(data):
    features, labels, *_, metrics, _ = data
    means = class_means(features, labels)
    variances = np.array([((features[labels == k] - means[k]) ** 2).sum(1).mean() for k in range(len(means))])
    grid = (variances[:, None] + variances) / 2 / np.maximum(((means[:, None] - means) ** 2).sum(-1), 1e-300)
    upper = grid[np.triu_indices(len(means), 1)]
    assert metrics.cdnv == pytest.approx(upper.mean(), rel=ROUNDING)


def test_agrees_with_the_covariance_and_the_centroids_of_scikit_learn(data):
    discriminant = pytest.importorskip("sklearn.discriminant_analysis")
    neighbors = pytest.importorskip("sklearn.neighbors")
    features, labels, *_, metrics, accumulator = data
    centroids = neighbors.NearestCentroid().fit(features, labels).centroids_
    np.testing.assert_allclose(accumulator.class_means(), centroids, rtol=ROUNDING, atol=ROUNDING)
    # Its covariance is S_W, with priors n_k/N; its between-class scatter is the weighted one.
    fitted = discriminant.LinearDiscriminantAnalysis(solver="lsqr", store_covariance=True).fit(features, labels)
    deviations = fitted.means_ - fitted.priors_ @ fitted.means_
    between = (deviations * fitted.priors_[:, None]).T @ deviations
    expected = np.trace(fitted.covariance_ @ np.linalg.pinv(between, rcond=1e-12, hermitian=True)) / len(centroids)
    assert metrics.nc1_weighted == pytest.approx(expected, rel=ROUNDING)


def test_results_are_plain_objects(data):
    import json

    *_, metrics, _ = data
    read = json.loads(json.dumps(metrics.to_dict()))
    assert read["counts"] == COUNTS and read["nc1"] == metrics.nc1
    assert "NC1 weighted classes" in str(metrics) and "<table>" in metrics._repr_html_()
    assert repr(metrics) == f"Metrics(nc1={metrics.nc1:.5g}, 5 classes, 86 samples)"


def test_refuses_layers_that_do_not_fit(data):
    *_, accumulator = data

    def refused(message, *arguments):
        with pytest.raises(ValueError, match=message):
            nc.metrics(accumulator, *arguments)

    refused(
        r"weights: 9 x 5 given, 5 classes and features of width 9 need 5 x 9: is it the transpose\?", np.ones((9, 5))
    )
    refused(r"weights: shape \(9,\) given|weights: shape \[9\] given, a matrix", np.ones(9))
    refused("bias: 4 numbers given, the last layer has 5 outputs", np.ones((5, 9)), np.ones(4))
    refused("bias: given without weights", None, np.ones(5))
    refused(
        "weights of layer 2: a layer of 5 x 7 reads 7 numbers, but layer 1 writes 8", [np.ones((8, 9)), np.ones((5, 7))]
    )
    broken = np.ones((5, 9))
    broken[3, 4] = np.nan
    refused(r"weights: entry \(3, 4\) is NaN, finite numbers are needed", broken)
    refused("weights: dtype object given", np.ones((5, 9)).astype(object))
    empty = nc.Accumulator(5, 9)
    with pytest.raises(ValueError, match="accumulator: it is empty"):
        nc.metrics(empty)
