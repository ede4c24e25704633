"""The program of a stage on several devices: the same steps, each on a batch that is split.

The compiler sees one batch and one set of weights; that the batch is split and the weights are
whole makes it sum gradients, and what BatchNorm wants of a batch, over all devices.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from layerwise._typing import Array
from layerwise.engine._batch import Data, State
from layerwise.engine._deal import Deal
from layerwise.engine._mesh import Mesh
from layerwise.engine._model import StageModel
from layerwise.engine._program import Program


class MeshProgram(Program):
    """Training and evaluation of one shape of stage on a mesh.

    Args:
        model: the stage on whose variables the programs are traced.
        batch_size: rows a step, all devices together.
        mesh: the devices.
    """

    def __init__(self, model: StageModel, batch_size: int, mesh: Mesh) -> None:
        super().__init__(model, batch_size)
        self.mesh = mesh
        whole = mesh.whole
        self.steps = jax.jit(
            self._some_steps, static_argnames="size", donate_argnums=0, out_shardings=whole
        )
        self._looks = jax.jit(self._some_looks, static_argnames="size", out_shardings=whole)
        self.results = jax.jit(self.step.results, out_shardings=whole)

    def score(self, state: State, deals: Iterable[Deal]) -> Array:
        """The metrics over all rows of some deals, in inference mode: `(metrics,)`."""
        metrics = [self.mesh.everywhere(np.zeros(a.shape, a.dtype)) for a in state["metrics"]]
        for deal in deals:
            metrics = self._looks(
                {**state, "metrics": metrics}, deal.rows, np.int32(deal.batches), size=deal.size
            )
            # Else all deals would be made, and held, before the first one is scored.
            np.asarray(metrics[0])
        return np.asarray(self.results(metrics))

    def _some_steps(
        self, state: State, rows: Data, first: Any, stop: Any, asks: Any, *, size: int
    ) -> tuple[State, Any, Any]:
        """Take the batches `first` to `stop` of a deal.

        Args:
            state: whole on every device; its memory is taken.
            rows: of the deal.
            first, stop: counted from the start of the deal.
            asks: `(devices, n)`: what each device's process asks for.
            size: of a batch.

        Returns:
            The state, whether it is finite, and the largest of what was asked for, `(n,)`.
        """
        state = lax.fori_loop(
            first,
            stop,
            lambda step, state: self.step.train(state, self._at(rows, step, size)),
            state,
        )
        return state, self.step.finite(state), asks.max(axis=0)

    def _some_looks(self, state: State, rows: Data, count: Any, *, size: int) -> list[Any]:
        def look(step: Any, metrics: list[Any]) -> list[Any]:
            batch = self._at(rows, step, size)
            return self.step.look({**state, "metrics": metrics}, batch)["metrics"]

        return lax.fori_loop(0, count, look, state["metrics"])

    def _at(self, rows: Data, step: Any, size: int) -> Data:
        """One batch, split over the devices; the last ones may have fewer rows."""

        def one(array: jax.Array) -> jax.Array:
            batch = lax.dynamic_index_in_dim(array, step, keepdims=False)[:size]
            return jax.lax.with_sharding_constraint(batch, self.mesh.split())  # type: ignore[no-untyped-call]

        return jax.tree.map(one, rows)

    @functools.cached_property
    def zeros(self) -> Any:
        """Metrics before the first batch of an epoch."""
        return jax.jit(lambda old: jax.tree.map(jnp.zeros_like, old), out_shardings=self.mesh.whole)
