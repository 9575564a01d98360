"""A network compared with its optimum, as a plain object."""

from __future__ import annotations

from ._results import Metrics, _plain
from ._text import html, number, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional


class Verdict:
    """A number, what the theory has in its place, and whether training has got there."""

    __slots__ = ("measured", "name", "target", "verdict")

    def __init__(self, name: str, measured: Optional[float], target: Optional[float], verdict: str) -> None:
        self.name, self.measured, self.target, self.verdict = name, measured, target, verdict

    def __repr__(self) -> str:
        return f"Verdict({self.name}: {number(self.measured)}, target {number(self.target)}: {self.verdict})"


class Measurement(Metrics):
    """A network compared with its optimum."""

    nc2_classifier: Optional[float]
    nc2_features: Optional[float]
    """Distances of the Gram matrices from those of the optimum, NC2."""
    nc3: Optional[float]
    """The distance of the prediction from that of the optimum."""
    alignment: Optional[float]
    """The distance of the classifiers from the class means, as the theory aligns them."""
    nc4: Optional[float]
    """The share of samples on which the network and the nearest class mean disagree."""
    accuracy: Optional[float]
    nearest_center_accuracy: Optional[float]
    objective: Optional[float]
    optimum: Optional[float]
    """The least objective if ``is_proved``, otherwise that of the best point known."""
    is_proved: Optional[bool]
    """As ``Prediction.is_proved``; None if the optimum is not known."""
    is_unique: Optional[bool]
    optimum_gap: Optional[float]
    """(optimum - lower bound)/optimum: how exactly the least objective is known."""
    gap: Optional[float]
    """(objective - optimum)/optimum."""
    is_below_optimum: Optional[bool]
    """Whether the objective is below the optimum: then this is not its model."""
    distance: Optional[float]
    """The distance from the closest minimizer, of the block that is farthest, relative to that block."""
    distances: Optional[dict[str, Any]]
    """The same for "layers", "features" and "bias"."""
    nc4_predicted: Optional[float]
    """The disagreement at the optimum."""
    cdnv_apart: Optional[float]
    """CDNV over the pairs of classes whose means the optimum keeps apart; None if it keeps all apart."""
    has_reached: Optional[bool]
    """Whether the objective is within 1 % of the least one; None if there is no verdict."""
    applies: bool
    """Whether the theory applies: the arrays are at rest under this loss with these decays."""
    fits: Optional[str]
    """The loss that the arrays are at rest under."""
    findings: list[str]
    """What speaks against a comparison, in sentences."""
    model: Optional[dict[str, Any]]
    layer_decays: Optional[list[float]]
    feature_decay: Optional[float]
    """Decays of the optimum compared with, in the theory's units."""
    decays_from: Optional[str]
    """ "arguments" or "arrays"."""
    rank: Optional[int]
    accuracy_by_group: list[dict[str, Any]]
    """For classes of the same count: count, classes, accuracy, nearest_center_accuracy."""
    class_effective_ranks: Optional[list[Optional[float]]]
    """Of the features of each class, 1 after collapse; None above 4 million numbers d^2 K."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.nc2_classifier, self.nc2_features = data["nc2"]["classifier"], data["nc2"]["features"]
        self.nc3, self.alignment = data["nc3"]["product"], data["nc3"]["alignment"]
        self.fits = data["implied"]["loss"]
        for key in (
            "nc4", "accuracy", "nearest_center_accuracy", "objective", "optimum", "gap", "distance", "applies",
            "findings", "model", "layer_decays", "feature_decay", "decays_from", "rank", "has_reached",
            "accuracy_by_group", "class_effective_ranks", "is_proved", "is_unique", "optimum_gap", "is_below_optimum",
            "distances", "nc4_predicted", "cdnv_apart",
        ):  # fmt: skip
            setattr(self, key, data[key])

    def to_dict(self) -> dict[str, Any]:
        """As ``Metrics.to_dict``, with the verdict and the verdicts."""
        return dict(super().to_dict(), verdict=self.verdict, verdicts=[_plain(line) for line in self._data["verdicts"]])

    @property
    def verdict(self) -> str:
        """Has training got there, in a sentence."""
        if self.optimum is None:
            return "no verdict: the arrays do not say which optimum to compare with"
        if not self.applies:
            return "no verdict: the arrays are not those of this model"
        if self.objective is None:
            return "compared by its geometry alone: the objective needs all layers, and weights is their product"
        if self.gap is None:
            return "no verdict: the least objective is 0"
        if self._data["is_below_optimum"]:
            return "no verdict: the network is below this point, which is not its optimum"
        if self.has_reached is None:
            return "compared by its geometry alone: at any size it is an optimum of the decays that this size implies"
        if self.has_reached:
            if self.gap < 1e-14:
                return "the network has reached its optimum: it has the least objective, to rounding"
            return f"the network has reached its optimum: it is {self.gap:.1e} above the least objective"
        return f"the network has not reached its optimum: it is {self.gap:.2f} above the least objective"

    @property
    def verdicts(self) -> list[Verdict]:
        """Every number with its target: "reached" within 0.01 of it (NC1 undivided: 0.01 K), "near" within ten times
        that, "far", or "-" without a verdict."""
        return [Verdict(**line) for line in self._data["verdicts"] if line["measured"] is not None]

    def _cells(self) -> list[list[str]]:
        return [[row.name, number(row.measured), number(row.target), row.verdict] for row in self.verdicts]

    def __repr__(self) -> str:
        return f"Measurement({self.verdict})"

    def __str__(self) -> str:
        lines = [f"- {finding}" for finding in self.findings] + [self.verdict, ""]
        return "\n".join(lines) + text(self._cells(), ["metric", "measured", "target", "verdict"])

    def _repr_html_(self) -> str:
        from html import escape

        findings = "".join(f"<li>{escape(finding)}</li>" for finding in self.findings)
        return f"<ul>{findings}</ul>" * bool(findings) + html(
            self._cells(), ["metric", "measured", "target", "verdict"], self.verdict
        )

    def plot(self) -> Any:
        """Gram matrices and singular values, measured and predicted, as a figure of matplotlib."""
        from ._plots import plot_measurement

        return plot_measurement(self)
