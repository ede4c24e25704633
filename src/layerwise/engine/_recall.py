"""The state of Keras callbacks as arrays and plain facts, so that a training can go on with it."""

from __future__ import annotations

import math
import types
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

_KERASOWN = ("_model", "params", "validation_data")
_NUMBERS = ["bool", "bfloat16", "float16", "float32", "float64"]
_NUMBERS += [f"{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)]
_FUNCTIONS = (types.FunctionType, types.BuiltinFunctionType, types.MethodType, np.ufunc, type)


class UnstorableError(Exception):
    """A callback holds something that no file should: the stage can only start again."""


class Recall:
    """What the callbacks of one training remember. Made right after their `on_train_begin`.

    Functions that a callback holds from the start are the same in every process.

    Args:
        callbacks: of the training.
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback]) -> None:
        self._callbacks = callbacks
        self._functions = [
            {name: held for name, held in vars(callback).items() if isinstance(held, _FUNCTIONS)}
            for callback in callbacks
        ]

    def take(self) -> tuple[dict[str, NDArray[Any]], list[Any]]:
        """Arrays by name, and one plain dictionary for each callback.

        Raises:
            UnstorableError: a callback holds something else than numbers, texts, arrays, functions
                of `keras.ops` and lists or dictionaries of them, such as an open file.
        """
        arrays: dict[str, NDArray[Any]] = {}
        facts = []
        for index, callback in enumerate(self._callbacks):
            constant = self._functions[index]
            facts.append(
                {
                    name: _encode(value, f"callback.{index}.{name}", arrays)
                    for name, value in vars(callback).items()
                    if name not in _KERASOWN and not (name in constant and constant[name] is value)
                }
            )
        return arrays, facts

    def restore(
        self, arrays: Mapping[str, NDArray[Any]], facts: Sequence[Mapping[str, Any]]
    ) -> None:
        """Give the callbacks what they remembered.

        Lists and dictionaries change in place: the user may hold them.
        """
        for callback, kept in zip(self._callbacks, facts, strict=True):
            for name, value in kept.items():
                new = _decode(value, arrays)
                old = getattr(callback, name, None)
                if isinstance(old, list) and isinstance(new, list):
                    old[:] = new
                elif isinstance(old, dict) and isinstance(new, dict):
                    old.clear()
                    old.update(new)
                else:
                    setattr(callback, name, new)


def _encode(value: Any, where: str, arrays: dict[str, NDArray[Any]]) -> Any:
    if value is None or isinstance(value, bool | int | str):
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"number": repr(value)}
    if isinstance(value, list | tuple):
        items = [_encode(item, f"{where}.{i}", arrays) for i, item in enumerate(value)]
        return {"tuple": items} if isinstance(value, tuple) else items
    if isinstance(value, dict) and all(isinstance(key, str) for key in value):
        return {
            "dict": {key: _encode(item, f"{where}.{key}", arrays) for key, item in value.items()}
        }
    if isinstance(value, types.FunctionType) and _operation(value.__name__) is value:
        return {"operation": value.__name__}
    if isinstance(value, np.ndarray | np.generic) or keras.ops.is_tensor(value):
        array = np.array(keras.ops.convert_to_numpy(value))
        if array.dtype.name in _NUMBERS:
            arrays[where] = array
            return {"array": where}
    raise UnstorableError(f"{where} is a {type(value).__name__}")


def _decode(value: Any, arrays: Mapping[str, NDArray[Any]]) -> Any:
    if isinstance(value, list):
        return [_decode(item, arrays) for item in value]
    if not isinstance(value, dict):
        return value
    ((kind, content),) = value.items()
    if kind == "number":
        return float(content)
    if kind == "tuple":
        return tuple(_decode(item, arrays) for item in content)
    if kind == "dict":
        return {key: _decode(item, arrays) for key, item in content.items()}
    if kind == "operation":
        return _operation(content)
    array = arrays[content]
    return array[()] if array.ndim == 0 else array.copy()


def _operation(name: str) -> Any:
    """A public function of `keras.ops`, or None."""
    return None if name.startswith("_") else getattr(keras.ops, name, None)
