"""Fresh optimizers from what the user gave: by depth, at another rate, as text."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

import keras

from layerwise.errors import InputError, InputTypeError, complaint


def fresh(given: Any) -> keras.Optimizer:
    """An optimizer from a name, a class or another optimizer, whose state is not taken over.

    Raises:
        InputError: no optimizer has that name.
        InputTypeError: it is none of these.
    """
    if isinstance(given, type) and issubclass(given, keras.Optimizer):
        return given()
    if isinstance(given, keras.Optimizer):
        return type(given).from_config(given.get_config())
    expected = "be the name of a Keras optimizer, an optimizer or a callable of depth"
    if not isinstance(given, str | dict):
        raise InputTypeError(complaint("optimizer", expected, given))
    try:
        return keras.optimizers.get(given)
    except (ValueError, TypeError) as error:
        raise InputError(complaint("optimizer", expected, given)) from error


def optimizer_by_depth(value: Any) -> Callable[[int], keras.Optimizer]:
    """Read `optimizer`; every call gives a fresh one, without the state of the one given."""

    if callable(value) and not isinstance(value, type):
        return lambda depth: fresh(value(depth))
    fresh(value)
    return lambda depth: fresh(value)


def described(optimizer: keras.Optimizer) -> str:
    """An optimizer with its configuration, to be compared: Keras numbers the names, so without."""
    config = {key: value for key, value in optimizer.get_config().items() if key != "name"}
    return f"{type(optimizer).__name__} {json.dumps(config, default=str)}"


class _Slowed(keras.optimizers.schedules.LearningRateSchedule):  # type: ignore[misc,unused-ignore]
    """A learning rate schedule times a factor."""

    def __init__(self, schedule: Any, factor: float) -> None:
        self.schedule, self.factor = schedule, factor

    def __call__(self, step: Any) -> Any:
        return self.factor * self.schedule(step)

    def get_config(self) -> dict[str, Any]:
        schedule = keras.optimizers.schedules.serialize(self.schedule)
        return {"schedule": schedule, "factor": self.factor}


def at_rate(optimizer: keras.Optimizer, rate: float) -> keras.Optimizer:
    """The same optimizer, fresh, at a fixed learning rate in place of its own or its schedule."""
    return type(optimizer).from_config({**optimizer.get_config(), "learning_rate": rate})


def slowed(optimizer: keras.Optimizer, factor: float) -> keras.Optimizer:
    """The same optimizer, fresh, at a learning rate or schedule times `factor`."""
    if factor == 1:
        return optimizer
    config = optimizer.get_config()
    rate = config["learning_rate"]
    if isinstance(rate, dict):
        config["learning_rate"] = _Slowed(keras.optimizers.schedules.deserialize(rate), factor)
    else:
        config["learning_rate"] = rate * factor
    return type(optimizer).from_config(config)


def slowed_by_variable(optimizer: keras.Optimizer, factors: Sequence[float]) -> keras.Optimizer:
    """The same optimizer, fresh, each of whose steps is multiplied by a factor of its variable.

    Weight decay is part of the step.

    Args:
        optimizer: not yet built.
        factors: in the order of the variables that it will be built on.
    """
    kind: Any = type(optimizer)
    # Not an attribute: Keras would take the variables for the optimizer's own.
    slowed: list[tuple[Any, float]] = []

    class Slowed(kind):  # type: ignore[misc,unused-ignore]
        def build(self, variables: Sequence[Any]) -> None:
            slowed[:] = zip(variables, factors, strict=True)
            super().build(variables)

        def apply(self, grads: Sequence[Any], trainable_variables: Any = None) -> None:
            # Copies: PyTorch moves a variable in place.
            before = [keras.ops.copy(variable.value) for variable, _ in slowed]
            super().apply(grads, trainable_variables)
            for (variable, factor), old in zip(slowed, before, strict=True):
                if factor != 1:
                    variable.assign(old + factor * (variable.value - old))

    Slowed.__name__ = kind.__name__
    return Slowed.from_config(optimizer.get_config())
