"""A layer as a stage left it, and what proves that it did not move."""

from __future__ import annotations

import hashlib
import json
import weakref
from functools import cached_property
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from layerwise._random import seeded
from layerwise.growth._build import copy_weights, fill, values_of
from layerwise.growth._key import layer_key


class Frozen:
    """A layer as a stage left it: it moves no more. A later stage trains a copy, if any.

    A layer of Keras is tens of kilobytes of Python objects beside its weights, which a network of
    a thousand keeps for nothing: once let go it is text and arrays, and made again when asked for.

    Args:
        layer: trained and built.

    Attributes:
        name: of the layer.
        digest: SHA-256 of its weights when it froze.
    """

    def __init__(self, layer: keras.Layer) -> None:
        self.name: str = layer.name
        self.digest = digest(layer)
        self._held: keras.Layer | None = layer
        self._seen = weakref.ref(layer)
        self._text = ""
        self._values: list[NDArray[Any]] = []

    @property
    def layer(self) -> keras.Layer:
        """The layer; the same one as long as anybody holds it."""
        layer = self._alive
        if layer is None:
            layer = self._made_again()
            self._seen = weakref.ref(layer)
        return layer

    @property
    def _alive(self) -> keras.Layer | None:
        return self._seen() if self._held is None else self._held

    @cached_property
    def identity(self) -> str:
        """What tells it from every other; empty where its configuration may not be faithful.

        Equal weights do not make equal features: the activation may differ.
        """
        key = layer_key(self.layer)
        return "" if key is None else hashlib.sha256(f"{self.digest} {key}".encode()).hexdigest()

    def give(self, copy: keras.Layer) -> None:
        """Give a copy the weights, statistics and random states."""
        layer = self._alive
        if layer is not None:
            copy_weights(layer, copy)
        else:
            fill(copy, self._values)

    def let_go(self) -> None:
        """Keep text and arrays alone, where they tell all that there is to tell."""
        layer = self._held
        if layer is None or not self.identity:
            return
        self._text = json.dumps(keras.saving.serialize_keras_object(layer))
        self._values = [np.array(value) for value in values_of(layer)]
        self._held = None

    def has_moved(self) -> bool:
        """Whether its weights differ from what they were when it froze.

        Of one that was let go nobody can have moved the arrays, only the layer made of them.
        """
        layer = self._alive
        return layer is not None and digest(layer) != self.digest

    def _made_again(self) -> keras.Layer:
        with seeded(0):
            layer: keras.Layer = keras.saving.deserialize_keras_object(json.loads(self._text))
        fill(layer, self._values)
        return layer


def digest(layer: keras.Layer) -> str:
    """SHA-256 over every weight and statistic of a layer: shape, type and bytes.

    The states of seed generators are left out: running a model advances them, and they hold
    nothing that was learned.
    """
    whole = hashlib.sha256()
    for variable in layer.weights:
        array = np.ascontiguousarray(keras.ops.convert_to_numpy(variable.value))
        whole.update(f"{array.dtype}{array.shape}".encode())
        whole.update(array.data)
    return whole.hexdigest()
