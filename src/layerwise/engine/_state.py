"""The state of a training, between the layers that own it and the program that moves it."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp

from layerwise.engine._batch import State
from layerwise.engine._problem import Problem


def read_state(problem: Problem) -> State:
    """What layers, optimizer and metrics hold; the arrays are theirs."""
    return {
        name: [variable.value for variable in variables]
        for name, variables in _state_variables(problem).items()
    }


def write_state(problem: Problem, state: State, *, copy: bool) -> None:
    """Give layers, optimizer and metrics these values.

    With `copy` the program may go on: it takes the memory of its state, so what the layers hold
    must be their own.
    """
    for name, variables in _state_variables(problem).items():
        for variable, value in zip(variables, state[name], strict=True):
            variable.assign(jnp.copy(value) if copy else value)


def _state_variables(problem: Problem) -> dict[str, list[Any]]:
    model = problem.model
    return {
        "trainable": model.trainable_variables,
        "frozen": model.non_trainable_variables,
        "optimizer": problem.optimizer.variables,
        "metrics": model.metrics_variables,
    }
