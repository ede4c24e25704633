"""End-to-end training of a stitched model: for fine-tuning and for baselines alike."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from layerwise.datasets import Dataset
from layerwise.engine import Problem
from layerwise.objectives import Supervised, Targets


def joint_problem(
    model: keras.Model,
    data: Dataset,
    objective: Supervised,
    targets: Targets,
    optimizer: keras.Optimizer,
    *,
    epochs: int,
    batch_size: int,
    seed: int,
    prefix: keras.Layer | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Problem:
    """The whole model as one stage: all layers but the last are the block, the last is the head.

    The layers are the model's own, so training moves the model; `prefix` augments its rows.
    """
    if isinstance(model, keras.Sequential):
        inputs = keras.Input(data.train.shape, dtype=data.train.dtype)
        block: keras.Model = keras.Sequential([inputs, *model.layers[:-1]])
    else:
        block = keras.Model(model.inputs, model.layers[-1].input)
    return Problem(
        block=block,
        head=model.layers[-1],
        objective=objective,
        targets=targets,
        train=data.train,
        validation=data.validation,
        optimizer=optimizer,
        batch_size=batch_size,
        epochs=epochs,
        seed=seed,
        prefix=prefix,
        callbacks=callbacks,
    )
