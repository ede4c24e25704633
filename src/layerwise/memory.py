"""Memory as a thing to count: limits that people write, arrays where they should lie."""

from __future__ import annotations

import ctypes
import math
import mmap
import re
from contextlib import suppress
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise._typing import Shape
from layerwise.errors import InputError, complaint

ALIGNMENT = 64
"""Of arrays that the CPU backend of JAX reads where they are."""

_M_MMAP_THRESHOLD = -3

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


def return_freed_memory() -> None:
    """Have this process give large arrays back to the system as soon as they are freed.

    The allocator of glibc comes to keep blocks of up to 32 MB for later, of each thread apart: of
    no use to who counts memory. Other systems are left as they are.
    """
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, 1 << 20)


def is_mapped(array: Any) -> bool:
    """Whether an array is a file, or a part of one, mapped into memory."""
    while array is not None:
        if isinstance(array, (np.memmap, mmap.mmap)):
            return True
        array = getattr(array, "base", None)
    return False


def forget_pages(array: Any) -> None:
    """Let the system take the pages of a mapped file out of this process.

    They stay in its cache of files while there is room. Without this, the pages of a whole file
    would count as this process' resident memory in the end.
    """
    while array is not None and not isinstance(array, np.memmap):
        array = getattr(array, "base", None)
    # What was written into a map of mode "c" is in these pages alone.
    if array is None or array.mode == "c":
        return
    pages: Any = array.base
    if hasattr(pages, "madvise"):
        pages.madvise(mmap.MADV_DONTNEED)
