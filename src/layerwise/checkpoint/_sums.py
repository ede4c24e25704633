"""`SHA256SUMS`: the hash of every finished file of a run, as `sha256sum -c` reads it."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from layerwise import files
from layerwise.errors import DamagedError, InputError

NAME = "SHA256SUMS"
_WHOLE = re.compile(r"([0-9a-f]{64}  [a-z.]+\n)+")
_LIMIT = 1 << 16


def write_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Write the hashes, by file name."""
    files.write_text(folder / NAME, "".join(f"{sha}  {name}\n" for name, sha in sums.items()))


def read_sums(folder: Path) -> dict[str, str]:
    """The hashes by file name; empty where there is no such file.

    Raises:
        DamagedError: a line is not what `write_sums` writes.
    """
    try:
        text = files.read_bytes(folder, NAME, _LIMIT).decode()
    except FileNotFoundError:
        return {}
    except UnicodeDecodeError as error:
        raise DamagedError(f"{folder / NAME} is damaged: it is no text.") from error
    if not _WHOLE.fullmatch(text):
        raise DamagedError(f"{folder / NAME} is damaged: it is not what was written.")
    return {line[66:]: line[:64] for line in text.split("\n")[:-1]}


def is_whole(folder: Path, name: str, sha: str | None) -> bool:
    """Whether a file is there with this hash."""
    try:
        with files.open_plain(folder, name) as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest() == sha
    except (FileNotFoundError, DamagedError):
        return False


def read_finished(folder: Path, name: str, limit: int) -> bytes:
    """A file of a finished run, its hash checked.

    Args:
        folder: of the run.
        name: of the file.
        limit: the most bytes that it may have.

    Raises:
        FileNotFoundError: the run is finished, and has no such file.
        InputError: there is no finished run.
        DamagedError: the file is not what was written.
    """
    if not folder.is_dir():
        raise InputError(f"There is no run in {folder}: no such folder.")
    sums = read_sums(folder)
    if "model.keras" not in sums:
        raise InputError(
            f"{folder} holds no finished run. `layerwise resume {folder}` finishes one."
        )
    if name not in sums:
        raise FileNotFoundError(f"The run in {folder} has no {name}.")
    if not is_whole(folder, name, sums[name]):
        raise DamagedError(
            f"{folder / name} is damaged: its hash is not the one in SHA256SUMS. "
            f"`layerwise resume {folder}` makes it again."
        )
    return files.read_bytes(folder, name, limit)
