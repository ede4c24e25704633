"""How large gradients are in each layer: the question that layer-wise training began with."""

from __future__ import annotations

import math
from collections.abc import Sequence

import keras
import numpy as np

from layerwise.engine import Engine, Problem, Watch

RATE = 1e6
"""Of the one step that shows the gradient: so large that the weights' own rounding is nothing."""


def gradient_norms(engine: Engine, problem: Problem, layers: Sequence[keras.Layer]) -> list[float]:
    """The norm of the loss' gradient in each layer, over all rows of the problem as one batch.

    Gradients are read off one plain step, so that every engine and backend can show them; the
    weights are put back.

    Args:
        engine: what takes the step.
        problem: of one epoch and one batch, with SGD at a learning rate of `RATE`.
        layers: of the network.
    """
    variables = problem.model.variables
    before = [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in variables]
    engine.train(problem, Watch())
    after = [np.array(keras.ops.convert_to_numpy(variable.value)) for variable in variables]
    moved = {
        id(variable): float(np.sum(np.square((new - old) / RATE, dtype=np.float64)))
        for variable, old, new in zip(variables, before, after, strict=True)
        if variable.trainable
    }
    for variable, old in zip(variables, before, strict=True):
        variable.assign(old)
    return [
        math.sqrt(sum(moved[id(variable)] for variable in layer.trainable_variables))
        for layer in layers
    ]


def with_activation(model: keras.Model, name: str) -> keras.Model | None:
    """The same network with another activation inside, its head apart; None where nothing changes.

    Its weights are the same.

    Args:
        model: whose last layer is the head.
        name: of the activation, such as `"sigmoid"`.
    """
    head, changed = model.layers[-1], []
    wanted, linear = keras.activations.get(name), keras.activations.linear

    def clone(layer: keras.Layer) -> keras.Layer:
        config = layer.get_config()
        activation = getattr(layer, "activation", linear)
        if layer is not head and activation not in (linear, wanted):
            config["activation"] = name
            changed.append(layer)
        return type(layer).from_config(config)

    copy = keras.models.clone_model(model, clone_function=clone, recursive=True)
    if not changed:
        return None
    copy.set_weights(model.get_weights())
    return copy
