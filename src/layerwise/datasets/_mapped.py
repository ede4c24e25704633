"""Arrays that are larger than memory: copies of them lie on disk, and are made chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from layerwise.files import scratch_array
from layerwise.memory import aligned, forget_pages, is_mapped

_CHUNK_BYTES = 8 << 20
_SHARE = 16
"""A copy of more than one part of so many of the memory limit lies on disk."""

T = TypeVar("T")


def empty(
    shape: tuple[int, ...], dtype: Any, limit: int | None = None, *, mapped: bool = False
) -> NDArray[Any]:
    """A new array: on disk where it is to be, or where a memory limit asks for that."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    if mapped or (limit is not None and size > limit // _SHARE):
        return scratch_array(shape, dtype)
    return aligned(shape, dtype)


def slices(array: NDArray[Any]) -> Iterator[slice]:
    """All rows, some megabytes at a time."""
    rows = max(1, _CHUNK_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        yield slice(start, min(start + rows, len(array)))


def taken(array: NDArray[Any], rows: NDArray[Any], limit: int | None = None) -> NDArray[Any]:
    """A copy of some rows; on disk if the array is."""
    rows = np.flatnonzero(rows) if rows.dtype == bool else rows
    if limit is None and not is_mapped(array):
        return array[rows]
    shape = (len(rows), *array.shape[1:])
    out = empty(shape, array.dtype, limit, mapped=is_mapped(array))
    for part in slices(out):
        # NumPy writes into a map through a copy, unless it is told what to do beyond the end.
        np.take(array, rows[part], axis=0, out=out[part], mode="clip")
    return _done(out, array)


def cast(array: NDArray[Any], dtype: Any, limit: int | None = None) -> NDArray[Any]:
    """The array in another type and in the usual order of memory; itself where it is so."""
    dtype = np.dtype(dtype)
    if array.dtype == dtype and array.flags.c_contiguous:
        return array
    if limit is None and not is_mapped(array):
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(array.astype(dtype, copy=False))
    out = empty(array.shape, dtype, limit, mapped=is_mapped(array))
    with np.errstate(over="ignore"):
        for part in slices(array):
            out[part] = array[part]
    return _done(out, array)


def joined(arrays: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The rows of several arrays; on disk if one of them is."""
    if not any(is_mapped(array) for array in arrays):
        return np.concatenate(arrays)
    shape = (sum(map(len, arrays)), *arrays[0].shape[1:])
    out, start = empty(shape, np.result_type(*arrays), mapped=True), 0
    for array in arrays:
        for part in slices(array):
            out[start + part.start : start + part.stop] = array[part]
        start += len(array)
    return _done(out, *arrays)


def looked_through(array: NDArray[Any], look: Callable[[NDArray[Any]], T]) -> list[T]:
    """What each chunk says."""
    said = [look(array[part]) for part in slices(array)]
    forget_pages(array)
    return said


def _done(out: NDArray[Any], *sources: NDArray[Any]) -> NDArray[Any]:
    for array in (out, *sources):
        forget_pages(array)
    if is_mapped(out):
        out.flags.writeable = False
    return out
