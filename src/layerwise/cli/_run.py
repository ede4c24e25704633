"""What `layerwise run`, `train` and `resume` do."""

from __future__ import annotations

import datetime
import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import typer

from layerwise import files
from layerwise.checkpoint import RunFolder
from layerwise.cli._tables import print_findings_of, print_result
from layerwise.distributed import agreed, leads
from layerwise.errors import InputError
from layerwise.history import History
from layerwise.recipes import Options, Recipe, find_recipe
from layerwise.recipes.images import ImageJob
from layerwise.recipes.table import TableJob
from layerwise.training import own_share, train

_JOBS: dict[str, type[TableJob | ImageJob]] = {job.key: job for job in (TableJob, ImageJob)}


def run_recipe(name: str, options: Options, out: Path | None, *, as_json: bool) -> None:
    """Run a recipe and print its summary."""
    recipe = find_recipe(name)
    if recipe.labels:
        raise InputError(f"{name} is a label curve: run `layerwise label-curve {name}`.")
    recipe.check(options)
    _start(recipe, {"recipe": name}, options, out, as_json=as_json)


def run_job(job: TableJob | ImageJob, options: Options, out: Path | None, *, as_json: bool) -> None:
    """Train on a table or on images; print what was found in them, and the summary."""
    _start(job.recipe(), {job.key: job.to_json()}, options, out, as_json=as_json)


def _start(
    recipe: Recipe, what: dict[str, Any], options: Options, out: Path | None, *, as_json: bool
) -> None:
    folder = out or new_folder(recipe.name)
    if leads():
        # Before the data are read, which may take long.
        files.check_folder(folder)
    data, arguments = recipe.plan(options)
    if data.findings is not None and leads():
        print_findings_of(data.findings, as_json=as_json)
    given = {key: value for key, value in asdict(options).items() if value is not None}
    request: dict[str, Any] = {
        **what,
        "options": {key: str(v) if isinstance(v, Path) else v for key, v in given.items()},
        "command": shlex.join(["layerwise", *sys.argv[1:]]),
    }
    data = own_share(data, options.memory_limit)
    result = train(data, **arguments, run_dir=RunFolder(folder, request))
    _print(recipe, result.history, folder, as_json=as_json)


def resume_run(folder: Path, changes: Mapping[str, Any], *, as_json: bool) -> None:
    """Go on with a run of a recipe, a table or images, and print its summary.

    Of the options those that are not None in `changes` take the place of the run's own.

    Raises:
        InputError: there is no run, or it was started from Python.
        DamagedError: `run.json` is not what was written.
    """
    run = RunFolder(folder, resume=True)
    # Process 0 alone needs to see the folder.
    started, damaged = _told(run) if leads() else (None, None)
    started, damaged = agreed((started, damaged))
    if not {"recipe", *_JOBS} & set(started):
        raise InputError(
            f"The run in {folder} was started from Python, and its blocks are code. Call "
            f"`layerwise.resume({str(folder)!r}, x, y, block=...)` with what `train` was given."
        )
    recipe = _recipe_of(started)
    if damaged == []:
        if leads():
            found = History.from_json(json.dumps(run.history()))
            _print(recipe, found, folder, as_json=as_json)
        return
    for name in damaged or []:
        if leads():
            typer.echo(f"{folder / name} is damaged. It is made again.", err=True)
    given = {name: value for name, value in changes.items() if value is not None}
    options = replace(Options.from_json(started.get("options")), **given)
    data, arguments = recipe.plan(options)
    data = own_share(data, options.memory_limit)
    result = train(data, **arguments, run_dir=run)
    _print(recipe, result.history, folder, as_json=as_json)


def _told(run: RunFolder) -> tuple[dict[str, Any], list[str] | None]:
    """What the run was started with, and which of its files are damaged; None while unfinished."""
    return run.started_with(), run.damaged()


def _recipe_of(started: Mapping[str, Any]) -> Recipe:
    """The recipe or job that `run.json` names."""
    for key, job in _JOBS.items():
        if key in started:
            return job.from_json(started[key]).recipe()
    return find_recipe(str(started["recipe"]))


def _print(recipe: Recipe, history: History, folder: Path, *, as_json: bool) -> None:
    if not leads():
        return
    if as_json:
        typer.echo(json.dumps(history.summary(), allow_nan=False))
    else:
        print_result(recipe, history, folder)


def new_folder(name: str) -> Path:
    """`runs/NAME-DATE-TIME`, with a number where that second is taken."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    base = Path("runs") / f"{name}-{stamp}"
    folder, count = base, 1
    while folder.exists():
        count += 1
        folder = base.with_name(f"{base.name}-{count}")
    return folder
