"""The engine that gives a stage to `keras.Model.fit`, on any backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from layerwise import signals
from layerwise._typing import Array, Shape, Tree
from layerwise.datasets import Split
from layerwise.engine._allotment import check_limit
from layerwise.engine._callbacks import refuse_unsavable
from layerwise.engine._order import order, row_bytes
from layerwise.engine._problem import Operations, Problem, Result, divergence, finite_weights
from layerwise.engine._recall import Recall
from layerwise.engine._watch import Snapshot, Watch, fitting, restored_curves
from layerwise.history import StopReason


class Batches(keras.utils.PyDataset):  # type: ignore[misc,unused-ignore]
    """Batches of a split in the order of the epoch, the partial one last."""

    def __init__(self, split: Split, batch_size: int) -> None:
        super().__init__()
        self._tree = split.tree()
        self._rows, self._size = split.rows, batch_size
        self._row_bytes = row_bytes(split)
        self._order: Array = np.arange(self._rows)

    def shuffle(self, seed: int, epoch: int) -> None:
        """Take the order of this epoch."""
        self._order = order(seed, epoch, self._rows, self._row_bytes)

    def __len__(self) -> int:
        return math.ceil(self._rows / self._size)

    def __getitem__(self, index: int) -> tuple[Tree]:
        if keras.backend.backend() != "tensorflow":
            # TensorFlow calls this from a thread of its own; there a signal waits for the epoch.
            signals.check()
        rows = self._order[index * self._size : (index + 1) * self._size]
        return (keras.tree.map_structure(lambda array: array[rows], self._tree),)


class _First(keras.callbacks.Callback):  # type: ignore[misc,unused-ignore]
    """Shuffles before every epoch, and after it stops at what is not finite, and reports.

    Keras calls a data set's own `on_epoch_end` at other times than the end of an epoch, so the
    order is set from here.
    """

    def __init__(self, problem: Problem, batches: Batches, watch: Watch) -> None:
        super().__init__()
        self._problem, self._batches, self._watch = problem, batches, watch
        self.message = ""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._watch.moves()
        self._batches.shuffle(self._problem.seed, epoch)
        _seed_backend(self._problem.seed, epoch)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        logs = dict(logs or {})
        what = "the loss was" if not math.isfinite(logs["loss"]) else "the weights were"
        if not math.isfinite(logs["loss"]) or not finite_weights(self._problem.model):
            self.message = divergence(what, epoch, self._problem.optimizer)
            self.model.stop_training = True
        self._watch.epochs(epoch + 1, logs)


class _Last(keras.callbacks.Callback):  # type: ignore[misc,unused-ignore]
    """After all other callbacks: goes on from a snapshot, and offers one after every epoch."""

    def __init__(self, problem: Problem, watch: Watch, first: _First) -> None:
        super().__init__()
        self._problem, self._watch, self._first = problem, watch, first
        self._start = watch.start
        self.curves = {} if self._start is None else restored_curves(self._start)

    def on_train_begin(self, logs: Any = None) -> None:
        self._recall = Recall(self._problem.callbacks)
        if self._start is not None:
            for name, variable in _variables(self._problem).items():
                variable.assign(fitting(self._start, name, variable))
            self._recall.restore(self._start.arrays, self._start.facts["callbacks"])

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        for name, value in dict(logs or {}).items():
            self.curves.setdefault(name, []).append(float(value))
        self._done = epoch + 1
        if not self._first.message:
            self._watch.pause(self._snapshot)
        signals.check()

    def _snapshot(self) -> Snapshot:
        arrays = {
            name: np.array(keras.ops.convert_to_numpy(variable.value))
            for name, variable in _variables(self._problem).items()
        }
        arrays |= {f"curve.{name}": np.array(curve) for name, curve in self.curves.items()}
        remembered, callbacks = self._recall.take()
        facts = {
            "epoch": self._done,
            "stopped": bool(self.model.stop_training),
            "callbacks": callbacks,
        }
        return Snapshot({**arrays, **remembered}, facts)


class FitEngine:
    """Keras' own training loop on the cached features.

    Args:
        limit: of the memory of a whole run, in bytes; None for none.
    """

    name = "fit"

    def __init__(self, limit: int | None = None) -> None:
        self._limit = limit

    def check(self, problem: Problem) -> None:
        refuse_unsavable(problem.callbacks)
        check_limit(problem, self._limit)

    def train(self, problem: Problem, watch: Watch) -> Result:
        self.check(problem)
        batches = Batches(problem.train, problem.batch_size)
        first = _First(problem, batches, watch)
        last = _Last(problem, watch, first)
        held, start = problem.validation, watch.start
        done = 0 if start is None else start.facts["epoch"]
        ended = done >= problem.epochs or (start is not None and start.facts["stopped"])
        problem.optimizer.build(problem.model.trainable_variables)
        with signals.deferred(), _own_backend_stream():
            problem.model.fit(
                batches,
                initial_epoch=problem.epochs if ended else done,
                epochs=problem.epochs,
                validation_data=None if held is None else Batches(held, problem.batch_size),
                callbacks=[first, *problem.callbacks, last],
                shuffle=False,
                verbose=0,
            )
        done = len(last.curves.get("loss", ()))
        if first.message:
            return Result(last.curves, done, StopReason.DIVERGED, first.message)
        early = done < problem.epochs
        return Result(
            last.curves, done, StopReason.EARLY_STOPPING if early else StopReason.COMPLETED
        )

    def evaluate(self, problem: Problem, split: Split) -> dict[str, float]:
        logs: dict[str, Any] = problem.model.evaluate(
            Batches(split, problem.batch_size), return_dict=True, verbose=0
        )
        return {name: float(value) for name, value in logs.items()}

    def operations(self, problem: Problem) -> Operations | None:
        if keras.backend.backend() != "jax":
            return None
        from layerwise.engine._program import Program

        problem.optimizer.build(problem.model.trainable_variables)
        return Program(problem.model, problem.batch_size).operations(problem)

    def forward_operations(self, layer: keras.Layer, shape: Shape, dtype: str) -> float | None:
        if keras.backend.backend() != "jax":
            return None
        from layerwise.engine._cost import count_forward

        return count_forward(layer, shape, dtype)

    def forward(self, layer: keras.Layer) -> Callable[[Array], Array]:
        model: list[keras.Model] = []

        def apply(batch: Array) -> Array:
            if not model:
                inputs = keras.Input(batch.shape[1:], dtype=str(batch.dtype))
                model.append(keras.Model(inputs, layer(inputs, training=False)))
            return model[0].predict_on_batch(batch)

        return apply


def _variables(problem: Problem) -> dict[str, Any]:
    """Everything that training moves, by name."""
    groups = {"model": problem.model.variables, "optimizer": problem.optimizer.variables}
    return {
        f"{group}.{i}": variable
        for group, variables in groups.items()
        for i, variable in enumerate(variables)
    }


@contextmanager
def _own_backend_stream() -> Iterator[None]:
    """Put PyTorch's own stream back afterwards: `_seed_backend` moves it."""
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    with torch.random.fork_rng():
        yield


def _seed_backend(seed: int, epoch: int) -> None:
    """On PyTorch, Keras' Dropout draws from PyTorch's stream and not from the layer's seed.

    An epoch's seed depends on nothing before it, so that a training can go on from any epoch.
    """
    if keras.backend.backend() == "torch":
        import torch

        torch.manual_seed((seed << 20) + epoch)
