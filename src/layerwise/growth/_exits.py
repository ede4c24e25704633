"""A network that predicts at every depth in one pass."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from layerwise._typing import Shape
from layerwise.errors import InputError
from layerwise.growth._build import duplicate
from layerwise.growth._stage import Stage, path


def early_exits(stages: Sequence[Stage], input_shape: Shape, dtype: str) -> keras.Model:
    """One plain model of copies: `{"depth_1": ..., "depth_2": ...}`, what each depth predicts.

    Args:
        stages: trained, each with a predictor.
        input_shape: of one sample.
        dtype: of the data.

    Raises:
        InputError: a stage predicts nothing, or its block was trained further by a later one, so
            that its predictor stands on what is no longer there.
    """
    trunk = path(stages)
    inputs = x = keras.Input(input_shape, dtype=dtype)
    outputs = {}
    for depth, stage in enumerate(stages, start=1):
        if stage.predictor is None:
            raise InputError("Early exits predict labels, and the run was given none.")
        if path(stages[:depth]) != trunk[:depth]:
            raise InputError(
                f"The blocks up to depth {depth} were trained further by a later stage, so the "
                "head of that depth fits them no more. Early exits need `window=1` and "
                '`freeze="all"`.'
            )
        block, _ = duplicate(stage.block, x.shape[1:], x.dtype, f"block_{depth}")
        x = block(x)
        head, _ = duplicate(stage.predictor.layer, x.shape[1:], x.dtype, f"head_{depth}")
        outputs[f"depth_{depth}"] = head(x)
    return keras.Model(inputs, outputs, name="early_exits")


def ensemble(exits: keras.Model, weights: Sequence[float]) -> keras.Model:
    """The weighted mean of what every depth predicts, as one plain model.

    Args:
        exits: as `early_exits` gives.
        weights: for each depth, from the lowest; their sum is above 0.
    """
    outputs = list(exits.output.values())
    total = sum(weights)
    mean = sum(output * (weight / total) for output, weight in zip(outputs, weights, strict=True))
    return keras.Model(exits.input, mean, name="ensemble")
