"""The engine that runs whole epochs, or slices of a long one, in one program on JAX."""

from __future__ import annotations

import math
import os
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from layerwise._typing import Array
from layerwise.datasets import Split
from layerwise.engine._callbacks import refuse_batch_hooks, refuse_unsavable
from layerwise.engine._key import layer_key, optimizer_key
from layerwise.engine._order import order
from layerwise.engine._problem import OnEpochs, Problem, Result, learning_rate_of
from layerwise.engine._program import Program, State, window_of
from layerwise.history import StopReason

_CALL_SECONDS = 0.1
"""How long a call into the program should last: long enough that Python costs nothing, short
enough that progress moves and Ctrl-C is heard."""
_PROGRAMS_KEPT = 16


class CompiledEngine:
    """One program for every stage of the same shape, compiled once."""

    name = "compiled"

    def __init__(self) -> None:
        _use_persistent_cache()
        self._programs: OrderedDict[Hashable, Any] = OrderedDict()

    def check(self, problem: Problem) -> None:
        refuse_unsavable(problem.callbacks)
        refuse_batch_hooks(problem.callbacks)

    def train(self, problem: Problem, on_epochs: OnEpochs) -> Result:
        self.check(problem)
        run = _Run(problem, self._program(problem))
        result = run.to_the_end(on_epochs)
        run.write_back()
        if problem.epochs:
            problem.optimizer.finalize_variable_values(problem.model.trainable_variables)
        run.callbacks.on_train_end()
        return result

    def evaluate(self, problem: Problem, split: Split) -> dict[str, float]:
        program = self._program(problem)
        values = program.evaluate(_read_state(problem), _on_device(split))
        return dict(zip(program.names, np.asarray(values).tolist(), strict=True))

    def forward(self, layer: keras.Layer) -> Callable[[Array], Array]:
        def apply(trainable: list[Any], frozen: list[Any], batch: Array) -> Array:
            return layer.stateless_call(trainable, frozen, batch, training=False)[0]

        key = layer_key(layer)
        program = self._remembered(("forward", key) if key else None, lambda: jax.jit(apply))
        values = [[v.value for v in group] for group in _variables_of(layer)]
        return lambda batch: program(*values, batch)

    def _program(self, problem: Problem) -> Program:
        """The program for stages like this one; a new one where none is known."""
        if problem.optimizer.built is False:
            problem.optimizer.build(problem.model.trainable_variables)
        parts = (
            layer_key(problem.block),
            layer_key(problem.head),
            optimizer_key(problem.optimizer),
        )
        # A user's objective need not have a hash; then nothing tells it from another.
        told = None not in parts and isinstance(problem.objective, Hashable)
        alike = (parts, problem.objective, problem.targets, problem.batch_size)
        return self._remembered(
            alike if told else None, lambda: Program(problem.model, problem.batch_size)
        )

    def _remembered(self, key: Hashable | None, make: Callable[[], Any]) -> Any:
        """What was made for this key before, or a new one; the oldest are forgotten."""
        if key is None:
            return make()
        if key not in self._programs:
            self._programs[key] = make()
        self._programs.move_to_end(key)
        while len(self._programs) > _PROGRAMS_KEPT:
            self._programs.popitem(last=False)
        return self._programs[key]


class _Run:
    """One training of one stage: the state on the device, and the calls that move it."""

    def __init__(self, problem: Problem, program: Program) -> None:
        self.problem, self.program = problem, program
        self.train = _on_device(problem.train)
        self.validation = None if problem.validation is None else _on_device(problem.validation)
        # The program takes its state's memory, so the state must share none with the layers.
        self.state: State = jax.tree.map(jnp.copy, _read_state(problem))
        self.rows = problem.train.rows
        self.steps = math.ceil(self.rows / problem.batch_size)
        self.window = window_of(self.rows)
        self.names = [*program.names, *(f"val_{name}" for name in program.names)]
        self.curves: dict[str, list[float]] = {}
        self.callbacks = keras.callbacks.CallbackList(
            list(problem.callbacks),
            add_history=False,
            model=problem.model,
            epochs=problem.epochs,
            steps=self.steps,
        )

    def to_the_end(self, on_epochs: OnEpochs) -> Result:
        """Train until the epochs are done, a callback says stop, or the loss is not finite."""
        watched = bool(self.problem.callbacks)
        last = self.problem.epochs * self.steps
        step, size = 0, 1
        self.problem.model.stop_training = False
        self.callbacks.on_train_begin()
        while step < last and not self.problem.model.stop_training:
            epoch, first = divmod(step, self.steps)
            if watched and first == 0:
                self._let_callbacks(self.callbacks.on_epoch_begin, epoch)
            span = 1 if watched else self.window
            stop = min(step + size, (epoch + span) * self.steps, last)
            started = time.perf_counter()
            logs = self._call(epoch, first, stop - epoch * self.steps)
            size = _next_size(stop - step, time.perf_counter() - started)
            step = stop
            done = step // self.steps
            if done > epoch:
                self._keep(logs[: done - epoch])
                on_epochs(done, self._newest())
            broken = self._divergence(epoch)
            if broken:
                return Result(self.curves, max(done, 1), StopReason.DIVERGED, broken)
            if watched and done > epoch:
                self._let_callbacks(self.callbacks.on_epoch_end, epoch, self._newest())
        done = len(self.curves.get("loss", ()))
        early = done < self.problem.epochs
        return Result(
            self.curves, done, StopReason.EARLY_STOPPING if early else StopReason.COMPLETED
        )

    def _newest(self) -> dict[str, float]:
        return {name: curve[-1] for name, curve in self.curves.items()}

    def _call(self, epoch: int, first: int, stop: int) -> Array:
        """Run the steps `first` to `stop`, counted from the start of `epoch`."""
        orders = np.zeros((self.window, self.rows), np.int32)
        for i in range(math.ceil(stop / self.steps)):
            orders[i] = order(self.problem.seed, epoch + i, self.rows)
        self.state, logs = self.program.train(
            self.state, self.train, self.validation, orders, np.int32(first), np.int32(stop)
        )
        return np.asarray(logs)

    def _keep(self, logs: Array) -> None:
        for row in logs.tolist():
            for name, value in zip(self.names, row, strict=False):
                self.curves.setdefault(name, []).append(value)

    def _divergence(self, epoch: int) -> str:
        """Where the loss stopped being finite, the epoch in progress included; else empty."""
        running = float(np.asarray(self.state["metrics"][0]))
        past = self.curves.get("loss", [])
        bad = next((i for i, value in enumerate(past) if not math.isfinite(value)), None)
        if bad is None and math.isfinite(running):
            return ""
        self.write_back()
        rate = learning_rate_of(self.problem.optimizer)
        where = (epoch if bad is None else bad) + 1
        return f"the loss was not finite in epoch {where} at a learning rate of {rate:.3g}"

    def _let_callbacks(self, hook: Callable[..., None], *arguments: Any) -> None:
        """Let callbacks see the layers and the optimizer as they stand, and take their changes."""
        self.write_back(copy=True)
        hook(*arguments)
        metrics = self.state["metrics"]
        self.state = jax.tree.map(jnp.copy, {**_read_state(self.problem), "metrics": metrics})

    def write_back(self, copy: bool = False) -> None:
        """Give the layers and the optimizer the values that the program reached.

        With `copy` the program may go on: it takes the memory of its state, so what the layers
        hold must be their own.
        """
        for name, variables in _state_variables(self.problem).items():
            for variable, value in zip(variables, self.state[name], strict=True):
                variable.assign(jnp.copy(value) if copy else value)


def _next_size(steps: int, seconds: float) -> int:
    """How many steps the next call gets, so that it lasts about as long as a call should."""
    wanted = steps * _CALL_SECONDS / max(seconds, 1e-6)
    return max(1, min(int(wanted), 16 * steps))


def _state_variables(problem: Problem) -> dict[str, list[Any]]:
    model = problem.model
    return {
        "trainable": model.trainable_variables,
        "frozen": model.non_trainable_variables,
        "optimizer": problem.optimizer.variables,
        "metrics": model.metrics_variables,
    }


def _read_state(problem: Problem) -> State:
    return {
        name: [variable.value for variable in variables]
        for name, variables in _state_variables(problem).items()
    }


def _variables_of(layer: keras.Layer) -> tuple[list[Any], list[Any]]:
    return layer.trainable_variables, layer.non_trainable_variables


def _on_device(split: Split) -> Mapping[str, Any]:
    return jax.tree.map(jnp.asarray, split.tree())


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
