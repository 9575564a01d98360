"""Streaming NC1 of a million features of 512 float32 numbers: this crate compared with PyTorch, same numbers, one run.

    pip install -r benches/peers/requirements.txt
    python3 benches/peers/features.py [--samples 100000]

Runs `cargo bench --bench features` twice, each after the same number of passes of PyTorch, all on two threads, and
prints a table of medians in seconds. PyTorch sums the features of every class batch by batch, then adds up the scatter of residuals
batch by batch, and takes the pseudo-inverse of the d x d scatter between classes:

- float32, Gram: residuals and their Gram matrix in float32, totals of batches in float64;
- float32, triangle: the same with only the blocks of the Gram matrix on and above the diagonal;
- float64, Gram: everything in float64 but the features;
- float32, projected: only the residuals along the K - 1 directions of the class means, as the crate does in two passes.

Each with the fastest of three sizes of batches. With fewer samples, for a quick look, the crate still takes a million,
and the times of PyTorch are scaled to a million. Errors are those of NC1, relative to that in float64.
"""

import argparse
import json
import os
import pathlib
import subprocess
import time

THREADS = 2
os.environ["OMP_NUM_THREADS"] = os.environ["RAYON_NUM_THREADS"] = str(THREADS)

import numpy as np  # noqa: E402: reads the number of threads when it is imported
import torch  # noqa: E402

torch.set_num_threads(THREADS)

ROOT = pathlib.Path(__file__).resolve().parents[2]
WIDTH, BATCH, MILLION = 512, 4096, 1_000_000
BENCHES = {"K=1000, one pass": 1000, "K=10, two passes": 10}
SIZES = [BATCH, 4 * BATCH, 16 * BATCH]
REPEATS = 3


def batch():
    """The numbers of benches/features.rs, a sample a row: the high bits of a linear congruential generator."""
    powers = np.cumprod(np.full(BATCH * WIDTH, 6_364_136_223_846_793_005, np.uint64))
    steps = np.cumsum(np.concatenate([np.ones(1, np.uint64), powers[:-1]]), dtype=np.uint64)
    states = powers + np.uint64(1_442_695_040_888_963_407) * steps
    numbers = (states >> np.uint64(40)).astype(np.float32) / np.float32(1 << 24)
    return torch.from_numpy(numbers.reshape(BATCH, WIDTH))


class Stream:
    """Batches of the same features and their labels; a large batch repeats that of the crate."""

    def __init__(self, features, samples, classes):
        self.features, self.samples, self.classes, self.size = features, samples, classes, len(features)

    def __iter__(self):
        for start in range(0, self.samples, self.size):
            size = min(self.size, self.samples - start)
            index = torch.arange(start, start + size)
            yield self.features[:size], (index * 7 + index // 13) % self.classes

    def means(self, dtype=torch.float32):
        """Class means and sizes, in float64 from sums of some 16,384 samples in the type given."""
        sums = torch.zeros(self.classes, WIDTH, dtype=torch.float64)
        part, filled = torch.zeros(self.classes, WIDTH, dtype=dtype), 0
        counts = torch.zeros(self.classes, dtype=torch.int64)
        for features, labels in self:
            part.index_add_(0, labels, features.to(dtype))
            counts += torch.bincount(labels, minlength=self.classes)
            filled += len(labels)
            if filled >= 4 * BATCH:
                sums += part
                part.zero_()
                filled = 0
        return (sums + part) / counts[:, None], counts

    def residuals(self, means):
        """Of batch after batch, in one buffer, in the type of the means."""
        buffer = torch.empty(self.size, WIDTH, dtype=means.dtype)
        for features, labels in self:
            out = buffer[: len(labels)]
            torch.index_select(means, 0, labels, out=out)
            yield torch.sub(features, out, out=out)


def between(means, counts):
    """Class means less the global mean."""
    return means - counts.double() @ means / counts.sum()


def nc1(scatter, means, counts):
    centered = between(means, counts)
    inverse = torch.linalg.pinv(centered.T @ centered / len(counts), hermitian=True)
    return torch.sum(scatter / counts.sum() * inverse).item() / len(counts)


def gram(stream):
    means, counts = stream.means()
    scatter = torch.zeros(WIDTH, WIDTH, dtype=torch.float64)
    for residuals in stream.residuals(means.float()):
        scatter += residuals.T @ residuals
    return nc1(scatter, means, counts)


def triangle(stream):
    means, counts = stream.means()
    scatter, quarter = torch.zeros(WIDTH, WIDTH, dtype=torch.float64), WIDTH // 4
    for residuals in stream.residuals(means.float()):
        for low in range(0, WIDTH, quarter):
            scatter[low : low + quarter, low:] += residuals[:, low : low + quarter].T @ residuals[:, low:]
    scatter = scatter.triu()
    return nc1(scatter + scatter.triu(1).T, means, counts)


def gram64(stream):
    means, counts = stream.means(torch.float64)
    scatter = torch.zeros(WIDTH, WIDTH, dtype=torch.float64)
    for residuals in stream.residuals(means):
        scatter.addmm_(residuals.T, residuals)
    return nc1(scatter, means, counts)


def projected(stream):
    means, counts = stream.means()
    _, values, basis = torch.linalg.svd(between(means, counts) / len(counts) ** 0.5, full_matrices=False)
    rank = min(WIDTH, len(counts) - 1)
    scaled, total = (basis[:rank] / values[:rank, None]).T.float().contiguous(), 0.0
    for residuals in stream.residuals(means.float()):
        total += torch.sum((residuals @ scaled).square()).item()
    return total / counts.sum().item() / len(counts)


ROUTES = {
    "PyTorch, float32, Gram": gram,
    "PyTorch, float32, triangle": triangle,
    "PyTorch, float64, Gram": gram64,
    "PyTorch, float32, projected": projected,
}


def seconds(call):
    start = time.perf_counter()
    value = call()
    return time.perf_counter() - start, value


def fastest_size(route, features, samples, classes):
    """The size of batches with the shorter of two short passes each, the first of which warms up."""
    samples = min(samples, 2 * SIZES[-1])
    times = {}
    for size, tiled in features.items():
        times[size] = min(seconds(lambda: route(Stream(tiled, samples, classes)))[0] for _ in range(2))
    return min(times, key=times.get)


def ours(name):
    """All of criterion's samples of one benchmark, in seconds an iteration."""
    path = ROOT / "target" / "criterion" / "nc1" / name / "new" / "sample.json"
    samples = json.loads(path.read_text())
    return [1e-9 * time / iterations for time, iterations in zip(samples["times"], samples["iters"])]


def machine():
    """Operations a second of a product of two 1024 x 1024 matrices in float64, and bytes a second of reading memory."""
    matrix, out = torch.rand(1024, 1024, dtype=torch.float64), torch.empty(1024, 1024, dtype=torch.float64)
    large = torch.ones(100_000_000)
    product = [seconds(lambda: torch.matmul(matrix, matrix, out=out))[0] for _ in range(20)]
    reading = [seconds(large.sum)[0] for _ in range(10)]
    return 2 * 1024**3 / np.median(product), 4 * len(large) / np.median(reading)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=MILLION, help="samples of PyTorch (default 1000000)")
    samples = parser.parse_args().samples
    cargo = ["cargo", "bench", "--bench", "features"]
    subprocess.run([*cargo, "--no-run"], cwd=ROOT, check=True)

    features = {size: batch().repeat(size // BATCH, 1) for size in SIZES}
    machines, values = [machine()], {}
    times = {(route, name): [] for route in ["this crate", *ROUTES] for name in BENCHES}
    sizes = {}
    for route, call in ROUTES.items():
        for name, classes in BENCHES.items():
            if call is not projected or classes <= WIDTH:
                sizes[route, name] = fastest_size(call, features, samples, classes)
    for _ in range(2):
        for (route, name), size in sizes.items():
            stream = Stream(features[size], samples, BENCHES[name])
            for _ in range(REPEATS):
                took, values[route, name] = seconds(lambda: ROUTES[route](stream))
                times[route, name].append(took * MILLION / samples)
        quick = [] if samples >= MILLION else ["--", "--quick"]
        subprocess.run([*cargo, *quick], cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
        for name in BENCHES:
            times["this crate", name] += ours(name)
        machines.append(machine())

    rows = [["seconds, median (least, most)"]]
    for name in BENCHES:
        rows[0] += [name, "batch", "ratio", "error"]
    for route in ["this crate", *ROUTES]:
        rows.append([route])
        for name in BENCHES:
            took, crate = times[route, name], np.median(times["this crate", name])
            if not took:
                rows[-1] += [""] * 4
                continue
            rows[-1].append(f"{np.median(took):.2f} ({min(took):.2f}, {max(took):.2f})")
            rows[-1] += [str(sizes.get((route, name), BATCH)), f"{np.median(took) / crate:.2f}"]
            error = values.get((route, name), np.nan) / values["PyTorch, float64, Gram", name] - 1
            assert not abs(error) > 1e-3, (route, name, error)
            rows[-1].append("" if np.isnan(error) else f"{abs(error):.0e}")
    widths = [max(map(len, column)) for column in zip(*rows)]
    rows.insert(1, ["-" * width for width in widths])
    flops, bandwidth = np.median(machines, axis=0)
    print(f"\nN = {MILLION}, d = {WIDTH}, float32, {THREADS} threads, PyTorch {torch.__version__}\n")
    for row in rows:
        print("| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |")
    half, reading = MILLION * WIDTH**2 / flops, 4 * MILLION * WIDTH / bandwidth
    print(f"\nfloor of half the Gram matrix, N d^2 operations: {half:.2f} s", end=" ")
    print(f"({flops / 1e9:.0f} GF/s, the float64 product of 1024 x 1024 matrices)")
    print(f"floor of reading N d float32 numbers once: {reading:.2f} s", end=" ")
    print(f"({bandwidth / 1e9:.1f} GB/s; the batch of the crate stays in the cache)")


if __name__ == "__main__":
    main()
