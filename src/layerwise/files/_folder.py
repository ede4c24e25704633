"""Who may use a folder for a run."""

from __future__ import annotations

from pathlib import Path

from layerwise.errors import InputError
from layerwise.files import _system
from layerwise.files._write import TEMPORARY_PREFIX, replacing


def claim_folder(folder: Path) -> Path:
    """Make a folder for a run, or take an empty one.

    Raises `InputError` where the folder holds a run, holds anything else, or cannot be written.
    """
    try:
        if (folder / "run.json").exists():
            raise InputError(
                f"{folder} already holds a run. `layerwise resume {folder}` goes on with it; for "
                "a new run choose another folder."
            )
        _system.make_folders(folder)
        leftovers = [p for p in folder.iterdir() if p.name.startswith(TEMPORARY_PREFIX)]
        if len(leftovers) != sum(1 for _ in folder.iterdir()):
            raise InputError(
                f"{folder} is not empty and holds no run of layerwise. Choose another folder."
            )
        for path in leftovers:
            _system.remove(path)
        with replacing(folder / f"{TEMPORARY_PREFIX}probe") as probe:
            _system.write_new(probe, [])
        _system.remove(folder / f"{TEMPORARY_PREFIX}probe")
    except OSError as error:
        raise InputError(
            f"The folder {folder} cannot be written ({error.strerror}). Choose another one."
        ) from error
    return folder
