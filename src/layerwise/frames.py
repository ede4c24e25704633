"""A run's stages as a data frame."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import narwhals as nw

from layerwise.errors import MissingDependencyError


def stage_frame(stages: Sequence[Mapping[str, Any]]) -> Any:
    """A frame with one row a stage, of the first of pandas, polars and PyArrow that is installed.

    Args:
        stages: as in `history.json`, without the curves.

    Raises:
        MissingDependencyError: none of the three is installed.
    """
    names: tuple[Literal["pandas", "polars", "pyarrow"], ...] = ("pandas", "polars", "pyarrow")
    backend = next((name for name in names if importlib.util.find_spec(name)), None)
    if backend is None:
        raise MissingDependencyError(
            "`History.to_frame` needs pandas, polars or PyArrow. Run `pip install pandas`."
        )
    rows = [_flat_row(stage) for stage in stages]
    columns = dict.fromkeys(key for row in rows for key in row)
    data = {key: [row.get(key) for row in rows] for key in columns}
    return nw.from_dict(data, backend=backend).to_native()


def _flat_row(stage: Mapping[str, Any]) -> dict[str, Any]:
    row: dict[str, Any] = {}
    for key, value in stage.items():
        if key == "ledger":
            row |= {f"seconds.{name}": spent for name, spent in value["seconds"].items()}
            row |= {name: number for name, number in value.items() if name != "seconds"}
            continue
        if key not in ("train", "validation", "test"):
            row[key] = value
            continue
        for name, metric in (value or {}).items():
            if isinstance(metric, Mapping):
                row[f"{key}.{name}"] = metric["mean"]
                row[f"{key}.{name}.std"] = metric["std"]
            else:
                row[f"{key}.{name}"] = metric
    return row
