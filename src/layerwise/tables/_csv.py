"""CSV files by PyArrow: types found over the whole file, errors with their line."""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any

import narwhals as nw
import numpy as np

from layerwise.errors import InputError
from layerwise.tables._column import Column, from_series
from layerwise.tables._read import FrameTable, Table, first_line

MISSING = ("", "#N/A", "N/A", "NA", "NULL", "NaN", "n/a", "nan", "null", "None", "?")
"""What a CSV file writes for a missing value; `?` is that of the UCI repository."""
_GROUP_BYTES = 32 << 20
"""Text that may belong to the columns that are in memory together."""
_BLOCK_BYTES = 1 << 18
_RAGGED = re.compile(r"Row #(\d+): Expected (\d+) columns, got (\d+)")


def open_csv(path: Path, as_text: Collection[str]) -> Table:
    """A CSV file as a table: a small one in memory, a large one read some columns at a time."""
    names = _header(path)
    if len(set(names)) < len(names) or "" in names:
        return _Nameless(str(path), tuple(names))
    count = min(len(names), math.ceil(path.stat().st_size / _GROUP_BYTES))
    if count <= 1:
        return FrameTable(str(path), _read(path, names, as_text))
    size = math.ceil(len(names) / count)
    return _LargeCsv(path, names, size, as_text)


class _LargeCsv:
    """A file whose columns are never in memory all together."""

    def __init__(self, path: Path, names: Sequence[str], size: int, as_text: Any) -> None:
        self.name, self.names = str(path), tuple(names)
        self._path, self._size, self._as_text = path, size, as_text
        self.rows = _count(path, names)

    def columns(self, wanted: Collection[str]) -> Iterator[Column]:
        left = [name for name in self.names if name in wanted]
        for start in range(0, len(left), self._size):
            names = left[start : start + self._size]
            numbers = _read_numbers(self._path, names, self._as_text, self.rows)
            if numbers is not None:
                yield from numbers
                continue
            frame = _streamed(self._path, names, self._as_text)
            if frame is None:
                frame = _read(self._path, names, self._as_text)
            for name in names:
                yield from_series(frame.get_column(name), name)


class _Nameless:
    """A file whose header is refused: nothing else of it is read."""

    rows = 0

    def __init__(self, name: str, names: tuple[str, ...]) -> None:
        self.name, self.names = name, names

    def columns(self, wanted: Collection[str]) -> Iterator[Column]:
        return iter(())


def _options(path: Path) -> dict[str, Any]:
    from pyarrow import csv

    with path.open("rb") as stream:
        header = len(stream.readline(_GROUP_BYTES))
    # PyArrow reads up to 32 blocks ahead, and a row must fit into one.
    block = max(_BLOCK_BYTES, 32 * header)
    return {
        # With threads PyArrow names no row in its errors, and holds more of the text at a time.
        "read_options": csv.ReadOptions(use_threads=False, block_size=block),
        "parse_options": csv.ParseOptions(newlines_in_values=True),
    }


def _header(path: Path) -> list[str]:
    """The names of the columns.

    Raises:
        InputError: the file is empty, or no text.
    """
    import pyarrow as pa
    from pyarrow import csv

    with path.open("rb") as stream:
        start = stream.read(1 << 16)
    if not start.strip():
        raise InputError(f"{path} is empty: it must hold a header and a row at least.")
    if b"\0" in start:
        line = start[: start.index(b"\0")].count(b"\n") + 1
        raise InputError(
            f"{path} is no CSV file: line {line} holds a NUL byte, as binary files and UTF-16 do. "
            "Save it as CSV in UTF-8."
        )
    try:
        with csv.open_csv(path, **_options(path)) as reader:
            names = list(reader.schema.names)
    except UnicodeDecodeError as error:
        raise InputError(f"The header of {path} is no text in UTF-8. Save it in UTF-8.") from error
    except pa.ArrowException as error:
        raise _unreadable(path, error) from error
    if len(names) == 1 and re.search(r"[;\t|]", names[0]):
        raise InputError(
            f"{path} must separate its columns by commas. Its header is {names[0]!r}. Save it so."
        )
    return names


def _count(path: Path, names: Sequence[str]) -> int:
    """The rows of the file, each of which is looked at."""
    import pyarrow as pa
    from pyarrow import csv

    try:
        with csv.open_csv(path, **_convert(path, names[:1], names[:1])) as reader:
            return sum(batch.num_rows for batch in reader)
    except pa.ArrowException as error:
        raise _unreadable(path, error) from error


def _convert(path: Path, names: Sequence[str], as_text: Collection[str]) -> dict[str, Any]:
    import pyarrow as pa
    from pyarrow import csv

    convert = csv.ConvertOptions(
        include_columns=list(names),
        column_types={name: pa.string() for name in names if name in as_text},
        null_values=list(MISSING),
        strings_can_be_null=True,
    )
    return {"convert_options": convert, **_options(path)}


def _read(path: Path, names: Sequence[str], as_text: Collection[str]) -> nw.DataFrame[Any]:
    """Some columns of the file, with types that hold for all rows."""
    import pyarrow as pa
    from pyarrow import csv

    try:
        table = csv.read_csv(path, **_convert(path, names, as_text))
    except pa.ArrowException as error:
        raise _unreadable(path, error) from error
    return nw.from_native(table, eager_only=True)


def _streamed(
    path: Path, names: Sequence[str], as_text: Collection[str]
) -> nw.DataFrame[Any] | None:
    """The same, if the types of the first block hold for all rows; None where they do not.

    `read_csv`, which finds the types over the whole file, holds all of its text meanwhile.
    """
    import pyarrow as pa
    from pyarrow import csv

    try:
        with csv.open_csv(path, **_convert(path, names, as_text)) as reader:
            return nw.from_native(reader.read_all(), eager_only=True)
    except pa.ArrowException as error:
        if "conversion error" in str(error):
            return None
        raise _unreadable(path, error) from error


def _read_numbers(
    path: Path, names: Sequence[str], as_text: Collection[str], rows: int
) -> list[Column] | None:
    """The same where all of them are numbers, batch by batch; None where they are not.

    `read_csv` holds the text of the whole file, for there may be a text in its last row. Here the
    first batch decides, and the text of each is let go.
    """
    import pyarrow as pa
    from pyarrow import csv

    values = {name: np.empty(rows) for name in names}
    start = end = 0
    try:
        with csv.open_csv(path, **_convert(path, names, as_text)) as reader:
            types = {name: reader.schema.field(name).type for name in names}
            if not all(pa.types.is_integer(t) or pa.types.is_floating(t) for t in types.values()):
                return None
            for batch in reader:
                end = start + batch.num_rows
                if end > rows:
                    break
                for name in names:
                    numbers = batch.column(name).cast(pa.float64())
                    values[name][start:end] = numbers.to_numpy(zero_copy_only=False)
                start = end
            if start < rows or end > rows:
                raise InputError(f"{path} has changed while it was read. Read it again.")
    except pa.ArrowInvalid as error:
        if "conversion error" in str(error):
            return None
        raise _unreadable(path, error) from error
    return [Column(name, "number", array) for name, array in values.items()]


def _unreadable(path: Path, error: BaseException) -> InputError:
    found = _RAGGED.search(str(error))
    if found is None:
        return InputError(f"{path} is no whole CSV file: {first_line(error)}.")
    line, expected, came = (int(part) for part in found.groups())
    return InputError(
        f"{path} is ragged: line {line} has {came} {'column' if came == 1 else 'columns'}, and the "
        f"header {expected}. Mend the line; a quote may be open there."
    )
