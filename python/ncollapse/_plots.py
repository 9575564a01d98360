"""Figures, with matplotlib."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._measurement import Measurement
    from .monitor import CollapseMonitor


def _pyplot() -> Any:
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError("plot needs matplotlib: pip install matplotlib") from error
    return plt


def plot_measurement(measurement: Measurement) -> Any:
    """A row for classifiers and one for class means, and one for singular values."""
    import numpy as np

    plt = _pyplot()
    data = measurement._data
    order = np.argsort(-np.asarray(measurement.counts), kind="stable")
    values = list(measurement.singular_values.items())
    columns = max(2, len(values))
    figure, axes = plt.subplots(3, columns, figsize=(4 * columns, 11), squeeze=False)
    for axis in axes.flat:
        axis.set_axis_off()
    predicted = data["grams"].get("predicted") or {}
    for row, of in enumerate(("classifiers", "means")):
        pair = [("predicted", predicted.get(of)), ("measured", data["grams"]["measured"][of])]
        pair = [(name, gram / (np.linalg.norm(gram) or 1)) for name, gram in pair if gram is not None]
        most = max([np.abs(gram).max() for _, gram in pair], default=1)
        for axis, (name, gram) in zip(axes[row], pair):
            axis.set_axis_on()
            axis.imshow(gram[np.ix_(order, order)], cmap="RdBu", vmin=-most, vmax=most)
            axis.set_title(f"{of}, {name}")
            axis.set_xlabel("classes by falling count")
    for axis, (block, both) in zip(axes[2], values):
        axis.set_axis_on()
        theirs, ours = both.get("predicted"), both["measured"]
        if theirs is not None:
            axis.plot(range(1, len(theirs) + 1), theirs, "o", color="0.75", ms=7, label="predicted")
        axis.plot(range(1, len(ours) + 1), ours, ".", color="C0", label="measured")
        axis.set_title(f"singular values: {block}")
        axis.set_ylim(bottom=0)
        axis.legend()
    figure.suptitle(measurement.verdict)
    figure.tight_layout()
    return figure


def plot_history(monitor: CollapseMonitor) -> Any:
    """Metrics on the left, implied decays on the right, against epochs."""
    from math import nan

    plt = _pyplot()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    history = monitor.history

    def curve(axis: Any, rows: list[dict[str, Any]], key: str, label: str) -> None:
        points = [(row["epoch"], row[key]) for row in rows if row.get(key) is not None]
        # A logarithmic axis has no place for them: a gap, and not a line from one neighbor to the other.
        lost = sum(not value > 0 for _, value in points)
        if lost:
            label += f": {lost} of {len(points)} epochs not above 0"
        if points:
            axis.semilogy(
                [epoch for epoch, _ in points], [value if value > 0 else nan for _, value in points],
                marker=".", label=label,
            )  # fmt: skip

    for key, label in (
        ("nc1", "NC1"), ("cdnv", "CDNV"), ("mean_simplex", "means to simplex"),
        ("classifier_simplex", "classifiers to simplex"), ("self_duality", "self-duality"), ("gap", "gap"),
    ):  # fmt: skip
        curve(left, history, key, label)
    for loss in dict.fromkeys(row["implied_loss"] for row in history):
        rows = [row for row in history if row["implied_loss"] == loss]
        for key, label in (("layer_decay", "layer"), ("feature_decay", "features"), ("misfit", "misfit of the layer")):
            curve(right, rows, key, f"{label}, {loss}{' loss' * (loss == 'squared')}")
    left.set_title("neural collapse")
    right.set_title("implied decays, in the theory's units")
    for axis in (left, right):
        axis.set_xlabel("epoch")
        if axis.lines:
            axis.legend()
    figure.tight_layout()
    return figure
