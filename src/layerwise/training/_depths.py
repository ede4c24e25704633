"""What the features of each depth are like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from layerwise import diagnostics
from layerwise._random import Stream
from layerwise.datasets import Split
from layerwise.growth import path
from layerwise.training._replica import Replica

PER_DEPTH = ("probe", "reconstruction", "similarity", "rank", "dead")
_ROWS = 2000
"""Of each split that are looked at: enough for a look, and a matter of seconds."""
_COLUMNS = 4096
"""Of features that are looked at; more are drawn from at random."""


@dataclass(frozen=True)
class _Rows:
    """Rows to fit on and held rows, as one depth gives them."""

    train: NDArray[Any]
    held: NDArray[Any]

    @property
    def flat(self) -> _Rows:
        """As matrices of so many columns at most, the same ones of both."""
        return _Rows(_matrix(self.train), _matrix(self.held))

    def through(self, layer: keras.Layer) -> _Rows:
        """What a block makes of them, in inference mode."""
        return _Rows(_passed(layer, self.train), _passed(layer, self.held))


def look_by_depth(replica: Replica, depth: int, names: Sequence[str]) -> dict[str, Any]:
    """One number for each depth, and for the inputs themselves where that says something."""
    data, seed = replica.data, replica.seed(Stream.DIAGNOSTICS)
    train = _some(data.train, seed)
    rest = data.validation or data.test
    held = train if rest is None else _some(rest, seed)
    rows = _Rows(train.x, held.x)
    inputs = below = rows.flat

    def measure(name: str, here: _Rows) -> float | None:
        if name == "probe":
            classes = data.classes is not None
            return diagnostics.linear_probe(here.train, train.y, here.held, held.y, classes=classes)
        if name == "rank":
            return diagnostics.effective_rank(here.held)
        if here is inputs:
            return None
        if name == "reconstruction":
            return diagnostics.reconstruction(here.train, inputs.train, here.held, inputs.held)
        if name == "similarity":
            return diagnostics.linear_cka(below.held, here.held)
        return diagnostics.dead_share(here.held)

    names = [name for name in names if name != "probe" or data.labels is not None]
    first = {name: measure(name, inputs) for name in names}
    values: dict[str, list[float | None]] = {name: [] for name in names}
    for block in path(replica.stages[:depth]):
        rows = rows.through(block.layer)
        here = rows.flat
        for name in names:
            values[name].append(measure(name, here))
        below = here
    seen = {"train": train.rows, "held": held.rows}
    return {name: {"values": values[name], "inputs": first[name], "rows": seen} for name in names}


def _some(split: Split, seed: int) -> Split:
    """Up to so many rows, in their own order."""
    if split.rows <= _ROWS:
        return split
    chosen = np.random.default_rng(seed).choice(split.rows, _ROWS, replace=False)
    return split.take(np.sort(chosen))


def _passed(layer: keras.Layer, rows: NDArray[Any]) -> NDArray[Any]:
    chunks = [layer(rows[i : i + 500], training=False) for i in range(0, len(rows), 500)]
    return np.concatenate([keras.ops.convert_to_numpy(chunk) for chunk in chunks])


def _matrix(rows: NDArray[Any]) -> NDArray[Any]:
    flat = rows.reshape(len(rows), -1)
    if flat.shape[1] <= _COLUMNS:
        return flat
    columns = np.random.default_rng(0).choice(flat.shape[1], _COLUMNS, replace=False)
    return flat[:, np.sort(columns)]
