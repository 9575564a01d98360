"""Neural collapse while a PyTorch model trains. PyTorch is not imported: the model has done so."""

from __future__ import annotations

import sys
import weakref

from ._inputs import call, moved, pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from typing import Any, Optional

    from ._native import Accumulator
    from ._measurement import Measurement
    from ._results import Metrics


class CollapseMonitor:
    """Watches the last layer of a PyTorch model.

    Two ways to use it, and both can be mixed:

    - ``monitor.update(labels)`` after each forward pass takes in the features that the head has just read: they are
      those of the epoch, from weights that change on the way. ``monitor.end_epoch()`` then records the metrics, and
      the decays that squared loss implies: those of cross-entropy need every sample, not class means. Of a network
      that is trained with cross-entropy they say nothing, and can be negative.
    - ``monitor.end_epoch(loader)`` goes through the samples again, twice, in evaluation mode and without gradients,
      and records everything that ``ncollapse.measure`` gives, under squared loss and cross-entropy. The loader must
      give the same samples each time, so no random augmentation. Every module is back in its own mode afterwards.

    A copy of the model, or a file of it, does not have the monitor with it. To load a file of the whole model, not of
    its ``state_dict``, ncollapse must be installed, unless ``close`` was called before.

    Parameters
    ----------
    model : torch.nn.Module
    head : str or torch.nn.Module
        The last linear layer: its name in the model, as "fc" or "classifier.2", or itself. Its input are the features.
    every : int
        Record every so many epochs, the first one too. Other epochs cost nothing.
    forward : callable, optional
        How a model is called on the inputs of a batch, which are on its device: ``forward(model, inputs)``. By default
        ``model(inputs)``, ``model(*inputs)`` for a tuple or list, ``model(**inputs)`` for a dictionary.

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
    """A dictionary for each recorded epoch: epoch, nc1, cdnv, ..., layer_decay, feature_decay, misfit.

    The last three are the decays that the arrays imply under the loss ``implied_loss``. After ``update`` this is always
    "squared", whatever the network is trained with. After ``end_epoch(loader)`` it is ``loss``, the loss that the
    arrays are at rest under, or "squared" if ``loss`` is None because they are at rest under neither; the decays of
    both losses are in ``records``. A decay below 0 says that the arrays are not at rest under this loss."""
    records: list[Metrics]
    """The full results of these epochs."""
    accumulator: Optional[Accumulator]
    """The features of this epoch so far; None before the first update."""

    def __init__(
        self,
        model: Any,
        head: Any = "fc",
        every: int = 1,
        *,
        forward: Optional[Callable[[Any, Any], Any]] = None,
    ) -> None:
        if not hasattr(model, "named_modules"):
            raise TypeError(f"model: {model!r} given, accepted: a torch.nn.Module")
        if isinstance(every, bool) or not hasattr(every, "__index__"):
            raise TypeError(f"every: {every!r} given, accepted: a whole number from 1 on")
        if every < 1:
            raise ValueError(f"every: {every} given, whole numbers from 1 on are accepted")
        if forward is not None and not callable(forward):
            raise TypeError(f"forward: {forward!r} given, accepted: a function of the model and the inputs of a batch")
        self.model, self.every, self.forward = model, every, forward or call
        self.head = _find(model, head) if isinstance(head, str) else head
        self.num_classes, self.width = _shape(self.head)
        self.epoch = 0
        self.history, self.records = [], []
        self.accumulator = None
        self._features: Any = None
        self._is_measuring = False
        self._handle = self.head.register_forward_pre_hook(_Hook(self), with_kwargs=True)

    @property
    def is_recording(self) -> bool:
        """Whether this epoch is recorded."""
        return self.epoch % self.every == 0

    def _see(self, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        if not (self.is_recording or self._is_measuring):
            return
        read = inputs or ([keywords["input"]] if "input" in keywords else list(keywords.values()))
        if read:
            self._features = read[0].detach()

    def update(self, labels: Any) -> None:
        """Takes in the features of the last forward pass, with the labels of its samples.

        If they are refused, as features that are not finite, none of them is taken in: labels that were wrong can be
        given again, and the next forward pass goes on with the epoch.
        """
        if not self.is_recording:
            return
        if self._features is None:
            raise ValueError("update: no forward pass through the head since the last update")
        if self.accumulator is None:
            from ._native import Accumulator

            self.accumulator = Accumulator(self.num_classes, self.width)
        self.accumulator.update(self._features, labels)
        self._features = None

    def end_epoch(self, batches: Optional[Iterable[tuple[Any, Any]]] = None, **keywords: Any) -> Optional[Metrics]:
        """Records this epoch, if it is one to record, and goes on to the next, even if this one has an error.

        An epoch whose updates have no metrics, as one without samples of a class, is not recorded: a warning says why,
        and training goes on.

        Parameters
        ----------
        batches : iterable of (inputs, labels), optional
            Samples to go through again; without, the features of the updates are taken.
        **keywords
            As for ``ncollapse.measure``: loss, decays.
        """
        from . import metrics

        if keywords and batches is None:
            raise TypeError(f"end_epoch: {', '.join(keywords)} given without batches, which they are for")
        record: Optional[Metrics] = None
        try:
            if self.is_recording and batches is not None:
                record = self.measure(batches, **keywords)
            elif self.is_recording and self.accumulator is not None:
                try:
                    record = metrics(self.accumulator, self._weight(), self._bias())
                except ValueError as error:
                    import warnings

                    warnings.warn(f"epoch {self.epoch} is not recorded: {error}", RuntimeWarning, stacklevel=2)
            if record is not None:
                self.records.append(record)
                self.history.append(_row(self.epoch, record))
        finally:
            # The next epoch begins with nothing of this one, whatever has happened.
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
        """Metrics and implied decays against epochs, as a figure of matplotlib.

        The labels of the decays name the loss that implies them (``history``). The axes are logarithmic: where a number
        is 0 or negative the curve has a gap, and its label says how often.
        """
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
        weight = monitor.head.weight
        # Some may be frozen: `model.train()` would wake them.
        modes = [(module, module.training) for module in model.modules()]
        model.eval()
        monitor._is_measuring = True
        try:
            for number, batch in enumerate(self.batches):
                inputs, labels = pair(number, batch)
                monitor._features = None
                with sys.modules["torch"].no_grad():
                    monitor.forward(model, moved(inputs, weight))
                features, monitor._features = monitor._features, None
                if features is None:
                    raise ValueError("end_epoch: the model does not call the head that is watched")
                yield features, labels
        finally:
            monitor._is_measuring = False
            for module, mode in modes:
                module.training = mode


class _Hook:
    """What the head calls. A copy of the model, or a file of it, gets one that does nothing."""

    def __init__(self, monitor: Optional[CollapseMonitor] = None) -> None:
        self.monitor = None if monitor is None else weakref.ref(monitor)

    def __call__(self, module: Any, inputs: tuple[Any, ...], keywords: dict[str, Any]) -> None:
        monitor = None if self.monitor is None else self.monitor()
        if monitor is not None:
            monitor._see(inputs, keywords)

    def __reduce__(self) -> tuple[Any, ...]:
        return _Hook, ()


def _is_lazy(module: Any) -> bool:
    return hasattr(module, "has_uninitialized_params") and bool(module.has_uninitialized_params())


def _is_linear(module: Any) -> bool:
    """Whether there is a weight (out, in). An embedding has a matrix too, but reads numbers of its rows."""
    if _is_lazy(module) or hasattr(module, "num_embeddings"):
        return False
    shape = tuple(getattr(getattr(module, "weight", None), "shape", ()))
    return len(shape) >= 2 and all(side == 1 for side in shape[2:])


def _shape(head: Any) -> tuple[int, int]:
    """The number of classes, and the width."""
    if _is_lazy(head):
        raise ValueError(f"head: {head!r} given, which has no shape yet: let the model run on one batch first")
    if not _is_linear(head):
        raise ValueError(f"head: {head!r} given, a linear layer with a weight of (classes, width) is needed")
    classes, width = head.weight.shape[:2]
    return classes, width


def _find(model: Any, name: str) -> Any:
    modules = dict(model.named_modules())
    if name not in modules:
        linear = [other or "'' (the model itself)" for other, module in modules.items() if _is_linear(module)]
        those = f"those with a matrix are {', '.join(linear)}" if linear else "none of its modules has a matrix"
        raise ValueError(f"head: the model has no module {name!r}; {those}")
    return modules[name]


def _row(epoch: int, record: Metrics) -> dict[str, Any]:
    means, classifiers = record.frames["means"] or {}, record.frames["classifiers"] or {}
    fits = getattr(record, "fits", None)
    # Class means alone have the decays of squared loss only.
    implied_loss = fits or "squared"
    implied = record.implied.get(implied_loss.replace("-", "_")) or {}
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
        "implied_loss": implied_loss,
        "layer_decay": layers[-1] if layers else None,
        "feature_decay": implied.get("feature_decay"),
        "misfit": max(misfits, default=None),
    }
