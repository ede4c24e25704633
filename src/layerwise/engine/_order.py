"""The order of the samples in an epoch, the same for every engine and backend."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def order(seed: int, epoch: int, rows: int) -> NDArray[np.int32]:
    """A permutation of `rows` that depends on the seed and the epoch, and on nothing before it.

    So epoch 7 can be drawn without epochs 0 to 6, which is what a resume needs. NumPy draws it on
    the host: 0.5 ms for 40,000 rows, where XLA's sort on a CPU takes 8 to 17 ms; the rows
    themselves are gathered on the device.
    """
    key = (seed << 32) | epoch
    generator = np.random.Generator(np.random.Philox(key=key))
    return generator.permutation(rows).astype(np.int32)
