from typing import Any, Optional, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

__version__: str

class Accumulator:
    """Gathers class means and the scatter within classes of features, in one pass over batches of any size."""

    def __init__(self, num_classes: int, width: int, scatter: bool = True) -> None: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def width(self) -> int: ...
    @property
    def counts(self) -> NDArray[np.int64]:
        """The samples of each class, (K,)."""
    def update(self, features: Any, labels: Any, *, batch: Optional[int] = None) -> None:
        """Takes in features (B, d) or (B, d, 1, 1) and labels (B,), or nothing if there is an error."""
    def merge(self, other: Accumulator) -> None:
        """Takes in the samples of another accumulator, which stays as it is."""
    def copy(self) -> Accumulator: ...
    def fork(self) -> Accumulator:
        """An empty accumulator that sums up relative to the same class means."""
    def to_bytes(self, compact: bool = False) -> bytes: ...
    @staticmethod
    def from_bytes(data: Union[bytes, bytearray, memoryview]) -> Accumulator: ...
    def reset(self) -> None:
        """Empties it. Its shape stays, and whether it gathers the scatter."""
    @property
    def scatter(self) -> bool: ...
    def class_means(self) -> NDArray[np.float64]:
        """(K, d)."""

class InternalError(RuntimeError):
    """A fault of this package, not of its caller. An accumulator that was being changed is not used again."""

class Group:
    """A group of classes that the minimizer cannot tell apart."""

    def __init__(self, fields: dict[str, Any]) -> None: ...
    @property
    def count(self) -> int: ...
    @property
    def classes(self) -> list[int]: ...
    @property
    def multiplicity(self) -> int: ...
    @property
    def weight(self) -> float: ...
    @property
    def fate(self) -> str:
        """distinct, single, coincident, vanished or ambiguous."""
    @property
    def classifier_norm(self) -> Optional[float]: ...
    @property
    def mean_norm(self) -> Optional[float]: ...
    @property
    def probability_own(self) -> Optional[float]: ...
    @property
    def probability_sibling(self) -> Optional[float]: ...
    @property
    def nearest_class(self) -> Optional[int]: ...
    @property
    def nearest_angle(self) -> Optional[float]:
        """In degrees."""
    @property
    def coincidence_scale(self) -> Optional[float]: ...
    @property
    def vanishing_scale(self) -> Optional[float]: ...
    def to_dict(self) -> dict[str, Any]: ...

class Prediction:
    """Where the last layers of a classifier must end."""

    def __init__(self, keywords: dict[str, Any]) -> None: ...
    @property
    def objective(self) -> float:
        """The least one if ``is_proved``, otherwise that of the best point known; in the theory's units."""
    @property
    def loss(self) -> float:
        """In the units of ``reduction``."""
    @property
    def lower_bound(self) -> float: ...
    @property
    def gap(self) -> float: ...
    @property
    def rank(self) -> int: ...
    @property
    def is_proved(self) -> bool:
        """Whether the objective is the least one, or the upper end of an interval."""
    @property
    def is_unique(self) -> Optional[bool]:
        """None if it is not proved to be a minimizer."""
    @property
    def method(self) -> str: ...
    @property
    def model(self) -> dict[str, Any]:
        """Loss, bias and penalties, the number of layers and of samples."""
    @property
    def num_classes(self) -> int: ...
    @property
    def counts(self) -> NDArray[np.int64]: ...
    @property
    def bias(self) -> Optional[NDArray[np.float64]]: ...
    @property
    def groups(self) -> list[Group]: ...
    @property
    def directions(self) -> Optional[list[dict[str, Any]]]: ...
    def singular_values(self, of: str = "prediction") -> NDArray[np.float64]: ...
    def classifiers(self) -> NDArray[np.float64]:
        """(K, rank)."""
    def class_means(self) -> NDArray[np.float64]:
        """(K, rank)."""
    def gram(self, of: str = "classifiers") -> NDArray[np.float64]:
        """(K, K)."""
    def angles(self, of: str = "classifiers") -> NDArray[np.float64]:
        """(K, K), in degrees."""
    def norms(self, of: str = "classifiers") -> NDArray[np.float64]:
        """(K,)."""
    def to_dict(self) -> dict[str, Any]: ...

def metrics(accumulator: Accumulator, weights: Any = None, bias: Optional[ArrayLike] = None) -> dict[str, Any]: ...
def measure(features: Any, labels: Any, weights: Any, bias: Any, keywords: dict[str, Any]) -> dict[str, Any]: ...
def limits(keywords: dict[str, Any], wanted: dict[str, Any]) -> dict[str, Any]: ...
def descend(model: dict[str, Any], keywords: dict[str, Any]) -> dict[str, Any]: ...
def set_num_threads(threads: int) -> None: ...
def get_num_threads() -> int: ...
