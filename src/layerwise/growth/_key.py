"""The configuration of a layer as text, where that tells all there is to tell."""

from __future__ import annotations

import json
from collections.abc import Hashable, Iterator
from typing import Any

import keras

from layerwise.growth._build import adaptation


def layer_key(layer: keras.Layer | None) -> Hashable | None:
    """The configuration of a layer without its names; None where it may not be faithful."""
    if layer is None:
        return "no layer"
    text = config_key(layer)
    if text is None:
        return None
    variables = tuple((tuple(v.shape), str(v.dtype), bool(v.trainable)) for v in layer.variables)
    # Programs hold these as constants.
    adapted = tuple(value.tobytes() for value in adaptation(layer))
    return text, variables, adapted


def config_key(thing: Any, without: str | None = None) -> str | None:
    """The configuration as text, unless some part of it is not Keras' own.

    Of numbers, the one called `without` is left out.

    A class or function of the user's may close over anything, and its configuration need not tell:
    it gets a program of its own.
    """
    try:
        config = keras.saving.serialize_keras_object(thing)
        if without is not None and isinstance(config["config"].get(without), float):
            config["config"][without] = 0.0
        if not all(_is_kerasown(part) for part in _objects(config)):
            return None
        return json.dumps(_anonymous(config, {}), sort_keys=True)
    except (TypeError, ValueError, NotImplementedError):
        return None


def _objects(config: Any) -> Iterator[dict[str, Any]]:
    """Every serialized object in a configuration, itself included."""
    if isinstance(config, dict):
        if "class_name" in config and "module" in config:
            yield config
        for value in config.values():
            yield from _objects(value)
    elif isinstance(config, (list, tuple)):
        for value in config:
            yield from _objects(value)


def _is_kerasown(part: dict[str, Any]) -> bool:
    """Whether the configuration tells all: so it does for Keras' layers and for our own."""
    if str(part["module"]).split(".")[0] == "layerwise":
        return True
    # A functional network is registered under the name of its class; a user's thing has a prefix.
    registered = part.get("registered_name") in (None, part["class_name"])
    ours = str(part["module"]).split(".")[0] == "keras" and registered
    return ours and part["class_name"] not in ("function", "__lambda__", "Lambda")


_MARKS = ("trainable", "batch_shape", "inbound_nodes", "learning_rate")
_REFERENCES = ("keras_history", "input_layers", "output_layers")


def _anonymous(config: Any, numbers: dict[str, str]) -> Any:
    """The configuration with layers named by their order of appearance, and nothing else changed.

    A layer's configuration is told by one of `_MARKS`; so the name of a dtype policy stays.
    """
    if isinstance(config, (list, tuple)):
        return [_anonymous(item, numbers) for item in config]
    if not isinstance(config, dict):
        return config
    of_layer = any(mark in config for mark in _MARKS)
    new = {}
    for key, item in config.items():
        if of_layer and key == "name":
            new[key] = numbers.setdefault(item, f"#{len(numbers)}")
        elif key in _REFERENCES:
            new[key] = _relabelled(item, numbers)
        else:
            new[key] = _anonymous(item, numbers)
    return new


def _relabelled(item: Any, numbers: dict[str, str]) -> Any:
    """The names of layers in references such as `["dense_3", 0, 0]`."""
    if isinstance(item, (list, tuple)):
        return [_relabelled(part, numbers) for part in item]
    return numbers.setdefault(item, f"#{len(numbers)}") if isinstance(item, str) else item
