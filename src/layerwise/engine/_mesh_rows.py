"""The rows of a training on several devices: dealt out, some batches at a time."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from layerwise._typing import Array
from layerwise.datasets import Split
from layerwise.engine._batch import State
from layerwise.engine._deal import LEAST_BYTES, Deal, Dealer
from layerwise.engine._mesh_program import MeshProgram
from layerwise.engine._order import EpochOrder, bytes_here, row_bytes
from layerwise.engine._problem import Problem
from layerwise.memory import forget_pages

_KEPT_BYTES = 64 << 20
"""At most so much of dealt validation rows stays on a device from epoch to epoch."""
_PART = 32
"""And no more than one part of so many of the training rows there, or what one deal may have."""


class Dealt:
    """Rows that are dealt out to the devices before the steps that need them.

    Args:
        problem: whose rows; of several processes, this one's share of them.
        program: that takes the steps.
        asks: what this process asks for in every call, `(devices, n)`.
        lying: as for `Dealer`.
    """

    def __init__(
        self,
        problem: Problem,
        program: MeshProgram,
        asks: Callable[[], jax.Array],
        lying: int | None = None,
    ) -> None:
        self._problem, self._program, self._asks = problem, program, asks
        self._train = Dealer(program.mesh, problem.train, problem.batch_size, lying)
        self._lies = lying is not None
        self._steps = -(-problem.train.rows // problem.batch_size)
        self._held = None
        if problem.validation is not None:
            few = 0 if lying is not None else bytes_here(problem.train) // _PART
            held = problem.validation
            self._held = Scored(program, held, problem.batch_size, few, lying)
        self._deal: tuple[int, Deal] | None = None
        self._order: tuple[int, EpochOrder] | None = None
        self.agreed: list[int] = []
        """The largest of what the processes asked for in the last call."""

    def reach(self, step: int) -> int:
        epoch, first = divmod(step, self._steps)
        return epoch * self._steps + self._dealt(epoch, first).stop

    def train(self, state: State, step: int, stop: int) -> tuple[State, Array, bool]:
        epoch, first = divmod(step, self._steps)
        stop -= epoch * self._steps
        deal = self._dealt(epoch, first)
        if first == 0:
            state = {**state, "metrics": self._program.zeros(state["metrics"])}
        state, finite, agreed = self._program.steps(
            state,
            deal.rows,
            np.int32(first - deal.first),
            np.int32(stop - deal.first),
            self._asks(),
            size=deal.size,
        )
        self.agreed = np.asarray(agreed).tolist()
        logs = self._finish_epoch(state) if stop == self._steps else np.empty((0, 0))
        return state, logs, bool(finite)

    def close(self) -> None:
        # The session, which this holds by what it asks for, holds this: without a word the rows
        # would stay until Python looks for such circles.
        del self._deal, self._train, self._held

    def _finish_epoch(self, state: State) -> Array:
        if self._lies:
            jax.tree.map(forget_pages, self._problem.train.tree())
        logs = [np.asarray(self._program.results(state["metrics"]))]
        if self._held is not None:
            logs.append(self._held.score(state))
        return np.concatenate(logs)[None]

    def _dealt(self, epoch: int, step: int) -> Deal:
        if self._deal is not None and self._deal[0] == epoch:
            deal = self._deal[1]
            if deal.first <= step < deal.stop:
                return deal
        self._deal = None  # Its memory goes before the next one comes.
        train = self._problem.train
        if self._order is None or self._order[0] != epoch:
            dealt = EpochOrder(self._problem.seed, epoch, train.rows, row_bytes(train))
            self._order = epoch, dealt
        self._deal = epoch, self._train.deal(self._order[1].take, step)
        return self._deal[1]


class Scored:
    """Rows that are scored again and again: they stay dealt out, where they are few.

    Args:
        program: that scores.
        split: the rows.
        batch: rows of a batch.
        few: so many bytes of them that this process has are few.
        lying: as for `Dealer`.
    """

    def __init__(
        self, program: MeshProgram, split: Split, batch: int, few: int, lying: int | None = None
    ) -> None:
        self._program, self._split, self._lies = program, split, lying is not None
        self._dealer = Dealer(program.mesh, split, batch, lying)
        mesh = program.mesh
        held = mesh.each(split.rows) * row_bytes(split)
        few = min(_KEPT_BYTES, max(LEAST_BYTES, few // len(mesh.here)))
        self._deals = list(self._dealer.all()) if held <= few else None

    def score(self, state: State) -> Array:
        """The metrics over all rows."""
        found = self._program.score(state, self._deals or self._dealer.all())
        if self._lies:
            jax.tree.map(forget_pages, self._split.tree())
        return found
