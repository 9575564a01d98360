"""What a pass costs at d = 4096: measured for K = 1000 and 10,000, for docs/scale.md to extrapolate.

RAYON_NUM_THREADS=2 python python/benches/scale.py
"""

import time

import ncollapse as nc
import numpy as np

WIDTH, ROWS = 4096, 2048


def least(work, repeats=3):
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def states():
    """What a worker sends, compared with 9 (2 d K + d^2) bytes."""
    rng = np.random.default_rng(2)
    for width, classes, scatter in (
        (512, 100, True),
        (512, 1000, True),
        (512, 1000, False),
        (4096, 1000, True),
        (4096, 1000, False),
    ):
        accumulator = nc.Accumulator(classes, width, scatter=scatter)
        labels = np.arange(4 * classes) % classes
        for _ in range(3):
            accumulator.update(rng.standard_normal((len(labels), width), dtype=np.float32), labels)
        formula = 9 * (2 * width * classes + (width**2 if scatter else 0))
        sizes = [len(accumulator.to_bytes(compact)) / 1e6 for compact in (True, False)]
        print(
            f"d {width:5} K {classes:5} {'scatter' if scatter else 'means':8}"
            f"formula {formula / 1e6:6.1f} MB, compact {sizes[0]:6.1f} MB, whole {sizes[1]:6.1f} MB",
            flush=True,
        )


def main():
    states()
    features = np.random.default_rng(0).standard_normal((ROWS, WIDTH), dtype=np.float32)
    print(f"batches of {ROWS} x {WIDTH} in float32, {nc.get_num_threads()} threads; the least of three times")
    for classes in (1000, 10_000):
        labels = np.random.default_rng(1).integers(0, classes, ROWS)
        for scatter in (False, True):
            accumulator = nc.Accumulator(classes, WIDTH, scatter=scatter)
            seconds = least(lambda: accumulator.update(features, labels))
            line = f"K {classes:6} {'scatter' if scatter else 'means':8} update {1e6 * seconds / ROWS:8.2f} us a sample"
            line += f", {ROWS * WIDTH * 4 / seconds / 1e9:6.2f} GB/s"
            if scatter:
                line += f", {ROWS * WIDTH**2 / seconds / 1e9:6.1f} GF/s"
            other = accumulator.copy()
            line += f"; merge {least(lambda: other.merge(accumulator)):.2f} s"
            start = time.perf_counter()
            data = accumulator.to_bytes(compact=True)
            line += f"; {len(data) / 1e6:.0f} MB in {time.perf_counter() - start:.2f} s"
            start = time.perf_counter()
            nc.Accumulator.from_bytes(data)
            print(line + f", read in {time.perf_counter() - start:.2f} s", flush=True)


if __name__ == "__main__":
    main()
