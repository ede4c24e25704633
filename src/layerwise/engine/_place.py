"""Where the state and the rows of a training are, and with whom it has to agree."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import jax
import jax.numpy as jnp

from layerwise import signals
from layerwise.engine._batch import State
from layerwise.engine._problem import Problem
from layerwise.engine._program import Program
from layerwise.engine._rows import Rows, rows_for


class Place:
    """One device of one process.

    Args:
        problem: what to train.
        program: compiled for problems like this one.
        limit: of the memory of the whole run, in bytes; None for none.

    Attributes:
        rows: those of the problem, wherever they are while it trains.
    """

    def __init__(self, problem: Problem, program: Program, limit: int | None = None) -> None:
        self.problem, self.program, self.limit = problem, program, limit
        self.rows = self._rows()

    def _rows(self) -> Rows:
        return rows_for(self.problem, self.program, self.limit)

    def company(self) -> AbstractContextManager[None]:
        """What surrounds a training."""
        return nullcontext()

    def put(self, state: Mapping[str, Any]) -> State:
        """A state as the program takes it, sharing no memory with what it is made of."""
        return jax.tree.map(jnp.array, dict(state))

    def own(self, value: Any) -> Any:
        """Arrays of the state as layers hold them."""
        return value

    def agree(self, size: int) -> int:
        """How many steps the next call gets, where this process would take so many."""
        return size

    def heed(self) -> None:
        """Stop where a signal has asked for it."""
        signals.check()
