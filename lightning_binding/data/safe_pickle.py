"""Reading pickles of arrays, lists and strings without running what else a pickle may hold."""

from __future__ import annotations

import codecs
import io
import pickle
from typing import Any

import numpy as np

_RECONSTRUCT = np.empty(0).__reduce__()[0]
_ALLOWED = {
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
    ("_codecs", "encode"): codecs.encode,  # how Python 3 writes bytes for Python 2
    ("numpy.core.multiarray", "_reconstruct"): _RECONSTRUCT,  # NumPy 1
    ("numpy._core.multiarray", "_reconstruct"): _RECONSTRUCT,  # NumPy 2
}


class _ArrayUnpickler(pickle.Unpickler):
    """Knows the callables that arrays are pickled by, and refuses the rest."""

    def find_class(self, module: str, name: str) -> Any:
        """Return one of the callables.

        Raises:
            pickle.UnpicklingError: Any other name.
        """
        if (module, name) in _ALLOWED:
            return _ALLOWED[module, name]
        raise pickle.UnpicklingError(f"it asks for {module}.{name}, which arrays do not need")


def load_arrays(content: bytes) -> Any:
    """Read a pickle of containers, numbers, strings and arrays; byte strings of Python 2 become `bytes`.

    Raises:
        pickle.UnpicklingError: It holds anything else.
    """
    return _ArrayUnpickler(io.BytesIO(content), encoding="bytes").load()
