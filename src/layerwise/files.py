"""The only room that writes: whole files or nothing, each with its hash."""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from layerwise._typing import Json
from layerwise.errors import InputError

TEMPORARY_PREFIX = ".layerwise-"


def _sync(path: Path) -> None:
    """Ask the system to put a file, or a folder's list of names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path`; what stands there at the end takes `path`'s place at once.

    A reader sees the old file or the new one, never a part. When the body raises, `path` keeps
    what it had and the temporary file is removed. The suffix is kept, as Keras asks for `.keras`.
    """
    name = f"{TEMPORARY_PREFIX}{secrets.token_hex(6)}{path.suffix}"
    temporary = path.parent / name
    try:
        yield temporary
        _sync(temporary)
        os.replace(temporary, path)
        _sync(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(path: Path, data: bytes) -> str:
    """Write a whole file and return its SHA-256."""
    with replacing(path) as temporary:
        temporary.write_bytes(data)
    return hashlib.sha256(data).hexdigest()


def write_text(path: Path, text: str) -> str:
    """Write a whole text file in UTF-8 and return its SHA-256."""
    return write_bytes(path, text.encode())


def write_json(path: Path, value: Json) -> str:
    """Write one JSON document and return its SHA-256. Infinity and NaN are refused."""
    return write_text(path, json.dumps(value, indent=1, allow_nan=False) + "\n")


def digest_file(path: Path, algorithm: str = "sha256") -> str:
    """The hash of a file's content, read in pieces."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def claim_folder(folder: Path) -> Path:
    """Make a folder for a run, or take an empty one.

    Raises `InputError` where the folder holds a run, holds anything else, or cannot be written.
    """
    try:
        if (folder / "run.json").exists():
            raise InputError(
                f"{folder} already holds a run. Choose another folder, or remove that one first."
            )
        folder.mkdir(parents=True, exist_ok=True)
        leftovers = [p for p in folder.iterdir() if p.name.startswith(TEMPORARY_PREFIX)]
        if len(leftovers) != sum(1 for _ in folder.iterdir()):
            raise InputError(
                f"{folder} is not empty and holds no run of layerwise. Choose another folder."
            )
        for path in leftovers:
            path.unlink()
        with replacing(folder / f"{TEMPORARY_PREFIX}probe") as probe:
            probe.touch()
        (folder / f"{TEMPORARY_PREFIX}probe").unlink()
    except OSError as error:
        raise InputError(
            f"The folder {folder} cannot be written ({error.strerror}). Choose another one."
        ) from error
    return folder
