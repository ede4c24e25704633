"""`layerwise train` and `layerwise predict`: tables in, predictions out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from layerwise.cli._choices import (
    Baseline,
    BatchSize,
    Engine,
    Epochs,
    HeadOption,
    Json,
    MaxDepth,
    Objective,
    Out,
    Replicates,
    Seed,
    Task,
    ValidationSplit,
)


def train(
    data: Annotated[Path, typer.Argument(help="A table: a .csv, .parquet or .npz file.")],
    target: Annotated[str, typer.Option(help="The column to predict.")],
    out: Out = None,
    seed: Seed = 0,
    task: Annotated[
        Task | None, typer.Option(help="Predict classes or values; default: by the target.")
    ] = None,
    drop: Annotated[
        list[str] | None, typer.Option(help="A column to leave out; may be given several times.")
    ] = None,
    test: Annotated[
        Path | None, typer.Option(help="A table of the same columns to score the network on.")
    ] = None,
    unlabeled: Annotated[
        bool, typer.Option("--unlabeled", help="Rows without a target train without labels.")
    ] = False,
    max_depth: MaxDepth = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    validation_split: ValidationSplit = None,
    replicates: Replicates = None,
    head: HeadOption = None,
    objective: Objective = None,
    engine: Engine = None,
    baseline: Baseline = None,
    fine_tune: Annotated[
        int | None, typer.Option(min=1, help="Epochs of joint training after growth.")
    ] = None,
    width: Annotated[int | None, typer.Option(min=1, help="Units of each block: 64.")] = None,
    json: Json = False,
) -> None:
    """Train on a table: look at its columns, grow, choose the depth, leave model and report."""
    from layerwise.cli._run import run_table
    from layerwise.recipes import Options
    from layerwise.recipes.table import TableJob

    job = TableJob(
        data=data,
        target=target,
        task=task and task.value,
        drop=tuple(drop or ()),
        test=test,
        unlabeled=unlabeled,
        fine_tune=fine_tune,
    )
    options = Options(
        seed=seed,
        max_depth=max_depth,
        epochs=epochs,
        batch_size=batch_size,
        validation_split=validation_split,
        replicates=replicates,
        head=head and head.value,
        objective=objective,
        engine=engine and engine.value,
        baseline=baseline and baseline.value,
        width=width,
    )
    run_table(job, options, out, as_json=json)


def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run on a table.")],
    data: Annotated[Path, typer.Argument(help="A table of the same columns; no target needed.")],
    out: Annotated[Path, typer.Option(help="File to write: .csv or .parquet.")],
    proba: Annotated[
        bool, typer.Option("--proba", help="Also the probability of each class.")
    ] = False,
) -> None:
    """Predict the rows of a table with the network of a run."""
    from layerwise.cli._tables import print_predicted
    from layerwise.service import predict as predict_rows

    print_predicted(predict_rows(run, data, out, proba=proba), out)
