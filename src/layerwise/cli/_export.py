"""`layerwise export`: the network of a run as a file that others open."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerwise.cli._choices import ExportFormat
from layerwise.errors import visible


def export(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run.")],
    format: Annotated[ExportFormat, typer.Option(help="What to write.")],
    out: Annotated[
        Path | None, typer.Option(help="File to write; default: the run's name, here.")
    ] = None,
    exits: Annotated[
        bool, typer.Option("--exits", help="What every depth predicts, as outputs of their own.")
    ] = False,
    data: Annotated[
        Path | None,
        typer.Option(
            help="A table with the run's columns, or images: compare on their rows as well."
        ),
    ] = None,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace a file that is there.")
    ] = False,
) -> None:
    """Write the network of a run as one file, and check that it predicts the same."""
    from layerwise.service import LIMIT
    from layerwise.service import export as export_network

    made = export_network(run, format.value, out, exits=exits, data=data, replace=replace)
    for note in made.notes:
        typer.echo(visible(f"Warning: {note}"), err=True)
    typer.echo(visible(f"Exported: {made.file}, {made.file.stat().st_size:,} bytes"))
    own = "" if data is None else visible(f", {made.own_rows:,} of them from {data}")
    typer.echo(
        f"Compared by {made.opened_by} on {made.rows:,} rows{own}: the largest difference is "
        f"{made.difference:.1e} of the largest output, allowed is {LIMIT:.0e}"
    )
    if made.preparation is not None:
        typer.echo(visible(f"Preparation of its inputs: {made.preparation}"))
