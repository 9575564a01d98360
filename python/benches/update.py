"""How fast: updates compared with Rust and with PyTorch accumulators, an import, a prediction.

    pip install ./python numpy torch
    cargo build --release -p ncollapse --example update
    RAYON_NUM_THREADS=2 python python/benches/update.py

The PyTorch accumulators are the formulas of rhubarbwu's `neural_collapse` (MeanAccumulator, CovarAccumulator), written
out: one pass for the class means and a second for the covariance, in float32 as by default, or in float64.
"""

import pathlib
import statistics
import subprocess
import sys
import time

import ncollapse as nc
import numpy as np

ROWS, WIDTH, CLASSES, BATCHES = 4096, 512, 100, 40
ROOT = pathlib.Path(__file__).parent.parent.parent


def seconds(work, repeats=BATCHES):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return statistics.median(times), min(times)


def show(name, times, least=None):
    ratio = "" if least is None else f"   {times[0] / least[0]:5.2f} x"
    print(f"{name:<44}{1e3 * times[0]:9.2f} ms median {1e3 * times[1]:9.2f} ms least{ratio}")


class Means:
    def __init__(self, torch, dtype):
        self.torch, self.dtype = torch, dtype
        self.counts = torch.zeros(CLASSES, dtype=torch.int32)
        self.totals = torch.zeros(CLASSES, WIDTH, dtype=dtype)

    def classes(self, labels):
        indices = labels[:, None] == self.torch.arange(CLASSES, dtype=self.torch.int32)
        self.counts += self.torch.sum(indices, dim=0, dtype=self.torch.int32)
        return indices

    def accumulate(self, features, labels):
        self.totals += self.classes(labels).mT.to(self.dtype) @ features.to(self.dtype)

    def means(self):
        return self.totals / self.counts[:, None]


class Covariance(Means):
    def __init__(self, torch, dtype):
        super().__init__(torch, dtype)
        self.scatter = torch.zeros(WIDTH, WIDTH, dtype=dtype)

    def accumulate(self, features, labels, means):
        self.classes(labels)
        difference = features.to(self.dtype) - means[labels]
        self.scatter += difference.mT @ difference


def updates():
    rng = np.random.default_rng(0)
    features = rng.standard_normal((ROWS, WIDTH), dtype=np.float32)
    labels = rng.integers(0, CLASSES, ROWS)
    print(f"batches of {ROWS} x {WIDTH}, float32, {CLASSES} classes, {nc.get_num_threads()} threads")
    ours = {}
    for scatter in (True, False):
        accumulator = nc.Accumulator(CLASSES, WIDTH, scatter=scatter)
        name = "scatter" if scatter else "means"
        ours[name] = seconds(lambda: accumulator.update(features, labels))
        show(f"ncollapse, {name}", ours[name])
    program = ROOT / "target" / "release" / "examples" / "update"
    if program.exists():
        for line in subprocess.run([program], check=True, capture_output=True, text=True).stdout.splitlines():
            name, numbers = line.split(": ")
            rust = tuple(float(word) for word in numbers.replace(",", "").split()[::2])
            show(f"Rust, {name}", rust)
            print(
                f"{'':<44}ncollapse/Rust {ours[name][0] / rust[0]:.3f} (median), {ours[name][1] / rust[1]:.3f} (least)"
            )
    doubles = features.astype(float)
    show("NumPy, the Gram matrix alone, in float64", seconds(lambda: doubles.T @ doubles), ours["scatter"])
    try:
        import torch
    except ImportError:
        return
    torch.set_num_threads(nc.get_num_threads())
    tensors = torch.from_numpy(features), torch.from_numpy(labels)
    for dtype in (torch.float32, torch.float64):
        mean, covariance = Means(torch, dtype), Covariance(torch, dtype)
        first = seconds(lambda: mean.accumulate(*tensors))
        means = mean.means()
        second = seconds(lambda: covariance.accumulate(*tensors, means))
        show(f"PyTorch {dtype}, means and covariance", tuple(map(sum, zip(first, second))), ours["scatter"])
    numbered = nc.Accumulator(CLASSES, WIDTH)
    numbers = iter(range(BATCHES))
    show("ncollapse, numbered batches", seconds(lambda: numbered.update(features, labels, batch=next(numbers))))
    accumulator = nc.Accumulator(CLASSES, WIDTH)
    accumulator.update(features, labels)
    other = accumulator.copy()
    show("merge", seconds(lambda: other.merge(accumulator)))
    for compact in (False, True):
        data = accumulator.to_bytes(compact)
        show(
            f"to bytes, compact={compact}: {len(data) / 1e6:.1f} MB", seconds(lambda: accumulator.to_bytes(compact), 5)
        )
        show("from bytes", seconds(lambda: nc.Accumulator.from_bytes(data), 5))


def accuracy():
    """Near collapse: classes of spread 1e-4 about means of size 1, far from the origin, in float32."""
    rng = np.random.default_rng(1)
    labels = np.arange(ROWS) % 10
    means = 10 + rng.standard_normal((10, 32))
    features = (means[labels] + 1e-4 * rng.standard_normal((ROWS, 32))).astype(np.float32)
    exact, count = features.astype(np.longdouble), np.bincount(labels)
    own = np.stack([exact[labels == k].mean(0) for k in range(10)])
    deviations, centered = exact - own[labels], own - exact.mean(0)
    within, between = deviations.T @ deviations / ROWS, centered.T @ centered / 10
    # In the space of the class means, whose condition is small.
    basis = np.linalg.svd(centered.astype(float), full_matrices=False)[2][:9]
    trace = lambda within, between: np.trace(np.linalg.solve(basis @ between @ basis.T, basis @ within @ basis.T)) / 10
    expected = trace(within.astype(float), between.astype(float))
    accumulator = nc.Accumulator(10, 32)
    for start in range(0, ROWS, 512):
        accumulator.update(features[start : start + 512], labels[start : start + 512])
    print(
        f"near collapse: NC1 {expected:.3e}; "
        f"relative error of ncollapse {abs(nc.metrics(accumulator).nc1 / expected - 1):.1e}"
    )
    try:
        import torch
    except ImportError:
        return
    for dtype in (torch.float32, torch.float64):
        x, y = torch.from_numpy(features).to(dtype), torch.from_numpy(labels)
        totals = torch.zeros(10, 32, dtype=dtype)
        for start in range(0, ROWS, 512):
            one_hot = torch.nn.functional.one_hot(y[start : start + 512], 10).to(dtype)
            totals += one_hot.T @ x[start : start + 512]
        m = totals / torch.tensor(count)[:, None].to(dtype)
        difference = x - m[y]
        center = (m * torch.tensor(count)[:, None] / ROWS).sum(0)
        between = (m - center).T @ (m - center) / 10
        ratio = torch.trace(torch.linalg.pinv(between) @ (difference.T @ difference / ROWS)).item() / 10
        print(f"  PyTorch {dtype}, pinv as published: {abs(ratio / expected - 1):.1e}")


def small():
    code = "import time; s = time.perf_counter(); import ncollapse; print(time.perf_counter() - s)"
    times = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout) for _ in range(20)
    ]
    show("import ncollapse", (statistics.median(times), min(times)))
    # 1000 classes whose counts fall from 1280 to 5 in equal ratios, as in benches/certified.rs: the number of classes and
    # the largest and smallest count are those of ImageNet-LT, its counts between them are not.
    counts = np.round(1280 * (5 / 1280) ** (np.arange(1000) / 999)).astype(int)
    keywords = dict(widths=2048, layer_decay=5e-4, feature_decay=1e-6)
    # Cross-entropy takes a minute: one run says enough.
    for loss, repeats in (("squared", 20), ("cross-entropy", 1)):
        times = seconds(lambda: nc.predict(counts, loss=loss, **keywords), repeats)
        distinct = len(np.unique(counts))
        show(f"predict, {loss}, 1000 classes, {distinct} counts", times)
    prediction = nc.predict(counts, **keywords)
    show("  its Gram matrix", seconds(prediction.gram, 10))
    show("  its angles", seconds(prediction.angles, 10))


if __name__ == "__main__":
    updates()
    accuracy()
    small()
