"""From a table with a named target to the parts of a data set."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.datasets._arrays import Labels
from layerwise.datasets._mapped import empty
from layerwise.datasets._split import Split, hold_out
from layerwise.errors import InputError, complaint
from layerwise.tables import (
    Column,
    Findings,
    NewArray,
    Preparation,
    Table,
    Target,
    column_of,
    find_target,
    fit,
    open_table,
)


@dataclass(frozen=True)
class Parts:
    """What a data set is made of."""

    train: Split
    validation: Split | None
    test: Split | None
    unlabeled: Split | None
    labels: Labels
    name: str
    preparation: Preparation
    findings: Findings


def parts_of(
    source: Any,
    target: str,
    test: Any,
    task: str | None,
    drop: Sequence[str],
    validation_split: float,
    seed: int,
    unlabeled: bool,
    category: Sequence[str],
    limit: int | None,
) -> Parts:
    """Read, split, learn from the training rows, and write all rows as numbers."""
    new = partial(empty, dtype=np.float32, limit=limit)
    _check_lists(drop=drop, category=category)
    table = open_table(source, category)
    column = column_of(table, target, "target")
    goal, said, labelled = find_target(column, task, unlabeled=unlabeled)
    train, validation = _deal(labelled, column, goal, validation_split, seed)
    truth = column.take(train)
    goal = goal.standardized(truth.values)
    if goal.classes is None:
        said += f" (mean {goal.mean:g}, spread {goal.scale:g})"
    preparation, findings = fit(table, goal, said, goal.labels(truth), train, drop, category)
    rest = np.setdiff1d(np.arange(table.rows), labelled)
    arrays, report = preparation.write(table, [train, validation, rest], new)
    labels = Labels.learn(goal.labels(truth), goal.kind)
    test_split, told = (None, []) if test is None else _test(test, preparation, labels, new)
    more = [*_said(rest), *report.sentences("The rows that are not for training"), *told]
    held = goal.labels(column.take(validation)) if len(validation) else None
    name = Path(source).stem if isinstance(source, str | os.PathLike) else "table"
    return Parts(
        _split(arrays[0], goal.labels(truth), labels),
        None if held is None else _split(arrays[1], held, labels),
        test_split,
        Split(arrays[2]) if len(rest) else None,
        labels,
        name,
        preparation,
        replace(findings, warnings=(*findings.warnings, *more)),
    )


def _check_lists(**lists: Sequence[str]) -> None:
    for name, given in lists.items():
        if isinstance(given, str):
            raise InputError(complaint(name, "be a list of column names", given))


def _said(rest: NDArray[np.intp]) -> list[str]:
    """Of the rows without a target, where there are some."""
    if not len(rest):
        return []
    one = len(rest) == 1
    rows = "1 row has no target: it joins" if one else f"{len(rest)} rows have no target: they join"
    return [f"{rows} the rows without labels."]


def _split(x: NDArray[Any], y: NDArray[Any], labels: Labels) -> Split:
    return Split(x, labels.encode(y))


def _deal(
    labelled: NDArray[np.intp], column: Column, target: Target, fraction: float, seed: int
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The rows to train on and those to validate on, by their numbers in the table."""
    y = target.labels(column.take(labelled))
    if not isinstance(fraction, (int, float)) or not 0 <= fraction < 1:
        raise InputError(
            complaint("validation_split", "be 0 or lie strictly between 0 and 1", fraction)
        )
    if not fraction:
        return labelled, labelled[:0]
    if target.classes is not None:
        labels, counts = np.unique(y, return_counts=True)
        if counts.min() < 2:
            raise InputError(
                f"The class {labels.tolist()[counts.argmin()]!r} of the target {target.name!r} has "
                "one row, so it cannot be both trained and validated on. Remove the row, join "
                "classes, or pass `--validation-split 0`; numbers may be meant as `--task values`."
            )
    train, validation = hold_out(
        Split(labelled, y), fraction, seed, target.kind, advice="Take another share, or 0 for none."
    )
    return train.x, validation.x


def _test(
    source: Any, preparation: Preparation, labels: Labels, new: NewArray
) -> tuple[Split, list[str]]:
    table: Table = open_table(source, preparation.as_text)
    y = labels.encode(preparation.labels(table), "test y")
    (x,), report = preparation.write(table, [np.arange(table.rows)], new)
    return Split(x, y), report.sentences(f"test ({table.name})")
