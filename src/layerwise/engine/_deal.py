"""Dealing rows: from the devices that keep them to those that need them for the next batches.

A device keeps one block of consecutive rows, and in an epoch needs other ones: its part of every
batch. So before some steps the devices exchange, once, the rows of these steps.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jax import lax
from numpy.typing import NDArray

from layerwise.datasets import Split
from layerwise.engine._mesh import AXIS, Mesh, spec

DEAL_BYTES = 32 << 20
"""About how much a device holds of rows that were dealt; with those on their way three times."""
Rows: TypeAlias = NDArray[np.int32]


class Deal(NamedTuple):
    """The rows of consecutive batches of one size, each device's part of every batch on it."""

    first: int
    """Number of the first batch in its epoch."""
    batches: int
    size: int
    """Rows of each batch."""
    rows: Any
    """Arrays `(batches, places, ...)`, split along `places`; after the first `size` they mean
    nothing."""

    @property
    def stop(self) -> int:
        """Number of the batch after the last one."""
        return self.first + self.batches


class Exchange(NamedTuple):
    """Which rows go where, and in which places they are needed."""

    send: Rows
    take: Rows


class Dealer:
    """Deals the rows of a split batch by batch.

    Args:
        mesh: the devices.
        split: the rows, or of several processes this one's share of them.
        batch: rows of a batch.
    """

    def __init__(self, mesh: Mesh, split: Split, batch: int) -> None:
        self._mesh, self._batch, self.rows = mesh, batch, split.rows
        self._kept = jax.tree.map(lambda array: mesh.rows(array, split.rows), split.tree())
        self._slots: dict[int, int] = {}
        leaves = jax.tree.leaves(split.tree())
        row = sum(array.nbytes // max(len(array), 1) for array in leaves)
        self._most = max(1, DEAL_BYTES // max(1, row * mesh.each(batch)))

    @functools.cached_property
    def bounds(self) -> Sequence[tuple[int, int, int]]:
        """First batch, number of batches and their size, for each deal of an epoch."""
        full, rest = divmod(self.rows, self._batch)
        most = max(1, min(self._most, full))
        found = [(i, min(most, full - i), self._batch) for i in range(0, full, most)]
        return found + [(full, 1, rest)] * bool(rest)

    def deal(self, order: Rows, batch: int) -> Deal:
        """The deal that a batch of an epoch is in.

        Args:
            order: of the rows in this epoch.
            batch: its number.
        """
        first, count, size = next(b for b in self.bounds if b[0] <= batch < b[0] + b[1])
        places = self._mesh.each(size)
        wanted = order[first * self._batch :][: count * size].reshape(count, size)
        slots = self._slots.get(size, 0)
        plan = plan_exchange(wanted, self._mesh.size, self._mesh.each(self.rows), slots)
        self._slots[size] = plan.send.shape[-1]
        send, take = self._mesh.by_device(plan.send), self._mesh.by_device(plan.take)
        rows = _exchange(self._mesh, count, places)(self._kept, send, take)
        return Deal(first, count, size, rows)

    def all(self) -> Iterator[Deal]:
        """All rows in their own order."""
        order = np.arange(self.rows, dtype=np.int32)
        for first, _, _ in self.bounds:
            yield self.deal(order, first)


def plan_exchange(wanted: Rows, devices: int, each: int, slots: int = 0) -> Exchange:
    """Who sends which of its rows to whom, so that each device gets its part of some batches.

    Args:
        wanted: `(batches, size)`, numbers of rows.
        devices: how many there are. A batch is split evenly, the last devices may get fewer.
        each: rows that a device keeps: row `r` is on device `r // each`.
        slots: the least number of rows that go from one device to another; the unused are filled.

    Returns:
        `send`, `(devices, devices, slots)`: for each device and each that it sends to, its rows,
        counted on itself. `take`, `(devices, places)`: where in what came a device finds the row
        for each of its places, batch by batch.
    """
    batches, size = wanted.shape
    part = math.ceil(size / devices)
    place = np.arange(size)
    to = np.broadcast_to(place // part, wanted.shape).reshape(-1)
    flat = wanted.reshape(-1)
    pair = (flat // each) * devices + to
    by_pair = np.argsort(pair, kind="stable")
    counts = np.bincount(pair, minlength=devices * devices)
    begins = np.cumsum(counts) - counts
    slot = np.empty(len(flat), np.int64)
    slot[by_pair] = np.arange(len(flat)) - begins[pair[by_pair]]
    needed = int(counts.max())
    if needed > slots:
        # A little more than this time, so that the next ones find a program that fits.
        slots = min(batches * part, 8 * math.ceil((needed + 3 * math.sqrt(needed)) / 8))
    send = np.zeros((devices, devices, slots), np.int32)
    send[flat // each, to, slot] = flat % each
    take = np.zeros((devices, batches, part), np.int32)
    batch = np.repeat(np.arange(batches), size)
    take[to, batch, np.tile(place % part, batches)] = (flat // each) * slots + slot
    return Exchange(send, take.reshape(devices, -1))


@functools.cache
def _exchange(mesh: Mesh, count: int, places: int) -> Any:
    """The program that sends rows and puts what comes into its places."""

    def here(kept: Any, send: jax.Array, take: jax.Array) -> Any:
        def one(array: jax.Array) -> jax.Array:
            out = array.at[send[0]].get(mode="promise_in_bounds")
            came = lax.all_to_all(out, AXIS, 0, 0)  # type: ignore[no-untyped-call]
            came = came.reshape(-1, *array.shape[1:])
            found = came.at[take[0]].get(mode="promise_in_bounds")
            return found.reshape(count, places, *array.shape[1:])

        return jax.tree.map(one, kept)

    split, batches = spec(AXIS), spec(None, AXIS)
    return jax.jit(
        jax.shard_map(here, mesh=mesh.devices, in_specs=(split, split, split), out_specs=batches)
    )
