"""Several devices, perhaps of several processes, as the place of a training."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import jax
import numpy as np

from layerwise import signals
from layerwise._typing import Array
from layerwise.datasets import Split
from layerwise.engine._allotment import rows_of
from layerwise.engine._batch import State
from layerwise.engine._deal import Dealer
from layerwise.engine._mesh import own
from layerwise.engine._mesh_allotment import deal_bytes
from layerwise.engine._mesh_program import MeshProgram
from layerwise.engine._mesh_rows import Dealt
from layerwise.engine._place import Place
from layerwise.engine._problem import Problem
from layerwise.engine._rows import Rows
from layerwise.engine._state import read_state
from layerwise.errors import LayerwiseError
from layerwise.memory import forget_pages


class MeshPlace(Place):
    """All devices, perhaps of several processes: the state whole on each, the rows dealt out."""

    program: MeshProgram

    def _rows(self) -> Rows:
        self._proposed = 0
        lying = deal_bytes(self.problem, self.limit, self.program.mesh, *rows_of(self.problem))
        self._dealt = Dealt(self.problem, self.program, self._asks, lying)
        return self._dealt

    def company(self) -> AbstractContextManager[None]:
        return in_company()

    def put(self, state: Mapping[str, Any]) -> State:
        return jax.tree.map(self.program.mesh.everywhere, dict(state))

    def own(self, value: Any) -> Any:
        return own(value)

    def agree(self, size: int) -> int:
        """As process 0 said in the call before, so that all do the same."""
        if jax.process_count() == 1:
            return size
        self._proposed = size
        return max(1, self._dealt.agreed[1])

    def heed(self) -> None:
        """Stop where all have agreed to, at the same step: else one would wait for another."""
        if jax.process_count() == 1:
            super().heed()
        elif self._dealt.agreed[0]:
            signals.ask(self._dealt.agreed[0])
            super().heed()

    def _asks(self) -> jax.Array:
        """What this process asks for, `(devices, 2)`: the signal that it heard, the next size."""
        size = self._proposed if jax.process_index() == 0 else 0
        mine = np.array([signals.number(), size], np.int32)
        return self.program.mesh.by_device(np.tile(mine, (self.program.mesh.size, 1)))


def score(problem: Problem, program: MeshProgram, split: Split, limit: int | None = None) -> Array:
    """The metrics over all rows of a split, with the weights of the layers."""
    mesh = program.mesh
    with in_company():
        state = jax.tree.map(mesh.everywhere, read_state(problem))
        lying = deal_bytes(problem, limit, mesh, split)
        found = program.score(state, Dealer(mesh, split, problem.batch_size, lying).all())
        jax.tree.map(forget_pages, split.tree())
        return found


_PATIENCE = 25.0
"""Seconds in which it is noticed that a process is gone, and this one ends by itself."""


@contextmanager
def in_company() -> Iterator[None]:
    """What fails because another process is gone waits here for the sentence that says so."""
    try:
        yield
    except (RuntimeError, ValueError):
        if jax.process_count() > 1 and not isinstance(sys.exc_info()[1], LayerwiseError):
            time.sleep(_PATIENCE)
        raise
