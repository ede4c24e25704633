"""Heads that are more than one layer on the block's output.

A head that an objective has built itself is left as it is: it need not take the block's output.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras

from layerwise._typing import Array, Shape


@keras.saving.register_keras_serializable("layerwise")
class Visible(keras.Layer):  # type: ignore[misc,unused-ignore]
    """The bias of a decoder or of visible units whose kernel is that of the block, transposed.

    Args:
        units: how many visible units.
        chains: rows of persistent Markov chains; 0 for none.
    """

    def __init__(self, units: int, chains: int = 0, **more: Any) -> None:
        super().__init__(**more)
        self.units, self.n_chains = units, chains
        self.bias = self.add_weight(shape=(units,), initializer="zeros", name="bias")
        self.chains = None
        if chains:
            self.chains = self.add_weight(
                shape=(chains, units), initializer=_coins(), trainable=False, name="chains"
            )
        self.built = True

    def call(self, x: Array) -> Array:
        return x + self.bias

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "units": self.units, "chains": self.n_chains}


def _coins() -> keras.Initializer:
    return keras.initializers.RandomUniform(0.0, 1.0)


@keras.saving.register_keras_serializable("layerwise")
class Parts(keras.Layer):  # type: ignore[misc,unused-ignore]
    """Several heads on one block, by name.

    Args:
        parts: unbuilt layers, built here on features of this shape, or built ones.
        feature_shape: of the block's output without the batch axis.
    """

    def __init__(self, parts: Mapping[str, keras.Layer], feature_shape: Shape, **more: Any) -> None:
        super().__init__(**more)
        self.parts = dict(parts)
        self.feature_shape = feature_shape
        for part in self.parts.values():
            if not part.built:
                part(keras.KerasTensor((None, *feature_shape)))
        self.built = True

    def __getitem__(self, name: str) -> keras.Layer:
        return self.parts[name]

    def call(self, x: Array) -> dict[str, Array]:
        return {name: part(x) for name, part in self.parts.items()}

    def get_config(self) -> dict[str, Any]:
        parts = {n: keras.saving.serialize_keras_object(p) for n, p in self.parts.items()}
        shape = list(self.feature_shape)
        return {**super().get_config(), "parts": parts, "feature_shape": shape}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Parts:
        parts = {
            name: keras.saving.deserialize_keras_object(part)
            for name, part in config.pop("parts").items()
        }
        return cls(parts, tuple(config.pop("feature_shape")), **config)
