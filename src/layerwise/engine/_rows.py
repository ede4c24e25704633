"""Where the rows of a training are while it computes: all on the device, or streamed to it.

`Session` steers the steps and knows neither; both take the same steps on the same batches.
"""

from __future__ import annotations

import math
from typing import Any, Protocol

import jax
import jax.numpy as jnp
import numpy as np

from layerwise._typing import Array
from layerwise.datasets import Split
from layerwise.engine._allotment import piece_bytes, rows_of
from layerwise.engine._batch import Data, State
from layerwise.engine._order import EpochOrder, order, row_bytes
from layerwise.engine._problem import Problem
from layerwise.engine._program import Program, window_of
from layerwise.engine._reader import Reader
from layerwise.memory import forget_pages, is_mapped


class Rows(Protocol):
    """The rows of a training, and the calls that take steps on them."""

    def reach(self, step: int) -> int:
        """The last step that a call which begins at `step` may go to."""
        ...

    def train(self, state: State, step: int, stop: int) -> tuple[State, Array, bool]:
        """Take the steps from `step` to `stop`, counted over all epochs.

        Returns:
            The state, the metrics of each epoch that ended, and whether all is finite. The memory
            of the state that was given is taken.
        """
        ...

    def close(self) -> None:
        """Let go of the rows."""
        ...


class Resident:
    """All rows on the device, one call for many steps.

    Args:
        problem: whose rows.
        program: that takes the steps.
    """

    def __init__(self, problem: Problem, program: Program) -> None:
        self._program, self._seed = program, problem.seed
        self._train = on_device(problem.train)
        held = problem.validation
        self._validation = None if held is None else on_device(held)
        self._rows, self._row_bytes = problem.train.rows, row_bytes(problem.train)
        self._steps = math.ceil(self._rows / problem.batch_size)
        self._window = window_of(self._rows)

    def reach(self, step: int) -> int:
        return (step // self._steps + self._window) * self._steps

    def train(self, state: State, step: int, stop: int) -> tuple[State, Array, bool]:
        epoch, first = divmod(step, self._steps)
        stop -= epoch * self._steps
        orders = np.zeros((self._window, self._rows), np.int32)
        for i in range(math.ceil(stop / self._steps)):
            orders[i] = order(self._seed, epoch + i, self._rows, self._row_bytes)
        state, logs, finite = self._program.train(
            state, self._train, self._validation, orders, np.int32(first), np.int32(stop)
        )
        return state, np.asarray(logs), bool(finite)

    def close(self) -> None:
        pass


class Streamed:
    """Rows that come to the device some batches at a time, in the order that `Resident` has.

    Args:
        problem: whose rows.
        program: that takes the steps.
        piece_bytes: about how many bytes come at a time; one batch at least. Four pieces may be
            held: two of the training rows, two of those to validate on.
    """

    def __init__(self, problem: Problem, program: Program, piece_bytes: int) -> None:
        self._problem, self._program, self._bytes = problem, program, piece_bytes
        self._rows, self._row_bytes = problem.train.rows, row_bytes(problem.train)
        self._steps = math.ceil(self._rows / problem.batch_size)
        self._rest = self._rows % problem.batch_size
        self._each = batches_of(problem.train, problem.batch_size, piece_bytes)
        self._pieces = math.ceil(self._steps / self._each)
        size = self._each * problem.batch_size
        self._deal = -1, EpochOrder(0, 0, 1, 0)
        self._tree = problem.train.tree()
        self._reader = Reader(self._tree, size, self._numbers, problem.epochs * self._pieces)

    def reach(self, step: int) -> int:
        epoch, first = divmod(step, self._steps)
        return epoch * self._steps + min(self._steps, (first // self._each + 1) * self._each)

    def train(self, state: State, step: int, stop: int) -> tuple[State, Array, bool]:
        epoch, first = divmod(step, self._steps)
        number, first = divmod(first, self._each)
        piece = self._reader.piece(epoch * self._pieces + number)
        end = stop - epoch * self._steps
        ends = end == self._steps
        partial = ends and self._rest > 0
        steps = np.array([first, end - number * self._each - partial], np.int32)
        flags = np.array([step % self._steps == 0, partial])
        state, finite = self._program.piece.train(
            state, piece.data, piece.order, steps, flags, rest=self._rest
        )
        # The rows may be let go only when nothing computes on them any more.
        finite = bool(finite)
        del piece
        logs = self._finish_epoch(state) if ends else np.empty((0, 0))
        return state, logs, finite

    def close(self) -> None:
        self._reader.close()

    def _finish_epoch(self, state: State) -> Array:
        self._reader.let_go()
        jax.tree.map(forget_pages, self._tree)
        logs = [self._program.piece.results(state["metrics"])]
        if self._problem.validation is not None:
            logs.append(
                look(self._program, state, self._problem, self._problem.validation, self._bytes)
            )
        return np.concatenate([np.asarray(part) for part in logs])[None]

    def _numbers(self, piece: int) -> Any:
        """The rows of a piece; called in the reader's thread."""
        epoch, number = divmod(piece, self._pieces)
        if self._deal[0] != epoch:
            dealt = EpochOrder(self._problem.seed, epoch, self._rows, self._row_bytes)
            self._deal = epoch, dealt
        size = self._each * self._problem.batch_size
        return self._deal[1].take(number * size, min((number + 1) * size, self._rows))


def rows_for(problem: Problem, program: Program, limit: int | None) -> Rows:
    """The rows of a problem where they fit, within a memory limit in bytes or none.

    Raises:
        InputError: the limit is too small for any.
    """
    size = piece_bytes(problem, limit, *rows_of(problem))
    return Resident(problem, program) if size is None else Streamed(problem, program, size)


def look(program: Program, state: State, problem: Problem, split: Split, piece_bytes: int) -> Array:
    """The metrics over all rows of a split, streamed: what `Program.evaluate` gives of all."""
    batch, rows = problem.batch_size, split.rows
    size = batch * batches_of(split, batch, piece_bytes)
    tree, count, rest = split.tree(), math.ceil(rows / size), rows % batch
    reader = Reader(
        tree, size, lambda n: np.arange(n * size, min((n + 1) * size, rows), dtype=np.int32), count
    )
    metrics = [jnp.zeros_like(value) for value in state["metrics"]]
    try:
        for number in range(count):
            piece = reader.piece(number)
            partial = number == count - 1 and rest > 0
            metrics = program.piece.look(
                {**state, "metrics": metrics},
                piece.data,
                np.int32(piece.rows // batch),
                np.bool_(partial),
                rest=rest,
            )
            # Only now may the rows be let go.
            np.asarray(metrics[0])
            del piece
    finally:
        reader.close()
        jax.tree.map(forget_pages, tree)
    return np.asarray(program.piece.results(metrics))


def batches_of(split: Split, batch_size: int, piece_bytes: int) -> int:
    """How many batches a piece has; no more than there are."""
    wanted = piece_bytes // max(1, row_bytes(split) * batch_size)
    return max(1, min(wanted, math.ceil(split.rows / batch_size)))


def on_device(split: Split) -> Data:
    """All rows of a split; on a CPU the arrays themselves where they are aligned, not copies.

    But of a file a copy: who cuts it short while a program reads would end this process.
    """
    return jax.tree.map(
        lambda rows: jnp.asarray(rows) if is_mapped(rows) else jax.device_put(rows), split.tree()
    )
