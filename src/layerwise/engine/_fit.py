"""The engine that gives a stage to `keras.Model.fit`, on any backend."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from layerwise._typing import Array, Tree
from layerwise.datasets import Split
from layerwise.engine._callbacks import refuse_unsavable
from layerwise.engine._order import order
from layerwise.engine._problem import OnEpochs, Problem, Result, learning_rate_of
from layerwise.history import StopReason


class Batches(keras.utils.PyDataset):  # type: ignore[misc,unused-ignore]
    """Batches of a split in the order of the epoch, the partial one last."""

    def __init__(self, split: Split, batch_size: int) -> None:
        super().__init__()
        self._tree = split.tree()
        self._rows, self._size = split.rows, batch_size
        self._order: Array = np.arange(self._rows)

    def shuffle(self, seed: int, epoch: int) -> None:
        """Take the order of this epoch."""
        self._order = order(seed, epoch, self._rows)

    def __len__(self) -> int:
        return math.ceil(self._rows / self._size)

    def __getitem__(self, index: int) -> tuple[Tree]:
        rows = self._order[index * self._size : (index + 1) * self._size]
        return (keras.tree.map_structure(lambda array: array[rows], self._tree),)


class _Watch(keras.callbacks.Callback):  # type: ignore[misc,unused-ignore]
    """Shuffles before every epoch, reports after it, stops at the first loss that is not finite.

    Keras calls a data set's own `on_epoch_end` at other times than the end of an epoch, so the
    order is set from here.
    """

    def __init__(self, batches: Batches, seed: int, on_epochs: OnEpochs) -> None:
        super().__init__()
        self._batches, self._seed, self._on_epochs = batches, seed, on_epochs
        self.message = ""

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self._batches.shuffle(self._seed, epoch)

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        logs = dict(logs or {})
        if not math.isfinite(logs["loss"]):
            rate = learning_rate_of(self.model.optimizer)
            self.message = (
                f"the loss was not finite in epoch {epoch + 1} at a learning rate of {rate:.3g}"
            )
            self.model.stop_training = True
        self._on_epochs(epoch + 1, logs)


class FitEngine:
    """Keras' own training loop on the cached features."""

    name = "fit"

    def check(self, problem: Problem) -> None:
        refuse_unsavable(problem.callbacks)

    def train(self, problem: Problem, on_epochs: OnEpochs) -> Result:
        self.check(problem)
        batches = Batches(problem.train, problem.batch_size)
        watch = _Watch(batches, problem.seed, on_epochs)
        held = problem.validation
        with _seeded_backend(problem.seed):
            history = problem.model.fit(
                batches,
                epochs=problem.epochs,
                validation_data=None if held is None else Batches(held, problem.batch_size),
                callbacks=[watch, *problem.callbacks],
                shuffle=False,
                verbose=0,
            )
        curves = {name: [float(v) for v in values] for name, values in history.history.items()}
        done = len(curves.get("loss", ()))
        if watch.message:
            return Result(curves, done, StopReason.DIVERGED, watch.message)
        early = done < problem.epochs
        return Result(curves, done, StopReason.EARLY_STOPPING if early else StopReason.COMPLETED)

    def evaluate(self, problem: Problem, split: Split) -> dict[str, float]:
        logs: dict[str, Any] = problem.model.evaluate(
            Batches(split, problem.batch_size), return_dict=True, verbose=0
        )
        return {name: float(value) for name, value in logs.items()}

    def forward(self, layer: keras.Layer) -> Callable[[Array], Array]:
        model: list[keras.Model] = []

        def apply(batch: Array) -> Array:
            if not model:
                inputs = keras.Input(batch.shape[1:], dtype=str(batch.dtype))
                model.append(keras.Model(inputs, layer(inputs, training=False)))
            return model[0].predict_on_batch(batch)

        return apply


@contextmanager
def _seeded_backend(seed: int) -> Iterator[None]:
    """Seed PyTorch's own stream for a while, then put the user's back.

    On PyTorch, Keras' Dropout draws from that stream and not from the layer's seed. The other
    backends need nothing.
    """
    if keras.backend.backend() != "torch":
        yield
        return
    import torch

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        yield
