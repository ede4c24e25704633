"""One training of one stage on JAX: the state on the device, and the calls that move it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import closing
from typing import Any

import keras
import numpy as np

from layerwise import signals
from layerwise.engine._batch import State
from layerwise.engine._place import Place
from layerwise.engine._problem import Problem, Result, divergence
from layerwise.engine._recall import Recall
from layerwise.engine._state import read_state, write_state
from layerwise.engine._watch import Snapshot, Watch, fitting, restored_curves
from layerwise.history import StopReason

_CALL_SECONDS = 0.1
"""How long a call into the program should last: long enough that Python costs nothing, short
enough that progress moves and Ctrl-C is heard."""
_LONG_STEPS, _LONGER = 10, 20
"""How many steps a call should take where they are long, and how many times as long it may last
for that: on a CPU each call gets its working memory anew from the system, which for large images
takes half as long as a step."""


class Session:
    """One training of one stage: the state on the device, and the calls that move it.

    Args:
        problem: what to train.
        place: where its state and its rows are.
        watch: told of progress, asked where to start.
    """

    def __init__(self, problem: Problem, place: Place, watch: Watch) -> None:
        self.problem, self.place, self.watch = problem, place, watch
        self.steps = math.ceil(problem.train.rows / problem.batch_size)
        names = place.program.names
        self.names = [*names, *(f"val_{name}" for name in names)]
        self.curves: dict[str, list[float]] = {}
        self.callbacks = keras.callbacks.CallbackList(
            list(problem.callbacks),
            add_history=False,
            model=problem.model,
            epochs=problem.epochs,
            steps=self.steps,
        )

    def to_the_end(self) -> Result:
        """Train until the epochs are done, a callback says stop, or something is not finite.

        A signal waits for the call in progress, so that there is a whole state to keep.
        """
        with signals.deferred(), self.place.company(), closing(self.place.rows):
            self._begin()
            last = self.problem.epochs * self.steps
            while self.step < last and not self.problem.model.stop_training:
                broken = self._advance(last)
                if broken:
                    self._write_back()
                    done = max(self.step // self.steps, 1)
                    return Result(self.curves, done, StopReason.DIVERGED, broken)
                self.watch.pause(self._snapshot)
                self.place.heed()
            self._write_back()
            if self.problem.epochs:
                variables = self.problem.model.trainable_variables
                self.problem.optimizer.finalize_variable_values(variables)
            self.callbacks.on_train_end()
        done = len(self.curves.get("loss", ()))
        early = done < self.problem.epochs
        return Result(
            self.curves, done, StopReason.EARLY_STOPPING if early else StopReason.COMPLETED
        )

    def _begin(self) -> None:
        self.problem.model.stop_training = False
        self.callbacks.on_train_begin()
        self.recall = Recall(self.problem.callbacks)
        # The program takes its state's memory, so the state must share none with the layers.
        self.state: State = self.place.put(read_state(self.problem))
        self.step, self.size = 0, 1
        if self.watch.start is not None:
            self._restore(self.watch.start)

    def _advance(self, last: int) -> str:
        """One call into the program; return what is not finite, or nothing."""
        self.watch.moves()
        watched = bool(self.problem.callbacks)
        epoch, first = divmod(self.step, self.steps)
        if watched and first == 0:
            self._let_callbacks(self.callbacks.on_epoch_begin, epoch)
        reach = (epoch + 1) * self.steps if watched else last
        stop = min(self.step + self.size, self.place.rows.reach(self.step), reach, last)
        started = time.perf_counter()
        self.state, logs, finite = self.place.rows.train(self.state, self.step, stop)
        self.size = self.place.agree(_next_size(stop - self.step, time.perf_counter() - started))
        self.step = stop
        done = stop // self.steps
        if done > epoch:
            for row in logs[: done - epoch].tolist():
                for name, value in zip(self.names, row, strict=False):
                    self.curves.setdefault(name, []).append(value)
            self.watch.epochs(done, self._newest())
        losses = self.curves.get("loss", ())[epoch:]
        if not finite or not np.isfinite(losses).all():
            return self._where_it_broke(epoch)
        if watched and done > epoch:
            self._let_callbacks(self.callbacks.on_epoch_end, epoch, self._newest())
        return ""

    def _snapshot(self) -> Snapshot:
        arrays = {
            f"{name}.{i}": np.asarray(value)
            for name, values in self.state.items()
            for i, value in enumerate(values)
        }
        arrays |= {f"curve.{name}": np.array(curve) for name, curve in self.curves.items()}
        remembered, callbacks = self.recall.take()
        stopped = bool(self.problem.model.stop_training)
        facts = {"step": self.step, "stopped": stopped, "callbacks": callbacks}
        return Snapshot({**arrays, **remembered}, facts)

    def _restore(self, start: Snapshot) -> None:
        kept = {
            name: [fitting(start, f"{name}.{i}", value) for i, value in enumerate(values)]
            for name, values in self.state.items()
        }
        self.state = self.place.put(kept)
        self.curves = restored_curves(start)
        self.step = start.facts["step"]
        self.problem.model.stop_training = start.facts["stopped"]
        self.recall.restore(start.arrays, start.facts["callbacks"])

    def _newest(self) -> dict[str, float]:
        return {name: curve[-1] for name, curve in self.curves.items()}

    def _where_it_broke(self, epoch: int) -> str:
        """What is not finite, in which epoch; the call began in epoch `epoch`."""
        past = self.curves.get("loss", [])
        running = float(np.asarray(self.state["metrics"][0]))
        broken = next((i for i, value in enumerate(past) if not math.isfinite(value)), None)
        what = "the weights were" if broken is None and math.isfinite(running) else "the loss was"
        self._write_back(copy=True)
        return divergence(what, epoch if broken is None else broken, self.problem.optimizer)

    def _let_callbacks(self, hook: Callable[..., None], *arguments: Any) -> None:
        """Let callbacks see the layers and the optimizer as they stand, and take their changes."""
        self._write_back(copy=True)
        hook(*arguments)
        metrics = self.place.own(self.state["metrics"])
        self.state = self.place.put({**read_state(self.problem), "metrics": metrics})

    def _write_back(self, copy: bool = False) -> None:
        """Give the layers and the optimizer the values that the program reached."""
        write_state(self.problem, self.place.own(self.state), copy=copy)


def _next_size(steps: int, seconds: float) -> int:
    """How many steps the next call gets, so that it lasts about as long as a call should."""
    one = max(seconds / steps, 1e-6)
    wanted = min(max(_CALL_SECONDS, _LONG_STEPS * one), _LONGER * _CALL_SECONDS) / one
    return max(1, min(int(wanted), 16 * steps))
