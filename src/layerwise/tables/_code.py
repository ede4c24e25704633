"""How one column is written as numbers: learned from the training rows, applied to any."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, TypeAlias

import numpy as np
from numpy.typing import NDArray

from layerwise.errors import InputError
from layerwise.tables._column import Column, is_number

Floats: TypeAlias = NDArray[np.float32]
Rows: TypeAlias = NDArray[np.integer]
MISSING = "(missing)"
RARE = "(rare)"
MIN_ROWS = 3
"""A value of fewer training rows shares a column with the other rare ones: from one or two rows a
network learns nothing but these rows."""
MOST_LEVELS = 100
"""So many values of one column get a column each: the most frequent."""


@dataclass
class Noticed:
    """What applying a code came upon, by column."""

    unseen: dict[str, Counter[str]] = field(default_factory=dict)
    filled: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class NumberCode:
    """A number or boolean: missing ones are the median of the training rows; then standardized.

    Attributes:
        name: of the column.
        kind: `"number"` or `"boolean"`; a boolean stays 0 and 1.
        median: of the training rows that have a value.
        mean, scale: of the training rows, missing ones filled; the scale is above 0.
        indicator: whether a second column says 1 where the value was missing.
    """

    name: str
    kind: str
    median: float
    mean: float
    scale: float
    indicator: bool

    as_text: ClassVar[bool] = False

    @property
    def features(self) -> tuple[str, ...]:
        """What each number of a row stands for."""
        return (self.name, f"{self.name} {MISSING}") if self.indicator else (self.name,)

    def write(self, column: Column, rows: Rows, out: Floats, noticed: Noticed) -> None:
        """Write rows of a column into `out`, `(len(rows), len(features))`.

        Raises:
            InputError: a value is no number, or too far from those of the training rows.
        """
        values = (column.values if column.numeric else _as_numbers(column))[rows]
        missing = np.isnan(values)
        count = int(missing.sum())
        if count and not self.indicator:
            noticed.filled[self.name] = noticed.filled.get(self.name, 0) + count
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (np.where(missing, self.median, values) - self.mean) / self.scale
            out[:, 0] = scaled
        bad = ~np.isfinite(out[:, 0])
        if bad.any():
            i = int(bad.argmax())
            raise InputError(
                f"The column {self.name!r} holds {values[i]:g} in row {rows[i] + 1}, too far from "
                f"the training rows' mean, {self.mean:g}, to be standardized. Mend the value."
            )
        if self.indicator:
            out[:, 1] = missing


def _as_numbers(column: Column) -> NDArray[np.float64]:
    """NaN for each row; whatever else such a column holds is refused.

    Raises:
        InputError: with the first value that is no number, or is one that is written as a text.
    """
    present = [(row, value) for row, value in enumerate(column.values, 1) if value is not None]
    bad = [(row, value) for row, value in present if not is_number(value)]
    for row, value in bad or present:
        written = f"the date {value}" if column.stored == "date" else f"the text {value!r}"
        raise InputError(
            f"The column {column.name!r} held numbers in training. Row {row} holds {written}. Mend "
            "the value, or leave it empty for missing."
        )
    return np.full(len(column.values), np.nan)


@dataclass(frozen=True)
class CategoryCode:
    """A category: a column of 0 and 1 for each frequent value of the training rows.

    Attributes:
        name: of the column.
        levels: values with a column each, sorted.
        rare: values that share one column.
        missing: whether a column says 1 where the value is missing.
    """

    name: str
    levels: tuple[str, ...]
    rare: tuple[str, ...] = ()
    missing: bool = False

    kind: ClassVar[str] = "category"
    as_text: ClassVar[bool] = True

    @property
    def features(self) -> tuple[str, ...]:
        """What each number of a row stands for."""
        more = (RARE,) * bool(self.rare) + (MISSING,) * self.missing
        return tuple(f"{self.name} = {level}" for level in self.levels + more)

    @cached_property
    def _places(self) -> dict[str | None, int]:
        places: dict[str | None, int] = {level: i for i, level in enumerate(self.levels)}
        places.update(dict.fromkeys(self.rare, len(self.levels)))
        if self.missing:
            places[None] = len(self.levels) + bool(self.rare)
        return places

    def write(self, column: Column, rows: Rows, out: Floats, noticed: Noticed) -> None:
        """Write rows of a column into `out`, `(len(rows), len(features))`.

        A value that the training rows did not have gives zeros and is noticed.
        """
        texts = column.texts()[rows]
        places = np.array([self._places.get(text, -1) for text in texts], dtype=np.intp)
        known = np.flatnonzero(places >= 0)
        out[:] = 0
        out[known, places[known]] = 1
        if len(known) < len(texts):
            unseen = Counter(
                MISSING if text is None else str(text) for text in texts[places < 0].tolist()
            )
            noticed.unseen.setdefault(self.name, Counter()).update(unseen)


Code: TypeAlias = NumberCode | CategoryCode


def learn_numbers(name: str, kind: str, values: NDArray[np.float64]) -> NumberCode:
    """The code of a column of numbers from its training rows, NaN for missing.

    Raises:
        InputError: the numbers are so large that they have no mean or spread.
    """
    missing = np.isnan(values)
    median = float(np.median(values[~missing]))
    if kind == "boolean":
        return NumberCode(name, kind, median, 0.0, 1.0, bool(missing.any()))
    filled = np.where(missing, median, values)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, scale = float(filled.mean()), float(filled.std())
    if not np.isfinite([median, mean, scale]).all():
        raise InputError(
            f"The column {name!r} holds numbers too large to be standardized, such as "
            f"{filled[np.abs(filled).argmax()]:g}. Mend them, or leave the column out with "
            f"`--drop {name}`."
        )
    # What differs by rounding alone would be blown up to noise.
    if scale <= 10 * np.finfo(np.float64).eps * max(abs(mean), abs(median)):
        scale = 1.0
    return NumberCode(name, kind, median, mean, scale, bool(missing.any()))


def learn_categories(name: str, counts: Counter[str], missing: bool) -> CategoryCode:
    """The code of a category from how often each value stands in the training rows."""
    frequent = [(-count, level) for level, count in counts.items() if count >= MIN_ROWS]
    levels = tuple(sorted(level for _, level in sorted(frequent)[:MOST_LEVELS]))
    return CategoryCode(name, levels, tuple(sorted(set(counts) - set(levels))), missing)
