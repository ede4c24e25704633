"""One checkpoint as a folder: a safetensors file and a manifest that vouches for it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
from numpy.typing import NDArray
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from layerwise import files
from layerwise.engine import Snapshot
from layerwise.errors import DamagedError, UnknownFormatError

FORMAT = 1
MANIFEST, TENSORS = "manifest.json", "tensors.safetensors"
_MANIFEST_LIMIT = 64 << 20
_BROKEN = (KeyError, TypeError, ValueError, OverflowError)
"""What values of other types than are written lead to."""
_STORED_AS: dict[str, tuple[str, Any]] = {
    "bfloat16": ("uint16", ml_dtypes.bfloat16),
    "float8_e4m3fn": ("uint8", ml_dtypes.float8_e4m3fn),
    "float8_e5m2": ("uint8", ml_dtypes.float8_e5m2),
}
"""Types that safetensors' NumPy face does not know: stored bit for bit as another."""


@dataclass(frozen=True)
class Checkpoint:
    """A snapshot with what tells it from others.

    Attributes:
        name: what was trained, such as `"stage-0003-0"`.
        run: SHA-256 of the run's `run.json`: checkpoints of one run are of no use to another.
        plan: what it was trained with, to be compared when it is used.
        below: digest of the frozen blocks that it stands on.
        serial: the higher is the newer, where there are several of one name.
        seconds: spent on it so far.
        snapshot: arrays and facts.
    """

    name: str
    run: str
    plan: Mapping[str, Any]
    below: str
    serial: int
    seconds: float
    snapshot: Snapshot


def write(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint as the folder `path`, whole or not at all.

    Raises:
        DiskFullError: there is no room; what was there is intact.
    """
    arrays, types = storable(checkpoint.snapshot.arrays)
    tensors = save_tensors(arrays)
    manifest = _sealed(
        {
            "format": FORMAT,
            "name": checkpoint.name,
            "run": checkpoint.run,
            "plan": checkpoint.plan,
            "below": checkpoint.below,
            "serial": checkpoint.serial,
            "seconds": checkpoint.seconds,
            "tensors": {"bytes": len(tensors), "sha256": hashlib.sha256(tensors).hexdigest()},
            "types": types,
            "facts": checkpoint.snapshot.facts,
        }
    )
    with files.replacing_folder(path, len(tensors) + len(manifest)) as temporary:
        files.write_new(temporary / TENSORS, [tensors], len(tensors))
        files.write_new(temporary / MANIFEST, [manifest], len(manifest))


def read(root: Path, folder: str) -> Checkpoint:
    """Read a checkpoint, every byte of it checked before it is used.

    Args:
        root: nothing outside of it is read.
        folder: the name of the checkpoint's folder in `root`.

    Raises:
        FileNotFoundError: there is none.
        DamagedError: it is not what was written.
        UnknownFormatError: it is of a format that this version cannot read.
    """
    manifest = _unsealed(files.read_bytes(root, f"{folder}/{MANIFEST}", _MANIFEST_LIMIT), folder)
    try:
        if manifest["format"] != FORMAT:
            raise UnknownFormatError(
                f"The checkpoint {folder} has format {manifest['format']!r}, and this version of "
                f"layerwise reads {FORMAT}. Use the version that wrote it."
            )
        size, digest = int(manifest["tensors"]["bytes"]), str(manifest["tensors"]["sha256"])
        try:
            tensors = files.read_bytes(root, f"{folder}/{TENSORS}", size)
        except FileNotFoundError as error:
            raise DamagedError(f"The checkpoint {folder} has lost its tensors.") from error
        except MemoryError as error:
            raise DamagedError(
                f"The tensors of the checkpoint {folder} are said to have {size:,} bytes, which "
                "this machine's memory cannot hold."
            ) from error
        if len(tensors) != size or hashlib.sha256(tensors).hexdigest() != digest:
            raise DamagedError(f"The tensors of the checkpoint {folder} are not those written.")
        return Checkpoint(
            name=str(manifest["name"]),
            run=str(manifest["run"]),
            plan=dict(manifest["plan"]),
            below=str(manifest["below"]),
            serial=int(manifest["serial"]),
            seconds=float(manifest["seconds"]),
            snapshot=Snapshot(
                restored(load_tensors(tensors), manifest["types"]), dict(manifest["facts"])
            ),
        )
    except (*_BROKEN, safetensors.SafetensorError) as error:
        if isinstance(error, DamagedError):
            raise
        raise DamagedError(f"The checkpoint {folder} breaks its format: {error}.") from error


def _sealed(content: Mapping[str, Any]) -> bytes:
    """The content as JSON, its SHA-256 in the line before."""
    body = json.dumps(content, allow_nan=False).encode()
    return hashlib.sha256(body).hexdigest().encode() + b"\n" + body


def _unsealed(data: bytes, folder: str) -> dict[str, Any]:
    seal, _, body = data.partition(b"\n")
    if hashlib.sha256(body).hexdigest().encode() != seal:
        raise DamagedError(f"The manifest of the checkpoint {folder} is not the one written.")
    try:
        content = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"The manifest of the checkpoint {folder} is no JSON.") from error
    if not isinstance(content, dict):
        raise DamagedError(f"The manifest of the checkpoint {folder} is no JSON object.")
    return content


def storable(
    arrays: Mapping[str, NDArray[Any]],
) -> tuple[dict[str, NDArray[Any]], dict[str, str]]:
    """Arrays as safetensors takes them, and the types of those that go as another."""
    types = {name: str(a.dtype) for name, a in arrays.items() if str(a.dtype) in _STORED_AS}
    stored = {}
    for name, array in arrays.items():
        # `ascontiguousarray` makes a scalar one-dimensional.
        array = np.ascontiguousarray(array).reshape(np.shape(array))
        stored[name] = array.view(_STORED_AS[types[name]][0]) if name in types else array
    return stored, types


def restored(
    arrays: Mapping[str, NDArray[Any]], types: Mapping[str, str]
) -> dict[str, NDArray[Any]]:
    """What `storable` was given."""
    return {
        name: array.view(_STORED_AS[types[name]][1]) if name in types else array
        for name, array in arrays.items()
    }
