"""Certified minima compared with Clarabel, a general conic solver, over all K x K logits: no groups, no rank, no dual.

With Z = W H and D = diag(sqrt(n)) a model of one layer is

    min  1/N sum_k alpha_k n_k loss(delta (z_k + b) + shift_k)  +  sqrt(mu_W mu_H) |Z D|_*  +  mu_b/2 |b|^2

where the nuclear norm is half the least trace of a semidefinite matrix that has Z D as its block.
"""

import clarabel
import ncollapse as nc
import numpy as np
import pytest
from oracle import EPSILON
from scipy import sparse

# 1e-10 is asked of the solver, in units of its own; points at which the objective is written out are within this.
ACCURACY = 1e-8

CASES = {
    "plain": dict(counts=[90, 40, 12, 5]),
    "groups": dict(counts=[60, 60, 9, 9, 9, 2]),
    "eight classes": dict(counts=[128, 64, 32, 16, 8, 4, 2, 1]),
    "no bias": dict(counts=[60, 60, 9, 9, 9], bias=False),
    "bias that decays": dict(counts=[90, 40, 12, 5], bias_decay=0.02),
    "weights": dict(counts=[90, 40, 40, 5], class_weights=[0.2, 1.0, 3.0, 5.0]),
    "smoothing": dict(counts=[90, 40, 12, 12], label_smoothing=0.2),
    "logit adjustment": dict(counts=[90, 40, 12, 5, 5], logit_adjustment=1.0),
    "margins": dict(counts=[90, 40, 12, 5], ldam=1.5),
    "temperatures": dict(counts=[90, 40, 12, 5], cdt=0.2),
    "all of it": dict(
        counts=[70, 70, 20, 5, 5],
        class_weights=[1.0, 1.0, 2.0, 4.0, 4.0],
        label_smoothing=0.1,
        logit_adjustment=0.5,
        ldam=0.5,
        cdt=0.1,
        bias_decay=0.1,
    ),
}


class Rows:
    """Rows of a cone program: what is constant in them, minus a linear map of the variables, is to lie in a cone."""

    def __init__(self, variables):
        self.variables, self.entries, self.constants, self.cones = variables, [], [], []

    def add(self, linear, constant=0.0):
        """`constant` plus the sum of each coefficient times its variable."""
        row = len(self.constants)
        self.entries += [(row, variable, -coefficient) for variable, coefficient in linear.items()]
        self.constants.append(constant)

    def matrix(self):
        rows, columns, values = zip(*self.entries)
        return sparse.csc_matrix((values, (rows, columns)), (len(self.constants), self.variables))


class Model:
    """Numbers of every class, and what they ask of logits."""

    def __init__(self, loss, counts, class_weights, label_smoothing, logit_adjustment, ldam, cdt):
        self.loss, self.n = loss, np.array(counts, float)
        shares, K = self.n / self.n.sum(), len(counts)
        self.weights = shares * (1.0 if class_weights is None else np.array(class_weights))
        self.factors = (self.n / self.n.max()) ** cdt
        self.shifts = logit_adjustment * np.log(shares)[:, None] - np.diag(ldam * self.n**-0.25)
        self.targets = (1 - label_smoothing) * np.eye(K) + label_smoothing / K

    def outputs(self, logits):
        """What is compared with targets: probabilities, or the logits themselves for squared loss."""
        adjusted = self.factors[:, None] * logits + self.shifts
        if self.loss == "squared":
            return adjusted
        exponentials = np.exp(adjusted - adjusted.max(0))
        return exponentials / exponentials.sum(0)

    def objective(self, z, b, product, bias_decay):
        adjusted = self.factors[:, None] * (z + b[:, None]) + self.shifts
        if self.loss == "squared":
            losses = ((adjusted - self.targets) ** 2).sum(0) / 2
        else:
            largest = adjusted.max(0)
            losses = np.log(np.exp(adjusted - largest).sum(0)) + largest - (self.targets * adjusted).sum(0)
        return self.weights @ losses + product * np.linalg.norm(z * np.sqrt(self.n), "nuc") + bias_decay / 2 * b @ b


def solve(model, product, bias, bias_decay):
    """Z and b where the solver ends."""
    K = len(model.n)
    # Variables: Z by columns, b, a bound for the loss of each class, one more for each output, a triangle of 2K x 2K.
    z = np.arange(K * K).reshape(K, K).T
    b = K * K + np.arange(K)
    bound = b + K
    output = (K * K + 2 * K + np.arange(K * K)).reshape(K, K)
    places = [(i, j) for j in range(2 * K) for i in range(j + 1)]
    triangle = {place: 2 * K * K + 2 * K + index for index, place in enumerate(places)}
    rows = Rows(2 * K * K + 2 * K + len(places))
    cost, curvature = np.zeros(rows.variables), np.zeros(rows.variables)
    curvature[b] = bias_decay

    def logit(j, k):
        return {z[j, k]: model.factors[j], **({b[j]: model.factors[j]} if bias else {})}

    for i, j in np.ndindex(K, K):
        rows.add({triangle[i, K + j]: 1.0, z[i, j]: -np.sqrt(model.n[j])})
    if model.loss == "squared":
        for j, k in np.ndindex(K, K):
            rows.add({**logit(j, k), output[j, k]: -1.0}, model.shifts[j, k] - model.targets[j, k])
            curvature[output[j, k]] = model.weights[k]
    rows.cones.append(clarabel.ZeroConeT(len(rows.constants)))
    if model.loss == "cross-entropy":
        for k in range(K):
            rows.add({output[j, k]: -1.0 for j in range(K)}, 1.0)
            cost[bound[k]] = model.weights[k]
        rows.cones.append(clarabel.NonnegativeConeT(K))
        for j, k in np.ndindex(K, K):
            for variable, coefficient in logit(j, k).items():
                cost[variable] -= model.weights[k] * model.targets[j, k] * coefficient
            # exp(u - bound) <= output, and outputs of a class have a sum of at most 1.
            rows.add({**logit(j, k), bound[k]: -1.0}, model.shifts[j, k])
            rows.add({}, 1.0)
            rows.add({output[j, k]: 1.0})
            rows.cones.append(clarabel.ExponentialConeT())
    for (i, j), variable in triangle.items():
        rows.add({variable: 1.0 if i == j else np.sqrt(2)})
        cost[variable] = product / 2 if i == j else 0.0
    rows.cones.append(clarabel.PSDTriangleConeT(2 * K))
    settings = clarabel.DefaultSettings()
    settings.verbose = False
    settings.tol_gap_abs = settings.tol_gap_rel = settings.tol_feas = 1e-10
    quadratic = sparse.diags_array(curvature).tocsc()
    solver = clarabel.DefaultSolver(quadratic, cost, rows.matrix(), np.array(rows.constants), rows.cones, settings)
    x = np.array(solver.solve().x)
    return x[z], x[b] if bias else np.zeros(K)


@pytest.mark.parametrize("loss", ["squared", "cross-entropy"])
@pytest.mark.parametrize("name", CASES)
def test_no_conic_solver_finds_a_lower_point(name, loss):
    options = dict(CASES[name])
    counts, bias, bias_decay = options.pop("counts"), options.pop("bias", True), options.pop("bias_decay", None)
    neutral = dict(class_weights=None, label_smoothing=0.0, logit_adjustment=0.0, ldam=0.0, cdt=0.0)
    model = Model(loss, counts, **neutral | options)
    # A tenth of the decay at which the largest class vanishes.
    product = 0.1 * np.sqrt(max(counts)) / sum(counts)
    z, b = solve(model, product, bias, bias_decay or 0.0)
    theirs = model.objective(z, b, product, bias_decay or 0.0)
    prediction = nc.predict(
        counts,
        widths=len(counts),
        layer_decay=3 * product,
        feature_decay=product / 3,
        loss=loss,
        bias=bias,
        bias_decay=bias_decay,
        **options,
    )
    # Sums of K² terms and K singular values.
    rounding = 8 * len(counts) ** 2 * EPSILON
    assert prediction.lower_bound <= prediction.objective * (1 + rounding)
    assert prediction.objective <= theirs * (1 + rounding)
    assert theirs <= prediction.objective * (1 + ACCURACY)
    # A point that is g above the minimum has outputs within sqrt(2 g/w) of those there, w the weight of a class: for
    # squared loss by its curvature, for cross-entropy by Pinsker's inequality; ours and theirs on either side of it.
    ours = prediction.classifiers() @ prediction.class_means().T + (prediction.bias[:, None] if bias else 0.0)
    apart = model.outputs(ours) - model.outputs(z + b[:, None])
    above = theirs - prediction.lower_bound + rounding * theirs
    for k, weight in enumerate(model.weights):
        assert np.linalg.norm(apart[:, k]) <= 2 * np.sqrt(2 * above / weight)
