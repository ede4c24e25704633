"""Where results may go."""

from __future__ import annotations

import os
from pathlib import Path

from layerwise.checkpoint import read_sums
from layerwise.errors import InputError


def check_out(file: Path, endings: tuple[str, ...]) -> None:
    """Refuse a file that cannot be written, before any work is done.

    Raises:
        InputError: it has another ending, is a folder or a finished run's own, or its folder is
            missing or closed.
    """
    if file.suffix.lower() not in endings:
        raise InputError(f"`--out` must end in {' or '.join(endings)}. Received: {str(file)!r}.")
    why = None
    if file.is_dir():
        why = "it is a folder. Name a file"
    elif not file.parent.is_dir():
        why = f"there is no folder {file.parent}. Make it, or choose another"
    elif not os.access(file.parent, os.W_OK):
        why = f"the folder {file.parent} is closed to you. Choose another"
    if why is not None:
        raise InputError(f"{file} cannot be written: {why}.")
    if file.name in read_sums(file.parent):
        raise InputError(
            f"{file} is a file of the run in {file.parent}, which stays as it is. Choose another."
        )
