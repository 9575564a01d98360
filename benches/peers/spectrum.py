"""The spectrum of the centered label matrix: this crate compared with numpy.linalg.svd, same matrices, one run.

    pip install -r benches/peers/requirements.txt
    python3 benches/peers/spectrum.py [--figure docs/speed-spectrum.svg]

Runs `cargo bench --bench spectrum`, times NumPy on the same number of threads, and prints a table of milliseconds.
"""

import argparse
import json
import os
import pathlib
import subprocess
import time

THREADS = os.cpu_count()
os.environ["OPENBLAS_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = str(THREADS)

import numpy as np  # noqa: E402: reads the number of threads when it is imported

ROOT = pathlib.Path(__file__).resolve().parents[2]
CLASSES = [64, 128, 256, 512, 1024, 2048]


def ours(group, name, classes):
    """Criterion's median of one benchmark, in seconds."""
    path = ROOT / "target" / "criterion" / group / name / str(classes) / "new" / "estimates.json"
    return json.loads(path.read_text())["median"]["point_estimate"] * 1e-9


def numpy(classes, distinct, vectors):
    """The median of up to nine calls of numpy.linalg.svd, or of those that fit in five seconds."""
    counts = 10.0 + 7.0 * (np.arange(classes) % distinct)
    matrix = np.diag(np.sqrt(counts)) - np.outer(counts, np.sqrt(counts)) / counts.sum()
    np.linalg.svd(matrix, compute_uv=vectors)
    times = []
    while len(times) < 9 and sum(times) < 5.0:
        start = time.perf_counter()
        np.linalg.svd(matrix, compute_uv=vectors)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def figure(path, rows, million):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "neural-collapse"
    import matplotlib.pyplot as plt

    axes = plt.figure(figsize=(6.4, 4.2)).add_subplot()
    every = [row for row in rows if row["distinct"] == "R=K"]
    twenty = [row for row in rows if row["distinct"] == "R=20"]
    sizes = [row["classes"] for row in every]
    axes.loglog(sizes, [1e3 * row["numpy"] for row in every], "s-", color="#888888", label="NumPy, all vectors")
    axes.loglog(sizes, [1e3 * row["dense"] for row in every], "^-", color="#cc8844", label="dense (faer), all vectors")
    axes.loglog(sizes, [1e3 * row["vectors"] for row in every], "o-", color="#2266aa", label="structured, R = K, all vectors")
    axes.loglog(sizes, [1e3 * row["values"] for row in twenty], "o--", color="#22aa66", label="structured, R = 20, values")
    axes.loglog(*zip(*[(k, 1e3 * t) for k, t in million]), "o:", color="#aa2266", label="structured, R = 1000, values")
    axes.set_xlabel("classes K")
    axes.set_ylabel("milliseconds")
    axes.grid(True, which="major", alpha=0.3)
    axes.legend(frameon=False, fontsize=8)
    axes.figure.tight_layout()
    axes.figure.savefig(path, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=pathlib.Path, help="write a log-log figure here")
    arguments = parser.parse_args()
    subprocess.run(["cargo", "bench", "--bench", "spectrum"], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    rows = []
    for distinct in ("R=K", "R=20"):
        for classes in CLASSES:
            row = {name: ours(distinct, name, classes) for name in ("values", "vectors", "dense")}
            number = classes if distinct == "R=K" else 20
            row |= {"numpy": numpy(classes, number, True), "numpy values": numpy(classes, number, False)}
            rows.append(row | {"distinct": distinct, "classes": classes})
    million = [(classes, ours("R=1000", "values", classes)) for classes in (10_000, 100_000, 1_000_000)]

    print(f"milliseconds, {THREADS} threads, NumPy {np.__version__}\n")
    print("| R | K | values | NumPy | ratio | all vectors | dense (faer) | NumPy | ratio |")
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for row in rows:
        cells = [row["values"], row["numpy values"], row["vectors"], row["dense"], row["numpy"]]
        values, numpy_values, vectors, dense, numpy_vectors = (f"{1e3 * seconds:.3g}" for seconds in cells)
        print(
            f"| {row['distinct'][2:]} | {row['classes']} | {values} | {numpy_values} | {cells[1] / cells[0]:.0f} "
            f"| {vectors} | {dense} | {numpy_vectors} | {cells[4] / cells[2]:.0f} |"
        )
    for classes, seconds in million:
        print(f"| 1000 | {classes} | {1e3 * seconds:.3g} | | | | | | |")
    if arguments.figure:
        figure(arguments.figure, rows, million)


main()
