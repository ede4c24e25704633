"""Dealing rows: from the devices that keep them to those that need them for the next batches.

A device keeps one block of consecutive rows, and in an epoch needs other ones: its part of every
batch. So before some steps the devices exchange, once, the rows of these steps.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
from jax import lax
from numpy.typing import NDArray

from layerwise.datasets import Split
from layerwise.engine._mesh import AXIS, Mesh, spec
from layerwise.engine._order import row_bytes

DEAL_BYTES = 32 << 20
"""At most about so much a device holds of rows that were dealt; with those on their way three
times."""
LEAST_BYTES = 1 << 20
PART = 64
"""A deal is no more than one part of so many of the rows that a device keeps, or `LEAST_BYTES`."""
Rows: TypeAlias = NDArray[np.int32]
Take: TypeAlias = Callable[[int, int], Rows]
"""From two places in an order to the rows from the one to before the other."""


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
        lying: about how many bytes a device gets at a time where the rows stay where they lie, in
            memory or in a file, and are sent from there; None where devices keep them.
    """

    def __init__(self, mesh: Mesh, split: Split, batch: int, lying: int | None = None) -> None:
        self._mesh, self._batch, self.rows = mesh, batch, split.rows
        self._tree, self._lies = split.tree(), lying is not None
        if not self._lies:
            self._tree = jax.tree.map(lambda array: mesh.rows(array, split.rows), self._tree)
        self._slots: dict[int, int] = {}
        row = row_bytes(split)
        most = usual_bytes(mesh, split) if lying is None else lying
        self._most = max(1, most // max(1, row * mesh.each(batch)))

    @functools.cached_property
    def bounds(self) -> Sequence[tuple[int, int, int]]:
        """First batch, number of batches and their size, for each deal of an epoch."""
        full, rest = divmod(self.rows, self._batch)
        most = max(1, min(self._most, full))
        found = [(i, min(most, full - i), self._batch) for i in range(0, full, most)]
        return found + [(full, 1, rest)] * bool(rest)

    def deal(self, take: Take, batch: int) -> Deal:
        """The deal that a batch of an epoch is in.

        Args:
            take: the order of the rows in this epoch.
            batch: its number.
        """
        first, count, size = next(b for b in self.bounds if b[0] <= batch < b[0] + b[1])
        places, start = self._mesh.each(size), first * self._batch
        wanted = take(start, start + count * size).reshape(count, size)
        slots = self._slots.get(size, 0)
        plan = plan_exchange(wanted, self._mesh.size, self._mesh.each(self.rows), slots)
        self._slots[size] = plan.send.shape[-1]
        found = self._mesh.by_device(plan.take)
        if self._lies:
            each = self._mesh.each(self.rows)
            sent = jax.tree.map(lambda a: self._mesh.picked(a, plan.send, each), self._tree)
            return Deal(first, count, size, _pass_on(self._mesh, count, places)(sent, found))
        send = self._mesh.by_device(plan.send)
        rows = _exchange(self._mesh, count, places)(self._tree, send, found)
        return Deal(first, count, size, rows)

    def all(self) -> Iterator[Deal]:
        """All rows in their own order."""
        for first, _, _ in self.bounds:
            yield self.deal(lambda start, stop: np.arange(start, stop, dtype=np.int32), first)


def usual_bytes(mesh: Mesh, split: Split) -> int:
    """How many bytes of a split a device gets in a deal where it keeps its rows."""
    kept = mesh.each(split.rows) * row_bytes(split)
    return min(DEAL_BYTES, max(LEAST_BYTES, kept // PART))


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
    # Of one pair in the order of the rows: a file is read from its beginning to its end.
    by_pair = np.lexsort((flat, pair))
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
            return _exchanged(out, take, count, places)

        return jax.tree.map(one, kept)

    split, batches = spec(AXIS), spec(None, AXIS)
    return jax.jit(
        jax.shard_map(here, mesh=mesh.devices, in_specs=(split, split, split), out_specs=batches)
    )


@functools.cache
def _pass_on(mesh: Mesh, count: int, places: int) -> Any:
    """The same for rows that were picked before: its memory is that of the deal alone."""

    def here(sent: Any, take: jax.Array) -> Any:
        return jax.tree.map(lambda out: _exchanged(out[0], take, count, places), sent)

    split, batches = spec(AXIS), spec(None, AXIS)
    return jax.jit(
        jax.shard_map(here, mesh=mesh.devices, in_specs=(split, split), out_specs=batches)
    )


def _exchanged(out: jax.Array, take: jax.Array, count: int, places: int) -> jax.Array:
    """Send `(devices, slots, ...)`, and put what comes into its places."""
    came = lax.all_to_all(out, AXIS, 0, 0)  # type: ignore[no-untyped-call]
    came = came.reshape(-1, *out.shape[2:])
    found = came.at[take[0]].get(mode="promise_in_bounds")
    return found.reshape(count, places, *out.shape[2:])
