"""Results as plain objects."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    import numpy as np

# How far from its target a number between 0 and about 1 is at most that has reached it; ten times that is near.
REACHED = 0.01
# A relative gap above minus this is not below zero: certified minima are known to 1e-6 at worst.
GAP_ROUNDING = 1e-6


def _plain(value: Any) -> Any:
    """Arrays as lists, all the way down."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    return value.tolist() if hasattr(value, "tolist") else value


def _number(value: Optional[float]) -> str:
    if value is None:
        return "-"
    return f"{value:.5g}" if value == 0 or 1e-3 <= abs(value) < 1e5 else f"{value:.3e}"


def _html(rows: list[list[str]], head: list[str], caption: str) -> str:
    from html import escape

    cells = "".join(f"<th>{escape(cell)}</th>" for cell in head)
    body = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><caption>{escape(caption)}</caption><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table>"


def _text(rows: list[list[str]], head: list[str]) -> str:
    widths = [max(len(row[i]) for row in [head, *rows]) for i in range(len(head))]
    lines = [
        "  ".join(
            cell.ljust(width) if i == 0 else cell.rjust(width) for i, (cell, width) in enumerate(zip(row, widths))
        )
        for row in [head, *rows]
    ]
    return "\n".join(line.rstrip() for line in lines)


class _Result:
    """A dictionary of the native half, and its entries as attributes."""

    _data: dict[str, Any]

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data

    def to_dict(self) -> dict[str, Any]:
        """Everything as plain objects: numbers, words, lists and dictionaries, ready for JSON."""
        plain: dict[str, Any] = _plain({key: value for key, value in self._data.items() if key != "grams"})
        return plain


class Limits(_Result):
    """The largest decays that keep what was asked for: below them it is kept, above them not."""

    kept: Optional[str]
    """ "below", "never" (at no decay), "always" (at any); None if no formula says so."""
    scale: Optional[float]
    """The factor on all decays together: 0 for "never", infinite for "always"."""
    layer_decays: list[Optional[float]]
    """The largest decay of each layer, all others as they are, in the units of the arguments."""
    feature_decay: Optional[float]
    """The largest decay of the features, all others as they are."""
    separable_scale: Optional[float]
    """The factor on all decays up to which there are class weights that keep all classes apart; one layer only."""
    class_weights: Optional[np.ndarray]
    """Such weights for the decays as they are, with the least ratio of the largest to the smallest; None if there are
    none."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.__dict__.update(data)

    def __repr__(self) -> str:
        return f"Limits(kept={self.kept!r}, scale={_number(self.scale)}, feature_decay={_number(self.feature_decay)})"


class Run(_Result):
    """What a descent has come to."""

    objective: float
    """In the theory's units, as ``Prediction.objective``."""
    loss: float
    """In the units of ``reduction``."""
    optimum: Optional[float]
    """The least objective; None if it is not known."""
    gap: Optional[float]
    gradient_norm: float
    steps: int
    evaluations: int
    stop: str
    """Why it ended: "gap", "gradient", "step limit", "stalled", "observer" and others."""
    ending: str
    """What kind of point it is, as far as is known."""
    advice: str
    is_converged: bool
    seconds: float
    weights: list[np.ndarray]
    """W_1 .. W_L, (out, in) each."""
    class_means: np.ndarray
    """(K, d)."""
    bias: Optional[np.ndarray]
    trajectory: dict[str, np.ndarray]
    """step, objective and gradient_norm of all points."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.__dict__.update(data)

    def __repr__(self) -> str:
        gap = "" if self.gap is None else f", gap {self.gap:.1e}"
        return f"Run(objective {self.objective:.15e}{gap}, {self.steps} steps: {self.ending})"


class Metrics(_Result):
    """The numbers of neural collapse; None if a definition divides by zero, or if what it needs was not given."""

    counts: list[int]
    nc1: Optional[float]
    """tr(S_W S_B^+)/K about the mean of all features (Liu 2024, Dang 2023, Zhu 2021)."""
    nc1_unweighted: Optional[float]
    """The same about the mean of the class means."""
    nc1_weighted: Optional[float]
    """The same with S_B weighted by the class sizes, as in the analysis of variance."""
    nc1_undivided: Optional[float]
    """K times the first."""
    trace_ratio: Optional[float]
    """tr S_W/tr S_B."""
    cdnv: Optional[float]
    """The class-distance normalized variance (Galanti, Gyorgy, Hutter 2022)."""
    row_sum: Optional[float]
    """NC0: |W' 1|/|W|."""
    feature_mean: Optional[float]
    """The part of the class means that all features have in common: 0 at the optimum of a model with a bias."""
    frames: dict[str, Any]
    """For "classifiers", "means" (about the mean of all features) and "uncentered_means": equinorm, equiangularity,
    maximal_angle, simplex, orthogonal; and "self_duality"."""
    singular_values: dict[str, dict[str, Any]]
    """For "product", "features" (class means weighted by the roots of the counts) and each layer: "measured",
    "effective_rank", and "predicted" if there is an optimum."""
    implied: dict[str, Any]
    """The decays that the arrays imply, in the theory's units, with misfits from 0 (at rest) to 1."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.counts = data["counts"]
        nc1 = data["nc1"]
        self.nc1, self.nc1_unweighted = nc1["paper"], nc1["unweighted"]
        self.nc1_weighted, self.nc1_undivided = nc1["weighted"], nc1["undivided"]
        self.trace_ratio, self.cdnv, self.row_sum = data["trace_ratio"], data["cdnv"], data["row_sum"]
        self.feature_mean = data["feature_mean"]["measured"]
        frames = data["frames"]
        self.frames = dict(frames["measured"], uncentered_means=frames["uncentered_means"])
        self.singular_values = data["singular_values"]
        self.implied = data["implied"]

    def _rows(self) -> list[tuple[str, Optional[float]]]:
        means, classifiers = self.frames["means"] or {}, self.frames["classifiers"] or {}
        return [
            ("NC1 (Liu, Dang, Zhu)", self.nc1),
            ("NC1 unweighted mean", self.nc1_unweighted),
            ("NC1 weighted classes", self.nc1_weighted),
            ("NC1 undivided", self.nc1_undivided),
            ("trace ratio", self.trace_ratio),
            ("CDNV", self.cdnv),
            ("mean of all features", self.feature_mean),
            ("mean equinorm", means.get("equinorm")),
            ("mean angles, std", means.get("equiangularity")),
            ("mean to simplex", means.get("simplex")),
            ("classifier equinorm", classifiers.get("equinorm")),
            ("classifier angles, std", classifiers.get("equiangularity")),
            ("classifier to simplex", classifiers.get("simplex")),
            ("self-duality", self.frames["self_duality"]),
            ("row sum of W (NC0)", self.row_sum),
        ]

    def __repr__(self) -> str:
        return f"Metrics(nc1={_number(self.nc1)}, {len(self.counts)} classes, {sum(self.counts)} samples)"

    def __str__(self) -> str:
        rows = [[name, _number(value)] for name, value in self._rows() if value is not None]
        return _text(rows, ["metric", "measured"])

    def _repr_html_(self) -> str:
        rows = [[name, _number(value)] for name, value in self._rows() if value is not None]
        return _html(rows, ["metric", "measured"], f"{len(self.counts)} classes, {sum(self.counts)} samples")


class Verdict:
    """A number, what the theory has in its place, and whether training has got there."""

    __slots__ = ("measured", "name", "target", "verdict")

    def __init__(self, name: str, measured: Optional[float], target: Optional[float], verdict: str) -> None:
        self.name, self.measured, self.target, self.verdict = name, measured, target, verdict

    def __repr__(self) -> str:
        return f"Verdict({self.name}: {_number(self.measured)}, target {_number(self.target)}: {self.verdict})"


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
    gap: Optional[float]
    """(objective - optimum)/optimum."""
    distance: Optional[float]
    """The distance from the closest minimizer, of the block that is farthest, relative to that block."""
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

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.nc2_classifier, self.nc2_features = data["nc2"]["classifier"], data["nc2"]["features"]
        self.nc3, self.alignment = data["nc3"]["product"], data["nc3"]["alignment"]
        self.fits = data["implied"]["loss"]
        for key in (
            "nc4", "accuracy", "nearest_center_accuracy", "objective", "optimum", "gap", "distance", "applies",
            "findings", "model", "layer_decays", "feature_decay", "decays_from", "rank",
        ):  # fmt: skip
            setattr(self, key, data[key])

    @property
    def has_reached(self) -> Optional[bool]:
        """Whether the objective is within 1 % of the least one; None if there is no verdict."""
        if not self.applies or self.gap is None or self.gap < -GAP_ROUNDING:
            return None
        return self.gap <= REACHED

    @property
    def verdict(self) -> str:
        """Has training got there, in a sentence."""
        if self.optimum is None:
            return "no verdict: the arrays do not say which optimum to compare with"
        if not self.applies:
            return "no verdict: the arrays are not those of this model"
        if self.gap is None:
            return "no verdict: the least objective is 0"
        if self.gap < -GAP_ROUNDING:
            return "no verdict: the network is below this point, which is not its optimum"
        if self.gap <= REACHED:
            return f"the network has reached its optimum: it is {self.gap:.1e} above the least objective"
        return f"the network has not reached its optimum: it is {self.gap:.2f} above the least objective"

    @property
    def verdicts(self) -> list[Verdict]:
        """Every number with its target: "reached" within 0.01 of it (NC1 undivided: 0.01 K), "near" within ten times
        that, "far", or "-" without a verdict."""
        data, has_target = self._data, self.optimum is not None
        judged = self.has_reached is not None
        zero = 0.0 if has_target else None
        # Of classes that share a mean at the optimum these are noise over noise.
        noise = None if data["collapsed"] else REACHED
        whole = None if noise is None else REACHED * len(self.counts)
        distances = data["distances"] or {"layers": [], "features": None, "bias": None}
        lines: list[tuple[str, Optional[float], Optional[float], Optional[float]]] = [
            ("NC1 (Liu, Dang, Zhu)", self.nc1, zero, noise),
            ("NC1 unweighted mean", self.nc1_unweighted, zero, noise),
            ("NC1 weighted classes", self.nc1_weighted, zero, noise),
            ("NC1 undivided", self.nc1_undivided, zero, whole),
            ("trace ratio", self.trace_ratio, zero, REACHED),
            ("CDNV", self.cdnv, zero, noise),
            ("CDNV, classes apart", data["cdnv_apart"], zero, REACHED),
            ("NC2 classifier", self.nc2_classifier, zero, REACHED),
            ("NC2 features", self.nc2_features, zero, REACHED),
            ("NC3 product", self.nc3, zero, REACHED),
            ("NC3 alignment", self.alignment, zero, REACHED),
            ("NC4 disagreement", self.nc4, data["nc4_predicted"], REACHED),
            ("relative gap", self.gap, zero, REACHED),
            ("distance, all blocks", self.distance, zero, REACHED),
            ("distance, layers", max(distances["layers"], default=None), zero, REACHED),
            ("distance, features", distances["features"], zero, REACHED),
            ("distance, bias", distances["bias"], zero, REACHED),
            ("mean of all features", self.feature_mean, data["feature_mean"].get("predicted"), REACHED),
        ]
        ours, theirs = data["frames"]["measured"], data["frames"].get("predicted")
        for name, of, number in (
            ("classifier equinorm", "classifiers", "equinorm"),
            ("classifier angles, std", "classifiers", "equiangularity"),
            ("mean equinorm", "means", "equinorm"),
            ("mean angles, std", "means", "equiangularity"),
            ("self-duality", None, "self_duality"),
            ("classifier to simplex", "classifiers", "simplex"),
            ("mean to simplex", "means", "simplex"),
            ("classifier to orthogonal", "classifiers", "orthogonal"),
            ("mean to orthogonal", "means", "orthogonal"),
        ):
            lines.append((name, _entry(ours, of, number), _entry(theirs, of, number), REACHED))
        return [
            Verdict(name, measured, target, _judge(measured, target, reached if judged else None))
            for name, measured, target, reached in lines
            if measured is not None
        ]

    def _cells(self) -> list[list[str]]:
        return [[row.name, _number(row.measured), _number(row.target), row.verdict] for row in self.verdicts]

    def __repr__(self) -> str:
        return f"Measurement({self.verdict})"

    def __str__(self) -> str:
        lines = [f"- {finding}" for finding in self.findings] + [self.verdict, ""]
        return "\n".join(lines) + _text(self._cells(), ["metric", "measured", "target", "verdict"])

    def _repr_html_(self) -> str:
        from html import escape

        findings = "".join(f"<li>{escape(finding)}</li>" for finding in self.findings)
        return f"<ul>{findings}</ul>" * bool(findings) + _html(
            self._cells(), ["metric", "measured", "target", "verdict"], self.verdict
        )

    def plot(self) -> Any:
        """Gram matrices and singular values, measured and predicted, as a figure of matplotlib."""
        from ._plots import plot_measurement

        return plot_measurement(self)


def _entry(frames: Optional[dict[str, Any]], of: Optional[str], number: str) -> Optional[float]:
    """A number of frames, if they are known."""
    entries = (frames or {}).get(of) if of else frames
    found: Optional[float] = (entries or {}).get(number)
    return found


def _judge(measured: Optional[float], target: Optional[float], reached: Optional[float]) -> str:
    if measured is None or target is None or reached is None:
        return "-"
    rest = abs(measured - target)
    return "reached" if rest <= reached else "near" if rest <= 10 * reached else "far"
