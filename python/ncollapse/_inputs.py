"""Inputs of a model of any form: single tensors, tuples, dictionaries."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def pair(number: int, batch: Any) -> tuple[Any, Any]:
    if not isinstance(batch, (tuple, list)) or len(batch) != 2:
        size = f" of {len(batch)}" if hasattr(batch, "__len__") else ""
        raise TypeError(
            f"batches: batch {number} (counted from 0) is a {type(batch).__name__}{size}, accepted are pairs of inputs "
            "and labels, as tuples or lists"
        )
    return batch[0], batch[1]


def moved(value: Any, weight: Any) -> Any:
    """All tensors and arrays within, on the device of a weight. Arrays of float become tensors of its type."""
    from collections.abc import Mapping

    if hasattr(value, "to"):
        return value.to(weight.device)
    if isinstance(value, Mapping):
        return {key: moved(entry, weight) for key, entry in value.items()}
    if isinstance(value, (tuple, list)):
        return [moved(entry, weight) for entry in value]
    if hasattr(value, "__array__"):
        tensor = sys.modules["torch"].as_tensor(value, device=weight.device)
        return tensor.to(weight.dtype) if tensor.is_floating_point() else tensor
    return value


def call(model: Any, inputs: Any) -> Any:
    from collections.abc import Mapping

    if isinstance(inputs, Mapping):
        return model(**inputs)
    return model(*inputs) if isinstance(inputs, (tuple, list)) else model(inputs)
