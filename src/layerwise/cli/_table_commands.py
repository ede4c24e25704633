"""`layerwise train` and `layerwise predict`: tables or images in, predictions out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from layerwise.cli._choices import (
    Baseline,
    BatchSize,
    CacheDir,
    CacheDtype,
    ColorChoice,
    Diagnostics,
    Engine,
    Epochs,
    HeadOption,
    Json,
    MaxDepth,
    MemoryLimit,
    Objective,
    OnDamage,
    OnDivergenceOption,
    Out,
    Replicates,
    SearchFraction,
    Seed,
    Task,
    ValidationSplit,
)
from layerwise.cli._cluster import (
    Coordinator,
    Distributed,
    Processes,
    ProcessId,
    Timeout,
    together,
)
from layerwise.errors import InputError

if TYPE_CHECKING:
    from layerwise.recipes.images import ImageJob
    from layerwise.recipes.table import TableJob


def train(
    data: Annotated[
        Path,
        typer.Argument(
            help="A table: a .csv, .parquet or .npz file; or a folder with a sub-folder of PNG and "
            "JPEG files for each class."
        ),
    ],
    target: Annotated[
        str | None, typer.Option(help="Of a table: the column to predict; must be given.")
    ] = None,
    out: Out = None,
    seed: Seed = 0,
    task: Annotated[
        Task | None,
        typer.Option(help="Of a table: predict classes or values; default: by the target."),
    ] = None,
    drop: Annotated[
        list[str] | None,
        typer.Option(help="Of a table: a column to leave out; may be given several times."),
    ] = None,
    category: Annotated[
        list[str] | None,
        typer.Option(help="Of a table: a column of categories that look like numbers; as --drop."),
    ] = None,
    test: Annotated[
        Path | None,
        typer.Option(help="Such a table, or such a folder, to score the network on."),
    ] = None,
    unlabeled: Annotated[
        bool,
        typer.Option("--unlabeled", help="Of a table: rows without a target train without labels."),
    ] = False,
    size: Annotated[
        int | None, typer.Option(min=1, help="Of images: both sides are scaled to so many pixels.")
    ] = None,
    color: Annotated[
        ColorChoice | None, typer.Option(help="Of images; auto: gray if all of them are.")
    ] = None,
    on_damage: Annotated[
        OnDamage | None, typer.Option(help="Of images that cannot be decoded: refuse by default.")
    ] = None,
    max_depth: MaxDepth = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    validation_split: ValidationSplit = None,
    replicates: Replicates = None,
    head: HeadOption = None,
    head_depth: Annotated[
        int | None, typer.Option(min=1, help="Of images: layers with weights of each head.")
    ] = None,
    objective: Objective = None,
    engine: Engine = None,
    baseline: Baseline = None,
    fine_tune: Annotated[
        int | None, typer.Option(min=1, help="Epochs of joint training after growth.")
    ] = None,
    on_divergence: OnDivergenceOption = None,
    cache_dir: CacheDir = None,
    memory_limit: MemoryLimit = None,
    cache_dtype: CacheDtype = None,
    search_fraction: SearchFraction = None,
    diagnostics: Diagnostics = False,
    width: Annotated[
        int | None, typer.Option(min=1, help="Units (64) or, of images, channels (32) of a block.")
    ] = None,
    distributed: Distributed = False,
    coordinator: Coordinator = None,
    processes: Processes = None,
    process_id: ProcessId = None,
    timeout: Timeout = None,
    json: Json = False,
) -> None:
    """Train on a table or on images: look at them, grow, choose the depth, leave a report.

    Where nothing else is said: dense blocks of 64 units with relu (of images convolutions of 32
    channels), the objective supervised, 25 epochs a stage in batches of 32, at most 10 stages, a
    fifth of the rows for validation, one replicate, no baseline and no fine-tuning.
    """
    with together(distributed, coordinator, processes, process_id, timeout):
        from layerwise.cli._run import run_job
        from layerwise.recipes import Options

        table = {
            "target": target,
            "task": task and task.value,
            "drop": tuple(drop or ()),
            "category": tuple(category or ()),
            "unlabeled": unlabeled,
        }
        images = {
            "size": size,
            "color": color and color.value,
            "damaged": on_damage and on_damage.value,
        }
        job = _job(data, table, images, head_depth, test=test, fine_tune=fine_tune)
        options = Options(
            seed=seed,
            max_depth=max_depth,
            epochs=epochs,
            batch_size=batch_size,
            validation_split=validation_split,
            replicates=replicates,
            head=head and head.value,
            head_depth=head_depth,
            objective=objective,
            engine=engine and engine.value,
            baseline=baseline and baseline.value,
            on_divergence=on_divergence and on_divergence.value,
            cache_dir=cache_dir,
            memory_limit=memory_limit,
            cache_dtype=cache_dtype and cache_dtype.value,
            search_fraction=search_fraction,
            diagnostics=diagnostics or None,
            width=width,
        )
        run_job(job, options, out, as_json=json)


def _job(
    data: Path, table: dict[str, Any], images: dict[str, Any], head_depth: int | None, **both: Any
) -> TableJob | ImageJob:
    """What to train on; an option that says nothing to it is refused.

    Raises:
        InputError: there is such an option, no `--target` of a table, or nothing at this place.
    """
    from layerwise.recipes.images import ImageJob
    from layerwise.recipes.table import TableJob

    if data.is_dir():
        _refuse(table, f"{data} is a folder of images")
        return ImageJob(data=data, **{k: v for k, v in images.items() if v is not None}, **both)
    if not data.exists() and table["target"] is None:
        raise InputError(f"There is no file or folder {data}.")
    _refuse({**images, "head_depth": head_depth}, f"{data} is a table")
    if table["target"] is None:
        raise InputError(f"`--target` must name the column of {data} to predict. It is missing.")
    return TableJob(data=data, **table, **both)


def _refuse(options: dict[str, Any], what: str) -> None:
    for name, value in options.items():
        if value:
            option = {"damaged": "on-damage"}.get(name, name.replace("_", "-"))
            raise InputError(f"{what}, to which `--{option}` says nothing: leave it out.")


def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a finished run on a table or on images.")],
    data: Annotated[
        list[Path],
        typer.Argument(
            help="A table of the same columns, no target needed; or PNG and JPEG files and folders."
        ),
    ],
    out: Annotated[Path, typer.Option(help="File to write: .csv or .parquet.")],
    proba: Annotated[
        bool, typer.Option("--proba", help="Also the probability of each class.")
    ] = False,
    on_damage: Annotated[
        OnDamage | None, typer.Option(help="Of images that cannot be decoded: refuse by default.")
    ] = None,
) -> None:
    """Predict the rows of a table, or images, with the network of a run."""
    from layerwise.cli._tables import print_predicted
    from layerwise.service import predict as predict_rows

    source = data[0] if len(data) == 1 else data
    damaged: Any = on_damage and on_damage.value
    print_predicted(predict_rows(run, source, out, proba=proba, damaged=damaged), out)
