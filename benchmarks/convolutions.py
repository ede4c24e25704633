"""A convolutional stage under both engines: milliseconds a step, alternating in one process.

    python benchmarks/convolutions.py

Two 3 x 3 convolutions of 64 channels, BatchNorm and pooling on random images, batch 128, on JAX.
"""

from __future__ import annotations

import statistics
import time

import layerwise  # isort: skip - it chooses the backend, so it goes before keras
import keras
import numpy as np
from keras import layers

from layerwise.datasets import Split
from layerwise.engine import Engine, Problem, Watch, make_engine
from layerwise.growth import attach
from layerwise.objectives import Supervised, Targets

BATCH, EPOCHS, ROUNDS = 128, 2, 5


def problem(split: Split, objective: Supervised) -> Problem:
    shape = split.x.shape[1:]
    block = keras.Sequential(
        [
            layers.Conv2D(64, 3, padding="same", activation="relu"),
            layers.Conv2D(64, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
        ]
    )
    targets = Targets(kind="classes", n_classes=10, input_shape=shape, data_shape=shape)
    features = attach(block, shape, "float32", "The block")
    head = objective.head(features, targets)
    attach(head, features, "float32", "The head")
    return Problem(
        block=block,
        head=head,
        objective=objective,
        targets=targets,
        train=split,
        validation=None,
        optimizer=keras.optimizers.Adam(),
        batch_size=BATCH,
        epochs=EPOCHS,
        seed=0,
    )


class Marks(Watch):
    """Notes when each epoch ends."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def epochs(self, done: int, logs: object) -> None:
        self.seconds.append(time.perf_counter())


def second_epoch(engine: Engine, stage: Problem) -> float:
    """Seconds between the ends of the first epoch and the second: there is no compiling."""
    watch = Marks()
    engine.train(stage, watch)
    return watch.seconds[-1] - watch.seconds[0]


def main() -> None:
    print(f"layerwise {layerwise.__version__} on {keras.backend.backend()}")
    objective = Supervised()
    engines = {name: make_engine(name) for name in ("compiled", "fit")}
    rng = np.random.default_rng(0)
    for size, batches in ((32, 4), (16, 12)):
        x = rng.normal(size=(BATCH * batches, size, size, 64)).astype("float32")
        split = Split(x, rng.integers(0, 10, len(x)).astype("int32"))
        times: dict[str, list[float]] = {"compiled": [], "fit": []}
        for _ in range(ROUNDS):
            for name, engine in engines.items():
                times[name].append(second_epoch(engine, problem(split, objective)) / batches * 1000)
        ours, theirs = (statistics.median(times[name]) for name in ("compiled", "fit"))
        print(
            f"{size} x {size}: compiled {ours:.0f}, fit {theirs:.0f} ms a step: {theirs / ours:.2f}"
        )


if __name__ == "__main__":
    main()
