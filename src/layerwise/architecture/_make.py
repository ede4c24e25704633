"""Layers from checked records: by hand, so that none of Keras' loaders sees the description."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import keras

from layerwise.architecture import _schema
from layerwise.architecture._graph import arguments, is_input, node_name, order
from layerwise.architecture._values import one_line, shown
from layerwise.errors import DamagedError, InputError, InputTypeError, complaint


class Maker:
    """Makes the layers of one description, which `check_description` has passed.

    Args:
        layers: what makes the users' own layers, by class name.
    """

    def __init__(self, layers: Mapping[str, Callable[..., keras.Layer]]) -> None:
        self._layers = layers
        self._own_layers: list[Any] = []

    def make(self, record: dict[str, Any]) -> Any:
        """The layer, network, initializer or other object of a record."""
        if "own" in record:
            return self._own(record)
        class_name, config = record["class_name"], record["config"]
        if class_name == "Sequential":
            return self._chain(config)
        if class_name == "Functional":
            return self._functional(config)
        if class_name == "DTypePolicy":
            return config["name"]
        settings = {key: self._setting(key, value) for key, value in config.items()}
        return _schema.find(record["module"], class_name)(**settings)

    def settle(self) -> None:
        """Let layers take over what they compute from their variables, which have values now."""
        for layer in self._own_layers:
            if isinstance(layer, keras.layers.Normalization):
                layer.finalize_state()

    def _setting(self, key: str, value: Any) -> Any:
        if type(value) is dict:
            return self.make(value)
        if key == "cells":
            return [self.make(cell) for cell in value]
        if _schema.kind_of(key) == "activation" and value is not None:
            # No look-up of Keras' stands between the checked name and the function.
            return getattr(keras.activations, value)
        return value

    def _own(self, record: dict[str, Any]) -> keras.Layer:
        """A user's own layer, by the user's own code."""
        word, name, config = record["class_name"], record["name"], copy.deepcopy(record["config"])
        factory: Any = self._layers[word]
        try:
            if config is None:
                layer = factory(name=name)
            elif isinstance(factory, type):
                layer = factory.from_config(config)  # type: ignore[attr-defined]
            else:
                layer = factory(**config)
        except Exception as error:
            given = "its name alone" if config is None else "its configuration"
            raise InputError(
                f"`layers[{shown(word)}]` cannot make the layer {shown(name)} from {given}. "
                f"It says: {one_line(error)}"
            ) from error
        if not isinstance(layer, keras.Layer):
            raise InputTypeError(complaint(f"layers[{shown(word)}]", "make a Keras layer", layer))
        if layer.name != name:
            layer.name = name
        if layer.trainable is not record["trainable"]:
            layer.trainable = record["trainable"]
        self._own_layers.append(layer)
        return layer

    def _chain(self, config: dict[str, Any]) -> keras.Sequential:
        layers = [self.make(layer) for layer in config["layers"]]
        model = keras.Sequential(layers, trainable=config["trainable"], name=config["name"])
        for layer in model.layers:
            _limit(layer.output)
        return model

    def _functional(self, config: dict[str, Any]) -> keras.Model:
        nodes = config["nodes"]
        made: list[Any] = [
            self.make(node["layer"]) if "layer" in node else _function(node) for node in nodes
        ]
        names = [node_name(node) for node in nodes]
        tensors = {
            (names[i], 0): [made[i].output] for i, node in enumerate(nodes) if is_input(node)
        }
        for i, j in order(nodes):
            args, kwargs = (filled(tree, tensors) for tree in arguments(nodes[i]["calls"][j]))
            output = made[i](*args, **kwargs)
            _limit(output)
            tensors[names[i], j] = keras.tree.flatten(output)
        ends = {key: filled(config[key], tensors) for key in ("inputs", "outputs")}
        model = keras.Model(**ends, name=config["name"], trainable=config["trainable"])
        if len(model.operations) != len(nodes):
            # Their variables would be no part of the network, so nobody would count them.
            raise DamagedError(
                f"The description of the functional network {shown(config['name'])} has nodes "
                "that lead to no output. Do not use this file; restore it from a copy."
            )
        return model


def _function(node: dict[str, Any]) -> Callable[..., Any]:
    """The function of `keras.ops` that a node calls, with its settings."""
    if node["op"] == _schema.GET_ITEM:
        return lambda x, key: x[tuple(key) if isinstance(key, list) else key]
    return functools.partial(getattr(keras.ops, node["op"]), **node["config"])


def filled(tree: Any, tensors: Mapping[tuple[str, int], list[Any]]) -> Any:
    """Arguments, inputs or outputs with the tensors in their places."""
    if type(tree) is list:
        return [filled(item, tensors) for item in tree]
    if type(tree) is not dict:
        return tree
    if "dict" in tree:
        return {key: filled(item, tensors) for key, item in tree["dict"].items()}
    if "slice" in tree:
        return slice(*tree["slice"])
    if "ellipsis" in tree:
        return ...
    name, call, output = tree["tensor"]
    return tensors[name, call][output]


def _limit(outputs: Any) -> None:
    """Refuse a network that would need absurd memory when it is first used."""
    for tensor in keras.tree.flatten(outputs):
        elements = math.prod(size for size in tensor.shape[1:] if size is not None)
        if elements > _schema.MAX_ELEMENTS:
            raise DamagedError(
                f"The description of the network asks for a tensor of shape {tensor.shape}, and "
                f"at most {_schema.MAX_ELEMENTS:,} numbers in a sample are expected. Do not use "
                "this file; restore it from a copy."
            )
