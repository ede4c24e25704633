"""Memory as a thing to count: limits that people write, arrays where they should lie."""

from __future__ import annotations

import math
import mmap
import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise._typing import Shape
from layerwise.errors import InputError, complaint

ALIGNMENT = 64
"""Of arrays that the CPU backend of JAX reads where they are."""

_UNITS = {"": 1, **{f"{p}b": 1000**i for i, p in enumerate(("", "k", "m", "g", "t"))}}
_UNITS |= {f"{p}ib": 1024**i for i, p in enumerate(("k", "m", "g", "t"), start=1)}
_TEXT = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", re.IGNORECASE)


def bytes_from(name: str, value: Any) -> int:
    """A number of bytes from a number or a text.

    Args:
        name: of the argument, for the error.
        value: such as `200_000_000`, `"200MB"` (millions) or `"1.5 GiB"` (2 to the 30th).

    Raises:
        InputError: it is neither, or not above 0.

    Example:
        >>> bytes_from("memory_limit", "1.5 kB"), bytes_from("memory_limit", "1KiB")
        (1500, 1024)
    """
    number = value
    if isinstance(value, str):
        found = _TEXT.fullmatch(value)
        unit = None if found is None else _UNITS.get(found[2].lower())
        number = 0 if found is None or unit is None else int(float(found[1]) * unit)
    if isinstance(number, bool) or not hasattr(number, "__index__") or number.__index__() < 1:
        expected = 'be a number of bytes above 0, or a text such as "200MB" or "1.5GiB"'
        raise InputError(complaint(name, expected, value))
    return int(number)


def megabytes(size: int) -> str:
    """A size for a sentence, rounded up.

    >>> megabytes(33_554_432)
    '34MB'
    """
    return f"{math.ceil(size / 1e6)}MB"


def aligned(shape: Shape, dtype: np.dtype[Any]) -> NDArray[Any]:
    """An array with any content, where the CPU backend of JAX need not copy it."""
    size = math.prod(n or 0 for n in shape) * dtype.itemsize
    raw = np.empty(size + ALIGNMENT, np.uint8)
    start = -raw.ctypes.data % ALIGNMENT
    return raw[start : start + size].view(dtype).reshape([n or 0 for n in shape])


def is_mapped(array: Any) -> bool:
    """Whether an array is a file, or a part of one, mapped into memory."""
    while array is not None:
        if isinstance(array, (np.memmap, mmap.mmap)):
            return True
        array = getattr(array, "base", None)
    return False
