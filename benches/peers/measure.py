"""`neural-collapse measure` compared with PyTorch accumulators on the same arrays, in one run.

    pip install -r benches/peers/requirements.txt
    python3 benches/peers/measure.py    # --samples, --classes and --width for other sizes

The peer streams the same .npy of float32 features in batches of 4096 and computes what the public accumulators for PyTorch do
(means, variances, covariance, decisions: Wu and Papyan 2024, `neural_collapse`), by their formulas: NC1 by a pseudo-inverse,
CDNV, norms and angles, self-duality, agreement with the nearest class mean. It takes four passes. `measure` takes two, and
finds the implied decays on the way. Times are those of whole processes, but the peer's without its imports; memory is the
largest resident set.
"""

import argparse
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
BATCH = 4096


def arrays(folder, samples, classes, width):
    """Class means with noise of a tenth, and the classifiers that belong to the means."""
    rng = np.random.default_rng(0)
    means = rng.standard_normal((classes, width)).astype("<f4")
    labels = rng.permutation(np.arange(samples) % classes)
    features = means[labels] + 0.1 * rng.standard_normal((samples, width), dtype="f4")
    np.save(folder / "H.npy", features)
    np.save(folder / "y.npy", labels)
    np.save(folder / "W.npy", means / np.sum(means**2, axis=1, keepdims=True))
    np.save(folder / "b.npy", np.zeros(classes, "<f4"))


def peer(folder, samples, classes, width):
    import torch

    torch.set_num_threads(2)
    start = time.perf_counter()
    features, labels = np.load(folder / "H.npy", mmap_mode="r"), torch.from_numpy(np.load(folder / "y.npy"))
    weights, bias = torch.from_numpy(np.load(folder / "W.npy")), torch.from_numpy(np.load(folder / "b.npy"))

    def batches():
        for i in range(0, samples, BATCH):
            yield torch.from_numpy(np.array(features[i : i + BATCH])), labels[i : i + BATCH]

    counts = torch.bincount(labels, minlength=classes).float()
    sums = torch.zeros(classes, width)
    for h, y in batches():
        sums.index_add_(0, y, h)
    means = sums / counts[:, None]
    variances = torch.zeros(classes)
    for h, y in batches():
        variances.index_add_(0, y, (h - means[y]).square().sum(1))
    variances /= counts
    within = torch.zeros(width, width)
    for h, y in batches():
        deviations = h - means[y]
        within += deviations.T @ deviations
    within /= samples
    agreed, right = 0, 0
    for h, y in batches():
        decided, nearest = (h @ weights.T + bias).argmax(1), torch.cdist(h, means).argmin(1)
        agreed, right = agreed + (decided == nearest).sum(), right + (decided == y).sum()
    centered = means - (counts @ means) / samples
    between = centered.T @ centered / classes
    nc1 = torch.trace(within @ torch.linalg.pinv(between, hermitian=True)) / classes
    squares = torch.cdist(means, means).square()
    pairs = (variances[:, None] + variances[None, :]) / (2 * squares)
    cdnv = pairs[~torch.eye(classes, dtype=bool)].mean()
    unit = torch.nn.functional.normalize(centered)
    angles = (unit @ unit.T)[~torch.eye(classes, dtype=bool)].std()
    duality = (weights / weights.norm() - centered / centered.norm()).square().sum()
    seconds = time.perf_counter() - start
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    numbers = [nc1, cdnv, angles, duality, 1 - agreed / samples, right / samples]
    print(seconds, memory, *(float(number) for number in numbers))


def ours(folder):
    names = {"weights": "W", "bias": "b", "features": "H", "labels": "y"}
    words = [word for name, file in names.items() for word in (f"--{name}", folder / f"{file}.npy")]
    program = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release/neural-collapse"
    start = time.perf_counter()
    # Its own largest resident set, since that of all children is the compiler's; it is no less than this process's.
    process = subprocess.Popen([program, "measure", "--json", *words], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    if status:
        raise SystemExit(f"measure: status {status}")
    return seconds, usage.ru_maxrss / 1024


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--classes", type=int, default=100)
    parser.add_argument("--width", type=int, default=512)
    # What this script starts itself for.
    parser.add_argument("--work", choices=["arrays", "peer"], help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=pathlib.Path, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    sizes = {"samples": flags.samples, "classes": flags.classes, "width": flags.width}
    if flags.samples < flags.classes or min(sizes.values()) < 1:
        parser.error("every class needs a sample, and a width of at least 1")
    if flags.work:
        return {"arrays": arrays, "peer": peer}[flags.work](flags.folder, **sizes)
    subprocess.run(["cargo", "build", "--release", "-p", "neural-collapse-cli"], cwd=ROOT, check=True)
    words = [sys.executable, __file__] + [word for name, size in sizes.items() for word in (f"--{name}", str(size))]
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        subprocess.run([*words, "--work", "arrays", "--folder", name], check=True)
        runs = [ours(folder) for _ in range(5)]
        seconds, memory = np.median([run[0] for run in runs]), max(run[1] for run in runs)
        peer_words = [*words, "--work", "peer", "--folder", name]
        peers = [subprocess.run(peer_words, check=True, stdout=subprocess.PIPE, text=True).stdout.split() for _ in range(3)]
    theirs = np.median([float(run[0]) for run in peers]), max(float(run[1]) for run in peers)
    print(f"K = {flags.classes}, N = {flags.samples}, d = {flags.width}, float32")
    print("| | seconds | megabytes |\n|---|--:|--:|")
    print(f"| neural-collapse measure | {seconds:.2f} | {memory:.0f} |")
    print(f"| PyTorch accumulators | {theirs[0]:.2f} ({theirs[0] / seconds:.1f}x) | {theirs[1]:.0f} ({theirs[1] / memory:.1f}x) |")


main()
