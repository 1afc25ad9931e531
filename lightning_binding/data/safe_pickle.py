"""Reading pickles of arrays, lists and strings without running what else a pickle may hold.

Not even numpy's own functions are called: its `__setstate__` ends the process by a signal on some damaged states. What
a pickle calls an array, or a type of data, is written down here, and made when it is known to fit.
"""

from __future__ import annotations

import codecs
import io
import pickle
import re
from typing import Any

import numpy as np

NUMBER = re.compile(r"b1|[iu][1248]|f[248]")
"""Types of data in numpy's words: kind and bytes."""


class _Type:
    """A type of data, pickled as `dtype("u1", False, True)` and a state whose second part is the order of bytes."""

    def __init__(self, code: str | bytes, *_: object) -> None:
        self.code, self.order = _text(code), "="

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = _text(state[1])

    def dtype(self) -> np.dtype[Any]:
        if not NUMBER.fullmatch(self.code) or self.order not in ("|", "=", "<", ">"):
            raise pickle.UnpicklingError(f"it holds an array of {self.order}{self.code}, which are no numbers")
        return np.dtype(self.order + self.code)


class _Array:
    """An array, pickled as an empty one and the state `(version, shape, type, whether by columns, bytes)`."""

    content: np.ndarray | None = None

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, kind, columns, data = state
        if not isinstance(kind, _Type) or not isinstance(data, bytes):
            raise pickle.UnpicklingError("it holds an array of objects")
        self.content = np.frombuffer(data, kind.dtype()).reshape(shape, order="F" if columns else "C")


def _text(value: str | bytes) -> str:
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


def _reconstruct(*_: object) -> _Array:
    return _Array()


def _encode(text: str, encoding: str = "latin1") -> bytes:
    """How Python 3 writes bytes for Python 2."""
    if _text(encoding) != "latin1":
        raise pickle.UnpicklingError(f"it holds a string in {encoding}")
    return codecs.encode(text, "latin1")


_ALLOWED = {
    ("numpy", "ndarray"): _Array,
    ("numpy", "dtype"): _Type,
    ("_codecs", "encode"): _encode,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,  # NumPy 1
    ("numpy._core.multiarray", "_reconstruct"): _reconstruct,  # NumPy 2
}


class _ArrayUnpickler(pickle.Unpickler):
    """Knows the callables that arrays are pickled by, and refuses the rest."""

    def find_class(self, module: str, name: str) -> Any:
        """Return what stands in for one of the callables.

        Raises:
            pickle.UnpicklingError: Any other name.
        """
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which arrays do not need")


def load_arrays(content: bytes) -> dict[Any, Any]:
    """Read a pickled mapping to arrays, numbers, strings and lists; byte strings of Python 2 become `bytes`.

    Raises:
        pickle.UnpicklingError: It holds anything else, or is no mapping.
        Exception: Whatever a damaged pickle raises.
    """
    found = _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
    if not isinstance(found, dict):
        raise pickle.UnpicklingError("it is no mapping")
    return {key: value.content if isinstance(value, _Array) else value for key, value in found.items()}
