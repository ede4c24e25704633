"""Whether two networks predict the same."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import keras
import numpy as np
from numpy.typing import NDArray

from layerwise.errors import InputError, LayerwiseError, complaint

Outputs: TypeAlias = Mapping[str, NDArray[Any]]
LIMIT = 1e-5
"""Most that an exported network may differ, as a part of its largest output: some ten times what
float32 loses in a deep network."""
RANDOM_ROWS = 64
MOST_ROWS = 1024
"""Rows of the user's own that are compared."""
_BATCH = 256


def sample(network: keras.Model, rows: Any = None) -> NDArray[Any]:
    """Rows to compare on: random ones, always the same, then the user's own.

    Args:
        network: takes them. Of numbers with a point half are standard normal, half lie between 0
            and 1; whole numbers are those that every Embedding of the network knows.
        rows: `(n, *shape)`; the first 1,024 are taken.

    Raises:
        InputError: the rows do not fit the network.
    """
    (spec,) = network.inputs
    shape = (RANDOM_ROWS, *spec.shape[1:])
    if None in shape:
        raise InputError(f"The network takes rows of no fixed size, {shape[1:]}.")
    dtype = np.dtype(keras.backend.standardize_dtype(spec.dtype))
    random = np.random.default_rng(0)
    drawn: NDArray[Any]
    if dtype.kind == "f":
        drawn = random.normal(size=shape)
        drawn[RANDOM_ROWS // 2 :] = random.uniform(size=(RANDOM_ROWS // 2, *shape[1:]))
    else:
        # `_flatten_layers` is how Keras itself looks into nested layers.
        inside = network._flatten_layers()
        known = [layer.input_dim for layer in inside if isinstance(layer, keras.layers.Embedding)]
        drawn = random.integers(0, min([*known, 128]), size=shape)
    if rows is None:
        return drawn.astype(dtype)
    given = np.asarray(rows)
    if given.shape[1:] != shape[1:] or given.dtype.kind not in "biuf":
        expected = f"be numbers of shape (n, {', '.join(map(str, shape[1:]))})"
        raise InputError(complaint("rows", expected, f"{given.dtype} of shape {given.shape}"))
    return np.concatenate([drawn.astype(dtype), given[:MOST_ROWS].astype(dtype)])


def predicted(network: keras.Model, x: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """What a network predicts, by the name of the output; `output` where there is one."""
    outputs = network.predict(x, batch_size=_BATCH, verbose=0)
    named = outputs if isinstance(outputs, dict) else {"output": outputs}
    return {name: np.asarray(array) for name, array in named.items()}


def check(expected: Outputs, received: Outputs, what: str) -> float:
    """The largest difference of two predictions, as a part of the largest output.

    For each output, the largest absolute difference over all rows and numbers is divided by the
    largest absolute number that the original network gives; the largest of these counts.

    Raises:
        LayerwiseError: it is above `LIMIT`, or the outputs have other names or shapes.
    """
    shapes = [{name: array.shape for name, array in one.items()} for one in (expected, received)]
    if shapes[0] != shapes[1]:
        raise LayerwiseError(
            f"{what} gives outputs of the shapes {shapes[1]}, and the network {shapes[0]}. Nothing "
            "is kept."
        )
    worst = 0.0
    for name, array in expected.items():
        scale = np.abs(array).max()
        if not math.isfinite(scale):
            raise LayerwiseError("The network gives numbers that are not finite. Nothing is kept.")
        difference = np.abs(array - received[name]).max()
        # NaN must not be lost in a comparison.
        part = float(difference / scale) if scale else float(difference)
        worst = max(worst, part if math.isfinite(part) else math.inf)
    if worst > LIMIT:
        raise LayerwiseError(
            f"{what} predicts otherwise than the network: the largest difference is {worst:.1e} of "
            f"the largest output, and at most {LIMIT:.0e} is allowed. Nothing is kept. A GPU may "
            "have rounded on its way: `JAX_PLATFORMS=cpu` compares on the processor."
        )
    return worst
