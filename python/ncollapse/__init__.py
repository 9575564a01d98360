"""Neural collapse: where the last layers of a classifier must end, and how far training is from there.

>>> import ncollapse as nc
>>> prediction = nc.predict("1500,600x5,50x20", widths=512, layer_decay=5e-3, feature_decay=5e-4)
>>> prediction.groups[2].fate  # the 20 small classes share one classifier: minority collapse
'coincident'

- ``predict``: the least objective, and norms, angles and fates of all classes there, without training
- ``limits``: the largest decays, and the class weights, that keep classes apart
- ``descend``: goes to the minimum by gradient descent
- ``Accumulator``, ``metrics``: NC1 to NC3 of features that are streamed in batches, on one machine or many
- ``measure``: a trained network compared with its optimum
- ``CollapseMonitor``: all of this while a PyTorch model trains

Samples are rows everywhere, and layers are (out, in), as in PyTorch. Neither PyTorch nor matplotlib is imported.
"""

from __future__ import annotations

from ._measure import measure, measure_batches, metrics
from ._measurement import Measurement, Verdict
from ._native import Accumulator, Group, InternalError, Prediction, __version__, get_num_threads, set_num_threads
from ._results import Limits, Metrics, Run
from ._theory import descend, limits, predict
from .monitor import CollapseMonitor

__all__ = [
    "Accumulator",
    "CollapseMonitor",
    "Group",
    "InternalError",
    "Limits",
    "Measurement",
    "Metrics",
    "Prediction",
    "Run",
    "Verdict",
    "__version__",
    "descend",
    "get_num_threads",
    "limits",
    "measure",
    "measure_batches",
    "metrics",
    "predict",
    "set_num_threads",
]
