"""The command line: it parses and prints, nothing else. Heavy imports wait inside commands."""

from __future__ import annotations

import atexit
import gc
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from layerwise.cli._choices import (
    Baseline,
    BatchSize,
    CacheDir,
    CacheDtype,
    DataDir,
    Diagnostics,
    Engine,
    Epochs,
    Fast,
    HeadOption,
    Json,
    MaxDepth,
    MemoryLimit,
    Objective,
    OnDivergenceOption,
    Out,
    Replicates,
    SearchFraction,
    Seed,
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
from layerwise.cli._export import export
from layerwise.cli._spared import Spared
from layerwise.cli._table_commands import predict, train
from layerwise.errors import (
    DamagedError,
    InputError,
    InputTypeError,
    LayerwiseError,
    MissingDependencyError,
    visible,
)
from layerwise.files import RunLock
from layerwise.signals import Stopped, stop_on_signals

app = typer.Typer(
    help="Grow a deep network one layer at a time; let validation choose the depth.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


app.command()(train)
app.command()(predict)
app.command()(export)


@app.command()
def recipes() -> None:
    """List the recipes."""
    from layerwise.cli._tables import print_recipes
    from layerwise.recipes import all_recipes

    print_recipes(all_recipes())


@app.command()
def run(
    recipe: Annotated[
        str, typer.Argument(help="Name of a recipe; `layerwise recipes` lists them.")
    ],
    out: Out = None,
    seed: Seed = 0,
    max_depth: MaxDepth = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    validation_split: ValidationSplit = None,
    replicates: Replicates = None,
    head: HeadOption = None,
    objective: Objective = None,
    engine: Engine = None,
    data_dir: DataDir = None,
    baseline: Baseline = None,
    on_divergence: OnDivergenceOption = None,
    checkpoint_every: Annotated[
        float | None, typer.Option(help="Seconds between checkpoints inside a stage.")
    ] = None,
    cache_dir: CacheDir = None,
    cache_limit: Annotated[
        int | None, typer.Option(min=1, help="Most bytes that the cache folder may hold.")
    ] = None,
    memory_limit: MemoryLimit = None,
    cache_dtype: CacheDtype = None,
    search_fraction: SearchFraction = None,
    diagnostics: Diagnostics = False,
    width: Annotated[
        int | None, typer.Option(min=1, help="Units or channels, where the recipe asks.")
    ] = None,
    head_depth: Annotated[
        int | None, typer.Option(min=1, help="Layers of each head, where the recipe asks.")
    ] = None,
    top_units: Annotated[
        int | None, typer.Option(min=1, help="Units of the top block, where the recipe asks.")
    ] = None,
    fast: Fast = False,
    distributed: Distributed = False,
    coordinator: Coordinator = None,
    processes: Processes = None,
    process_id: ProcessId = None,
    timeout: Timeout = None,
    json: Json = False,
) -> None:
    """Run a recipe: grow, choose the depth, and leave a model and a report."""
    # Before the slow imports: who does not fit is told at once.
    with together(distributed, coordinator, processes, process_id, timeout):
        from layerwise.cli._run import run_recipe
        from layerwise.recipes import Options

        options = Options(
            seed=seed,
            max_depth=max_depth,
            epochs=epochs,
            batch_size=batch_size,
            validation_split=validation_split,
            replicates=replicates,
            head=head and head.value,
            objective=objective,
            search_fraction=search_fraction,
            diagnostics=diagnostics or None,
            engine=engine and engine.value,
            baseline=baseline and baseline.value,
            on_divergence=on_divergence and on_divergence.value,
            checkpoint_every=checkpoint_every,
            cache_dir=cache_dir,
            cache_limit=cache_limit,
            memory_limit=memory_limit,
            cache_dtype=cache_dtype and cache_dtype.value,
            data_dir=data_dir,
            width=width,
            head_depth=head_depth,
            top_units=top_units,
            fast=fast or None,
        )
        run_recipe(recipe, options, out, as_json=json)


@app.command("label-curve")
def label_curve(
    recipe: Annotated[str, typer.Argument(help="A recipe that trains without labels at first.")],
    labels: Annotated[
        str | None, typer.Option(help="Numbers of labels, such as 100,300,1000.")
    ] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Runs at each number of labels.")] = 5,
    out: Annotated[
        Path | None, typer.Option(help="Folder for the curve; default: a new one under runs/.")
    ] = None,
    max_depth: Annotated[int | None, typer.Option(min=1, help="Blocks.")] = None,
    epochs: Epochs = None,
    memory_limit: MemoryLimit = None,
    data_dir: DataDir = None,
    fast: Fast = False,
    json: Annotated[
        bool, typer.Option("--json", help="Print the curve as one JSON object.")
    ] = False,
) -> None:
    """Draw test scores by number of labels, with and without pretraining."""
    from layerwise.cli._label_curve import run_label_curve
    from layerwise.recipes import Options

    options = Options(
        max_depth=max_depth,
        epochs=epochs,
        memory_limit=memory_limit,
        data_dir=data_dir,
        fast=fast or None,
    )
    run_label_curve(recipe, options, labels, seeds, out, as_json=json)


@app.command()
def resume(
    run: Annotated[Path, typer.Argument(help="Folder of a run that was interrupted or killed.")],
    memory_limit: MemoryLimit = None,
    data_dir: DataDir = None,
    distributed: Distributed = False,
    coordinator: Coordinator = None,
    processes: Processes = None,
    process_id: ProcessId = None,
    timeout: Timeout = None,
    json: Json = False,
) -> None:
    """Go on with a run, to the result that it would have had."""
    # Before the slow imports: who is second is told at once.
    RunLock(run).refuse_where_owned()
    with together(distributed, coordinator, processes, process_id, timeout):
        from layerwise.cli._run import resume_run

        changes = {"data_dir": data_dir, "memory_limit": memory_limit}
        resume_run(run, changes, as_json=json)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="Folder of a run, finished or not.")],
    out: Annotated[
        Path | None, typer.Option(help="Page to write; default: RUN-report.html beside the folder.")
    ] = None,
) -> None:
    """Draw the report of a run again."""
    from layerwise.service import write_report

    typer.echo(visible(f"Report: {write_report(run, out)}"))


@app.command()
def compare(
    runs: Annotated[list[Path], typer.Argument(help="Folders of two runs or more.")],
    out: Annotated[Path | None, typer.Option(help="Page to write as well, .html.")] = None,
    json: Json = False,
) -> None:
    """Put runs side by side, and say where that is not fair."""
    from dataclasses import asdict
    from json import dumps as as_json

    from layerwise.cli._tables import print_runs
    from layerwise.service import compare as compare_runs

    found = compare_runs(runs, out)
    if json:
        typer.echo(as_json(asdict(found), allow_nan=False))
    else:
        print_runs(found, out)


@app.command()
def doctor(
    out: Annotated[Path, typer.Option(help="Where runs are to be written.")] = Path("runs"),
) -> None:
    """Show versions, backend, devices and the room on disk."""
    from layerwise.cli._tables import print_findings
    from layerwise.doctor import examine

    print_findings(examine(out))


_MADE_BEFORE_GARBAGE = 50_000
"""How many new objects Python waits for before it looks for garbage among them; 700 by itself."""


def main() -> None:
    """Run the command line and turn what went wrong into a sentence and an exit code."""
    # Keras comes with a million objects that stay. To look through them for garbage again and again
    # while they are made takes .4 s, and .5 once more at the end of the process.
    gc.set_threshold(_MADE_BEFORE_GARBAGE)
    atexit.register(gc.freeze)
    if os.environ.get("KERAS_BACKEND") == "jax":
        # What comes along with the other backends looks for these libraries in ways of its own.
        sys.meta_path.insert(0, Spared())
    try:
        with stop_on_signals():
            code = app(standalone_mode=False)
    except typer.Exit as stop:
        code = stop.exit_code
    except Stopped as stop:
        code = _say(f"Stopped by {stop}.", stop, stop.exit_code)
    except (InputError, InputTypeError, DamagedError, MissingDependencyError) as error:
        code = _say(f"Error: {error}", error, 2)
    except LayerwiseError as error:
        code = _say(f"Error: {error}", error, 1)
    except OSError as error:
        code = _say(f"Error: {error}.", error, 1)
    except Exception as error:
        # Typer's usage errors know how to show themselves and which code they end with.
        if not hasattr(error, "show"):
            raise
        error.show()
        code = getattr(error, "exit_code", 2)
    sys.exit(code or 0)


def _say(message: str, what: BaseException, code: int) -> int:
    """Print a message, and what was noted about how to go on."""
    typer.echo(visible(" ".join([message, *getattr(what, "__notes__", ())])), err=True)
    return code
