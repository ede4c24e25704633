"""From a run folder and a new table to a file of predictions."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise import files
from layerwise.checkpoint import PREPARATION, load, read_finished
from layerwise.errors import DamagedError, InputError
from layerwise.service._out import check_out
from layerwise.tables import Preparation, Target, require_pyarrow

_LIMIT = 256 << 20
"""Bytes of a preparation: one with a million rare categories has some tens of millions."""
_BATCH = 1024


@dataclass(frozen=True)
class Predicted:
    """What was predicted.

    Attributes:
        rows: how many.
        notes: what the table had that the training table had not, a sentence each.
    """

    rows: int
    notes: tuple[str, ...]


def predict(run_dir: str | Path, source: Any, out: str | Path, *, proba: bool = False) -> Predicted:
    """Predict each row of a table with the chosen network of a finished run.

    Args:
        run_dir: the folder of a run on a table.
        source: a path or a frame with the training table's columns; the target may be absent.
        out: a CSV or Parquet file to write, whole or not at all, with a column `prediction`: the
            class, or the value in the target's own unit.
        proba: also one column `probability.CLASS` for each class.

    Raises:
        InputError: there is no such run, a column is missing or cannot be used, or the file cannot
            be written; nothing is.
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
    preparation = _preparation(folder)
    target = preparation.target
    if proba and target.classes is None:
        raise InputError(
            f"The run in {folder} predicts values, without probabilities: leave out `--proba`."
        )
    rows, report = preparation.transform_with_report(source)
    network = load(folder)
    expected = (None, len(preparation.features))
    if tuple(network.input_shape) != expected:
        raise DamagedError(
            f"The network in {folder} takes {network.input_shape}, and {PREPARATION} makes "
            f"{expected}. They are not of one run."
        )
    outputs = np.asarray(network.predict(rows, batch_size=_BATCH, verbose=0))
    _write(file, _columns(target, outputs, proba=proba))
    name = str(source) if isinstance(source, str | os.PathLike) else "The table"
    return Predicted(len(rows), tuple(report.sentences(name)))


def _preparation(folder: Path) -> Preparation:
    try:
        return Preparation.from_json(read_finished(folder, PREPARATION, _LIMIT))
    except FileNotFoundError as error:
        raise InputError(
            f"The run in {folder} was not trained on a table, so nothing says what a row's columns "
            "mean. `layerwise.load` gives its network."
        ) from error


def _check_out(file: Path, source: Any) -> None:
    """Refuse what cannot be written before any work is done."""
    check_out(file, (".csv", ".parquet"))
    if file.suffix.lower() == ".parquet":
        require_pyarrow()
    if isinstance(source, str | os.PathLike) and file.resolve() == Path(source).resolve():
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
