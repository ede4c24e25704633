"""The tables that engine tests go through: blocks, objectives, optimizers, and problems of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
from keras import layers

from layerwise._random import seeded
from layerwise.datasets import Split
from layerwise.engine import Problem
from layerwise.growth import attach
from layerwise.objectives import (
    Objective,
    Reconstruction,
    Supervised,
    Targets,
    stage_target,
    takes_sample_weight,
)


@dataclass(frozen=True)
class Block:
    """A block under a name, and the shape of what it takes."""

    name: str
    make: Callable[[], keras.Layer]
    shape: tuple[int, ...] = (6,)

    def __repr__(self) -> str:
        return self.name

    __str__ = __repr__


def _dropout_and_norm() -> keras.Layer:
    return keras.Sequential(
        [layers.Dense(8, activation="relu"), layers.Dropout(0.3), layers.BatchNormalization()]
    )


def _convolution() -> keras.Layer:
    return keras.Sequential(
        [
            layers.Conv2D(4, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
        ]
    )


def _residual() -> keras.Layer:
    inputs = keras.Input((8, 8, 3))
    branch = layers.Conv2D(3, 3, padding="same", activation="relu")(inputs)
    branch = layers.DepthwiseConv2D(3, padding="same")(branch)
    return keras.Model(inputs, layers.add([inputs, branch]))


def _attention() -> keras.Layer:
    inputs = keras.Input((5, 6))
    attended = layers.MultiHeadAttention(num_heads=2, key_dim=3)(inputs, inputs)
    normed = layers.LayerNormalization()(layers.add([inputs, attended]))
    return keras.Model(inputs, layers.Dense(6, activation="gelu")(normed))


BLOCKS = [
    Block("dense", lambda: layers.Dense(8, activation="relu")),
    Block("penalised", lambda: layers.Dense(8, "tanh", kernel_regularizer="l2")),
    Block("dropout-norm", _dropout_and_norm),
    Block("convolution", _convolution, (8, 8, 3)),
    Block("residual", _residual, (8, 8, 3)),
    Block("recurrent", lambda: layers.LSTM(5, return_sequences=True), (5, 6)),
    Block("attention", _attention, (5, 6)),
]

OPTIMIZERS: dict[str, Callable[[], keras.Optimizer]] = {
    "adam": lambda: keras.optimizers.Adam(0.01),
    "momentum-schedule": lambda: keras.optimizers.SGD(
        keras.optimizers.schedules.CosineDecay(0.1, 20), momentum=0.9, nesterov=True
    ),
    "decay-clip": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.01, clipnorm=0.5),
    "ema": lambda: keras.optimizers.Adam(0.01, use_ema=True, ema_momentum=0.9),
    "global-clip": lambda: keras.optimizers.RMSprop(0.01, global_clipnorm=0.1),
}

OBJECTIVES: dict[str, Objective] = {
    "classes": Supervised(),
    "values": Supervised(),
    "reconstruct-features": Reconstruction(),
    "reconstruct-inputs": Reconstruction(of="inputs"),
}
"""Objects, not makers: stages that share an objective share its compiled program."""
ROWS, BATCH = 44, 16
"""Two full batches and a partial one."""


def rows(shape: tuple[int, ...], kind: str = "classes", seed: int = 0) -> Split:
    """Random features with labels that depend on them."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(ROWS, *shape)).astype("float32")
    flat = x.reshape(ROWS, -1)
    if kind == "values":
        return Split(x, np.stack([flat.sum(1), flat[:, 0]], axis=1))
    return Split(
        x, np.digitize(flat.mean(1), np.quantile(flat.mean(1), [0.3, 0.6])).astype("int32")
    )


def problem(
    block: Block,
    objective: str = "classes",
    optimizer: str = "adam",
    *,
    epochs: int = 2,
    weights: bool = False,
    seed: int = 3,
    **extra: Any,
) -> Problem:
    """A stage problem of the tables' entries, drawn from one seed."""
    goal = OBJECTIVES[objective]
    split = rows(block.shape, objective)
    targets = Targets(
        kind="values" if objective == "values" else "classes",
        shape=(2,) if objective == "values" else (),
        n_classes=None if objective == "values" else 3,
        input_shape=block.shape,
        data_shape=block.shape,
    )
    with seeded(seed):
        made = block.make()
        shape = attach(made, block.shape, "float32", "The block")
        head = goal.head(shape, targets)
        assert head is not None
        attach(head, shape, "float32", "The head")
    weight = np.linspace(0.5, 2, ROWS, dtype="float32") if weights else None
    train = Split(
        split.x,
        stage_target(goal, split.x, split.y, targets),
        weight if takes_sample_weight(goal) else None,
    )
    return Problem(
        block=made,
        head=head,
        objective=goal,
        targets=targets,
        train=train,
        validation=Split(train.x[:20], None if train.y is None else train.y[:20]),
        optimizer=OPTIMIZERS[optimizer](),
        batch_size=BATCH,
        epochs=epochs,
        seed=seed,
        **extra,
    )


def weights_of(stage: Problem) -> list[np.ndarray]:
    """Every weight and statistic of a stage, as NumPy arrays of their own."""
    return [np.array(keras.ops.convert_to_numpy(w.value)) for w in stage.model.weights]
