"""Gradient descent: this crate compared with PyTorch and NumPy, on the same models, in one run.

    pip install -r benches/peers/requirements.txt
    python3 benches/peers/descend.py [--figure docs/speed-descent.svg] [--limit SECONDS]

Builds and runs `neural-collapse descend`; everything in float64 on all threads. The first table has milliseconds a
gradient step with its update, and next to it the floor: the larger of its operations at the speed of the machine's own
product of two 1024 x 1024 matrices, and of reading and writing all features at the speed of its memory. The second has
seconds to a relative gap of 1e-10, PyTorch's for the best of its optimizers and learning rates.
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
import torch  # noqa: E402

torch.set_num_threads(THREADS)
torch.set_default_dtype(torch.float64)

ROOT = pathlib.Path(__file__).resolve().parents[2]
WIDTH, LAYER_DECAY, FEATURE_DECAY, GAP = 512, 5e-4, 1e-5, 1e-10
PROFILES = {
    "CIFAR-10 profile": [500] * 2 + [400] * 2 + [300] * 2 + [200] * 2 + [100] * 2,
    "EMNIST letters profile": [1500] + [600] * 5 + [50] * 20,
    "100 classes of 500": [500] * 100,
}
# What to try; an optimizer that cannot beat the best so far is given no more time than it took.
OPTIMIZERS = [
    *[(f"Adam, lr {lr}", lambda p, lr=lr: torch.optim.Adam(p, lr=lr)) for lr in (0.01, 0.03, 0.003)],
    *[(f"L-BFGS, history {m}", lambda p, m=m: torch.optim.LBFGS(p, history_size=m, **LINE_SEARCH)) for m in (10, 100)],
    *[(f"SGD, Nesterov, lr {lr}", lambda p, lr=lr: torch.optim.SGD(p, lr=lr, **MOMENTUM)) for lr in (1.0, 0.1, 10.0)],
]
# Twenty iterations a call, no end before the gap.
LINE_SEARCH = {"lr": 1.0, "max_iter": 20, "tolerance_grad": 0.0, "tolerance_change": 0.0, "line_search_fn": "strong_wolfe"}
MOMENTUM = {"momentum": 0.99, "nesterov": True}


def ours(counts, layers, *flags, gap=GAP):
    """The JSON of one run of `neural-collapse descend`."""
    command = [ROOT / "target/release/neural-collapse", "descend", "--json", "--threads", THREADS, "--widths", WIDTH, "--layers", layers]
    command += ["--layer-decay", LAYER_DECAY, "--feature-decay", FEATURE_DECAY, "--gap", gap, *flags]
    command += ["--counts", ",".join(map(str, counts))]
    return json.loads(subprocess.run(list(map(str, command)), check=True, capture_output=True).stdout)


def start(counts, layers, seed=0):
    """A Gaussian start as `Parameters::gaussian` of scale 1 draws it."""
    rng, classes = np.random.default_rng(seed), len(counts)
    root = (FEATURE_DECAY * LAYER_DECAY**layers * max(counts)) ** (0.5 / (layers + 1))
    draw = lambda decay, shape, cols: rng.standard_normal(shape) * root / decay**0.5 / (shape[0] ** 0.5 + cols**0.5)
    widths = [WIDTH] * layers + [classes]
    weights = [draw(LAYER_DECAY, (widths[i + 1], widths[i]), widths[i]) for i in range(layers)]
    return weights, draw(FEATURE_DECAY, (WIDTH, sum(counts)), classes), np.zeros((classes, 1))


def one_hot(counts):
    return np.repeat(np.eye(len(counts)), counts, axis=1)


def objective(weights, features, bias, labels):
    output = features
    for matrix in weights:
        output = matrix @ output
    fit = (output + bias - labels).square().sum() / (2 * labels.shape[1])
    return fit + LAYER_DECAY / 2 * sum(matrix.square().sum() for matrix in weights) + FEATURE_DECAY / 2 * features.square().sum()


def by_hand(lib, weights, features, bias, labels, step):
    """One step of gradient descent, one layer, gradients written out; in place."""
    (matrix,), samples = weights, labels.shape[1]
    residual = matrix @ features
    residual += bias
    residual -= labels
    residual /= samples
    gradient = residual @ features.T
    pulled = matrix.T @ residual
    bias -= step * (residual.sum(1)[:, None])
    matrix *= 1 - step * LAYER_DECAY
    matrix -= step * gradient
    features *= 1 - step * FEATURE_DECAY
    pulled *= step
    features -= pulled


def seconds_a_step(step):
    """The median over steps for two seconds, the first three left out."""
    times = []
    while len(times) < 8 or sum(times) < 2.0:
        clock = time.perf_counter()
        step()
        times.append(time.perf_counter() - clock)
    return float(np.median(times[3:]))


def peer_steps(counts):
    """Seconds a step of PyTorch with autograd, of PyTorch and of NumPy by hand."""
    weights, features, bias = start(counts, 1)
    labels = one_hot(counts)
    numpy = seconds_a_step(lambda: by_hand(np, weights, features, bias, labels, 1e-3))
    tensors = [torch.tensor(array) for array in (weights[0], features, bias, labels)]
    torch_by_hand = seconds_a_step(lambda: by_hand(torch, tensors[:1], *tensors[1:], 1e-3))
    parameters = [torch.tensor(array, requires_grad=True) for array in (weights[0], features, bias)]
    optimizer = torch.optim.SGD(parameters, lr=1e-3)

    def autograd():
        optimizer.zero_grad()
        objective(parameters[:1], *parameters[1:], tensors[3]).backward()
        optimizer.step()

    return seconds_a_step(autograd), torch_by_hand, numpy


def memory_speed():
    """Bytes a second of reading and writing an array far larger than the caches."""
    array = torch.zeros(50_000_000)
    return 16 * 50_000_000 / seconds_a_step(lambda: array.mul_(1.000001))


def matrix_product():
    """Operations a second of faer's product of two 1024 x 1024 matrices."""
    path = ROOT / "target/criterion/matrix product/1024 x 1024/new/estimates.json"
    return 2 * 1024**3 / (json.loads(path.read_text())["median"]["point_estimate"] * 1e-9)


def steps_table():
    """Rows of a profile, its samples and classes, and milliseconds of all sides."""
    bandwidth, peak = memory_speed(), matrix_product()
    print(f"\n{THREADS} threads, float64; product of 1024 x 1024 matrices {peak / 1e9:.0f} GF/s, memory {bandwidth / 1e9:.1f} GB/s")
    print("\n| one step, L = 1, d = 512 | PyTorch autograd | PyTorch by hand | NumPy by hand | all samples | floor | reduced | floor |")
    print("|---|---|---|---|---|---|---|---|")
    for name, counts in PROFILES.items():
        autograd, hand, numpy = peer_steps(counts)
        flags = ["--method", "gd", "--step", "1e-3"]
        full = ours(counts, 1, *flags, "--full", "--steps", 30 if sum(counts) > 10_000 else 300, gap=0)
        reduced = ours(counts, 1, *flags, "--steps", 1000, gap=0)

        def cell(run):
            floor = max(6 * WIDTH * len(counts) * run["columns"] / peak, 16 * WIDTH * run["columns"] / bandwidth)
            return f"{1e3 * run['seconds_per_step']:.3g} ({autograd / run['seconds_per_step']:.1f}x) | {1e3 * floor:.3g}"

        print(f"| {name}, N = {sum(counts)} | {1e3 * autograd:.3g} | {1e3 * hand:.3g} | {1e3 * numpy:.3g} | {cell(full)} | {cell(reduced)} |")


def torch_run(counts, layers, make, optimum, limit):
    """(seconds, gap) after every step until the gap is reached or the time is up."""
    weights, features, bias = start(counts, layers)
    labels = torch.tensor(one_hot(counts))
    parameters = [torch.tensor(array, requires_grad=True) for array in (*weights, features, bias)]
    optimizer, trajectory = make(parameters), []
    clock = time.perf_counter()

    def closure():
        optimizer.zero_grad()
        loss = objective(parameters[:layers], *parameters[layers:], labels)
        loss.backward()
        return loss

    while True:
        loss = float(optimizer.step(closure).detach())
        trajectory.append((time.perf_counter() - clock, loss / optimum - 1))
        if not GAP < trajectory[-1][1] < 1e6 or trajectory[-1][0] > limit:
            return trajectory


def reached(trajectory):
    return trajectory[-1][0] if trajectory[-1][1] <= GAP else float("inf")


def best_of_torch(counts, layers, optimum, limit):
    best = ("none", [(limit, float("inf"))])
    for name, make in OPTIMIZERS:
        trajectory = torch_run(counts, layers, make, optimum, min(limit, reached(best[1])))
        seconds = reached(trajectory)
        print(f"    {name}: {seconds:.2f} s, gap {trajectory[-1][1]:.1e} after {len(trajectory)} steps", flush=True)
        best_gap = lambda run: (reached(run), run[-1][1] if run[-1][1] == run[-1][1] else float("inf"))
        if best_gap(trajectory) < best_gap(best[1]):
            best = (name, trajectory)
    return best


def gaps_table(limit):
    """The table of seconds to the gap, and what the figure needs."""
    panels, lines = [], []
    for name in list(PROFILES)[:2]:
        for layers in (1, 3):
            counts = PROFILES[name]
            runs = {
                "Nesterov": ours(counts, layers, "--method", "nesterov"),
                "L-BFGS": ours(counts, layers, "--method", "lbfgs"),
                "collapsed start": ours(counts, layers, "--collapsed"),
            }
            print(f"\n{name}, L = {layers}", flush=True)
            optimizer, trajectory = best_of_torch(counts, layers, runs["Nesterov"]["optimum"], limit)
            peer = reached(trajectory)
            over = "" if peer < float("inf") else "> "
            peer = min(peer, limit)

            def cell(run):
                if run["stop"] != "gap":
                    return f"gap {run['gap']:.0e}"
                return f"{run['seconds']:.3g} ({over}{peer / run['seconds']:.0f}x)"

            cells = " | ".join(cell(run) for run in runs.values())
            lines.append(f"| {name}, L = {layers} | {over}{peer:.3g} ({optimizer}, gap {trajectory[-1][1]:.0e}) | {cells} |")
            panels.append((f"{name}, L = {layers}", optimizer, trajectory, runs))
    print("\n| seconds to a gap of 1e-10 | best of PyTorch | Nesterov | L-BFGS | collapsed start |")
    print("|---|---|---|---|---|")
    print("\n".join(lines))
    return panels


def figure(path, panels):
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "neural-collapse"
    import matplotlib.pyplot as plt

    canvas = plt.figure(figsize=(9, 6))
    for i, (title, optimizer, trajectory, runs) in enumerate(panels):
        axes = canvas.add_subplot(2, 2, i + 1)
        axes.loglog(*zip(*trajectory), color="#888888", label=f"PyTorch, {optimizer}")
        for (name, run), color in zip(runs.items(), ("#2266aa", "#22aa66", "#aa2266")):
            points = [
                (point["step"] * run["seconds_per_step"], point["objective"] / run["optimum"] - 1)
                for point in run["trajectory"]
                if point["step"] > 0 and point["objective"] > run["optimum"]
            ]
            axes.loglog(*zip(*points), color=color, label=name)
        axes.set_title(title, fontsize=10)
        axes.set_ylim(GAP, 1e3)
        axes.grid(True, alpha=0.3)
        axes.legend(fontsize=7, loc="lower left")
        if i % 2 == 0:
            axes.set_ylabel("relative gap")
        if i >= 2:
            axes.set_xlabel("seconds")
    canvas.tight_layout()
    canvas.savefig(path, metadata={"Date": None})


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", help="where to write the figure, an SVG file")
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for every optimizer of PyTorch (default 60)")
    flags = parser.parse_args()
    subprocess.run(["cargo", "build", "--release", "-p", "neural-collapse-cli"], check=True, cwd=ROOT)
    subprocess.run(["cargo", "bench", "--bench", "descend", "--", "matrix product"], check=True, cwd=ROOT)
    steps_table()
    panels = gaps_table(flags.limit)
    if flags.figure:
        figure(flags.figure, panels)


if __name__ == "__main__":
    main()
