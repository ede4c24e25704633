"""Tables for people, on standard output."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from rich.console import Console
from rich.table import Table

from layerwise import depth as depths
from layerwise.errors import visible
from layerwise.history import History
from layerwise.recipes import Recipe
from layerwise.report import (
    RunComparison,
    compared_metric,
    comparison_rows,
    format_count,
    format_metric,
    format_seconds,
    verdict,
)
from layerwise.tables import Findings

if TYPE_CHECKING:
    from layerwise.service import Predicted


def _console() -> Console:
    """As wide as the terminal; wide enough for any table where there is none."""
    console = Console(highlight=False, markup=False)
    return console if console.is_terminal else Console(highlight=False, markup=False, width=220)


def print_recipes(recipes: Sequence[Recipe]) -> None:
    """Name and summary of each recipe."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for recipe in recipes:
        table.add_row(recipe.name, recipe.summary)
    _console().print(table)


def print_findings(findings: Mapping[str, str]) -> None:
    """What the doctor found, one line each."""
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in findings.items():
        table.add_row(visible(name), visible(value))
    _console().print(table)


def print_findings_of(findings: Findings, *, as_json: bool) -> None:
    """What a table's columns hold, and warnings; the latter go to standard error."""
    if not as_json:
        table = Table(box=None, padding=(0, 2, 0, 0))
        for title in ("column", "kind", "inputs", "missing", "holds"):
            table.add_column(title, justify="right" if title in ("inputs", "missing") else "left")
        for column in findings.columns:
            numbers = (str(column.inputs), str(column.missing or ""))
            table.add_row(visible(column.name), column.kind, *numbers, visible(column.detail))
        if findings.columns:
            _console().print(table)
        _console().print(visible(f"Target: {findings.target}"), soft_wrap=True)
    for warning in findings.warnings:
        typer.echo(visible(f"Warning: {warning}"), err=True)


def print_predicted(predicted: Predicted, out: Path) -> None:
    """Where the predictions are; what the table had that the training table had not."""
    for note in predicted.notes:
        typer.echo(visible(f"Warning: {note}"), err=True)
    typer.echo(visible(f"Predictions: {out}, {predicted.rows:,} rows"))


def print_result(recipe: Recipe, history: History, folder: Path) -> None:
    """The table by depth, the choice and why, the comparison, the test score, the folder."""
    console = _console()
    console.print(_depth_table(recipe, history.summary()))
    if recipe.published:
        console.print(f"published: {recipe.source}", soft_wrap=True)
    if recipe.target:
        console.print(f"Published: {recipe.target}", soft_wrap=True)
    console.print(depths.explain(history), soft_wrap=True)
    if history.fine_tune is not None:
        metric = history.monitor.partition(".")[2]
        before = format_metric(history.fine_tune["validation_before"].get(metric))
        after = format_metric(history.fine_tune["validation_after"].get(metric))
        kept = "kept" if history.fine_tune["kept"] else "not kept"
        console.print(f"Fine-tuning: validation {metric} {before} to {after}, {kept}.")
        for step in history.fine_tune.get("steps", []):
            ends = [format_metric(step[f"validation_{e}"].get(metric)) for e in ("before", "after")]
            kept = "kept" if step["kept"] else "not kept"
            what = "the trunk alone" if step["when"] == "before" else "with the classifier"
            console.print(f"  {what}: {ends[0]} to {ends[1]}, {kept}.")
    if history.baseline:
        console.print(_comparison_table(history.to_dict()))
        console.print(verdict(history.to_dict()).sentence, soft_wrap=True)
    console.print(f"Chosen depth: {history.selected_depth}")
    for name, value in (history.test or {}).items():
        console.print(f"Test {name.replace('_', ' ')}: {format_metric(value)}")
    console.print(visible(f"Run folder: {folder}"), soft_wrap=True)
    console.print(visible(f"Report: {folder / 'report.html'}"), soft_wrap=True)


def _comparison_table(history: dict[str, Any]) -> Table:
    metric = compared_metric(history)
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("network")
    titles = (f"validation\n{metric}", f"test\n{metric}")
    for title in (*titles, "epochs", "time", "compiling", "operations"):
        table.add_column(title.replace("_", " "), justify="right")
    for row in comparison_rows(history):
        scores = (format_metric(split.get(metric)) for split in (row.validation, row.test))
        cost = [str(row.epochs), *map(format_seconds, (row.seconds, row.compiling))]
        cost.append(format_count(row.operations))
        table.add_row(f"{'*' if row.chosen else ''}{row.name}", *scores, *cost)
    return table


def print_runs(found: RunComparison, out: Path | None) -> None:
    """Runs side by side; what speaks against comparing them goes to standard error."""
    for warning in found.warnings:
        typer.echo(visible(f"Warning: {warning}"), err=True)
    table = Table(box=None, padding=(0, 2, 0, 0))
    for title in ("run", "what", "depth", "stages", "metric", "validation", "test", "time"):
        right = title in ("depth", "stages", "validation", "test", "time")
        table.add_column(title, justify="right" if right else "left")
    table.add_column("operations", justify="right")
    for row in found.rows:
        table.add_row(
            visible(row.name),
            visible(row.what),
            "–" if row.depth is None else str(row.depth),
            str(row.stages),
            visible(row.metric),
            format_metric(row.validation),
            format_metric(row.test),
            format_seconds(row.seconds),
            format_count(row.operations),
        )
    _console().print(table)
    if out is not None:
        typer.echo(visible(f"Page: {out}"))


def _depth_table(recipe: Recipe, history: dict[str, Any]) -> Table:
    metric = history["monitor"].partition(".")[2]
    shown = list(dict.fromkeys([metric, "loss"]))
    columns = [(split, name) for name in shown for split in ("train", "validation", "test")]
    columns = [(s, n) for s, n in columns if any(stage[s] for stage in history["stages"])]
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("depth", justify="right")
    for split, name in columns:
        table.add_column(f"{split}\n{name.replace('_', ' ')}", justify="right")
    for name in recipe.published:
        table.add_column(f"published\n{name.replace('_', ' ')}", justify="right")
    diverged = any(stage.get("diverged") for stage in history["stages"])
    if diverged:
        table.add_column("diverged", justify="right")
    table.add_column("seconds", justify="right")
    for stage in history["stages"]:
        row = [f"{'*' if stage['depth'] == history['selected_depth'] else ''}{stage['depth']}"]
        row += [format_metric((stage[split] or {}).get(name)) for split, name in columns]
        for values in recipe.published.values():
            known = stage["depth"] <= len(values)
            row.append(f"{values[stage['depth'] - 1]:.4f}" if known else "")
        if diverged:
            row.append(str(stage["diverged"]))
        table.add_row(*row, f"{stage['seconds']:.2f}")
    return table
