"""An ONNX graph while it grows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from layerwise.errors import InputError

OPSET, IR = 17, 8
"""Read by every ONNX Runtime since 1.12 (2022)."""


@dataclass(frozen=True)
class Value:
    """A tensor of the graph, and what Keras says of it: its shape, batch first, and type."""

    name: str
    spec: keras.KerasTensor

    @property
    def shape(self) -> tuple[int | None, ...]:
        return tuple(self.spec.shape)


class Graph:
    """Nodes and weights, in the order in which they are computed."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.weights: list[Any] = []
        self._layer = ""

    def enter(self, name: str) -> None:
        """Name what comes now after a layer."""
        self._layer = name

    def constant(self, array: NDArray[Any] | Sequence[int] | float, kind: str = "float32") -> str:
        """An array, or numbers, as a weight; its name."""
        name = f"{self._layer}/weight_{len(self.weights)}"
        value = np.ascontiguousarray(array, dtype=kind).reshape(np.shape(array))
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def integers(self, values: Sequence[int]) -> str:
        """Numbers of axes or sizes as a weight; its name."""
        return self.constant(values, "int64")

    def weight(self, variable: Any) -> str:
        """A variable as a weight; its name."""
        return self.constant(keras.ops.convert_to_numpy(variable))

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        """Compute something; the name of its one output."""
        name = f"{self._layer}/{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def floats(self, x: Value) -> str:
        """A value as float32, which is what layers compute in."""
        if keras.backend.standardize_dtype(x.spec.dtype) == "float32":
            return x.name
        return self.node("Cast", x.name, to=onnx.TensorProto.FLOAT)


def refuse(layer: Any, why: str) -> InputError:
    """The error for a layer that has no form in ONNX here."""
    kind = type(layer).__name__
    return InputError(
        f"The layer {getattr(layer, 'name', kind)} ({kind}) cannot be written as ONNX: {why}. "
        "`--format torch` and `--format keras` take it."
    )
