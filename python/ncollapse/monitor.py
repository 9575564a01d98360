"""Neural collapse while a PyTorch model trains. PyTorch is not imported: the model has done so."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any, Optional

    from ._native import Accumulator
    from ._measurement import Measurement
    from ._results import Metrics


class CollapseMonitor:
    """Watches the last layer of a PyTorch model.

    Two ways to use it, and both can be mixed:

    - ``monitor.update(labels)`` after each forward pass takes in the features that the head has just read: they are
      those of the epoch, from weights that change on the way. ``monitor.end_epoch()`` then records the metrics, and
      the decays that squared loss implies.
    - ``monitor.end_epoch(loader)`` goes through the samples again, twice, in evaluation mode and without gradients,
      and records everything that ``ncollapse.measure`` gives, under squared loss and cross-entropy. The loader must
      give the same samples each time, so no random augmentation.

    Parameters
    ----------
    model : torch.nn.Module
    head : str or torch.nn.Module
        The last linear layer: its name in the model, as "fc" or "classifier.2", or itself. Its input are the features.
    every : int
        Record every so many epochs, the first one too. Other epochs cost nothing.

    Example
    -------
    >>> monitor = CollapseMonitor(model, head="fc", every=10)
    >>> for epoch in range(epochs):
    ...     for inputs, labels in loader:
    ...         loss = criterion(model(inputs), labels)
    ...         monitor.update(labels)
    ...         ...
    ...     monitor.end_epoch()
    >>> monitor.plot()
    """

    history: list[dict[str, Any]]
    """A dictionary for each recorded epoch: epoch, nc1, cdnv, ..., layer_decay, feature_decay, misfit."""
    records: list[Metrics]
    """The full results of these epochs."""
    accumulator: Optional[Accumulator]
    """The features of this epoch so far; None before the first update."""

    def __init__(self, model: Any, head: Any = "fc", every: int = 1) -> None:
        if every < 1:
            raise ValueError(f"every: {every} given, at least 1 is needed")
        self.model, self.every = model, every
        self.head = _find(model, head) if isinstance(head, str) else head
        shape = tuple(getattr(getattr(self.head, "weight", None), "shape", ()))
        if len(shape) < 2 or any(side != 1 for side in shape[2:]):
            raise ValueError(f"head: {self.head!r} given, a linear layer with a weight of (classes, width) is needed")
        self.num_classes, self.width = shape[:2]
        self.epoch = 0
        self.history, self.records = [], []
        self.accumulator = None
        self._features: Any = None
        self._is_measuring = False
        self._handle = self.head.register_forward_pre_hook(self._hook)

    @property
    def is_recording(self) -> bool:
        """Whether this epoch is recorded."""
        return self.epoch % self.every == 0

    def _hook(self, module: Any, inputs: tuple[Any, ...]) -> None:
        if (self.is_recording or self._is_measuring) and inputs:
            self._features = inputs[0].detach()

    def update(self, labels: Any) -> None:
        """Takes in the features of the last forward pass, with the labels of its samples."""
        if not self.is_recording:
            return
        if self._features is None:
            raise ValueError("update: no forward pass through the head since the last update")
        if self.accumulator is None:
            from ._native import Accumulator

            self.accumulator = Accumulator(self.num_classes, self.width)
        features, self._features = self._features, None
        self.accumulator.update(features, labels)

    def end_epoch(self, batches: Optional[Iterable[tuple[Any, Any]]] = None, **keywords: Any) -> Optional[Metrics]:
        """Records this epoch, if it is one to record, and goes on to the next.

        Parameters
        ----------
        batches : iterable of (inputs, labels), optional
            Samples to go through again; without, the features of the updates are taken.
        **keywords
            As for ``ncollapse.measure``: loss, decays.
        """
        from . import metrics

        record: Optional[Metrics] = None
        if self.is_recording and batches is not None:
            record = self.measure(batches, **keywords)
        elif self.is_recording and self.accumulator is not None:
            if keywords:
                raise TypeError(f"end_epoch: {', '.join(keywords)} given without batches, which they are for")
            record = metrics(self.accumulator, self._weight(), self._bias())
        if record is not None:
            self.records.append(record)
            self.history.append(_row(self.epoch, record))
        self.accumulator, self._features = None, None
        self.epoch += 1
        return record

    def measure(self, batches: Iterable[tuple[Any, Any]], **keywords: Any) -> Measurement:
        """The model as it is compared with its optimum, without recording: goes through the samples two or three
        times, in evaluation mode and without gradients. The keywords are those of ``ncollapse.measure``."""
        from . import measure_batches

        return measure_batches(_Features(self, batches), self._weight(), self._bias(), **keywords)

    def _weight(self) -> Any:
        return self.head.weight.detach()

    def _bias(self) -> Any:
        bias = getattr(self.head, "bias", None)
        return None if bias is None else bias.detach()

    def plot(self) -> Any:
        """Metrics and implied decays against epochs, as a figure of matplotlib."""
        from ._plots import plot_history

        return plot_history(self)

    def close(self) -> None:
        """Takes the hook off the model."""
        self._handle.remove()

    def __enter__(self) -> CollapseMonitor:
        return self

    def __exit__(self, *exception: Any) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"CollapseMonitor({self.num_classes} classes, width {self.width}: {len(self.history)} epochs recorded)"


class _Features:
    """Features and labels of all batches, as often as they are gone through."""

    def __init__(self, monitor: CollapseMonitor, batches: Iterable[tuple[Any, Any]]) -> None:
        self.monitor, self.batches = monitor, batches

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        monitor, model = self.monitor, self.monitor.model
        device = monitor.head.weight.device
        was_training = model.training
        model.eval()
        monitor._is_measuring = True
        try:
            for inputs, labels in self.batches:
                with sys.modules["torch"].no_grad():
                    model(inputs.to(device))
                features, monitor._features = monitor._features, None
                if features is None:
                    raise ValueError("end_epoch: the model does not call the head that is watched")
                yield features, labels
        finally:
            monitor._is_measuring = False
            model.train(was_training)


def _find(model: Any, name: str) -> Any:
    modules = dict(model.named_modules())
    if name not in modules:
        sides = {other: len(getattr(getattr(module, "weight", ()), "shape", ())) for other, module in modules.items()}
        linear = [other for other, count in sides.items() if count == 2]
        raise ValueError(f"head: the model has no module {name!r}; those with a matrix are {', '.join(linear)}")
    return modules[name]


def _row(epoch: int, record: Metrics) -> dict[str, Any]:
    means, classifiers = record.frames["means"] or {}, record.frames["classifiers"] or {}
    fits = getattr(record, "fits", None)
    implied = record.implied.get((fits or "squared").replace("-", "_")) or {}
    layers = [decay for decay in implied.get("layer_decay", ()) if decay is not None]
    misfits = [misfit for misfit in implied.get("layer_misfit", ()) if misfit is not None]
    return {
        "epoch": epoch,
        "nc1": record.nc1,
        "cdnv": record.cdnv,
        "trace_ratio": record.trace_ratio,
        "mean_equinorm": means.get("equinorm"),
        "mean_simplex": means.get("simplex"),
        "classifier_simplex": classifiers.get("simplex"),
        "self_duality": record.frames["self_duality"],
        "nc4": getattr(record, "nc4", None),
        "gap": getattr(record, "gap", None),
        "loss": fits,
        "layer_decay": layers[-1] if layers else None,
        "feature_decay": implied.get("feature_decay"),
        "misfit": max(misfits, default=None),
    }
