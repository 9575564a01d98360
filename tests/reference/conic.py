"""Minimizers of one layer by a general conic solver, over all K x K logits: no groups, no rank, no dual of ours.

    pip install cvxpy==1.9.* clarabel==0.11.* numpy
    python3 tests/reference/conic.py

The objective is evaluated at the logits found, so that no minimum may be above it; the solver's own accuracy, some 1e-9 of
the objective, says how far below it may be.
"""

import pathlib
import random

import cvxpy as cp
import numpy as np

HERE = pathlib.Path(__file__).parent


def parts(case):
    """Counts, class weights, scales and shifts (own margins included) of every class, as arrays, and the targets."""
    n = np.array([c for c, m in zip(case["counts"], case["sizes"]) for _ in range(m)], float)
    alpha = np.array([a for a, m in zip(case["weights"], case["sizes"]) for _ in range(m)])
    K, N = len(n), n.sum()
    delta = (n / n.max()) ** case["cdt"]
    shifts = np.tile((case["tau"] * np.log(n / N))[:, None], (1, K)) - np.diag(case["ldam"] * n**-0.25)
    targets = (1 - case["smoothing"]) * np.eye(K) + case["smoothing"] / K
    return n, alpha * n / N, delta, shifts, targets


def objective(case, Z, b):
    n, weights, delta, shifts, targets = parts(case)
    u = delta[:, None] * (Z + b[:, None]) + shifts
    if case["loss"] == "cross-entropy":
        largest = u.max(0)
        losses = largest + np.log(np.exp(u - largest).sum(0)) - (targets * u).sum(0)
        outputs = np.exp(u - largest) / np.exp(u - largest).sum(0)
    else:
        losses, outputs = ((u - targets) ** 2).sum(0) / 2, u
    lam = np.sqrt(case["decay"] * case["feature decay"])
    decay = 0.0 if case["bias"] in ("none", "free") else float(case["bias"])
    penalty = lam * np.linalg.svd(Z * np.sqrt(n), compute_uv=False).sum() + decay / 2 * b @ b
    return weights @ losses + penalty, outputs


def solve(case):
    n, weights, delta, shifts, targets = parts(case)
    K = len(n)
    Z = cp.Variable((K, K))
    b = np.zeros(K) if case["bias"] == "none" else cp.Variable(K)
    losses = []
    for k in range(K):
        u = cp.multiply(delta, Z[:, k] + b) + shifts[:, k]
        if case["loss"] == "cross-entropy":
            losses.append(weights[k] * (cp.log_sum_exp(u) - targets[:, k] @ u))
        else:
            losses.append(weights[k] / 2 * cp.sum_squares(u - targets[:, k]))
    total = sum(losses) + np.sqrt(case["decay"] * case["feature decay"]) * cp.normNuc(Z @ np.diag(np.sqrt(n)))
    if case["bias"] not in ("none", "free"):
        total += float(case["bias"]) / 2 * cp.sum_squares(b)
    tight = {"tol_gap_abs": 1e-11, "tol_gap_rel": 1e-11, "tol_feas": 1e-11}
    cp.Problem(cp.Minimize(total)).solve(solver="CLARABEL", **tight)
    return objective(case, Z.value, np.zeros(K) if case["bias"] == "none" else b.value)


def cases():
    rng = random.Random(11)
    short = lambda x: float(f"{x:.4g}")
    for number in range(48):
        while True:
            counts = sorted(rng.sample(range(1, 200), rng.randint(1, 5)), reverse=True)
            sizes = [rng.randint(1, 4) for _ in counts]
            if sum(sizes) <= 8:
                break
        samples = sum(c * m for c, m in zip(counts, sizes))
        lam = 10 ** rng.uniform(-2, 0.5) * counts[0] ** 0.5 / samples
        weighted, either = rng.random() < 0.6, lambda x: rng.choice([0.0, short(x)])
        yield {
            "loss": ("cross-entropy", "squared")[number % 2],
            "counts": counts, "sizes": sizes,
            "weights": [short(10 ** rng.uniform(-1, 1)) if weighted else 1.0 for _ in counts],
            "decay": short(2 * lam), "feature decay": short(lam / 2),
            "bias": ("none", "free", str(short(10 ** rng.uniform(-2, 0))))[number // 2 % 3],
            "smoothing": either(rng.uniform(0, 0.4)), "tau": either(rng.uniform(-1, 1.5)),
            "ldam": either(rng.uniform(0, 2)), "cdt": either(rng.uniform(0, 0.5)),
        }


def main():
    with open(HERE / "conic.csv", "w") as table:
        table.write("loss,counts,weights,layer decay,feature decay,bias,smoothing,tau,ldam,cdt,objective,outputs by row\n")
        for case in cases():
            try:
                value, outputs = solve(case)
            except cp.error.SolverError as error:
                print(f"{error}: {case}", flush=True)
                continue
            fields = [case["loss"], " ".join(f"{c}x{m}" for c, m in zip(case["counts"], case["sizes"]))]
            fields += [" ".join(map(repr, case["weights"])), repr(case["decay"]), repr(case["feature decay"]), case["bias"]]
            fields += [repr(case[name]) for name in ("smoothing", "tau", "ldam", "cdt")]
            fields += [repr(float(value)), " ".join(f"{x:.9g}" for x in outputs.ravel())]
            table.write(",".join(fields) + "\n")


main()
