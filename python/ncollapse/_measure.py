"""Metrics of an accumulator, and a network compared with its optimum."""

from __future__ import annotations

from . import _native
from ._measurement import Measurement
from ._results import Metrics

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from typing import Any, Optional, Union

    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from ._native import Accumulator

    Layers = Union[ArrayLike, Sequence[ArrayLike]]
    Weights = Union[str, ArrayLike]
    Number = Union[float, np.floating[Any]]
    Widths = Union[int, np.integer[Any], Sequence[int], NDArray[np.integer[Any]]]
    Decays = Union[Number, Sequence[float], NDArray[np.floating[Any]]]


def metrics(accumulator: Accumulator, weights: Optional[Layers] = None, bias: Optional[ArrayLike] = None) -> Metrics:
    """The numbers of neural collapse from an accumulator.

    Parameters
    ----------
    accumulator : Accumulator
        With samples of every class.
    weights : array (K, d), or list of the linear layers after the features, the first one first; optional
        Without them there are NC1 and the class means alone.
    bias : array (K,), optional
    """
    return Metrics(_native.metrics(accumulator, weights, bias))


def _measure(features: Any, labels: Any, arguments: dict[str, Any]) -> Measurement:
    """From the arguments of ``measure`` or ``measure_batches`` by their names."""
    arrays = ("features", "batches", "labels", "weights", "bias")
    keywords = {name: value for name, value in arguments.items() if name not in arrays}
    return Measurement(_native.measure(features, labels, arguments["weights"], arguments["bias"], keywords))


def measure(
    features: Any,
    labels: Any,
    weights: Layers,
    bias: Optional[ArrayLike] = None,
    *,
    layer_decay: Optional[Decays] = None,
    feature_decay: Optional[Number] = None,
    layers: Optional[int] = None,
    widths: Optional[Widths] = None,
    loss: Optional[str] = None,
    reduction: Optional[str] = None,
    feature_reduction: Optional[str] = None,
    class_weights: Optional[Weights] = None,
    weight_reduction: str = "samples",
    label_smoothing: float = 0.0,
    logit_adjustment: Optional[float] = None,
    ldam: Optional[float] = None,
    cdt: Optional[float] = None,
    bias_decay: Optional[float] = None,
) -> Measurement:
    """Has training got there? Compares a network with the optimum of its own class sizes and decays.

    No decays are needed: the arrays imply them. If they are given, with ``reduction`` and ``feature_reduction``, the
    two are compared.

    Parameters
    ----------
    features : array (N, d)
        What the first of the layers reads, of every training sample. Read two or three times, in batches: a memory map
        is fine.
    labels : array of int (N,)
    weights : array (K, d), or list of the linear layers after the features, the first one first
        Or the product of several layers alone, with ``layers``: it implies no decays of its layers, so give them.
    bias : array (K,), optional
    layer_decay, feature_decay : optional
        What training minimized. ``layer_decay`` alone, or a ``feature_decay`` of 0, says that features were not
        penalized: there is no optimum of this kind, and the decay is compared with the one that the arrays imply.
    layers : int, optional
        The number of layers whose product is given; by default that of the weights or of the decays.
    widths : int, list or array of int, optional
        What each of these layers reads, the features first; by default wide enough.
    loss, reduction, feature_reduction, class_weights, ...
        As for ``predict``; a loss that is not given is found out.
    """
    if labels is None:
        raise TypeError("labels: None given, accepted: an array of integers, one for each row of the features")
    return _measure(features, labels, locals())


def measure_batches(
    batches: Iterable[tuple[Any, Any]],
    weights: Layers,
    bias: Optional[ArrayLike] = None,
    *,
    layer_decay: Optional[Decays] = None,
    feature_decay: Optional[Number] = None,
    layers: Optional[int] = None,
    widths: Optional[Widths] = None,
    loss: Optional[str] = None,
    reduction: Optional[str] = None,
    feature_reduction: Optional[str] = None,
    class_weights: Optional[Weights] = None,
    weight_reduction: str = "samples",
    label_smoothing: float = 0.0,
    logit_adjustment: Optional[float] = None,
    ldam: Optional[float] = None,
    cdt: Optional[float] = None,
    bias_decay: Optional[float] = None,
) -> Measurement:
    """As ``measure``, from batches: features that are not in one array, or that a model computes on the way.

    The batches are gone through two or three times. Every pass must give the same samples, in any order and in batches
    of any size; so no random augmentation.

    Parameters
    ----------
    batches : iterable of pairs (features, labels)
        Features (B, d) or (B, d, 1, 1), what the first of the layers reads, and labels (B,), integers from 0; as tuples
        or lists. A list, a DataLoader, or an object whose ``__iter__`` begins anew: not a generator, which is empty
        after the first pass.
    weights : array (K, d), or list of the linear layers after the features, the first one first
        As for ``measure``.
    bias : array (K,), optional
    layer_decay, feature_decay : optional
        What training minimized. ``layer_decay`` alone, or a ``feature_decay`` of 0, says that features were not
        penalized: there is no optimum of this kind, and the decay is compared with the one that the arrays imply.
    layers, widths, loss, reduction, feature_reduction, class_weights, ...
        As for ``measure``.

    Returns
    -------
    Measurement
        That of all samples.

    Raises
    ------
    TypeError, ValueError
        As for ``measure``; of what is wrong with a batch the message has its number, from 0.
    """
    return _measure(batches, None, locals())
