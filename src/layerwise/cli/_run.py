"""What `layerwise run` does."""

from __future__ import annotations

import datetime
import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import typer

from layerwise.checkpoint import RunFolder
from layerwise.cli._tables import print_result
from layerwise.recipes import Options, find_recipe
from layerwise.training import train


def run_recipe(name: str, options: Options, out: Path | None, *, as_json: bool) -> None:
    """Run a recipe and print its summary."""
    recipe = find_recipe(name)
    data, arguments = recipe.plan(options)
    folder = out or _new_folder(name)
    given = {key: value for key, value in asdict(options).items() if value is not None}
    request: dict[str, Any] = {
        "recipe": name,
        "options": {key: str(v) if isinstance(v, Path) else v for key, v in given.items()},
        "command": shlex.join(["layerwise", *sys.argv[1:]]),
    }
    result = train(data, **arguments, run_dir=RunFolder(folder, request))
    if as_json:
        typer.echo(json.dumps(result.history.summary(), allow_nan=False))
    else:
        print_result(recipe, result.history, folder)


def _new_folder(name: str) -> Path:
    """`runs/NAME-DATE-TIME`, with a number where that second is taken."""
    stamp = datetime.datetime.now().strftime("%Y%m%d-%H%M%S")
    base = Path("runs") / f"{name}-{stamp}"
    folder, count = base, 1
    while folder.exists():
        count += 1
        folder = base.with_name(f"{base.name}-{count}")
    return folder
