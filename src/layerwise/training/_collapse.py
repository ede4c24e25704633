"""Whether a trained block still tells rows apart."""

from __future__ import annotations

import keras
import numpy as np

from layerwise._typing import Tree
from layerwise.engine import Problem

_ROWS = 256
_SPREAD = 1e-6
"""Of outputs, against their size: less is rounding."""

MESSAGE = "the block gives every row the same output: what comes after it has nothing to learn from"


def has_collapsed(problem: Problem) -> bool:
    """Whether the block gives some rows of the training data, as far as they differ, one output."""
    rows: Tree = keras.tree.map_structure(lambda array: array[:_ROWS], problem.train.stored)
    seen = rows if problem.prefix is None else problem.prefix(rows, training=False)
    # Of several views one is enough.
    x = keras.tree.flatten(seen)[0]
    output = keras.ops.convert_to_numpy(problem.block(x, training=False))
    if not np.isfinite(output).all():
        return False  # That is told elsewhere.
    spread = np.ptp(output.reshape(len(output), -1), axis=0).max()
    return len(output) > 1 and bool(spread <= _SPREAD * (1 + np.abs(output).max()))
