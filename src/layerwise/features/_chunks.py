"""How many rows pass through a block at a time."""

from __future__ import annotations

import math
from collections.abc import Mapping

import keras
import numpy as np

from layerwise._typing import Shape
from layerwise.datasets import Split

CHUNK_BYTES = 32 << 20
"""About how much of input and output together passes through a block at a time."""
_LEAST_BYTES, _PART = 1 << 20, 16
"""Of several processes: no more at a time than one part of so many of what passes, or the first."""


def rows_at_a_time(splits: Mapping[str, Split], longest: int, output_shape: Shape) -> int:
    """For all chunks of all splits, so that one compiled program does.

    Args:
        splits: what passes.
        longest: the rows of the longest of them.
        output_shape: of one sample; None where it is not fixed.
    """
    some = next(iter(splits.values()))
    row = math.prod(some.shape) * np.dtype(some.dtype).itemsize
    row += 4 * math.prod(n or 1 for n in output_shape)
    most = CHUNK_BYTES
    if any(split.whole is not None for split in splits.values()):
        # Of a share no more than a part at a time: else what passes would outweigh the share.
        most = min(most, max(_LEAST_BYTES, longest * row // _PART))
    return max(1, min(longest, most // row))


def least_bytes(splits: Mapping[str, Split]) -> int:
    """How many bytes pass through a block at a time; of these there is no less."""
    arrays = [a for s in splits.values() for a in keras.tree.flatten(s.stored)]
    return min(CHUNK_BYTES, 2 * max(array.nbytes for array in arrays))
