"""What turns the columns of a table into the inputs of a network: learned once, kept as data."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from layerwise.errors import InputError
from layerwise.tables import _json
from layerwise.tables._code import Code, Floats, Noticed
from layerwise.tables._column import Column
from layerwise.tables._read import Table, named, open_table
from layerwise.tables._target import Target

NewArray: TypeAlias = Callable[[tuple[int, ...]], Floats]
"""Makes an array of float32 of a shape."""
_ALIKE = 8
"""So many missing names are looked for among the others: each costs a look at all."""


_BLOCK_BYTES = 8 << 20


class _Block:
    """Columns of an array, some megabytes of them written at once.

    A column touches every page of an array with long rows: on disk, each would be written anew.

    Args:
        out: the array.
        wide: how many columns are held.
    """

    def __init__(self, out: Floats, wide: int) -> None:
        self._out, self._first, self._filled = out, 0, 0
        self._held = np.empty((len(out), min(wide, out.shape[1])), np.float32)

    def at(self, start: int, width: int) -> Floats:
        """Where so many columns from `start` on are to be written, all of them, before the next."""
        behind = start == self._first + self._filled
        if not behind or self._filled + width > self._held.shape[1]:
            self.flush()
            self._first, self._filled = start, 0
            if width > self._held.shape[1]:
                self._held = np.empty((len(self._out), width), np.float32)
        place = self._held[:, self._filled : self._filled + width]
        self._filled += width
        return place

    def flush(self) -> None:
        """Bring what is held to its place."""
        self._out[:, self._first : self._first + self._filled] = self._held[:, : self._filled]


def _in_memory(shape: tuple[int, ...]) -> Floats:
    return np.empty(shape, np.float32)


@dataclass(frozen=True)
class Report:
    """What turning a table came upon.

    Attributes:
        extra: columns of the table that the preparation does not know.
        unseen: by column, values that the training rows did not have, and in how many rows they
            stand; they give zeros.
        filled: by column, how many missing values were filled with the median where training had
            none missing.
    """

    extra: tuple[str, ...] = ()
    unseen: Mapping[str, Counter[str]] | None = None
    filled: Mapping[str, int] | None = None

    def sentences(self, where: str) -> list[str]:
        """The report for people.

        Args:
            where: the table, such as `"new.csv"`.
        """
        said = []
        if self.extra:
            said.append(f"{where}: ignored {named(self.extra)}, not in the training table.")
        for name, values in (self.unseen or {}).items():
            examples = named([value for value, _ in values.most_common(3)])
            rows = "1 row has" if values.total() == 1 else f"{values.total()} rows have"
            said.append(
                f"{where}: {rows} a value of {name!r} that the training rows "
                f"did not have, such as {examples}: it says nothing to the network."
            )
        for name, count in (self.filled or {}).items():
            one = count == 1
            said.append(
                f"{where}: {'1 missing value' if one else f'{count} missing values'} of {name!r}, "
                f"which the training rows always had, {'is' if one else 'are'} filled with the "
                "median."
            )
        return said


@dataclass(frozen=True)
class Preparation:
    """How a table with these columns becomes float32 numbers, learned from the training rows.

    Numbers are standardized, with the median for missing ones and a column that says so where the
    training rows had some; categories are columns of 0 and 1. `Dataset.from_table` makes one.

    Attributes:
        target: what is predicted.
        codes: how each column that is used becomes numbers.
        ignored: columns of the training table that are not used.

    Example:
        >>> import layerwise, pandas as pd
        >>> frame = pd.DataFrame({"size": [1.0, 3.0] * 10, "kind": ["a", "b"] * 10})
        >>> preparation = layerwise.Dataset.from_table(frame, target="kind").preparation
        >>> preparation.transform(pd.DataFrame({"size": [1.0, 2.0, None]})).tolist()
        [[-1.0], [0.0], [0.0]]
    """

    target: Target
    codes: tuple[Code, ...]
    ignored: tuple[str, ...] = ()

    @cached_property
    def features(self) -> tuple[str, ...]:
        """What each input of the network stands for, `(n_inputs,)`."""
        return tuple(feature for code in self.codes for feature in code.features)

    @property
    def as_text(self) -> frozenset[str]:
        """Columns whose values are texts, whatever they look like."""
        names = {code.name for code in self.codes if code.as_text}
        return frozenset(names | ({self.target.name} if self.target.as_text else set()))

    def transform(self, source: Any) -> Floats:
        """Rows as the network's inputs, `(n_rows, n_inputs)` float32.

        Args:
            source: a path or a frame with the columns of the training table, in any order; the
                target may be there.

        Raises:
            InputError: a column is missing, or holds texts where it held numbers.
        """
        return self.transform_with_report(source)[0]

    def transform_with_report(self, source: Any) -> tuple[Floats, Report]:
        """As `transform`, and what was noticed on the way."""
        table = open_table(source, self.as_text)
        (out,), report = self.write(table, [np.arange(table.rows)])
        return out, report

    def write(
        self,
        table: Table,
        parts: Sequence[NDArray[np.integer]],
        new: NewArray = _in_memory,
    ) -> tuple[list[Floats], Report]:
        """Several selections of rows, each as an array of its own, column by column.

        So no more than the arrays and a few columns are ever in memory. `new` makes an array of a
        shape, perhaps on disk.
        """
        self._check_names(table)
        starts = np.cumsum([0, *(len(code.features) for code in self.codes)])
        places = {code.name: (code, starts[i]) for i, code in enumerate(self.codes)}
        outs = [new((len(rows), int(starts[-1]))) for rows in parts]
        wide = max(1, _BLOCK_BYTES // (4 * max(1, sum(len(rows) for rows in parts))))
        blocks = [_Block(out, wide) for out in outs]
        noticed = Noticed()
        for column in table.columns(set(places)):
            code, start = places[column.name]
            for rows, block in zip(parts, blocks, strict=True):
                code.write(column, rows, block.at(int(start), len(code.features)), noticed)
        for block in blocks:
            block.flush()
        known = {*places, *self.ignored, self.target.name}
        extra = tuple(name for name in table.names if name not in known)
        return outs, Report(extra, noticed.unseen, noticed.filled)

    def labels(self, table: Table) -> NDArray[Any]:
        """The target of every row, `(n_rows,)`; values are standardized.

        Raises:
            InputError: there is no such column, or a label is missing.
        """
        return self.target.labels(column_of(table, self.target.name, "target"))

    def to_json(self) -> str:
        """The preparation as text; `from_json` gives an equal one."""
        return _json.write(self.target, self.codes, self.ignored)

    @classmethod
    def from_json(cls, text: str | bytes) -> Preparation:
        """Read what `to_json` has written.

        Raises:
            DamagedError: it is something else; nothing in it is run.
            UnknownFormatError: it is of another schema.
        """
        return cls(*_json.read(text))

    def _check_names(self, table: Table) -> None:
        missing = [code.name for code in self.codes if code.name not in table.names]
        if missing:
            raise InputError(
                f"{table.name} must have the columns of the training table. It lacks "
                f"{named(missing)}, and has {named(table.names)}."
                f"{_meant(missing[:_ALIKE], table.names)}"
            )


def column_of(table: Table, name: str, role: str) -> Column:
    """A column by name.

    Raises:
        InputError: there is none; the message calls it by its role.
    """
    check_names(table, [name], role)
    return next(iter(table.columns([name])))


def check_names(table: Table, names: Iterable[str], role: str) -> None:
    """Raise `InputError` where a name is not among the table's."""
    for name in names:
        if name not in table.names:
            raise InputError(
                f"{table.name} has no column {name!r} for `{role}`. It has {named(table.names)}."
                f"{_meant([name], table.names)}"
            )


def _meant(wanted: Iterable[str], names: Sequence[str]) -> str:
    """Which of the names may have been meant, in a sentence, where some are alike."""
    by_case = {name.casefold(): name for name in names}
    found = []
    for name in wanted:
        near = difflib.get_close_matches(name.casefold(), by_case, n=1, cutoff=0.75)
        found += [by_case[key] for key in near]
    return f" Did you mean {named(found)}?" if found else ""
