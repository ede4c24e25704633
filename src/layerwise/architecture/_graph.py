"""The graph of a functional network, as data.

A node is a layer or a function of `keras.ops`, with its calls in order. A call has arguments; a
tensor in them is `{"tensor": [name of the node, number of its call, number of the output]}`. An
input is a node without calls, whose call 0 is its tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from layerwise.architecture import _schema
from layerwise.architecture._values import (
    Found,
    Walk,
    check_keys,
    integer,
    listed,
    name,
    one_of,
    plain,
    refuse,
    text,
)

Call = tuple[int, int]
"""The number of a node and of one of its calls."""


def node_name(node: dict[str, Any]) -> str:
    """The name by which tensors refer to a node."""
    if "op" in node:
        return str(node["name"])
    layer = node["layer"]
    return str(layer["name"] if "own" in layer else layer["config"].get("name", ""))


def is_input(node: dict[str, Any]) -> bool:
    """Whether a node is an input of the network."""
    return "layer" in node and node["layer"]["class_name"] == "InputLayer" and not node["calls"]


def check_graph(
    config: dict[str, Any], where: str, walk: Walk, check_layer: Callable[..., None]
) -> None:
    """Hold nodes, arguments and references against the closed list.

    Raises:
        DamagedError: a node is not on the list, two share a name, or a reference leads nowhere or
            in a circle.
    """
    calls: dict[str, int] = {}
    for i, node in enumerate(listed(config["nodes"], f"{where}.nodes")):
        place = f"{where}.nodes[{i}]"
        _check_node(node, place, walk, check_layer)
        label = node_name(node)
        name(label, f"{place}.name")
        if label in calls:
            refuse(place, "a name that no other node has", label)
        calls[label] = 1 if is_input(node) else len(node["calls"])
    for key in ("inputs", "outputs"):
        _argument(config[key], f"{where}.{key}", walk)
        _check_references(config[key], f"{where}.{key}", calls)
    for i, node in enumerate(config["nodes"]):
        for j, call in enumerate(node["calls"]):
            _check_references(arguments(call), f"{where}.nodes[{i}].calls[{j}]", calls)
    if len(order(config["nodes"])) < sum(len(node["calls"]) for node in config["nodes"]):
        refuse(f"{where}.nodes", "calls that do not wait for each other", Found("a circle"))


def _check_references(tree: Any, where: str, calls: dict[str, int]) -> None:
    found = False
    for label, number, _ in references(tree):
        found = True
        if label not in calls or number >= calls[label]:
            refuse(where, "a call of a node that exists", label)
    if not found:
        refuse(where, "a tensor", Found("none"))


def _check_node(node: Any, where: str, walk: Walk, check_layer: Callable[..., None]) -> None:
    walk.count(where)
    if type(node) is dict and "op" in node:
        check_keys(node, {"op", "name", "config", "calls"}, where)
        one_of(node["op"], _schema.OPERATIONS | {_schema.GET_ITEM}, f"{where}.op")
        name(node["name"], f"{where}.name")
        check_keys(node["config"], node["config"], f"{where}.config")
        for key, setting in node["config"].items():
            one_of(key, _schema.arguments_of(node["op"]), f"{where}.config")
            plain(setting, f"{where}.config.{key}", walk)
    else:
        check_keys(node, {"layer", "calls"}, where)
        first = type(node["calls"]) is list and not node["calls"]
        check_layer(node["layer"], f"{where}.layer", walk, first=first)
    for j, call in enumerate(listed(node["calls"], f"{where}.calls")):
        place = f"{where}.calls[{j}]"
        check_keys(call, {"args", "kwargs"}, place)
        _argument(listed(call["args"], f"{place}.args"), f"{place}.args", walk)
        check_keys(call["kwargs"], call["kwargs"], f"{place}.kwargs")
        _argument({"dict": call["kwargs"]}, f"{place}.kwargs", walk)


def _argument(value: Any, where: str, walk: Walk, nesting: int = 0) -> None:
    """Plain data with tensors, slices and dictionaries in it."""
    walk.count(where)
    if nesting > _schema.MAX_NESTING:
        refuse(where, f"at most {_schema.MAX_NESTING} levels", Found("more"))
    if type(value) is list:
        for i, item in enumerate(listed(value, where)):
            _argument(item, f"{where}[{i}]", walk, nesting + 1)
    elif type(value) is not dict:
        plain(value, where, walk)
    elif set(value) == {"dict"} and type(value["dict"]) is dict:
        for key, item in value["dict"].items():
            text(key, where)
            if not key.isidentifier() or key.startswith("_"):
                refuse(where, "the name of an argument", key)
            _argument(item, f"{where}.{key}", walk, nesting + 1)
    elif set(value) == {"tensor"} and type(value["tensor"]) is list and len(value["tensor"]) == 3:
        name(value["tensor"][0], where)
        integer(value["tensor"][1], where, low=0)
        integer(value["tensor"][2], where, low=0)
    elif set(value) == {"slice"} and type(value["slice"]) is list and len(value["slice"]) == 3:
        plain(value["slice"], where, walk)
    elif value != {"ellipsis": True}:
        refuse(where, "an argument of a known form", value)


def arguments(call: dict[str, Any]) -> list[Any]:
    """Everything that a call is given, as one tree."""
    return [call["args"], {"dict": call["kwargs"]}]


def references(tree: Any) -> Iterator[tuple[str, int, int]]:
    """Every tensor in checked arguments, or in the inputs or outputs of a network."""
    if type(tree) is list:
        for item in tree:
            yield from references(item)
    elif type(tree) is dict and "tensor" in tree:
        yield tuple(tree["tensor"])
    elif type(tree) is dict and type(tree.get("dict")) is dict:
        for item in tree["dict"].values():
            yield from references(item)


def order(nodes: list[dict[str, Any]]) -> list[Call]:
    """Every call after those whose outputs it takes; calls in a circle are left out.

    The calls of one node stay in their order, as their numbers are how tensors refer to them.
    """
    numbers = {node_name(node): i for i, node in enumerate(nodes)}
    waits: dict[Call, set[Call]] = {}
    wakes: dict[Call, list[Call]] = {}
    for i, node in enumerate(nodes):
        for j, call in enumerate(node["calls"]):
            tensors = references(arguments(call))
            needed = {(numbers[label], number) for label, number, _ in tensors}
            needed = {(k, number) for k, number in needed if nodes[k]["calls"]}
            if j:
                needed.add((i, j - 1))
            waits[i, j] = needed
            for other in needed:
                wakes.setdefault(other, []).append((i, j))
    ready = [call for call, needed in waits.items() if not needed]
    for call in ready:
        for other in wakes.get(call, ()):
            waits[other].discard(call)
            if not waits[other]:
                ready.append(other)
    return ready
