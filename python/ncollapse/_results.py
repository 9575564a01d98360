"""Results as plain objects."""

from __future__ import annotations

from math import isfinite

from ._text import html, number, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Optional

    import numpy as np


def _plain(value: Any) -> Any:
    """Arrays as lists, all the way down; None for numbers that JSON does not have."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not isfinite(value) else value


class _Result:
    """A dictionary of the native half, and its entries as attributes. Two are equal if all their numbers are."""

    _data: dict[str, Any]

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data

    def to_dict(self) -> dict[str, Any]:
        """Everything by the names of the attributes as plain objects, ready for JSON: numbers, words, lists and
        dictionaries, and None for a number that is infinite or NaN."""
        plain: dict[str, Any] = _plain({key: value for key, value in vars(self).items() if key != "_data"})
        return plain

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        # The time that a run has taken is not a number of its result.
        mine, theirs = (dict(of._data, seconds=None) for of in (self, other))
        return bool(_plain(mine) == _plain(theirs))

    __hash__ = None  # type: ignore[assignment]


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
        return f"Limits(kept={self.kept!r}, scale={number(self.scale)}, feature_decay={number(self.feature_decay)})"


class Run(_Result):
    """What a descent has come to."""

    objective: float
    """In the theory's units, as ``Prediction.objective``."""
    loss: float
    """In the units of ``reduction``."""
    optimum: Optional[float]
    """The least objective; None if it is not known, as with some nonnegative features (``Prediction.is_proved``)."""
    gap: Optional[float]
    gradient_norm: float
    steps: int
    evaluations: int
    stop: str
    """Why it ended: "gap", "gradient" (it is small enough), "step limit", "stalled" (no step lowers the objective by
    more than rounding), "diverged", "observer" (the callback), "below optimum" or "schedule end"."""
    ending: str
    """With a closed form: "global minimum", "strict saddle: ...", "local minimizer above the global minimum: ..." with
    the directions that are missing. Otherwise, and at other points, what ``stop`` means in words."""
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
    """tr S_W/tr S_B: the mean square distance from the class means, over that of the class means from the mean of all
    features, each class with the same weight in S_B."""
    cdnv: Optional[float]
    """The class-distance normalized variance (Galanti, Gyorgy, Hutter 2022)."""
    row_sum: Optional[float]
    """NC0: |W' 1|/|W|."""
    feature_mean: Optional[float]
    """The part of the class means that all features have in common, root(N) |m|/root(sum n_k |m_k|^2) with the mean m
    of all features and the class means m_k: 0 at the optimum of a model with a bias."""
    frames: dict[str, Any]
    """NC2 of Papyan and Zhu, for "classifiers", "means" (about the mean of all features), "unweighted_means" (about the
    mean of the class means) and "uncentered_means", vectors v_k with cosines c_kl and Gram matrix G:

    - equinorm: the standard deviation of |v_k| over their mean
    - equiangularity: the standard deviation of c_kl over pairs
    - maximal_angle: the mean over pairs of |c_kl + 1/(K - 1)|
    - simplex, orthogonal: the distance of G/|G| from that of a simplex, and of an orthogonal frame

    And "self_duality", "unweighted_self_duality": the square of the distance |W/|W| - M/|M||, of classifiers W and
    class means M about either mean."""
    gram_matrices: Optional[dict[str, np.ndarray]]
    """K x K inner products of "classifiers", of "centered_classifiers" (about their mean), of "class_means" as they
    are, of "centered_class_means" (about the mean of all features) and of "unweighted_centered_class_means" (about the
    mean of the class means); None above 100 classes."""
    singular_values: dict[str, dict[str, Any]]
    """For "product", "features" (class means weighted by the roots of the counts) and each layer: "measured",
    "effective_rank" (exp of the entropy of the shares s_i/sum s), and "predicted" if there is an optimum."""
    implied: dict[str, Any]
    """The decays that the arrays imply, in the theory's units: those of half the squared error summed over classes, or
    of the cross-entropy, mean over samples, and of |H|^2/2 over all samples. Each with a misfit from 0 (the gradient of
    the loss is parallel to the block: at rest) to 1."""

    def __init__(self, data: dict[str, Any]) -> None:
        super().__init__(data)
        self.counts = data["counts"]
        nc1 = data["nc1"]
        self.nc1, self.nc1_unweighted = nc1["paper"], nc1["unweighted"]
        self.nc1_weighted, self.nc1_undivided = nc1["weighted"], nc1["undivided"]
        self.trace_ratio, self.cdnv, self.row_sum = data["trace_ratio"], data["cdnv"], data["row_sum"]
        self.feature_mean = data["feature_mean"]["measured"]
        self.frames, self.gram_matrices = data["frames"]["measured"], data["gram_matrices"]
        self.singular_values = data["singular_values"]
        self.implied = data["implied"]

    def _rows(self) -> list[tuple[str, Optional[float]]]:
        means, classifiers = self.frames["means"] or {}, self.frames["classifiers"] or {}
        unweighted = self.frames["unweighted_means"] or {}
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
            ("mean equinorm, unweighted", unweighted.get("equinorm")),
            ("mean angles, unweighted", unweighted.get("equiangularity")),
            ("mean simplex, unweighted", unweighted.get("simplex")),
            ("classifier equinorm", classifiers.get("equinorm")),
            ("classifier angles, std", classifiers.get("equiangularity")),
            ("classifier to simplex", classifiers.get("simplex")),
            ("self-duality", self.frames["self_duality"]),
            ("self-duality, unweighted", self.frames["unweighted_self_duality"]),
            ("row sum of W (NC0)", self.row_sum),
        ]

    def __repr__(self) -> str:
        return f"Metrics(nc1={number(self.nc1)}, {len(self.counts)} classes, {sum(self.counts)} samples)"

    def __str__(self) -> str:
        rows = [[name, number(value)] for name, value in self._rows() if value is not None]
        return text(rows, ["metric", "measured"])

    def _repr_html_(self) -> str:
        rows = [[name, number(value)] for name, value in self._rows() if value is not None]
        return html(rows, ["metric", "measured"], f"{len(self.counts)} classes, {sum(self.counts)} samples")
