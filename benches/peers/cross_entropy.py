"""Cross-entropy with a free bias, one linear layer: this crate compared with CVXPY's solvers, same models, one run.

    pip install -r benches/peers/requirements.txt
    python3 benches/peers/cross_entropy.py

Runs `cargo bench --bench certified`, solves the models of up to 30 classes with CVXPY, Clarabel and SCS, and prints two tables.
A peer's gap is that of the objective at its logits, to the lower bound that this crate proves; its time is that of the solver
alone, without what CVXPY takes to set up the problem.
"""

import os
import pathlib
import subprocess
import time

THREADS = os.cpu_count()
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(THREADS)

import json  # noqa: E402: NumPy reads the number of threads when it is imported

import cvxpy as cp  # noqa: E402
import numpy as np  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parents[2]
SOLVERS = {
    "CLARABEL": {"tol_gap_abs": 1e-10, "tol_gap_rel": 1e-10, "tol_feas": 1e-10},
    "SCS": {"eps_abs": 1e-9, "eps_rel": 1e-9, "max_iters": 20_000},
}


def ratios(number, largest, smallest):
    """As in benches/certified.rs; halves are rounded away from zero there."""
    return np.floor(largest * (smallest / largest) ** (np.arange(number) / (number - 1.0)) + 0.5)


PEERS = {
    "K=10 R=10": (ratios(10, 1280, 13), 0.05),
    "K=30 R=3": (np.repeat([1280.0, 128.0, 13.0], 10), 0.05),
    "K=30 R=30": (ratios(30, 1280, 13), 0.05),
}


def objective(counts, lam, Z, b):
    u = Z + b[:, None]
    largest = u.max(0)
    losses = largest + np.log(np.exp(u - largest).sum(0)) - np.diag(u)
    return counts @ losses / counts.sum() + lam * np.linalg.svd(Z * np.sqrt(counts), compute_uv=False).sum()


def peer(solver, counts, q):
    """Seconds and objective; None if the solver fails."""
    K, N = len(counts), counts.sum()
    lam = q * np.sqrt(counts[0]) / N
    Z, b = cp.Variable((K, K)), cp.Variable(K)
    losses = [counts[k] / N * (cp.log_sum_exp(Z[:, k] + b) - Z[k, k] - b[k]) for k in range(K)]
    problem = cp.Problem(cp.Minimize(sum(losses) + lam * cp.normNuc(Z @ np.diag(np.sqrt(counts)))))
    start = time.perf_counter()
    try:
        problem.solve(solver=solver, **SOLVERS[solver])
    except cp.error.SolverError:
        return None
    seconds = problem.solver_stats.solve_time or time.perf_counter() - start
    return seconds, objective(counts, lam, Z.value, b.value)


def ours():
    """Criterion's medians and what the benchmark prints: {name: {seconds, gap, lower}}."""
    output = subprocess.run(
        ["cargo", "bench", "--bench", "certified"], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    ).stdout
    results = {}
    for line in output.splitlines():
        kind, _, rest = line.partition(" ")
        if kind in ("gap", "bound", "seconds"):
            name, _, number = rest.rpartition(" ")
            results.setdefault(name, {})[kind] = float(number)
    for name, result in results.items():
        if "seconds" not in result:
            path = ROOT / "target" / "criterion" / "certified" / name / "new" / "estimates.json"
            result["seconds"] = json.loads(path.read_text())["median"]["point_estimate"] * 1e-9
    return results


def main():
    results = ours()
    print(f"{THREADS} threads, load {os.getloadavg()[0]:.1f}, CVXPY {cp.__version__}\n")
    print("| model | milliseconds | gap |")
    print("|---|--:|--:|")
    for name, result in results.items():
        print(f"| {name} | {1e3 * result['seconds']:.3g} | {result['gap']:.0e} |")
    print("\n| model | solver | milliseconds | gap | ratio |")
    print("|---|---|--:|--:|--:|")
    for name, (counts, q) in PEERS.items():
        for solver in SOLVERS:
            found = peer(solver, counts, q)
            if found is None:
                print(f"| {name} | {solver} | failed | | |", flush=True)
                continue
            seconds, value = found
            gap = (value - results[name]["bound"]) / value
            ratio = seconds / results[name]["seconds"]
            print(f"| {name} | {solver} | {1e3 * seconds:.3g} | {gap:.0e} | {ratio:.0f} |", flush=True)



if __name__ == "__main__":
    main()
