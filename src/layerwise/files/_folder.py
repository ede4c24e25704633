"""Who may use a folder for a run."""

from __future__ import annotations

import os
import re
from pathlib import Path

from layerwise.errors import DamagedError, InputError
from layerwise.files import _system
from layerwise.files._read import read_bytes
from layerwise.files._write import TEMPORARY_PREFIX, make_folders, replacing

_LOCK = re.compile(r"lock-\d+")
_SUMS = re.compile(rb"[0-9a-f]{64}  run\.json\n")


def claim_folder(folder: Path) -> Path:
    """Make a folder for a run, or take an empty one.

    Leftovers of a run that was killed before it began are no obstacle; whoever then owns the
    folder removes them.

    Raises `InputError` where the folder holds a run, holds anything else, or cannot be written,
    and `DiskFullError` where there is no room.
    """
    try:
        make_folders(folder)
        _refuse_what_is_inside(folder)
        try:
            with replacing(folder / f"{TEMPORARY_PREFIX}probe") as probe:
                _system.write_new(probe, [])
        finally:
            _system.remove(folder / f"{TEMPORARY_PREFIX}probe")
    except OSError as error:
        raise _closed(folder, error.strerror) from error
    return folder


def check_folder(folder: Path) -> None:
    """Refuse a folder that `claim_folder` would refuse, before any work is done; make nothing.

    Raises:
        InputError: the folder holds a run, holds anything else, or cannot be written.
    """
    try:
        nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
        if not nearest.is_dir():
            raise _closed(folder, f"{nearest} is a file")
        if not os.access(nearest, os.W_OK | os.X_OK):
            raise _closed(folder, "Permission denied")
        if folder.exists():
            _refuse_what_is_inside(folder)
    except OSError as error:
        raise _closed(folder, error.strerror) from error


def _closed(folder: Path, why: str | None) -> InputError:
    return InputError(f"The folder {folder} cannot be written ({why}). Choose another one.")


def _refuse_what_is_inside(folder: Path) -> None:
    if (folder / "run.json").exists():
        raise InputError(
            f"{folder} already holds a run. `layerwise resume {folder}` goes on with it; for a new "
            "run choose another folder."
        )
    if not all(_is_ours(path) for path in sorted(folder.iterdir())):
        raise InputError(
            f"{folder} is not empty and holds no run of layerwise. Choose another folder."
        )


def _is_ours(path: Path) -> bool:
    """Whether a run that was killed before it wrote `run.json` may have left this."""
    if path.name.startswith(TEMPORARY_PREFIX) or _LOCK.fullmatch(path.name):
        return True
    if path.name != "SHA256SUMS":
        return False
    try:
        return _SUMS.fullmatch(read_bytes(path.parent, path.name, 100)) is not None
    except DamagedError:
        return False
