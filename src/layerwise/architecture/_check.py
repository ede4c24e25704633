"""Holding a description against the closed list, before anything is made of it.

Nothing here calls Keras with a value from the description. Every function takes the value, the
place where it stands (for the message) and the walk, which counts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from layerwise.architecture import _schema
from layerwise.architecture._graph import check_graph
from layerwise.architecture._values import (
    Found,
    Walk,
    boolean,
    check_keys,
    integer,
    listed,
    name,
    one_of,
    plain,
    refuse,
    shape,
    shown,
    text,
)


def check_description(description: Any) -> frozenset[str]:
    """Hold a whole description against the list; returns the names of users' own classes in it.

    Raises:
        DamagedError: something in it is not on the list, or beyond a limit.
    """
    walk = Walk()
    where = "the top"
    check_keys(description, {"format", "inputs", "variables", "trainable", "network"}, where)
    if type(description["format"]) is not int or description["format"] != _schema.FORMAT:
        refuse("format", str(_schema.FORMAT), description["format"])
    integer(description["variables"], "variables", low=0)
    for i, flag in enumerate(listed(description["trainable"], "trainable")):
        boolean(flag, f"trainable[{i}]")
    if len(description["trainable"]) != description["variables"]:
        refuse("trainable", "one entry for each variable", len(description["trainable"]))
    for i, spec in enumerate(listed(description["inputs"], "inputs")):
        check_keys(spec, {"shape", "dtype"}, f"inputs[{i}]")
        shape(spec["shape"], f"inputs[{i}].shape")
        one_of(spec["dtype"], _schema.DTYPES, f"inputs[{i}].dtype")
    check_object(description["network"], "network", walk, {"Sequential", "Functional"})
    return frozenset(walk.own)


def check_object(
    value: Any, where: str, walk: Walk, allowed: Iterable[str], own: bool = False
) -> None:
    """`value` must be an object of one of these classes, or, where `own`, one of the user's."""
    walk.count(where)
    walk.depth += 1
    if walk.depth > _schema.MAX_DEPTH:
        refuse(where, f"at most {_schema.MAX_DEPTH} objects in one another", Found("more"))
    if own and not walk.foreign and type(value) is dict and "own" in value:
        _own(value, where, walk)
    else:
        check_keys(value, _schema.OBJECT_KEYS, where)
        module, class_name = value["module"], value["class_name"]
        if type(module) is not str or module not in _schema.MODULES:
            refuse(f"{where}.module", "a module that is on the list", module)
        one_of(class_name, _schema.MODULES[module], f"{where}.class_name")
        if class_name not in allowed:
            refuse(f"{where}.class_name", "a class that may stand here", class_name)
        if value["registered_name"] is not None:
            refuse(f"{where}.registered_name", "None", value["registered_name"])
        _CONTAINERS.get(class_name, _settings)(value, f"{where}.config", walk)
    walk.depth -= 1


def check_layer(value: Any, where: str, walk: Walk, first: bool = False) -> None:
    """`value` must be a layer; where `first`, an input."""
    walk.layers += 1
    if walk.layers > _schema.MAX_LAYERS:
        refuse(where, f"at most {_schema.MAX_LAYERS:,} layers", Found("more"))
    if first:
        check_object(value, where, walk, _schema.INPUTS)
    else:
        check_object(value, where, walk, _ANY_LAYER, own=True)


_ANY_LAYER = _schema.LAYERS | {"Sequential", "Functional"}


def _settings(value: dict[str, Any], where: str, walk: Walk) -> None:
    """The configuration of a class of Keras: known keys, each with a value of its kind."""
    config = value["config"]
    if type(config) is not dict:
        refuse(where, "a dictionary", config)
    keys = _schema.keys_of(value["module"], value["class_name"])
    for key, setting in config.items():
        if key not in keys:
            refuse(where, f"only arguments of {value['class_name']}", key)
        _KINDS[str(_schema.kind_of(key))](setting, f"{where}.{key}", walk)
    if value["class_name"] == "InputLayer":
        shape(config.get("batch_shape"), f"{where}.batch_shape")


def _fixed(value: Any, where: str, walk: Walk) -> None:
    only = _schema.FIXED[where.rsplit(".", 1)[1]]
    if value is not only and not (only is False and value is None):
        refuse(where, repr(only), value)


def _activation(value: Any, where: str, walk: Walk) -> None:
    if type(value) is dict:
        check_object(value, where, walk, _schema.ACTIVATION_LAYERS)
    elif value is not None:
        one_of(value, _schema.ACTIVATIONS, where)


def _dtype(value: Any, where: str, walk: Walk) -> None:
    if type(value) is dict:
        check_object(value, where, walk, {"DTypePolicy"})
    elif value is not None:
        one_of(value, _schema.POLICIES, where)


def _policy(value: dict[str, Any], where: str, walk: Walk) -> None:
    check_keys(value["config"], {"name"}, where)
    one_of(value["config"]["name"], _schema.POLICIES, f"{where}.name")


def _cells(value: Any, where: str, walk: Walk) -> None:
    for i, cell in enumerate(listed(value, where)):
        check_object(cell, f"{where}[{i}]", walk, _schema.CELLS, own=True)


def _maybe(allowed: frozenset[str]) -> Callable[[Any, str, Walk], None]:
    def check(value: Any, where: str, walk: Walk) -> None:
        if value is not None:
            check_object(value, where, walk, allowed)

    return check


def _maybe_layer(value: Any, where: str, walk: Walk) -> None:
    if value is not None:
        check_layer(value, where, walk)


_KINDS: dict[str, Callable[[Any, str, Walk], None]] = {
    "plain": plain,
    "fixed": _fixed,
    "activation": _activation,
    "dtype": _dtype,
    "initializer": _maybe(_schema.INITIALIZERS),
    "regularizer": _maybe(_schema.REGULARIZERS),
    "constraint": _maybe(_schema.CONSTRAINTS),
    "layer": _maybe_layer,
    "cell": lambda value, where, walk: check_object(value, where, walk, _schema.CELLS, own=True),
    "cells": _cells,
    "name": lambda value, where, walk: name(value, where),
}


def _chain(value: dict[str, Any], where: str, walk: Walk) -> None:
    """The configuration of a Sequential: an input and the layers on it, names all different."""
    config = value["config"]
    check_keys(config, {"name", "trainable", "layers"}, where)
    name(config["name"], f"{where}.name")
    boolean(config["trainable"], f"{where}.trainable")
    for i, layer in enumerate(listed(config["layers"], f"{where}.layers")):
        check_layer(layer, f"{where}.layers[{i}]", walk, first=i == 0)
    if len(config["layers"]) < 2:
        refuse(f"{where}.layers", "an input and a layer or more", len(config["layers"]))


def _functional(value: dict[str, Any], where: str, walk: Walk) -> None:
    """The configuration of a functional network: its nodes first, then what connects them."""
    if walk.foreign:
        refuse(where, "a class that may stand here", "Functional")
    config = value["config"]
    check_keys(config, {"name", "trainable", "nodes", "inputs", "outputs"}, where)
    name(config["name"], f"{where}.name")
    boolean(config["trainable"], f"{where}.trainable")
    check_graph(config, where, walk, check_layer)


_CONTAINERS: dict[str, Callable[[dict[str, Any], str, Walk], None]] = {
    "Sequential": _chain,
    "Functional": _functional,
    "DTypePolicy": _policy,
}


def _own(value: dict[str, Any], where: str, walk: Walk) -> None:
    """A layer of the user's own class, whose configuration goes to code that the user gives."""
    check_keys(value, _schema.OWN_KEYS, where)
    if value["own"] is not True:
        refuse(f"{where}.own", "True", value["own"])
    text(value["class_name"], f"{where}.class_name")
    name(value["name"], f"{where}.name")
    boolean(value["trainable"], f"{where}.trainable")
    if value["config"] is not None:
        if type(value["config"]) is not dict:
            refuse(f"{where}.config", "a dictionary or None", value["config"])
        walk.foreign = True
        _own_setting(value["config"], f"{where}.config", walk)
        walk.foreign = False
    walk.own.add(value["class_name"])


_ANY_OBJECT = frozenset().union(*_schema.MODULES.values())
_RESERVED = _schema.OBJECT_KEYS | {"build_config", "compile_config", "shared_object_id", "own"}


def _own_setting(value: Any, where: str, walk: Walk, nesting: int = 0) -> None:
    """A setting of a user's own layer: plain data, or an object that is on the list.

    The user's class may hand it to Keras to make an object of, so what looks like an object must
    be a harmless one.
    """
    if nesting > _schema.MAX_NESTING:
        refuse(where, f"at most {_schema.MAX_NESTING} levels", Found("more"))
    if type(value) is dict and "class_name" in value:
        check_object(value, where, walk, _ANY_OBJECT)
    elif type(value) is dict:
        for key, item in value.items():
            text(key, where)
            if key in _RESERVED - {"config"} or key.startswith("__"):
                refuse(where, "keys of plain data", key)
            _own_setting(item, f"{where}.{shown(key)[1:-1]}", walk, nesting + 1)
    elif type(value) is list:
        for i, item in enumerate(listed(value, where)):
            _own_setting(item, f"{where}[{i}]", walk, nesting + 1)
    else:
        plain(value, where, walk)
