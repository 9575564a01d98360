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


def main():
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
