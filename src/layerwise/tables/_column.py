"""One column as it came: numbers, texts, dates or nothing."""

from __future__ import annotations

import datetime
import numbers as abstract
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from layerwise.errors import InputError

Stored = Literal["number", "boolean", "text", "date", "nothing"]
_DATES = (datetime.date, datetime.time, datetime.timedelta, np.datetime64, np.timedelta64)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        name: as in the header.
        stored: what its values are. `"nothing"` where all are missing.
        values: `(n_rows,)`; float64 with NaN for missing where it holds numbers or booleans, else
            objects: texts with None for missing.
    """

    name: str
    stored: Stored
    values: NDArray[Any]

    @property
    def numeric(self) -> bool:
        """Whether `values` are floats."""
        return self.stored in ("number", "boolean")

    @property
    def missing(self) -> NDArray[np.bool_]:
        """Which rows have no value, `(n_rows,)`."""
        if self.numeric:
            return np.isnan(self.values)
        return np.array([value is None for value in self.values], dtype=bool)

    def take(self, rows: NDArray[np.integer]) -> Column:
        """The same column, of these rows."""
        return Column(self.name, self.stored, self.values[rows])

    def texts(self) -> NDArray[Any]:
        """The values as texts, whole numbers without a point; None for missing."""
        if not self.numeric:
            return self.values
        return as_objects([_written(value, self.stored) for value in self.values.tolist()])


def as_objects(values: Sequence[Any]) -> NDArray[Any]:
    """An array of objects, one for each value."""
    array = np.empty(len(values), dtype=object)
    array[:] = values
    return array


def _written(value: float, stored: Stored) -> str | None:
    if value != value:
        return None
    if stored == "boolean":
        return str(bool(value)).lower()
    return str(int(value)) if value.is_integer() else repr(value)


def from_series(series: nw.Series[Any], name: str) -> Column:
    """A column from a series of pandas, polars or PyArrow.

    Raises:
        InputError: it holds lists, structures, bytes or objects that are neither.
    """
    kind = series.dtype
    if kind == nw.Boolean or kind.is_numeric():
        values = np.asarray(series.cast(nw.Float64).to_numpy(), dtype=np.float64)
        return Column(name, "boolean" if kind == nw.Boolean else "number", values)
    if kind.is_temporal():
        return Column(name, "date", as_objects(series.to_list()))
    if kind == nw.Binary:
        _refuse_bytes(series, name)
    if kind.is_nested():
        raise InputError(
            f"The column {name!r} is nested: it holds {kind}. Only plain columns can be used. "
            f"Leave it out with `--drop {name}`."
        )
    return _from_values(series.to_list(), name)


def _refuse_bytes(series: nw.Series[Any], name: str) -> None:
    """A column of text that is not UTF-8 is read as bytes."""
    for row, value in enumerate(series.to_list(), 1):
        try:
            (value or b"").decode()
        except UnicodeDecodeError as error:
            raise InputError(
                f"The column {name!r} is no text in UTF-8: row {row} holds {value[:40]!r}. Save "
                "the file in UTF-8."
            ) from error
    raise InputError(f"The column {name!r} holds bytes. Leave it out with `--drop {name}`.")


def _from_values(values: Sequence[Any], name: str) -> Column:
    """A column of Python objects, as pandas keeps texts and mixtures."""
    plain = [None if _is_missing(value) else value for value in values]
    kinds = {type(value) for value in plain if value is not None}
    if not kinds:
        return Column(name, "nothing", as_objects(plain))
    if all(issubclass(kind, (bool, np.bool_)) for kind in kinds):
        return Column(name, "boolean", _floats(plain))
    if all(issubclass(kind, abstract.Real) for kind in kinds):
        return Column(name, "number", _floats(plain))
    if all(issubclass(kind, _DATES) for kind in kinds):
        return Column(name, "date", as_objects(plain))
    for row, value in enumerate(plain, 1):
        if value is not None and not isinstance(value, (str, abstract.Real)):
            raise InputError(
                f"The column {name!r} must hold numbers or texts. Row {row} holds {value!r}, of "
                f"type {type(value).__name__}. Leave the column out with `--drop {name}`."
            )
    texts = [value if value is None else str(value) for value in plain]
    return Column(name, "text", as_objects([None if text == "" else text for text in texts]))


def _floats(values: Sequence[Any]) -> NDArray[np.float64]:
    return np.array([np.nan if value is None else float(value) for value in values])


def _is_missing(value: Any) -> bool:
    """None, NaN of any library, or pandas' NA, whose comparisons are neither true nor false."""
    try:
        return value is None or bool(value != value)
    except (TypeError, ValueError):
        return type(value).__name__ == "NAType"


def is_number(value: Any) -> bool:
    """Whether a value of a column that is no column of numbers could be read as one.

    >>> [is_number(value) for value in ("1.5", "1,5", datetime.date(2026, 1, 1))]
    [True, False, False]
    """
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True
