"""The theory and the descents: keywords in, results out."""

from __future__ import annotations

from . import _native
from ._native import Prediction
from ._results import Limits, Run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any, Optional, Union

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    Counts = Union[str, Sequence[int], ArrayLike]
    Weights = Union[str, ArrayLike]
    Number = Union[float, np.floating[Any]]
    Widths = Union[int, np.integer[Any], Sequence[int], NDArray[np.integer[Any]]]
    Decays = Union[Number, Sequence[float], NDArray[np.floating[Any]]]


def predict(
    counts: Counts,
    *,
    widths: Widths,
    layer_decay: Decays,
    feature_decay: Number,
    layers: Optional[int] = None,
    bias: bool = True,
    bias_decay: Optional[float] = None,
    loss: str = "squared",
    reduction: Optional[str] = None,
    feature_reduction: Optional[str] = None,
    class_weights: Optional[Weights] = None,
    weight_reduction: str = "samples",
    label_smoothing: float = 0.0,
    logit_adjustment: Optional[float] = None,
    ldam: Optional[float] = None,
    cdt: Optional[float] = None,
    nonnegative_features: bool = False,
) -> Prediction:
    """Where the last layers of a classifier must end, for its class sizes and decays.

    What is minimized, over the layers, the bias and the features themselves, is

        1/N sum_i loss(W_L ... W_1 h_i + b)  +  sum_l decay_l/2 |W_l|^2  +  decay_H/2 |H|^2

    Plain squared loss has a closed form, for any number of layers. Everything else with one layer is computed by
    convex optimization, with a lower bound that proves the result.

    Parameters
    ----------
    counts : str, list or array of int
        The samples of each class: ``[500, 600, 600]``, or text such as ``"500,600x2"``.
    widths : int, list or array of int
        What each linear layer reads, the feature dimension first; one value serves all layers.
    layer_decay : float, list or array of float
        Weight decays mu in mu/2 |W|^2, as the ``weight_decay`` of an optimizer; one value serves all layers.
    feature_decay : float
        The penalty mu_H of the features.
    layers : int, optional
        The number of linear layers, if widths and decays are single values.
    bias, bias_decay
        Whether there is a bias, and its penalty; free if none is given.
    loss : "squared" or "cross-entropy"
    reduction : "half-sum" (the default), "mean", "half-mean" or "sum"
        How training scales the squared error: "mean" is the mean over samples and outputs, as ``MSELoss``; "sum" is
        summed over outputs and averaged over samples; "half-" is half of either. Cross-entropy is the mean over
        samples.
    feature_reduction : "total" (the default) or "mean"
        Whether the penalty is mu_H/2 |H|^2 over all samples, or mu_H/(2N) |H|^2.
    class_weights : "none", "inverse", "inverse-root", "effective:BETA", or one number for each class
    weight_reduction : "samples" or "weights"
        Whether the weighted sum of losses is divided by the number of samples, or by the sum of their weights as in
        PyTorch.
    label_smoothing : float
        E in targets (1-E) onehot + E/K.
    logit_adjustment : float, optional
        tau log(n_k/N) is added to logit k; 1 is balanced softmax.
    ldam : float, optional
        C n_k^(-1/4) is subtracted from the logit of the own class.
    cdt : float, optional
        Logit k is multiplied by (n_k/n_max)^gamma.
    nonnegative_features : bool
        Features after a ReLU. Then ``is_proved`` says whether the objective is the least one, or the upper end of an
        interval.

    Returns
    -------
    Prediction

    Raises
    ------
    TypeError, ValueError
        If the type of an argument is not accepted, or its value: the message names the argument and says what is.
    """
    # All arguments by their names; here and below nothing else is local yet.
    return Prediction(locals())


def limits(
    counts: Counts,
    *,
    widths: Widths,
    layer_decay: Decays,
    feature_decay: Number,
    layers: Optional[int] = None,
    bias: bool = True,
    bias_decay: Optional[float] = None,
    loss: str = "squared",
    reduction: Optional[str] = None,
    feature_reduction: Optional[str] = None,
    class_weights: Optional[Weights] = None,
    weight_reduction: str = "samples",
    label_smoothing: float = 0.0,
    logit_adjustment: Optional[float] = None,
    ldam: Optional[float] = None,
    cdt: Optional[float] = None,
    nonnegative_features: bool = False,
    rank: Optional[int] = None,
    norm_ratio: Optional[float] = None,
    largest_q: float = 0.9,
) -> Limits:
    """The largest decays that keep classes apart, and the class weights that do.

    Parameters
    ----------
    counts, widths, layer_decay, feature_decay and all keywords up to nonnegative_features
        As for ``predict``.
    rank : int, optional
        Keep at least this rank. If neither ``rank`` nor ``norm_ratio`` is given: keep every class apart. For
        cross-entropy and weighted classes that is about classes of the same count and weight, which coincide from the
        decay on; it says nothing of a class that is alone with its count (``kept`` is None if all are). Ask
        for ``rank=K - 1`` then: the decay from which on a class loses its own direction. It is found to a relative 2e-6
        with certified minimizers, in a tenth of a second for 10 counts and seconds for 50, the most that are accepted.
    norm_ratio : float, optional
        Keep the smallest norm of a classifier at this share of the largest one or above. Squared loss without class
        weights only.
    largest_q : float
        How far the weights keep classes apart, between 0 and 1: the probability of the own class is ahead of that of
        a class of the same count by 1 - largest_q at least.

    Returns
    -------
    Limits
        Decays in the units of the arguments.
    """
    keywords = locals()
    return Limits(_native.limits(keywords, keywords))


def descend(
    counts: Counts,
    *,
    widths: Widths,
    layer_decay: Decays,
    feature_decay: Number,
    layers: Optional[int] = None,
    bias: bool = True,
    bias_decay: Optional[float] = None,
    loss: str = "squared",
    reduction: Optional[str] = None,
    feature_reduction: Optional[str] = None,
    class_weights: Optional[Weights] = None,
    weight_reduction: str = "samples",
    label_smoothing: float = 0.0,
    logit_adjustment: Optional[float] = None,
    ldam: Optional[float] = None,
    cdt: Optional[float] = None,
    nonnegative_features: bool = False,
    method: str = "nesterov",
    steps: int = 100_000,
    gap: float = 1e-10,
    seed: int = 0,
    scale: float = 1.0,
    collapsed: bool = False,
    full: bool = False,
    variables: str = "balanced",
    step_size: Optional[float] = None,
    callback: Optional[Callable[[dict[str, Any]], Any]] = None,
    every: int = 1,
) -> Run:
    """Descends to the minimum from a random start, knowing nothing of the theory but the least objective to stop at.

    Ctrl-C ends it with ``KeyboardInterrupt``.

    Parameters
    ----------
    counts, widths, layer_decay, feature_decay and all keywords up to nonnegative_features
        As for ``predict``. Any number of layers with any loss is accepted.
    method : "nesterov", "gd", "heavy-ball", "lbfgs" or "adam"
    steps : int
        Steps at most.
    gap : float
        The relative gap to the optimum at which the run ends.
    seed, scale
        Of the random start; a scale of 1 is the size of the minimizer.
    collapsed : bool
        Start from features that are equal within each class.
    full : bool
        Work on the features of all samples, without the exact reduction.
    variables : "balanced" or "plain"
        Whether a step is taken in root(decay) times each block, in which all blocks of a minimizer have the same
        singular values, or in the blocks themselves as frameworks do.
    step_size : float, optional
        A fixed step; automatic if none is given.
    callback : callable, optional
        Called with a dictionary: step, objective, gradient_norm, gap, step_size. A true result ends the run; an
        exception ends it too, and is raised.
    every : int
        Call back at every so many steps.
    """
    keywords = locals()
    return Run(_native.descend(keywords, keywords))
