"""Arrays that are larger than memory: copies of them lie on disk, and are made chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from layerwise.distributed import several
from layerwise.files import scratch_array
from layerwise.memory import aligned, forget_pages, is_mapped

_CHUNK_BYTES = 8 << 20
_THREADS = 4
_SHARE = 16
"""A copy of more than one part of so many of the memory limit lies on disk."""
_SMALL = 1 << 20
"""Of several processes each keeps its share alone: copies of all rows lie on disk, if they have
more bytes than this."""

T = TypeVar("T")


def empty(
    shape: tuple[int, ...], dtype: Any, limit: int | None = None, *, mapped: bool = False
) -> NDArray[Any]:
    """A new array: on disk where it is to be, where a memory limit asks for that, or where this
    process will keep but a share of it."""
    dtype = np.dtype(dtype)
    if mapped or _on_disk(int(np.prod(shape, dtype=np.int64)) * dtype.itemsize, limit):
        return scratch_array(shape, dtype)
    return aligned(shape, dtype)


def _on_disk(size: int, limit: int | None) -> bool:
    """Whether a copy of so many bytes lies there."""
    return (limit is not None and size > limit // _SHARE) or (size > _SMALL and several())


def slices(array: NDArray[Any]) -> Iterator[slice]:
    """All rows, some megabytes at a time."""
    rows = max(1, _CHUNK_BYTES // max(1, array[:1].nbytes))
    for start in range(0, len(array), rows):
        yield slice(start, min(start + rows, len(array)))


def taken(array: NDArray[Any], rows: NDArray[Any], limit: int | None = None) -> NDArray[Any]:
    """A copy of some rows; on disk if the array is."""
    rows = np.flatnonzero(rows) if rows.dtype == bool else rows
    shape = (len(rows), *array.shape[1:])
    if array.dtype.hasobject:
        return array[rows]
    out = empty(shape, array.dtype, limit, mapped=is_mapped(array))

    def fill(part: slice) -> None:
        # NumPy writes into a map through a copy, unless it is told what to do beyond the end.
        np.take(array, rows[part], axis=0, out=out[part], mode="clip")

    _by_threads(fill, out)
    return _done(out, array)


def cast(array: NDArray[Any], dtype: Any, limit: int | None = None) -> NDArray[Any]:
    """The array in another type and in the usual order of memory; itself where it is so."""
    dtype = np.dtype(dtype)
    if array.dtype == dtype and array.flags.c_contiguous:
        return array
    if not (is_mapped(array) or _on_disk(array.size * dtype.itemsize, limit)):
        with np.errstate(over="ignore"):
            return np.ascontiguousarray(array.astype(dtype, copy=False))
    out = empty(array.shape, dtype, limit, mapped=is_mapped(array))
    with np.errstate(over="ignore"):
        for part in slices(array):
            out[part] = array[part]
    return _done(out, array)


def changed(
    array: NDArray[Any], dtype: Any, change: Callable[[NDArray[Any], NDArray[Any]], object]
) -> NDArray[Any]:
    """What becomes of all rows, some megabytes at a time; on disk if the array is.

    Args:
        array: the rows.
        dtype: of what becomes of them.
        change: from some rows, and where to write what becomes of them.
    """
    out = empty(array.shape, dtype, mapped=is_mapped(array))

    def fill(part: slice) -> None:
        change(array[part], out[part])

    _by_threads(fill, array)
    return _done(out, array)


def numbers(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Bytes as numbers from 0 to 1, not to be written to; on disk if the bytes are."""

    def divided(rows: NDArray[Any], out: NDArray[Any]) -> None:
        np.divide(rows, 255, out=out, dtype=np.float32)

    out: NDArray[np.float32] = changed(pixels, np.float32, divided)
    out.flags.writeable = False
    return out


def own(array: NDArray[Any], start: int, stop: int, limit: int | None = None) -> NDArray[Any]:
    """A copy of the rows that this process keeps; on disk if the array is, or too large for
    `limit`."""
    shape = (stop - start, *array.shape[1:])
    size = (stop - start) * array[:1].nbytes
    on_disk = is_mapped(array) or (limit is not None and size > limit // _SHARE)
    out = scratch_array(shape, array.dtype) if on_disk else aligned(shape, array.dtype)
    for part in slices(out):
        out[part] = array[start + part.start : start + part.stop]
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


def _by_threads(fill: Callable[[slice], None], array: NDArray[Any]) -> None:
    """Fill all slices of an array, some at a time.

    Most of the time the system gets new memory ready, page by page; it does so for every thread.
    """
    if array.nbytes <= _CHUNK_BYTES:
        fill(slice(0, len(array)))
        return
    with ThreadPoolExecutor(_THREADS) as pool:
        list(pool.map(fill, slices(array)))


def _done(out: NDArray[Any], *sources: NDArray[Any]) -> NDArray[Any]:
    for array in (out, *sources):
        forget_pages(array)
    if is_mapped(out):
        out.flags.writeable = False
    return out
