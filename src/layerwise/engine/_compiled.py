"""The engine that runs whole epochs, or slices of a long one, in one program on JAX."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import jax
import keras
import numpy as np

from layerwise._typing import Array, Shape
from layerwise.datasets import Split
from layerwise.engine._allotment import (
    bytes_of,
    check_limit,
    piece_bytes,
    rows_of,
)
from layerwise.engine._callbacks import refuse_batch_hooks, refuse_unsavable
from layerwise.engine._cost import count_forward
from layerwise.engine._key import optimizer_key
from layerwise.engine._mesh import the_mesh
from layerwise.engine._mesh_allotment import deal_bytes
from layerwise.engine._mesh_place import MeshPlace, score
from layerwise.engine._mesh_program import MeshProgram
from layerwise.engine._place import Place
from layerwise.engine._problem import Operations, Problem, Result
from layerwise.engine._program import Program
from layerwise.engine._rows import look, on_device
from layerwise.engine._session import Session
from layerwise.engine._state import read_state
from layerwise.engine._watch import Watch
from layerwise.growth import layer_key

_PROGRAMS_KEPT = 16
_BYTES_KEPT = 256 << 20
"""Of the variables that programs were traced on: each program holds those of its first stage."""


class CompiledEngine:
    """One program for every stage of the same shape, compiled once.

    Args:
        limit: of the memory of a whole run, in bytes; None for none.
        alike: another engine, whose programs this one shares.
    """

    name = "compiled"

    def __init__(self, limit: int | None = None, alike: CompiledEngine | None = None) -> None:
        _use_persistent_cache()
        self._limit = limit
        self._programs: OrderedDict[Hashable, tuple[Any, int]] = (
            OrderedDict() if alike is None else alike._programs
        )
        self._counted: dict[Hashable, float] = {} if alike is None else alike._counted

    def check(self, problem: Problem) -> None:
        refuse_unsavable(problem.callbacks)
        refuse_batch_hooks(problem.callbacks)
        mesh = the_mesh()
        if mesh is None:
            check_limit(problem, self._limit)
        else:
            deal_bytes(problem, self._limit, mesh, *rows_of(problem))

    def train(self, problem: Problem, watch: Watch) -> Result:
        self.check(problem)
        program = self._program(problem)
        somewhere = MeshPlace if isinstance(program, MeshProgram) else Place
        return Session(problem, somewhere(problem, program, self._limit), watch).to_the_end()

    def evaluate(self, problem: Problem, split: Split) -> dict[str, float]:
        program = self._program(problem)
        if isinstance(program, MeshProgram):
            values = score(problem, program, split, self._limit)
        elif (size := piece_bytes(problem, self._limit, split)) is not None:
            values = look(program, read_state(problem), problem, split, size)
        else:
            values = program.evaluate(read_state(problem), on_device(split))
        return dict(zip(program.names, np.asarray(values).tolist(), strict=True))

    def operations(self, problem: Problem) -> Operations:
        return self._program(problem).operations(problem)

    def forward_operations(self, layer: keras.Layer, shape: Shape, dtype: str) -> float:
        key = layer_key(layer)
        if key is None:
            return count_forward(layer, shape, dtype)
        alike = (key, shape, dtype)
        if alike not in self._counted:
            self._counted[alike] = count_forward(layer, shape, dtype)
        return self._counted[alike]

    def forward(self, layer: keras.Layer) -> Callable[[Array], Array]:
        def apply(values: list[Any], batch: Array) -> Array:
            # Not `stateless_call`: that gives `training` to layers that do not know it. And all
            # variables in one order, whichever of them may move by now.
            state = list(zip(layer.variables, values, strict=True))
            with keras.StatelessScope(state_mapping=state):
                return layer(batch, training=False)

        key = layer_key(layer)
        held = bytes_of(layer.variables)
        program = self._remembered(("forward", key) if key else None, lambda: jax.jit(apply), held)
        values = [variable.value for variable in layer.variables]
        return lambda batch: program(values, batch)

    def _program(self, problem: Problem) -> Program:
        """The program for stages like this one; a new one where none is known."""
        if problem.optimizer.built is False:
            problem.optimizer.build(problem.model.trainable_variables)
        stage, optimizer = problem.key(), optimizer_key(problem.optimizer)
        # An optimizer that was built while a head was frozen knows fewer variables.
        known = len(problem.optimizer.variables)
        mesh = the_mesh()
        alike = (stage, optimizer, known, problem.batch_size)
        held = bytes_of([*problem.model.variables, *problem.optimizer.variables])

        def make() -> Program:
            if mesh is None:
                return Program(problem.model, problem.batch_size)
            return MeshProgram(problem.model, problem.batch_size, mesh)

        return self._remembered(None if None in alike else (*alike, mesh), make, held)

    def _remembered(self, key: Hashable | None, make: Callable[[], Any], held: int) -> Any:
        """What was made for this key before, or a new one that holds so many bytes.

        The oldest are forgotten where they are too many or hold too much; never the newest.
        """
        if key is None:
            return make()
        known = self._programs.get(key)
        if known is None or (isinstance(known[0], Program) and not known[0].intact):
            self._programs[key] = make(), held
        self._programs.move_to_end(key)
        while len(self._programs) > 1 and (
            len(self._programs) > _PROGRAMS_KEPT
            or sum(size for _, size in self._programs.values()) > _BYTES_KEPT
        ):
            self._programs.popitem(last=False)
        return self._programs[key][0]


def _use_persistent_cache() -> None:
    """Keep compiled programs between runs, unless the user has settled this already.

    LAYERWISE_CACHE names the folder; empty, nothing is kept.
    """
    config: Any = jax.config
    if config.jax_compilation_cache_dir is not None:
        return
    default = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "layerwise" / "xla"
    folder = os.environ.get("LAYERWISE_CACHE", str(default))
    if folder:
        config.update("jax_compilation_cache_dir", folder)
        config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
        config.update("jax_persistent_cache_min_entry_size_bytes", -1)
