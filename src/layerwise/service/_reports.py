"""Pages of runs that are on disk: the report again, and several runs side by side."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from jinja2 import TemplateError

from layerwise import depth as depths
from layerwise import files, report
from layerwise.checkpoint import PICTURES, RunFolder, draw, read_finished
from layerwise.errors import DamagedError, InputError, LayerwiseError
from layerwise.history import History
from layerwise.report import RunComparison
from layerwise.service._out import check_out

_LIMIT = 64 << 20
_OF_ANOTHER_FORM = (LookupError, TypeError, AttributeError, ValueError, ArithmeticError)


def write_report(run_dir: str | Path, out: str | Path | None = None) -> Path:
    """Draw the report of a run again, finished or not.

    Args:
        run_dir: its folder.
        out: the file to write; default: `report.html` of a run that has not finished, which it
            will draw again itself, and `NAME-report.html` beside the folder of one that has: its
            own files are vouched for and stay as they are.

    Returns:
        The file.

    Raises:
        InputError: there is no run, no stage of it is finished, or the file cannot be written.
        DamagedError: a file of the run is not what was written.

    Example:
        >>> import keras, layerwise
        >>> from layerwise.service import write_report
        >>> data = layerwise.load_dataset("wine")
        >>> result = layerwise.train(
        ...     data, block=lambda depth: keras.layers.Dense(8, "relu"), epochs=2, max_depth=1,
        ...     run_dir="drawn", verbose=0)
        >>> write_report("drawn", "page.html").name
        'page.html'
    """
    folder = Path(run_dir)
    facts, history, sealed = _read(folder)
    if out is None:
        name = f"{folder.resolve().name}-report.html"
        file = folder.with_name(name) if sealed else folder / "report.html"
    else:
        file = Path(out)
    check_out(file, (".html",))
    pictures = _pictures(folder) if sealed else {}
    with _as_layerwise_writes(folder):
        finished = History.from_json(json.dumps(history))
        said = "The run has not finished."
        if finished.selected_depth is not None:
            said = depths.explain(finished)
        _, page = draw(history, facts, said, pictures)
    files.write_text(file, page)
    return file


def compare(run_dirs: Sequence[str | Path], out: str | Path | None = None) -> RunComparison:
    """Put several runs side by side.

    Args:
        run_dirs: their folders, two or more.
        out: a page to write; None for none.

    Returns:
        A line for each run, and what speaks against comparing them.

    Raises:
        InputError, DamagedError: as `write_report`.
    """
    if len(run_dirs) < 2:
        raise InputError("Name two runs or more to compare.")
    twice = [str(folder) for i, folder in enumerate(run_dirs) if folder in run_dirs[:i]]
    if twice:
        raise InputError(f"Name each run once. Received twice: {', '.join(twice)}.")
    if out is not None:
        check_out(Path(out), (".html",))
    runs = [(str(folder), *_read(Path(folder))[:2]) for folder in run_dirs]
    with _as_layerwise_writes(*map(Path, run_dirs)):
        found, page = report.compare_runs(runs), None if out is None else report.compare_page(runs)
    if out is not None and page is not None:
        files.write_text(Path(out), page)
    return found


def _read(folder: Path) -> tuple[dict[str, Any], dict[str, Any], bool]:
    """`run.json`, `history.json`, and whether the run is finished."""
    run = RunFolder(folder, resume=True)
    facts, damaged = run.started_with(), run.damaged()
    if damaged and "history.json" in damaged:
        raise DamagedError(
            f"{folder / 'history.json'} is damaged. `layerwise resume {folder}` makes it again."
        )
    try:
        text = files.read_bytes(folder, "history.json", _LIMIT).decode()
    except FileNotFoundError as error:
        raise InputError(f"No stage of the run in {folder} is finished yet.") from error
    except UnicodeDecodeError as error:
        raise DamagedError(f"{folder / 'history.json'} is no text.") from error
    history = History.from_json(text).to_dict()
    if not history["stages"]:
        raise InputError(f"No stage of the run in {folder} is finished yet.")
    return facts, history, damaged is not None


@contextmanager
def _as_layerwise_writes(*folders: Path) -> Iterator[None]:
    """Around what reads records: one that is whole may still not be of ours."""
    try:
        yield
    except LayerwiseError:
        raise
    except (*_OF_ANOTHER_FORM, TemplateError) as error:
        where = " or ".join(str(folder) for folder in folders)
        raise DamagedError(
            f"run.json or history.json of {where} is not of the form that layerwise writes: "
            f"{type(error).__name__}, {error}."
        ) from error


def _pictures(folder: Path) -> Mapping[str, str]:
    try:
        return json.loads(read_finished(folder, PICTURES, _LIMIT))
    except FileNotFoundError:
        return {}
