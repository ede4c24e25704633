"""From a finished run to a file that others open."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

import layerwise
from layerwise import files
from layerwise.checkpoint import load, load_exits, read_finished
from layerwise.errors import InputError, complaint
from layerwise.service._formats import FORMATS, Format, Job
from layerwise.service._out import check_out
from layerwise.service._parity import MOST_ROWS, RANDOM_ROWS, check, predicted, sample
from layerwise.service._prepared import first_inputs, preparation_text

_RUN_LIMIT = 16 << 20


@dataclass(frozen=True)
class Exported:
    """What was exported.

    Attributes:
        file: the network.
        difference: between what it and the run's network predict: the largest, as a part of the
            largest output.
        rows: how many were compared.
        own_rows: how many of these were the user's own.
        opened_by: what opened the file for that.
        preparation: what turns rows of a table into inputs, where the run was on one.
        notes: what the user's own rows have that the training rows had not, in sentences.
    """

    file: Path
    difference: float
    rows: int
    own_rows: int
    opened_by: str
    preparation: Path | None
    notes: tuple[str, ...]


def export(
    run_dir: str | Path,
    format: str,
    out: str | Path | None = None,
    *,
    exits: bool = False,
    rows: Any = None,
    data: Any = None,
    replace: bool = False,
    layers: Mapping[str, Callable[..., keras.Layer]] | None = None,
) -> Exported:
    """Write the chosen network of a finished run as one file, and see that it predicts the same.

    The file is opened again by what will open it elsewhere, and predicts 64 random rows and your
    own, in `rows` or in `data`. Where its outputs differ from the network's by more than 1e-5 of
    the largest output no file is left.

    Args:
        run_dir: the run folder.
        format: `"keras"` (`keras.saving.load_model`), `"onnx"` (ONNX Runtime), `"safetensors"`
            (weights by name, the architecture in the header; `layerwise.load`) or `"torch"`
            (`torch.export.load`, without Keras).
        out: the file; default: the run's name and the format's ending, in the working directory.
            Beside it a run on a table or on images gets `NAME.preparation.json`.
        exits: what every depth predicts, as outputs `depth_1`, `depth_2`, ..., before any
            fine-tuning.
        rows: `(n, *shape)`, inputs of the network to compare on as well; the first 1,024.
        data: a table with the columns of the run's, as a path or a frame, or an image, or a folder
            of images: compare on these, too, by way of the run's preparation; the first 1,024.
        replace: whether a file that is there may be replaced.
        layers: your own layer classes by name, where the network has some.

    Raises:
        InputError: there is no finished run, the file is there or cannot be written, `data` lacks a
            column, or a layer has no form in the format.
        DamagedError: the run's files are not what was written.
        MissingDependencyError: the format needs a package.
        LayerwiseError: the file predicts otherwise.

    Example:
        >>> import keras, layerwise
        >>> data = layerwise.load_dataset("wine")
        >>> result = layerwise.train(
        ...     data, block=lambda depth: keras.layers.Dense(8, "relu"), epochs=2, max_depth=2,
        ...     run_dir="wine-export", verbose=0)
        >>> exported = layerwise.export("wine-export", "safetensors", rows=data.test.x)
        >>> exported.file.name, exported.difference < 1e-5
        ('wine-export.safetensors', True)
    """
    if format not in FORMATS:
        names = ", ".join(repr(name) for name in FORMATS)
        raise InputError(complaint("format", f"be one of {names}", format))
    chosen, folder = FORMATS[format], Path(run_dir)
    name = f"{folder.resolve().name}{'-exits' if exits else ''}{chosen.ending}"
    file = Path(name if out is None else out)
    beside = file.with_suffix(".preparation.json")
    check_out(file, (chosen.ending,))
    facts = _facts(folder)
    preparation = preparation_text(folder)
    if not replace:
        _refuse_what_is_there(file, beside, preparation)
    chosen.require()
    own, notes = _own_rows(folder, rows, data)
    network = load_exits(folder, layers) if exits else load(folder, layers)
    x = sample(network, own)
    expected = predicted(network, x)
    difference = _write(Job(network, facts, layers), chosen, file, x, expected)
    if preparation is not None:
        files.write_bytes(beside, preparation)
    kept = None if preparation is None else beside
    count = len(x) - RANDOM_ROWS
    return Exported(file, difference, len(x), count, chosen.opened_by, kept, tuple(notes))


def _own_rows(folder: Path, rows: Any, data: Any) -> tuple[Any, list[str]]:
    """The user's own inputs to compare on, or None; and what was noticed in them."""
    if data is None:
        return rows, []
    if rows is not None:
        raise InputError(
            "`rows` are inputs of the network, and `data` is what the run's preparation makes such "
            "of: pass one of them."
        )
    return first_inputs(folder, data, MOST_ROWS)


def _refuse_what_is_there(file: Path, beside: Path, preparation: bytes | None) -> None:
    """The same preparation may be there: of an export in another format."""
    taken = file if file.exists() else None
    if preparation is not None and beside.exists() and taken is None:
        same = beside.is_file() and beside.read_bytes() == preparation
        taken = None if same else beside
    if taken is not None:
        raise InputError(
            f"{taken} is there already. Choose another file, or pass `--replace` (in Python "
            "`replace=True`)."
        )


def _write(job: Job, chosen: Format, file: Path, x: Any, expected: Any) -> float:
    """Write the file, open it and compare; it has its name only after that."""
    with files.replacing(file) as temporary:
        chosen.write(job, temporary)
        received = chosen.open(job, temporary, x)
        return check(expected, received, f"The exported {chosen.ending} file")


def _facts(folder: Path) -> dict[str, str]:
    """What a file says of its run: who wrote it, and the labels in the order of the outputs."""
    run = json.loads(read_finished(folder, "run.json", _RUN_LIMIT))
    classes = run["data"]["classes"]
    return {"layerwise": layerwise.__version__, "classes": json.dumps(classes)}
