"""Features of an array on disk, measured by a Dask cluster: accumulators merged by a tree reduction.

    pip install "dask[distributed]"
    python dask_tree.py

The array need not fit in the memory of any machine. What a worker sends is its accumulator: the sums of all its
samples, never the samples.
"""

import pathlib
import tempfile

import ncollapse as nc
import numpy as np
from dask import delayed
from dask.distributed import Client, LocalCluster

ROWS, CHUNK, WIDTH, CLASSES = 40_000, 2_500, 64, 10


def write(folder):
    """Features and labels on disk, as a training job leaves them."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, ROWS)
    means = rng.standard_normal((CLASSES, WIDTH))
    features = (means[labels] + 0.1 * rng.standard_normal((ROWS, WIDTH))).astype(np.float32)
    np.save(folder / "features.npy", features)
    np.save(folder / "labels.npy", labels)


def accumulate(folder, number):
    """The accumulator of one chunk, on a worker: only its rows are read."""
    rows = slice(number * CHUNK, (number + 1) * CHUNK)
    features = np.load(folder / "features.npy", mmap_mode="r")[rows]
    labels = np.load(folder / "labels.npy", mmap_mode="r")[rows]
    accumulator = nc.Accumulator(CLASSES, WIDTH)
    accumulator.update(features, labels, batch=number)
    return accumulator


def merge(first, second):
    """Neither of the two is changed: Dask may need them again."""
    merged = first.copy()
    merged.merge(second)
    return merged


def tree(parts):
    """Pairs, pairs of pairs, and so on: log2(n) steps, and no worker holds more than two accumulators."""
    while len(parts) > 1:
        pairs = [delayed(merge)(*parts[i : i + 2]) for i in range(0, len(parts) - 1, 2)]
        parts = pairs + parts[2 * len(pairs) :]
    return parts[0]


def main():
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        write(folder)
        chunks = range(ROWS // CHUNK)
        with LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
            with Client(cluster):
                merged = tree([delayed(accumulate)(folder, number) for number in chunks]).compute()
        whole = nc.Accumulator(CLASSES, WIDTH)
        for number in chunks:
            whole.merge(accumulate(folder, number))
    metrics, expected = nc.metrics(merged), nc.metrics(whole)
    assert metrics.to_dict() == expected.to_dict()
    print(f"NC1 of {sum(metrics.counts)} samples by two workers: {metrics.nc1!r}, to the last bit that of one process")
    return metrics


if __name__ == "__main__":
    main()
