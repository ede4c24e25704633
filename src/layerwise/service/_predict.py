"""From a run folder and new data to a file of predictions."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from layerwise import files
from layerwise.datasets import ImagePreparation
from layerwise.errors import InputError
from layerwise.service._out import check_out
from layerwise.service._predict_images import predict_images
from layerwise.service._prepared import network_of, preparation_of, said_name
from layerwise.tables import Preparation, Target, require_pyarrow

_BATCH = 1024


@dataclass(frozen=True)
class Predicted:
    """What was predicted.

    Attributes:
        rows: how many.
        notes: what the table had that the training table had not, or which images are damaged, a
            sentence each.
    """

    rows: int
    notes: tuple[str, ...]


def predict(
    run_dir: str | Path,
    source: Any,
    out: str | Path,
    *,
    proba: bool = False,
    damaged: Literal["refuse", "skip"] | None = None,
) -> Predicted:
    """Predict each row of a table, or each image, with the chosen network of a finished run.

    Args:
        run_dir: the folder of a run on a table or on images.
        source: of a table a path or a frame with the training table's columns, in which the target
            may be absent; of images a file, a folder, at any depth, or a list of these.
        out: a CSV or Parquet file to write, whole or not at all, with a column `prediction`: the
            class, or the value in the target's own unit. Of images `file` is the first column.
        proba: also one column `probability.CLASS` for each class.
        damaged: of images, what cannot be decoded: `"refuse"` (default) or `"skip"`.

    Raises:
        InputError: there is no such run, a column is missing or cannot be used, an image is
            damaged, or the file cannot be written; nothing is.
        DamagedError: the run's files are not what was written.

    Example:
        >>> import keras, layerwise, pandas as pd
        >>> frame = pd.DataFrame({"size": [1.0, 2.0] * 20, "kind": ["a", "b"] * 20})
        >>> result = layerwise.train(
        ...     layerwise.Dataset.from_table(frame, target="kind"),
        ...     block=lambda depth: keras.layers.Dense(8, "relu"),
        ...     epochs=2, max_depth=1, run_dir="kinds", verbose=0)
        >>> predict("kinds", frame[["size"]], "kinds.csv", proba=True).rows
        40
        >>> pd.read_csv("kinds.csv").columns.tolist()
        ['prediction', 'probability.a', 'probability.b']
    """
    folder, file = Path(run_dir), Path(out)
    _check_out(file, source)
    preparation = preparation_of(folder)
    if isinstance(preparation, ImagePreparation):
        goal, first, outputs, notes = predict_images(
            folder, preparation, source, damaged or "refuse"
        )
    else:
        if damaged is not None:
            raise InputError(f"The run in {folder} is on a table: leave out `--on-damage`.")
        goal, first = preparation.target, {}
        if proba and goal.classes is None:
            raise InputError(
                f"The run in {folder} predicts values, without probabilities: leave out `--proba`."
            )
        outputs, notes = _predict_table(folder, preparation, source)
    _write(file, {**first, **_columns(goal, outputs, proba=proba)})
    return Predicted(len(outputs), tuple(notes))


def _predict_table(
    folder: Path, preparation: Preparation, source: Any
) -> tuple[NDArray[Any], list[str]]:
    """The network's outputs for each row, and what was noticed in the table."""
    if isinstance(source, list | tuple):
        if len(source) != 1:
            raise InputError(f"The run in {folder} is on a table: name one. Given: {len(source)}.")
        (source,) = source
    rows, report = preparation.transform_with_report(source)
    network = network_of(folder, (len(preparation.features),))
    outputs = np.asarray(network.predict(rows, batch_size=_BATCH, verbose=0))
    return outputs, report.sentences(said_name(source))


def _check_out(file: Path, source: Any) -> None:
    """Refuse what cannot be written before any work is done."""
    check_out(file, (".csv", ".parquet"))
    if file.suffix.lower() == ".parquet":
        require_pyarrow()
    sources = source if isinstance(source, list | tuple) else [source]
    paths = [Path(path) for path in sources if isinstance(path, str | os.PathLike)]
    if file.resolve() in (path.resolve() for path in paths):
        raise InputError(f"`--out` names the table itself, {file}. Choose another file.")


def _columns(target: Target, outputs: NDArray[Any], *, proba: bool) -> dict[str, NDArray[Any]]:
    columns = {"prediction": target.read(outputs)}
    if proba and target.classes is not None:
        for i, label in enumerate(target.classes):
            columns[f"probability.{label}"] = outputs[:, i].astype(np.float32)
    return columns


def _write(file: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    if file.suffix.lower() == ".parquet":
        import pyarrow as pa
        import pyarrow.parquet as pq

        stream = io.BytesIO()
        pq.write_table(
            pa.table(
                {
                    name: pa.array(v.tolist() if v.dtype == object else v)
                    for name, v in columns.items()
                }
            ),
            stream,
        )
        files.write_bytes(file, stream.getvalue())
        return
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    # As texts, floats have the fewest digits that give the same number back.
    writer.writerows(zip(*(values.astype(str) for values in columns.values()), strict=True))
    files.write_text(file, text.getvalue())
