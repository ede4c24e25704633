"""The column to predict: classes or values, and how a network's outputs are read back."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from layerwise.errors import InputError, complaint
from layerwise.tables._column import Column, as_objects

Task = Literal["classes", "values"]
Label = str | bool | int | float
FEW_CLASSES = 20
"""Whole numbers with no more different values, and five rows for each on average, are classes."""
_ROWS_A_CLASS = 5


@dataclass(frozen=True)
class Target:
    """What is predicted.

    Attributes:
        name: of the column.
        classes: the labels in the order of a network's outputs; None for values.
        mean, scale: of the training rows' values, which a network predicts standardized.
    """

    name: str
    classes: tuple[Label, ...] | None = None
    mean: float = 0.0
    scale: float = 1.0

    @property
    def kind(self) -> Task:
        """`"classes"` or `"values"`."""
        return "values" if self.classes is None else "classes"

    @property
    def as_text(self) -> bool:
        """Whether the labels are texts, whatever they look like."""
        return self.classes is not None and isinstance(self.classes[0], str)

    def standardized(self, values: NDArray[Any]) -> Target:
        """The same target with the mean and the spread of the training rows' values."""
        if self.classes is not None:
            return self
        with np.errstate(over="ignore", invalid="ignore"):
            mean, scale = float(values.mean()), float(values.std())
        if not 0 < scale < np.inf or not np.isfinite(mean):
            raise InputError(
                f"The target {self.name!r} must have values that differ and can be standardized. "
                f"In the training rows their mean is {mean:g} and their spread {scale:g}."
            )
        return replace(self, mean=mean, scale=scale)

    def labels(self, column: Column) -> NDArray[Any]:
        """The labels of a column without missing ones, `(n_rows,)`; values are standardized.

        Raises:
            InputError: a label is missing, not finite, or no number where values are predicted.
        """
        _check_present(column)
        _check_finite(column)
        if self.classes is None:
            if not column.numeric:
                raise InputError(
                    f"The target {self.name!r} must hold numbers to be predicted as values. Row 1 "
                    f"holds {column.values[0]!r}. Leave out `--task values`, or mend the column."
                )
            return (column.values - self.mean) / self.scale
        return _plain(column, texts=self.as_text)

    def read(self, outputs: NDArray[Any]) -> NDArray[Any]:
        """Labels or values in the target's own unit from a network's outputs.

        Args:
            outputs: `(n_rows, n_classes)` probabilities or `(n_rows, 1)` standardized values.
        """
        if self.classes is None:
            return outputs[:, 0].astype(np.float64) * self.scale + self.mean
        labels = np.array(self.classes) if not self.as_text else as_objects(self.classes)
        return labels[outputs.argmax(axis=1)]


def find_target(
    whole: Column, task: str | None, *, unlabeled: bool = False
) -> tuple[Target, str, NDArray[np.intp]]:
    """Decide what the target is, say why in a sentence, and tell which rows have a label.

    Args:
        whole: the column, all rows.
        task: `"classes"` or `"values"`, or None to find out.
        unlabeled: whether rows without a label may be there.

    Raises:
        InputError: labels are missing, there are dates, it is always the same, or it cannot be
            what `task` says.
    """
    if task not in (None, "classes", "values"):
        raise InputError(complaint("task", 'be "classes" or "values"', task))
    if whole.stored == "date":
        raise InputError(f"The target {whole.name!r} holds dates. Write them as numbers first.")
    rows = np.flatnonzero(~whole.missing)
    if not len(rows):
        raise InputError(f"The target {whole.name!r} is missing in every row.")
    if not unlabeled:
        _check_present(whole)
    _check_finite(whole)
    column = whole.take(rows)
    count = len(np.unique(column.values) if column.numeric else set(column.values.tolist()))
    if count < 2:
        raise InputError(
            f"The target {column.name!r} is always {column.values[0]!r}: there is nothing to learn."
        )
    guess, why = _guess(column, count)
    kind, why = (guess, why) if task is None else (task, "as asked")
    if kind == "values":
        target = Target(column.name)
        target.labels(column)
        return target, f"{column.name}: values ({why}), standardized", rows
    classes = tuple(np.unique(_plain(column, texts=not column.numeric)).tolist())
    other = "" if why == "texts" or task is not None else "; `--task values` for values"
    said = f"{column.name}: {len(classes)} classes ({why}{other})"
    return Target(column.name, classes), said, rows


def _guess(column: Column, count: int) -> tuple[str, str]:
    if column.stored != "number":
        return "classes", "texts" if column.stored == "text" else "true and false"
    if not (column.values == np.floor(column.values)).all():
        return "values", "numbers with fractions"
    if count <= FEW_CLASSES and count * _ROWS_A_CLASS <= len(column.values):
        return "classes", f"{count} different whole numbers"
    return "values", f"{count} different whole numbers"


def _plain(column: Column, *, texts: bool) -> NDArray[Any]:
    """Labels as texts, booleans, whole numbers where all are, or floats."""
    if texts:
        return column.texts()
    if not column.numeric or column.stored == "boolean":
        return column.values.astype(bool) if column.numeric else column.values
    whole = (column.values == np.floor(column.values)).all() and (
        np.abs(column.values) < 2**53
    ).all()
    return column.values.astype(np.int64) if whole else column.values


def _check_present(column: Column) -> None:
    missing = column.missing
    if missing.any():
        raise InputError(
            f"The target {column.name!r} is missing in {int(missing.sum())} of {len(missing)} "
            f"rows, first in row {int(missing.argmax()) + 1}. Remove these rows, or pass "
            "`--unlabeled` (in Python `unlabeled=True`) to train on them without labels."
        )


def _check_finite(column: Column) -> None:
    if column.numeric and np.isinf(column.values).any():
        raise InputError(
            f"The target {column.name!r} must be finite. Received infinity in row "
            f"{int(np.isinf(column.values).argmax()) + 1}."
        )
