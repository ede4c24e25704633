"""Every random stream of a run, derived from one seed."""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


class Stream(enum.IntEnum):
    """What a stream is for. The numbers are part of every result: never renumber, only append."""

    SPLIT = 0
    BLOCK = 1
    HEAD = 2
    CLASSIFIER = 3
    TRAINING = 4
    FINE_TUNE = 5
    BASELINE = 6
    AUGMENTATION = 7
    VIEWS = 8
    TRUNK = 9
    DIAGNOSTICS = 10


def derive(seed: int, stream: Stream, *path: int) -> int:
    """A seed of 31 bits for one stream, e.g. ``derive(seed, Stream.BLOCK, replicate, depth)``."""
    sequence = np.random.SeedSequence(seed, spawn_key=(int(stream), *path))
    return int(sequence.generate_state(1)[0] >> 1)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global streams of Python and NumPy for a while, then put the user's back.

    Keras draws the seed of an initializer or a Dropout layer that was given none from Python's
    `random`. `keras.utils.set_random_seed` would do as well, but it imports TensorFlow wherever
    that is installed, and leaves the user's own streams changed.
    """
    python_state, numpy_state = random.getstate(), np.random.get_state()
    random.seed(seed)
    np.random.seed(seed)
    try:
        yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)
