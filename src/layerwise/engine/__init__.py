"""Training one stage: a problem goes in, a result comes out, the weights move in place.

`_problem` says what a stage is; `_model` turns it into a Keras model whose output is its own loss;
`_fit` gives that model to Keras, `_compiled` runs it as one program; `_order` deals the batches to
both alike; `_rows` keeps rows on the device or streams them there, as `_allotment` says, by way of
`_reader`; `_watch` is what they tell while they train, `_recall` what callbacks remember, `_rate`
what the machine can do. On several devices `_mesh` says what lies where, `_deal` and `_mesh_rows`
move rows, so many at a time as `_mesh_allotment` says, `_mesh_program` and `_mesh_place` run the
same steps.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import keras

from layerwise._typing import EngineName
from layerwise.engine._devices import cores as cores
from layerwise.engine._devices import devices as devices
from layerwise.engine._order import order as order
from layerwise.engine._problem import Engine as Engine
from layerwise.engine._problem import Operations as Operations
from layerwise.engine._problem import Problem as Problem
from layerwise.engine._problem import Result as Result
from layerwise.engine._problem import finite_weights as finite_weights
from layerwise.engine._problem import metric_names as metric_names
from layerwise.engine._rate import matrix_rate as matrix_rate
from layerwise.engine._recall import UnstorableError as UnstorableError
from layerwise.engine._watch import Snapshot as Snapshot
from layerwise.engine._watch import Watch as Watch
from layerwise.engine._watch import fitting as fitting
from layerwise.errors import InputError, complaint

if TYPE_CHECKING:
    from layerwise.engine._compiled import CompiledEngine


def make_engine(name: EngineName, limit: int | None = None) -> Engine:
    """The engine of this name; `"auto"` is `compiled` on JAX and `fit` elsewhere.

    Args:
        name: of the engine.
        limit: of the memory of a whole run, in bytes; None for none. Of rows that do not fit
            `compiled` takes some batches at a time. `fit` takes single batches in any case.

    Raises:
        InputError: there is no such engine, or it cannot run on the backend in use.
    """
    if name not in ("auto", "compiled", "fit"):
        raise InputError(complaint("engine", 'be "auto", "compiled" or "fit"', name))
    backend = keras.backend.backend()
    if name == "compiled" and backend != "jax":
        raise InputError(
            f"The engine `compiled` runs on JAX, and Keras runs on {backend} here. Use "
            '`engine="fit"`, or set the environment variable KERAS_BACKEND to jax.'
        )
    if name == "fit" or backend != "jax":
        from layerwise.engine._fit import FitEngine

        return FitEngine(limit)
    if limit is None:
        return _the_compiled()
    from layerwise.engine._compiled import CompiledEngine

    return CompiledEngine(limit, alike=_the_compiled())


def bounds(rows: int) -> tuple[int, int]:
    """From which of so many rows to before which this process has them, of several on JAX."""
    from layerwise.engine._mesh import the_mesh

    mesh = the_mesh()
    return (0, rows) if mesh is None else mesh.bounds(rows)


def compile_seconds() -> float:
    """Seconds that this process has spent on compiling since this was first asked.

    Only JAX tells; elsewhere 0.
    """
    if keras.backend.backend() != "jax":
        return 0.0
    from layerwise.engine._cost import compile_seconds

    return compile_seconds()


@functools.cache
def _the_compiled() -> CompiledEngine:
    """One for the whole process: a second training of the same shapes compiles nothing."""
    from layerwise.engine._compiled import CompiledEngine

    return CompiledEngine()
