"""What `layerwise label-curve` does."""

from __future__ import annotations

import json
from pathlib import Path

import typer

from layerwise import files, plots, signals
from layerwise.cli._run import new_folder
from layerwise.errors import InputError, complaint
from layerwise.labelcurve import LabelCurve, check, label_curve
from layerwise.recipes import Options, find_recipe


def run_label_curve(
    name: str, options: Options, labels: str | None, seeds: int, out: Path | None, *, as_json: bool
) -> None:
    """Train at every number of labels, and write the curve after each pair of runs.

    Raises:
        InputError: the recipe cannot be compared so, or the numbers are none.
    """
    recipe = find_recipe(name)
    counts = _counts(labels) or list(recipe.labels)
    if not counts:
        raise InputError(f"{name} has no numbers of labels of its own. Pass --labels 100,300,1000.")
    data, arguments = recipe.plan(options)
    arguments.pop("seed", None)
    check(data, counts, seeds, arguments)
    folder = out or new_folder(f"label-curve-{name}")
    files.claim_folder(folder)

    def listen(curve: LabelCurve, line: str) -> None:
        signals.check()
        typer.echo(line, err=True)
        _write(folder, curve)

    curve = label_curve(data, counts, seeds=seeds, listen=listen, **arguments)
    if as_json:
        typer.echo(json.dumps(curve.to_dict(), allow_nan=False))
        return
    for line in curve.verdict():
        typer.echo(line)
    typer.echo(f"Curve: {folder / 'label-curve.svg'}")


def _write(folder: Path, curve: LabelCurve) -> None:
    files.write_json(folder / "label-curve.json", curve.to_dict())
    files.write_text(folder / "label-curve.svg", plots.to_svg(curve.plot()))


def _counts(labels: str | None) -> list[int]:
    try:
        return [int(part) for part in (labels or "").split(",") if part]
    except ValueError as error:
        raise InputError(
            complaint("--labels", "be numbers such as 100,300,1000", labels)
        ) from error
