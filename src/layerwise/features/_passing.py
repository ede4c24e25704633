"""Rows through a block, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise._typing import Array
from layerwise.features._coding import Coding
from layerwise.signals import check


def passing(
    x: Array,
    forward: Callable[[Array], Array],
    chunk: int,
    decode: Callable[[Array], Array] | None,
    coding: Coding | None,
) -> Iterator[NDArray[Any]]:
    """Equal chunks, the last one padded: in inference mode each row stands alone.

    Args:
        x: rows, as they are stored.
        forward: through the block.
        chunk: how many rows at a time.
        decode: from stored rows to numbers; None for rows as they are.
        coding: of what comes; None to leave it as it is.
    """
    for start in range(0, len(x), chunk):
        check()
        rows = x[start : start + chunk]
        if len(rows) < chunk:
            rows = np.concatenate([rows, np.repeat(rows[:1], chunk - len(rows), axis=0)])
        if decode is not None:
            rows = decode(rows)
        done = np.asarray(forward(rows))[: len(x) - start]
        yield done if coding is None else coding.encode(done)
        # Not to be held while the next chunk is computed.
        del done, rows
