"""Opening files and frames as tables."""

from __future__ import annotations

import importlib.util
import math
import struct
import zipfile
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from layerwise.errors import InputError, InputTypeError, MissingDependencyError
from layerwise.tables._column import Column, as_objects, from_series

ENDINGS = (".csv", ".parquet", ".npz")
_HEADERS: dict[Any, Any] = {
    (1, 0): np.lib.format.read_array_header_1_0,
    (2, 0): np.lib.format.read_array_header_2_0,
}
_CHUNK_BYTES = 1 << 20


class Table(Protocol):
    """Rows with named columns, read a few columns at a time."""

    @property
    def name(self) -> str:
        """For messages: the file, or `the table`."""
        ...

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns, in their order."""
        ...

    @property
    def rows(self) -> int:
        """How many there are, at least 1."""
        ...

    def columns(self, wanted: Collection[str]) -> Iterator[Column]:
        """The wanted columns one after the other, in the table's order."""
        ...


def open_table(source: Any, as_text: Collection[str] = ()) -> Table:
    """Open a CSV, Parquet or NPZ file, or a frame of pandas, polars or PyArrow.

    Args:
        source: a path, whose ending says what it is, or a frame.
        as_text: columns of a CSV file that are texts, whatever they look like.

    Raises:
        InputError: the file cannot be read, or has no rows, or two columns of one name.
        InputTypeError: the source is neither a path nor a frame.
        MissingDependencyError: CSV and Parquet need PyArrow.

    Example:
        >>> import pandas as pd
        >>> table = open_table(pd.DataFrame({"size": [1.5, 2.0], "colour": ["red", None]}))
        >>> [(column.name, column.stored) for column in table.columns(table.names)]
        [('size', 'number'), ('colour', 'text')]
    """
    table = _opened(source, as_text)
    twice = sorted({name for name in table.names if table.names.count(name) > 1})
    if twice:
        raise InputError(f"{table.name} has two columns named {twice[0]!r}. Rename one of them.")
    if "" in table.names:
        position = table.names.index("") + 1
        raise InputError(f"{table.name} has a column without a name, number {position}. Name it.")
    if not table.names or not table.rows:
        raise InputError(f"{table.name} has no rows: it must hold a header and a row at least.")
    return table


def require_pyarrow() -> None:
    """Raise `MissingDependencyError` where PyArrow is not installed."""
    if importlib.util.find_spec("pyarrow") is None:
        raise MissingDependencyError(
            'CSV and Parquet files need PyArrow: `pip install "layerwise[tables]"`.'
        )


def _opened(source: Any, as_text: Collection[str]) -> Table:
    if not isinstance(source, (str, Path)):
        return _from_frame(source)
    path = Path(source)
    if path.suffix.lower() not in ENDINGS:
        raise InputError(
            f"{path} must end in {', '.join(ENDINGS[:-1])} or {ENDINGS[-1]}, which says how it is "
            "read."
        )
    if not path.is_file():
        raise InputError(f"There is no file {path}.")
    if path.suffix.lower() == ".npz":
        return _from_npz(path)
    require_pyarrow()
    if path.suffix.lower() == ".parquet":
        return ParquetTable(path)
    from layerwise.tables._csv import open_csv

    try:
        return open_csv(path, as_text)
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror or error}.") from error


def _from_frame(source: Any) -> FrameTable:
    try:
        frame = nw.from_native(source, eager_only=True)
        names = tuple(frame.columns)
    except TypeError as error:
        raise InputTypeError(
            "A table must be a path or a frame of pandas, polars or PyArrow. Received: "
            f"{type(source).__name__}."
        ) from error
    except nw.exceptions.DuplicateError as error:
        raise InputError("The table has two columns of one name. Rename one of them.") from error
    for name in names:
        if not isinstance(name, str):
            raise InputError(f"The table has a column named {name!r}. Names must be texts.")
    return FrameTable("The table", frame)


class FrameTable:
    """A frame in memory."""

    def __init__(self, name: str, frame: nw.DataFrame[Any]) -> None:
        self.name, self.names, self.rows = name, tuple(frame.columns), len(frame)
        self._frame = frame

    def columns(self, wanted: Collection[str]) -> Iterator[Column]:
        for name in self.names:
            if name in wanted:
                yield from_series(self._frame.get_column(name), name)


class ParquetTable:
    """A Parquet file, of which one column at a time is in memory."""

    def __init__(self, path: Path) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            self._file = pq.ParquetFile(path)
        except (pa.ArrowException, OSError) as error:
            raise InputError(f"{path} is no whole Parquet file: {first_line(error)}.") from error
        self.name, self.names = str(path), tuple(self._file.schema_arrow.names)
        self.rows = self._file.metadata.num_rows

    def columns(self, wanted: Collection[str]) -> Iterator[Column]:
        import pyarrow as pa

        for name in self.names:
            if name not in wanted:
                continue
            try:
                # By the top of a nested column's path; a name may hold a point itself.
                frame = nw.from_native(self._file.read(columns=[name]), eager_only=True)
                series = frame.get_column(name)
            except (pa.ArrowException, OSError, nw.exceptions.ColumnNotFoundError) as error:
                raise InputError(
                    f"The column {name!r} of {self.name} cannot be read: {first_line(error)}."
                ) from error
            yield from_series(series, name)


class ArrayTable:
    """The columns of arrays `x` and `y`: `x0`, `x1`, ... and `y`."""

    def __init__(self, name: str, x: NDArray[Any], y: NDArray[Any] | None) -> None:
        self.name, self.rows, self._x, self._y = name, len(x), x, y
        features = [f"x{i}" for i in range(x.shape[1])]
        self.names = (*features, *(() if y is None else ("y",)))

    def columns(self, wanted: Collection[str]) -> Iterator[Column]:
        for i, name in enumerate(self.names):
            if name in wanted:
                is_target = i == self._x.shape[1]
                values = self._y if is_target and self._y is not None else self._x[:, i]
                yield _from_array(values, name)


def _from_array(values: NDArray[Any], name: str) -> Column:
    if values.dtype.kind in "biuf":
        stored: Any = "boolean" if values.dtype.kind == "b" else "number"
        return Column(name, stored, values.astype(np.float64))
    if values.dtype.kind == "U":
        return Column(name, "text", as_objects([text or None for text in values.tolist()]))
    raise InputError(f"The array of {name!r} must hold numbers or texts. It has {values.dtype}.")


def _from_npz(path: Path) -> ArrayTable:
    try:
        with np.load(path, allow_pickle=False) as arrays:
            missing = "x" not in arrays.files
            x, y = (None if n not in arrays.files else _member(arrays, path, n) for n in "xy")
    except (ValueError, OSError, EOFError, zipfile.BadZipFile, NotImplementedError) as error:
        raise InputError(f"{path} is no NPZ file of plain arrays: {first_line(error)}.") from error
    if missing or x is None or x.ndim != 2 or (y is not None and y.shape != x.shape[:1]):
        shapes = [None if array is None else array.shape for array in (x, y)]
        raise InputError(
            f"{path} must hold an array `x` of shape (n_rows, n_columns) and perhaps `y` of shape "
            f"(n_rows,). Received shapes {shapes[0]} and {shapes[1]}."
        )
    return ArrayTable(str(path), x, y)


def _member(arrays: Any, path: Path, name: str) -> NDArray[Any]:
    """An array of an open NPZ file; mapped where it stands there as it is, as of `numpy.savez`."""
    entry = arrays.zip.getinfo(f"{name}.npy")
    if entry.compress_type == zipfile.ZIP_STORED:
        with arrays.zip.open(entry) as stream:
            version = np.lib.format.read_magic(stream)
            read = _HEADERS.get(version)
            if read is not None:
                shape, fortran, dtype = read(stream)
                skipped = stream.tell()
                # To its end, where the sum of what was read is compared.
                while stream.read(_CHUNK_BYTES):
                    pass
                if not dtype.hasobject and math.prod(shape):
                    # What stands before a member may be longer than the list of members says.
                    with path.open("rb") as file:
                        file.seek(entry.header_offset + 26)
                        lengths = struct.unpack("<HH", file.read(4))
                    start = entry.header_offset + 30 + sum(lengths) + skipped
                    order: Any = "F" if fortran else "C"
                    return np.memmap(path, dtype, "r", start, shape, order)
    return np.asarray(arrays[name])


def first_line(error: BaseException) -> str:
    """What an error of a library says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def named(names: Sequence[str], most: int = 8) -> str:
    """Names for a sentence, cut where there are many."""
    shown = ", ".join(repr(name) for name in names[:most])
    return shown + (f" and {len(names) - most} more" if len(names) > most else "")
