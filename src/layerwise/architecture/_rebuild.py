"""A network from its description, checked first and filled last."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import keras
import numpy as np
from numpy.typing import NDArray

from layerwise._random import seeded
from layerwise.architecture import _schema
from layerwise.architecture._check import check_description
from layerwise.architecture._make import Maker
from layerwise.architecture._values import one_line, shown
from layerwise.errors import DamagedError, InputError, LayerwiseError

Result = TypeVar("Result")


def rebuild(
    description: Any,
    arrays: Sequence[NDArray[Any]],
    layers: Mapping[str, Callable[..., keras.Layer]] | None = None,
) -> keras.Model:
    """The network that `describe` described, with these values in its variables.

    Nothing that the description names is imported, run or opened, and no memory is taken for the
    network before the number, shapes and types of its variables were found equal to those of
    `arrays`. The network is plain Keras, not compiled.

    Args:
        description: what `describe` gave, perhaps by way of JSON; it may come from a stranger.
        arrays: the values of `model.variables`, in order; they are copied.
        layers: makes the users' own layers, by class name. A class is made by its `from_config`,
            any other callable is called with the configuration as keyword arguments. Where the
            description holds no configuration, either is called with `name` alone. Such code is
            trusted with what the description says. It must make variables with `add_weight` and
            an initializer.

    Raises:
        DamagedError: the description is not what `describe` writes, goes beyond a limit, is
            refused by Keras, or does not fit the arrays; the message says where.
        InputError: `layers` lacks a class.
    """
    own = check_description(description)
    missing = sorted(own - set(layers or {}))
    if missing:
        raise InputError(
            f"The network has layers of classes that are not on the list: "
            f"{', '.join(shown(name) for name in missing)}. Pass them in code, as "
            "`layers={name: class}`; they are never looked up."
        )
    if description["variables"] != len(arrays):
        raise DamagedError(
            f"The description of the network counts {description['variables']} variables, but "
            f"there are {len(arrays)} arrays. Do not use these files; restore them from a copy."
        )
    values = [np.asarray(array) for array in arrays]
    return _alone(lambda: _made(Maker(layers or {}), description, values))


def _alone(work: Callable[[], Result]) -> Result:
    """Do the work in a thread of its own.

    Keras keeps by thread the names that it gave and the variables that wait for their first
    values. So a network that is refused leaves nothing behind that would be allocated later.
    """
    policy = keras.config.dtype_policy()

    def run() -> Result:
        keras.config.set_dtype_policy(policy)
        return work()

    with ThreadPoolExecutor(max_workers=1) as pool:
        return pool.submit(run).result()


def _made(maker: Maker, description: dict[str, Any], values: Sequence[NDArray[Any]]) -> keras.Model:
    model = _build(maker, description)
    _compare(model.variables, values)
    for variable, trainable in zip(model.variables, description["trainable"], strict=True):
        # A sub-layer may be frozen by itself, which its outer layer's settings do not say.
        if "float" in str(variable.dtype) and variable.trainable is not trainable:
            variable.trainable = trainable
    _fill(model, values)
    maker.settle()
    return model


def _build(maker: Maker, description: dict[str, Any]) -> keras.Model:
    """The network with variables that have a shape and no values yet."""
    try:
        # The seeds that layers draw for themselves are overwritten; the user's stream is not ours.
        with seeded(0), keras.StatelessScope(initialize_variables=False):
            model = maker.make(description["network"])
    except LayerwiseError:
        raise
    except Exception as error:
        raise DamagedError(_told(error)) from error
    inputs = [{"shape": list(x.shape), "dtype": x.dtype} for x in model.inputs]
    if inputs != description["inputs"]:
        raise DamagedError(
            "The inputs of the network are not those that its description names. Do not use this "
            "file; restore it from a copy."
        )
    return model


def _told(error: Exception) -> str:
    return (
        "The description of the network is damaged: Keras cannot build it. Do not use this file; "
        f"restore it from a copy. Keras says: {one_line(error)}"
    )


def _compare(variables: Sequence[Any], values: Sequence[NDArray[Any]]) -> None:
    if len(variables) != len(values):
        raise DamagedError(
            f"The network has {len(variables)} variables, but there are {len(values)} arrays. Do "
            "not use these files; restore them from a copy."
        )
    for i, (variable, value) in enumerate(zip(variables, values, strict=True)):
        shape = tuple(variable.shape)
        if shape != value.shape or not _holds(str(variable.dtype), value):
            raise DamagedError(
                f"Variable {i} of the network has shape {shape} and type {variable.dtype}, but "
                f"its array has {value.shape} and {value.dtype}. Do not use these files; restore "
                "them from a copy."
            )


def _holds(dtype: str, value: NDArray[Any]) -> bool:
    """Whether a variable of this type can take an array's values exactly as they are meant.

    Backends differ in the integers that the states of random generators are made of, and JAX
    keeps float64 in 32 bits unless told otherwise.
    """
    if value.dtype.name == dtype or {value.dtype.name, dtype} == {"float32", "float64"}:
        return True
    if value.dtype.kind not in "iu" or dtype not in _INTEGERS:
        return False
    limits = np.iinfo(dtype)
    return value.size == 0 or (int(value.min()) >= limits.min and int(value.max()) <= limits.max)


_INTEGERS = frozenset(name for name in _schema.DTYPES if "int" in name)


def _fill(model: keras.Model, values: Sequence[NDArray[Any]]) -> None:
    """Give every variable its value."""
    try:
        # Leaving this scope gives the waiting variables their first values.
        with keras.StatelessScope():
            pass
        for variable, value in zip(model.variables, values, strict=True):
            # A copy, as JAX would otherwise share the memory of the caller's array.
            variable.assign(np.array(value))
    except Exception as error:
        raise DamagedError(_told(error)) from error
