"""How fast this machine multiplies matrices: what the rate of a stage is measured against."""

from __future__ import annotations

import functools
import math
import time

import keras

_SIDE = 1024
_TIMES = 5


@functools.cache
def matrix_rate() -> float:
    """Floating-point operations a second of a product of two square matrices of 1024 in float32.

    The best of five, measured once a process, on the backend that Keras runs on; about a tenth of
    a second on two cores.
    """
    a = keras.ops.ones((_SIDE, _SIDE), "float32")
    best = math.inf
    for _ in range(_TIMES):
        started = time.perf_counter()
        keras.ops.convert_to_numpy(keras.ops.matmul(a, a))
        best = min(best, time.perf_counter() - started)
    return 2 * _SIDE**3 / best
