"""Names for the types that many rooms share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeAlias

Array: TypeAlias = Any
"""An array of NumPy or of the Keras backend; the first axis counts samples."""

Tree: TypeAlias = Any
"""An array, or a dictionary or sequence of trees whose arrays have equally many rows."""

Shape: TypeAlias = tuple[int | None, ...]
"""A shape without the batch axis."""

Json: TypeAlias = bool | int | float | str | Sequence["Json"] | Mapping[str, "Json"] | None

HeadPolicy: TypeAlias = Literal["carry", "fresh", "frozen"]
EngineName: TypeAlias = Literal["auto", "compiled", "fit"]
