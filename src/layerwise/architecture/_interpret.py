"""A network run on values of any kind, call by call: what a converter to another format needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras

from layerwise.architecture._describe import describe
from layerwise.architecture._graph import arguments, is_input, node_name, order
from layerwise.architecture._make import filled
from layerwise.errors import InputError


@dataclass(frozen=True)
class Operation:
    """A function of `keras.ops` inside a functional network.

    Attributes:
        word: its name in `keras.ops`, or `get_item`.
        settings: what it was given beside tensors.
    """

    word: str
    settings: dict[str, Any]


Run = Callable[[Any, list[Any], dict[str, Any]], Any]
"""From a layer or an `Operation`, its arguments and keyword arguments to what it gives."""


def interpret(model: keras.Model, value: Any, run: Run) -> Any:
    """Send a value through a network, `run` doing what a layer or function does.

    Args:
        model: a Sequential or functional model of one input, built.
        value: stands for the input; anything.
        run: called once for every call, in an order in which its arguments are known. A layer that
            is a network itself is handed over as a whole.

    Returns:
        What stands for the output, in its structure: one value, a list or a dictionary.

    Raises:
        InputError, InputTypeError: as `describe`, or the network has several inputs.

    Example:
        >>> import keras
        >>> layers = [keras.Input((4,)), keras.layers.Dense(3), keras.layers.ReLU()]
        >>> interpret(keras.Sequential(layers), "x", lambda layer, args, kwargs: (
        ...     f"{type(layer).__name__}({args[0]})"))
        'ReLU(Dense(x))'
    """
    config = describe(model)["network"]["config"]
    if len(model.inputs) != 1:
        raise InputError(
            f"The network {model.name} must have one input. It has {len(model.inputs)}."
        )
    if "nodes" not in config:
        for layer in model.layers:
            value = run(layer, [value], {})
        return value
    nodes = config["nodes"]
    operations = {operation.name: operation for operation in model.operations}
    names = [node_name(node) for node in nodes]
    values = {(names[i], 0): [value] for i, node in enumerate(nodes) if is_input(node)}
    for i, j in order(nodes):
        node = nodes[i]
        what = Operation(node["op"], node["config"]) if "op" in node else operations[names[i]]
        args, kwargs = (filled(tree, values) for tree in arguments(node["calls"][j]))
        given = run(what, args, kwargs)
        values[names[i], j] = given if isinstance(given, list) else [given]
    outputs = filled(config["outputs"], values)
    return outputs[0] if isinstance(outputs, list) and len(outputs) == 1 else outputs
