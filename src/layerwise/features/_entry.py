"""One array on disk: a folder with its raw rows and a manifest that vouches for every byte.

`features.bin` is the array in C order and nothing else, so that it can be mapped. `manifest.json`
has one possible form for given facts, so a reader compares bytes and need not interpret.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import stat
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from layerwise import files
from layerwise.errors import DamagedError, InputTypeError
from layerwise.features._store import is_finite
from layerwise.signals import check

FORMAT = 1
ROWS, MANIFEST = "features.bin", "manifest.json"
BLOCK = 16 << 20
"""So many bytes share a hash."""
_MOST_MANIFEST = 256 << 20
_MOST_AXES = 32
_DTYPES = {
    *("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"),
    *("float16", "float32", "float64", "bfloat16", "float8_e4m3fn", "float8_e5m2"),
    *("complex64", "complex128"),
}
"""A closed list: mapped as an array of objects, a file would be taken for pointers."""


@dataclass(frozen=True)
class Entry:
    """An array that lies on disk, mapped to be read only."""

    array: NDArray[Any]
    finite: bool


@dataclass(frozen=True)
class Manifest:
    """What an entry must be."""

    key: str
    shape: tuple[int, ...]
    dtype: str
    finite: bool
    hashes: tuple[str, ...]
    """SHA-256 of each block of at most `BLOCK` bytes."""

    @property
    def size(self) -> int:
        """Bytes of the rows."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def to_bytes(self) -> bytes:
        """The file, its own SHA-256 over all the rest included."""
        facts: dict[str, Any] = {
            "format": FORMAT,
            "key": self.key,
            "shape": self.shape,
            "dtype": self.dtype,
            "byte_order": sys.byteorder,
            "finite": self.finite,
            "chunk_bytes": BLOCK,
            "chunks": self.hashes,
        }
        digest = hashlib.sha256(json.dumps(facts).encode()).hexdigest()
        return (json.dumps({**facts, "sha256": digest}, indent=1) + "\n").encode()

    @classmethod
    def from_bytes(cls, data: bytes, key: str) -> Manifest:
        """Read a file that must be this key's.

        Raises:
            DamagedError: it is not, to the byte, what `to_bytes` writes of a possible entry.
        """
        try:
            facts = json.loads(data)
            manifest = cls(
                key, tuple(facts["shape"]), facts["dtype"], facts["finite"], tuple(facts["chunks"])
            )
            if manifest.to_bytes() == data and manifest._is_possible():
                return manifest
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise DamagedError(f"The manifest of {key} cannot be read: {error}.") from error
        raise DamagedError(f"The manifest of {key} is not what was written.")

    def _is_possible(self) -> bool:
        counts = len(self.shape) <= _MOST_AXES and all(
            type(n) is int and n >= 0 for n in self.shape
        )
        return (
            counts
            and self.dtype in _DTYPES
            and type(self.finite) is bool
            and len(self.hashes) == math.ceil(self.size / BLOCK)
        )


def entry_bytes(shape: tuple[int, ...], dtype: np.dtype[Any]) -> int:
    """About how much room an entry takes: its rows, and a little more than its manifest.

    Raises:
        InputTypeError: such an array cannot be kept on disk.
    """
    if dtype.name not in _DTYPES:
        raise InputTypeError(
            f"Features of type {dtype.name} cannot be kept on disk. Expected one of "
            f"{', '.join(sorted(_DTYPES))}. Keep them in memory, or let the block give another."
        )
    size = math.prod(shape) * dtype.itemsize
    return size + 1024 + 80 * math.ceil(size / BLOCK)


def write_entry(
    folder: Path,
    key: str,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    chunks: Iterable[NDArray[Any]],
) -> Entry:
    """Write an entry into a folder of its own, chunk by chunk, and map it."""
    native = dtype.newbyteorder("=")
    finite = True

    def parts() -> Iterator[memoryview]:
        nonlocal finite
        for chunk in chunks:
            rows = np.ascontiguousarray(chunk, native)
            finite = finite and is_finite(rows)
            # By way of bytes: the types that NumPy does not own have no buffer.
            yield rows.reshape(-1).view(np.uint8).data

    size = math.prod(shape) * native.itemsize
    hashes = files.write_blocks(folder / ROWS, parts(), size, BLOCK)
    manifest = Manifest(key, shape, native.name, finite, tuple(hashes))
    data = manifest.to_bytes()
    files.write_blocks(folder / MANIFEST, [data], len(data), BLOCK)
    with _open_rows(folder / ROWS, size) as stream:
        return Entry(_map(stream, manifest), finite)


def read_entry(folder: Path, key: str) -> Entry:
    """Verify every byte of the entry `folder / key`, and map it.

    Raises:
        DamagedError: it is not what was written.
        OSError: it is not there, or the disk cannot read it.
    """
    data = files.read_bytes(folder, f"{key}/{MANIFEST}", _MOST_MANIFEST)
    manifest = Manifest.from_bytes(data, key)
    with _open_rows(folder / key / ROWS, manifest.size) as stream:
        _verify(stream, manifest)
        return Entry(_map(stream, manifest), manifest.finite)


def _open_rows(path: Path, size: int) -> BinaryIO:
    # A pipe would wait for its writer for ever; a link could lead anywhere.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    stream = os.fdopen(descriptor, "rb", buffering=0)
    status = os.fstat(descriptor)
    if not stat.S_ISREG(status.st_mode) or status.st_size != size:
        stream.close()
        raise DamagedError(f"{path} is not a plain file of {size:,} bytes.")
    return stream


def _verify(stream: BinaryIO, manifest: Manifest) -> None:
    """Read rather than look through a map: there, a file cut short meanwhile kills the process."""
    buffer = memoryview(bytearray(min(BLOCK, manifest.size)))
    left = manifest.size
    for expected in manifest.hashes:
        check()
        block = buffer[: min(BLOCK, left)]
        if _fill(stream, block) < len(block) or hashlib.sha256(block).hexdigest() != expected:
            raise DamagedError(f"The rows of {manifest.key} are not what was written.")
        left -= len(block)


def _fill(stream: BinaryIO, block: memoryview) -> int:
    """Read until the block is full or the file ends; how many bytes came."""
    filled = 0
    while filled < len(block) and (n := stream.readinto(block[filled:])):  # type: ignore[attr-defined]
        filled += n
    return filled


def _map(stream: BinaryIO, manifest: Manifest) -> NDArray[Any]:
    """The array in the file. The map outlives the stream, and the name of the file."""
    dtype = np.dtype(manifest.dtype)
    if not manifest.size:
        return np.empty(manifest.shape, dtype)
    return np.memmap(stream, dtype, "r", shape=manifest.shape)
