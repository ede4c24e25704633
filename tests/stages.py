"""The tables that engine tests go through: blocks, objectives, optimizers, and problems of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from layerwise._random import seeded
from layerwise.datasets import Split
from layerwise.engine import Problem
from layerwise.growth import attach
from layerwise.objectives import (
    RBM,
    Contrastive,
    ForwardForward,
    InfoPro,
    Mixed,
    Objective,
    PredSim,
    Reconstruction,
    Redundancy,
    Similarity,
    Supervised,
    Targets,
    has_views,
    stage_target,
    takes,
    views_of,
)


@dataclass(frozen=True)
class Block:
    """A block under a name, the shape of what it takes, and whether that lies in [0, 1]."""

    name: str
    make: Callable[[], keras.Layer]
    shape: tuple[int, ...] = (6,)
    unit: bool = False

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
    Block("code", lambda: layers.Dense(8, activation="sigmoid"), unit=True),
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


class Goal(NamedTuple):
    """An objective, the labels that go with it, and the blocks that it is tested on, by name."""

    objective: Objective
    labels: str = "classes"
    blocks: tuple[str, ...] = ("dense", "convolution")


_VECTORS, _IMAGES, _CODE = ("dense",), ("convolution",), ("code",)

OBJECTIVES: dict[str, Goal] = {
    "classes": Goal(Supervised()),
    "values": Goal(Supervised(), "values"),
    "reconstruct-features": Goal(Reconstruction()),
    "reconstruct-inputs": Goal(Reconstruction(of="inputs")),
    "masked": Goal(Reconstruction(corruption=0.3)),
    "gaussian": Goal(Reconstruction(corruption=0.3, noise="gaussian"), blocks=_VECTORS),
    "salt": Goal(Reconstruction(corruption=0.3, noise="salt_and_pepper"), blocks=_CODE),
    "tied": Goal(
        Reconstruction(loss="binary_crossentropy", corruption=0.25, tied=True), blocks=_CODE
    ),
    "contractive": Goal(Reconstruction(contractive=0.1), blocks=_VECTORS),
    "sparse": Goal(Reconstruction(sparsity=0.1), blocks=_CODE),
    "rbm": Goal(RBM(), blocks=_CODE),
    "rbm-persistent": Goal(RBM(2, persistent=True, chains=10), blocks=_CODE),
    "rbm-gaussian": Goal(RBM(visible="gaussian"), blocks=_CODE),
    "similar-labels": Goal(Similarity()),
    "similar-features": Goal(Similarity(of="features")),
    "predsim": Goal(PredSim()),
    "contrastive": Goal(Contrastive(projection=16)),
    "patches": Goal(Contrastive(of="patches", grid=2), blocks=_IMAGES),
    "barlow": Goal(Redundancy(projection=16)),
    "vicreg": Goal(Redundancy("vicreg", projection=16)),
    "forward-forward": Goal(ForwardForward(negatives=2), blocks=_VECTORS),
    "infopro": Goal(InfoPro()),
    "infopro-values": Goal(InfoPro(), "values", _VECTORS),
    "mixed": Goal(Mixed({"supervised": [1.0, 0.5], "rbm": [0.0, 0.5]}), blocks=_CODE),
    "mixed-values": Goal(Mixed({"supervised": 0.5, "reconstruction": 0.5}), "values"),
}
"""Objects, not makers: stages that share an objective share its compiled program."""
ROWS, BATCH = 44, 16
"""Two full batches and a partial one."""


def rows(
    shape: tuple[int, ...], kind: str = "classes", seed: int = 0, *, unit: bool = False
) -> Split:
    """Random features, normal or uniform in [0, 1), with labels that depend on them."""
    rng = np.random.default_rng(seed)
    x = (rng.random if unit else rng.normal)(size=(ROWS, *shape)).astype("float32")
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
    goal, labels, _ = OBJECTIVES[objective]
    split = rows(block.shape, labels, unit=block.unit)
    targets = Targets(
        kind="values" if labels == "values" else "classes",
        shape=(2,) if labels == "values" else (),
        n_classes=None if labels == "values" else 3,
        input_shape=block.shape,
        data_shape=block.shape,
    )
    x: Any = split.x
    if has_views(goal):
        x = views_of(goal, split.x, split.y, targets, seed)
    with seeded(seed):
        made = block.make()
        seen = keras.tree.flatten(x)[0].shape[1:]
        shape = attach(made, seen, "float32", "The block")
        head = goal.head(shape, targets)
        if head is not None and not head.built:
            attach(head, shape, "float32", "The head")
    weight = np.linspace(0.5, 2, ROWS, dtype="float32") if weights else None
    train = Split(
        x,
        stage_target(goal, split.x, split.y, targets),
        weight if takes(goal, "sample_weight") else None,
    )
    return Problem(
        block=made,
        head=head,
        objective=goal,
        targets=targets,
        train=train,
        validation=replace(train, sample_weight=None).take(np.arange(20)),
        optimizer=OPTIMIZERS[optimizer](),
        batch_size=BATCH,
        epochs=epochs,
        seed=seed,
        **extra,
    )


def weights_of(stage: Problem) -> list[np.ndarray]:
    """Every weight and statistic of a stage, as NumPy arrays of their own."""
    return [np.array(keras.ops.convert_to_numpy(w.value)) for w in stage.model.weights]
