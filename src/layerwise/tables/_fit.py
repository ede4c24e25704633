"""Learning a preparation from the training rows of a table."""

from __future__ import annotations

import hashlib
import shlex
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.errors import InputError
from layerwise.tables._code import Code, NumberCode, learn_categories, learn_numbers
from layerwise.tables._column import Column
from layerwise.tables._findings import Findings, Found
from layerwise.tables._kinds import Kind, kind_of
from layerwise.tables._leak import tells_the_target
from layerwise.tables._preparation import Preparation, check_names
from layerwise.tables._read import Table
from layerwise.tables._target import Target


def fit(
    table: Table,
    target: Target,
    said: str,
    labels: NDArray[Any],
    rows: NDArray[np.integer],
    drop: Collection[str] = (),
    category: Collection[str] = (),
) -> tuple[Preparation, Findings]:
    """Find out what each column holds, and learn how it becomes numbers.

    Args:
        table: all rows.
        target: whose column is left out.
        said: about the target, for the findings.
        labels: of the training rows, `(n_training,)`.
        rows: numbers of the training rows: nothing is learned from any other.
        drop: columns to leave out, which are not even looked at.
        category: columns that hold categories, also where they look like numbers or free text.

    Raises:
        InputError: columns hold dates or free text, or none is left.
    """
    _check_asked(table, target, drop, category)
    learned = _Learned()
    wanted = set(table.names) - {target.name, *drop}
    for column in table.columns(wanted):
        if column.name in category and column.numeric:
            column = Column(column.name, "text", column.texts())
        kind = kind_of(column, rows, category=column.name in category)
        if kind.refusal:
            learned.refused[column.name] = kind.refusal
        else:
            _learn(column.take(rows), kind, labels, target, learned)
    _refuse(learned.refused)
    if not learned.codes:
        raise InputError(
            f"{table.name} has no column to learn from beside the target {target.name!r}: what "
            "there is, is constant, empty or left out."
        )
    found = {found.name: found for found in learned.found}
    found.update({name: Found(name, "left out", "as asked", 0, 0) for name in drop})
    used = {code.name for code in learned.codes}
    ignored = tuple(n for n in table.names if n not in used and n != target.name)
    preparation = Preparation(target, tuple(learned.codes), ignored)
    shown = tuple(found[name] for name in table.names if name != target.name)
    return preparation, Findings(said, shown, tuple(learned.warnings))


def _check_asked(
    table: Table, target: Target, drop: Collection[str], category: Collection[str]
) -> None:
    check_names(table, drop, "drop")
    check_names(table, category, "category")
    if target.name in drop:
        raise InputError(f"The column {target.name!r} is the target: it cannot be dropped as well.")
    if target.name in category:
        raise InputError(
            f"The column {target.name!r} is the target: `--task classes` makes it one of classes."
        )
    for name in category:
        if name in drop:
            raise InputError(f"The column {name!r} cannot be a category and be dropped as well.")


@dataclass
class _Learned:
    """What is known after some columns."""

    codes: list[Code] = field(default_factory=list)
    found: list[Found] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)
    digests: dict[str, str] = field(default_factory=dict)
    """Of the values in the training rows, to the first column that has them."""


def _learn(
    column: Column, kind: Kind, labels: NDArray[Any], target: Target, learned: _Learned
) -> None:
    """Learn from a column's training rows."""
    name = column.name
    missing = int(column.missing.sum())
    first = learned.digests.setdefault(_digest(column), name)
    if kind.name in ("constant", "empty"):
        what = "is constant" if kind.name == "constant" else "is empty"
        learned.warnings.append(f"The column {name!r} {what} in the training rows: left out.")
        learned.found.append(Found(name, kind.name, kind.detail, missing, 0))
        return
    if first != name:
        learned.warnings.append(f"The column {name!r} is equal to {first!r}: left out.")
        learned.found.append(Found(name, "duplicate", f"of {first}", missing, 0))
        return
    code: Code
    if kind.name == "category":
        code = learn_categories(name, kind.counts, bool(missing))
        if not code.levels:
            learned.warnings.append(
                f"No value of the column {name!r} stands in 3 training rows or more: left out."
            )
            learned.found.append(Found(name, "rare", kind.detail, missing, 0))
            return
    else:
        code = learn_numbers(name, kind.name, column.values)
    if kind.warning:
        learned.warnings.append(kind.warning)
    leak = tells_the_target(column, labels, target)
    if leak:
        learned.warnings.append(
            f"The column {name!r} tells the target {target.name!r} outright: each of its values "
            f"stands for one of the target's. If it is not known beforehand, leave it out with "
            f"`--drop {shlex.quote(name)}`."
        )
    learned.codes.append(code)
    size = len(code.features)
    learned.found.append(Found(name, kind.name, _detail(kind, code), missing, size, leak))


def _detail(kind: Kind, code: Code) -> str:
    if isinstance(code, NumberCode):
        return kind.detail
    rare = f"; {len(code.rare)} rare ones together" if code.rare else ""
    return f"{kind.detail}{rare}"


def _digest(column: Column) -> str:
    """Of the values; numbers by their bytes, which for NaN are always the same here."""
    values = column.values
    content = values.tobytes() if column.numeric else repr(values.tolist()).encode()
    return hashlib.sha256(column.stored.encode() + content).hexdigest()


def _refuse(refused: dict[str, str]) -> None:
    if not refused:
        return
    what = "; ".join(f"{name!r} ({why})" for name, why in refused.items())
    advice = " ".join(f"--drop {shlex.quote(name)}" for name in refused)
    one = len(refused) == 1
    raise InputError(
        f"{'The column' if one else 'The columns'} {what} cannot be used as "
        f"{'it is' if one else 'they are'}. Leave {'it' if one else 'them'} out with `{advice}`, "
        "or turn the values into numbers or categories first."
    )
