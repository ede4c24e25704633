"""What fits into a memory limit: all rows at once, or so many bytes of them at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from layerwise.datasets import Split
from layerwise.engine._order import GROUP_BYTES, row_bytes
from layerwise.engine._problem import Problem
from layerwise.errors import InputError
from layerwise.memory import megabytes

SHARE = 2
"""One part of so many of the limit is what a training holds; the rest is for features and data."""
PIECE_BYTES = 16 << 20
"""No piece is larger: by then a call into the program costs nothing beside the steps."""
_PIECES = 4
"""At a time: two of the training rows, two of those to validate on."""


def piece_bytes(problem: Problem, limit: int | None, *splits: Split) -> int | None:
    """How many bytes of these splits may come to the device at a time; None for all at once.

    Args:
        problem: whose variables are there as well.
        limit: of the whole run, in bytes; None for none.
        splits: that are on the device together.

    Raises:
        InputError: the limit does not allow the variables and one batch at a time.
    """
    if limit is None:
        return None
    free = limit // SHARE - state_bytes(problem)
    if sum(split.rows * row_bytes(split) for split in splits) <= free:
        return None
    batch = problem.batch_size * max(row_bytes(split) for split in splits)
    free -= max(order_bytes(split) for split in splits)
    if free < _PIECES * batch:
        raise too_small(limit, limit // SHARE - free + _PIECES * batch, problem)
    return min(PIECE_BYTES, free // _PIECES)


def check_limit(problem: Problem, limit: int | None) -> None:
    """Raise `InputError` where the limit does not allow this training, whatever is streamed."""
    piece_bytes(problem, limit, *rows_of(problem))


def rows_of(problem: Problem) -> tuple[Split, ...]:
    """The splits that a training looks at."""
    return tuple(split for split in (problem.train, problem.validation) if split is not None)


def state_bytes(problem: Problem, devices: int = 1) -> int:
    """What a training holds beside its rows.

    The variables and the optimizer's twice, as the layers keep theirs while the program has its
    own, and the gradients; the last two on every device of this process.
    """
    model, optimizer = problem.model, problem.optimizer
    if not optimizer.built:
        optimizer.build(model.trainable_variables)
    held = bytes_of([*model.variables, *optimizer.variables])
    return held + devices * (held + bytes_of(model.trainable_variables))


def bytes_of(variables: Sequence[Any]) -> int:
    """The bytes of variables."""
    return sum(math.prod(v.shape) * keras_bytes(v.dtype) for v in variables)


def keras_bytes(dtype: str) -> int:
    """The bytes of a number of a Keras type."""
    return np.dtype(keras.backend.standardize_dtype(dtype)).itemsize


def order_bytes(split: Split) -> int:
    """The order of one group, twice while it is drawn."""
    return 8 * min(split.rows, GROUP_BYTES // max(1, row_bytes(split)))


def too_small(limit: int, needed: int, problem: Problem) -> InputError:
    """The error of a limit where a training needs so many bytes of its half."""
    return InputError(
        f"`memory_limit` is {limit:,} bytes, and this network needs "
        f"{megabytes(SHARE * needed)} at least: half of it for weights, gradients, the optimizer "
        f"and four batches of {problem.batch_size} rows. Allow more, or take smaller batches."
    )
