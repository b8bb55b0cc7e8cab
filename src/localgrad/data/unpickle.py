"""Reads the Python pickles in which CIFAR is published, without running anything that they name.

A pickle is a program. Here only three names resolve, none of them to numpy: they are stand-ins that record what the
file says, and are then checked. Format: protocol 2, written by Python 2 and numpy 1.
"""

import io
import pickle
from typing import Any

import numpy as np
import numpy.typing as npt

from localgrad.data.errors import DataError

Bytes2D = npt.NDArray[np.uint8]


class _Dtype:
    """Stand-in for ``numpy.dtype``: keeps the type's code."""

    def __init__(self, code: Any, *_: Any) -> None:
        self.code = code

    def __setstate__(self, _state: Any) -> None:
        """Byte order and the like mean nothing for bytes."""


class _Array:
    """Stand-in for the array that ``_reconstruct`` starts and the pickle's BUILD instruction fills."""

    def __init__(self, *_: Any) -> None:
        self.value: Bytes2D | None = None

    def __setstate__(self, state: Any) -> None:
        _version, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype) or dtype.code != b"u1" or not isinstance(raw, bytes):
            raise DataError(f"expected an array of bytes (u1), got one of {getattr(dtype, 'code', dtype)!r}")
        self.value = np.frombuffer(raw, np.uint8).reshape(shape, order="F" if fortran else "C")


_ALLOWED: dict[tuple[str, str], Any] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy", "ndarray"): "numpy.ndarray",
    ("numpy", "dtype"): _Dtype,
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        try:
            return _ALLOWED[module, name]
        except KeyError:
            raise DataError(
                f"refused: it asks for the global {module}.{name}, and the published files need only "
                f"{', '.join('.'.join(known) for known in _ALLOWED)}; "
                "do not use this file, put the published one there"
            ) from None


def read_pickle(raw: bytes, where: str, published: str) -> dict[bytes, Any]:
    """The dictionary in a CIFAR pickle, its keys bytes; uint8 arrays as numpy arrays.

    ``where`` names the file in errors, ``published`` says what the published file holds. Raises ``DataError`` for a
    file that is truncated, is no such pickle, or names anything beyond a byte array.
    """
    try:
        value = _Unpickler(io.BytesIO(raw), encoding="bytes").load()
    except DataError as error:
        raise DataError(f"{where}: {error}") from None
    except Exception as error:  # a damaged pickle may raise anything
        raise DataError(
            f"{where}: truncated or damaged pickle ({type(error).__name__}: {error}): expected {published}, "
            f"got a file of {len(raw)} bytes; put the published file there"
        ) from error
    if not isinstance(value, dict):
        raise DataError(f"{where}: expected a pickled dictionary, got {type(value).__name__}")
    return {key: entry.value if isinstance(entry, _Array) else entry for key, entry in value.items()}
