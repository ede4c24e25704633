"""One stage, four ways: our compiled engine, Keras' `fit` on JAX and on TensorFlow, PyTorch eager.

    python benchmarks/engines.py
    python benchmarks/engines.py cnn32 lstm --sides layerwise jax tensorflow --pairs 5

Milliseconds a step of the same block and head on the same random rows, batch size and optimizer:
the mean over the epochs but the first, which compiles. Each measurement is a process of its own;
the order of the sides turns with every round. PyTorch has the dense stages alone. TensorFlow and
PyTorch need the extras of these names; `--python` names an interpreter that has them.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np

CLASSES, EPOCHS = 10, 6
SIDES = ("layerwise", "jax", "tensorflow", "torch")


class Stage(NamedTuple):
    """A block by the shape of a row, the batch size, and how many batches make an epoch."""

    shape: tuple[int, ...]
    batch: int
    batches: int


STAGES = {
    "mlp784": Stage((784,), 100, 200),
    "mlp1000": Stage((1000,), 100, 200),
    "cnn32": Stage((32, 32, 64), 128, 3),
    "cnn16": Stage((16, 16, 64), 128, 10),
    "lstm": Stage((32, 64), 64, 20),
    "attention": Stage((64, 64), 32, 20),
}


def rows_of(stage: Stage) -> tuple[np.ndarray, np.ndarray]:
    """Random rows and classes, the same for every side."""
    rng = np.random.default_rng(0)
    rows = stage.batch * stage.batches
    x = rng.normal(size=(rows, *stage.shape)).astype("float32")
    return x, rng.integers(0, CLASSES, rows).astype("int32")


def block_of(name: str) -> Any:
    """The block as a Keras layer."""
    import keras
    from keras import layers

    if name.startswith("mlp"):
        return layers.Dense(1000, activation="relu")
    if name.startswith("cnn"):
        return keras.Sequential(
            [
                layers.Conv2D(64, 3, padding="same", activation="relu"),
                layers.Conv2D(64, 3, padding="same"),
                layers.BatchNormalization(),
                layers.ReLU(),
                layers.MaxPooling2D(),
            ]
        )
    if name == "lstm":
        return layers.LSTM(64, return_sequences=True)
    inside = keras.Input(STAGES[name].shape)
    mixed = layers.MultiHeadAttention(4, 16)(inside, inside)
    summed = layers.LayerNormalization()(layers.Add()([inside, mixed]))
    wide = layers.Dense(64)(layers.Dense(128, activation="gelu")(summed))
    return keras.Model(inside, layers.LayerNormalization()(layers.Add()([summed, wide])))


Mark: TypeAlias = tuple[float, int]
"""A moment, and how many epochs are done by then."""


def layerwise_epochs(name: str) -> list[Mark]:
    """When calls of our engine end, each of some epochs."""
    import layerwise  # noqa: F401 - it chooses the backend

    # isort: split
    import keras

    from layerwise.datasets import Split
    from layerwise.engine import Problem, Watch, make_engine
    from layerwise.growth import attach
    from layerwise.objectives import Supervised, Targets

    class Marks(Watch):
        def __init__(self) -> None:
            self.seen: list[Mark] = []

        def epochs(self, done: int, logs: object) -> None:
            self.seen.append((time.perf_counter(), done))

    stage, block, objective = STAGES[name], block_of(name), Supervised()
    x, y = rows_of(stage)
    targets = Targets(
        kind="classes", n_classes=CLASSES, input_shape=stage.shape, data_shape=stage.shape
    )
    features = attach(block, stage.shape, "float32", "The block")
    head = objective.head(features, targets)
    assert head is not None
    attach(head, features, "float32", "The head")
    marks = Marks()
    make_engine("compiled").train(
        Problem(
            block=block, head=head, objective=objective, targets=targets, train=Split(x, y),
            validation=None, optimizer=keras.optimizers.Adam(), batch_size=stage.batch,
            epochs=EPOCHS, seed=0,
        ),
        marks,
    )  # fmt: skip
    return marks.seen


def keras_epochs(name: str) -> list[Mark]:
    """When each epoch of Keras' own loop ends, on the backend that the environment names."""
    import keras
    from keras import layers

    class Marks(keras.callbacks.Callback):
        def __init__(self) -> None:
            super().__init__()
            self.seen: list[Mark] = []

        def on_epoch_end(self, epoch: int, logs: object = None) -> None:
            self.seen.append((time.perf_counter(), epoch + 1))

    stage = STAGES[name]
    x, y = rows_of(stage)
    inside = keras.Input(stage.shape)
    features = block_of(name)(inside)
    if len(features.shape) > 2:
        features = layers.Flatten()(features)
    model = keras.Model(inside, layers.Dense(CLASSES, activation="softmax")(features))
    model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    marks = Marks()
    model.fit(x, y, batch_size=stage.batch, epochs=EPOCHS, verbose=0, callbacks=[marks])
    return marks.seen


def torch_epochs(name: str) -> list[Mark]:
    """When each epoch of a plain eager loop ends: rows shuffled, Adam, cross-entropy."""
    import torch
    from torch import nn

    stage = STAGES[name]
    x, y = rows_of(stage)
    rows, labels = torch.from_numpy(x), torch.from_numpy(y).long()
    model = nn.Sequential(nn.Linear(stage.shape[0], 1000), nn.ReLU(), nn.Linear(1000, CLASSES))
    optimizer, loss_of = torch.optim.Adam(model.parameters()), nn.CrossEntropyLoss()
    seen = []
    for epoch in range(EPOCHS):
        right = 0
        for batch in torch.randperm(len(rows)).split(stage.batch):
            optimizer.zero_grad()
            outputs = model(rows[batch])
            loss = loss_of(outputs, labels[batch])
            loss.backward()
            optimizer.step()
            right += (outputs.argmax(1) == labels[batch]).sum()
        float(right)
        seen.append((time.perf_counter(), epoch + 1))
    return seen


def measure(side: str, name: str) -> float:
    """Milliseconds a step, in this process."""
    runs: dict[str, Callable[[str], list[Mark]]] = {
        "layerwise": layerwise_epochs,
        "torch": torch_epochs,
    }
    seen = runs.get(side, keras_epochs)(name)
    (begun, before), (ended, done) = seen[0], seen[-1]
    return (ended - begun) / (done - before) / STAGES[name].batches * 1000


def in_a_process(python: str, side: str, name: str) -> float:
    """The same in a process of its own."""
    backend = side if side in ("jax", "tensorflow") else "jax"
    done = subprocess.run(
        [python, __file__, name, "--measure", side],
        env=os.environ | {"KERAS_BACKEND": backend, "TF_CPP_MIN_LOG_LEVEL": "3"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(done.stderr)
    return float(json.loads(done.stdout.splitlines()[-1]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("stages", nargs="*", choices=[*STAGES, []], default=list(STAGES))
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=list(SIDES))
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--python", default=sys.executable, help="of TensorFlow and PyTorch")
    parser.add_argument("--measure", choices=SIDES, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.stages[0])))
        return
    found: dict[str, dict[str, list[float]]] = {}
    for name in options.stages:
        sides = [s for s in options.sides if s != "torch" or name.startswith("mlp")]
        times = found.setdefault(name, {side: [] for side in sides})
        for turn in range(options.pairs):
            for side in sides if turn % 2 == 0 else reversed(sides):
                python = options.python if side in ("tensorflow", "torch") else sys.executable
                times[side].append(in_a_process(python, side, name))
        middle = {side: statistics.median(values) for side, values in times.items()}
        ours = middle["layerwise"]
        told = ", ".join(
            f"{side} {ms:.2f} ({ms / ours:.2f})" for side, ms in middle.items() if ms is not ours
        )
        print(f"{name:10} {ours:8.2f} ms a step; {told}", flush=True)
    print(json.dumps(found))


if __name__ == "__main__":
    main()
