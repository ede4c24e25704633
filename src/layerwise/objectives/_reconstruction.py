"""Autoencoder stages: each block keeps what a decoder needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import keras
from keras import ops

from layerwise._typing import Array, Shape
from layerwise.errors import InputError
from layerwise.objectives._checks import at_least_0, one_of, rate, real
from layerwise.objectives._dense import dense_of, flat, slope
from layerwise.objectives._described import Described
from layerwise.objectives._heads import decoder
from layerwise.objectives._noise import NOISES
from layerwise.objectives._parts import Visible
from layerwise.objectives._protocol import Targets

_CROSS_ENTROPY = "binary_crossentropy"


class Reconstruction(Described, name="reconstruction"):
    """Reconstruct from the newest block's output.

    The decoder is linear; with `loss="binary_crossentropy"` it gives the logits of values in
    [0, 1]. In training the block sees corrupted features and must reconstruct clean ones; scores
    are taken without corruption.

    Args:
        of: `"features"`, the input of the stage, as a stack of autoencoders does, or `"inputs"`,
            the data that the first stage sees, as the tutorials do.
        loss: a Keras loss or its name; the mean is over all elements of the target.
        corruption: how much of the features is corrupted: a rate in [0, 1), or the standard
            deviation of `"gaussian"` noise. Default: none.
        noise: `"masking"` sets elements to 0, `"gaussian"` adds to them, `"salt_and_pepper"` sets
            them to 0 or 1.
        tied: the decoder's kernel is the block's, transposed; the block must be a Dense layer.
        contractive: weight of the squared Frobenius norm of the block's Jacobian, a mean over the
            batch; the block must be a Dense layer.
        sparsity: weight of the Kullback-Leibler divergence of the mean activation of each unit
            from `sparsity_target`, a sum over units; the block must be a sigmoid Dense layer.
        sparsity_target: in (0, 1).

    Raises:
        InputError: an argument is out of range, or the block does not fit.

    Example:
        >>> from layerwise import Reconstruction
        >>> Reconstruction(loss="binary_crossentropy", corruption=0.25, tied=True)
        Reconstruction(loss='binary_crossentropy', corruption=0.25, tied=True)

    References: Bengio, Lamblin, Popovici, Larochelle, Greedy Layer-Wise Training of Deep Networks,
    2007, section 4.1; Vincent, Larochelle, Lajoie, Bengio, Manzagol, Stacked Denoising
    Autoencoders, 2010; Rifai, Vincent, Muller, Glorot, Bengio, Contractive Auto-Encoders, 2011.
    They sum the loss over the elements of a row where this takes the mean: a learning rate for
    784 pixels is 784 times theirs. Their decoders have tied weights and a cross-entropy; here both
    are to be asked for.
    """

    def __init__(
        self,
        of: Literal["features", "inputs"] = "features",
        loss: str | Callable[..., Array] = "mean_squared_error",
        *,
        corruption: float = 0.0,
        noise: Literal["masking", "gaussian", "salt_and_pepper"] = "masking",
        tied: bool = False,
        contractive: float = 0.0,
        sparsity: float = 0.0,
        sparsity_target: float = 0.05,
    ) -> None:
        super().__init__(
            of=of,
            loss=loss,
            corruption=corruption,
            noise=noise,
            tied=tied,
            contractive=contractive,
            sparsity=sparsity,
            sparsity_target=sparsity_target,
        )
        one_of("of", of, ("features", "inputs"))
        one_of("noise", noise, list(NOISES))
        (at_least_0 if noise == "gaussian" else rate)("corruption", corruption)
        at_least_0("contractive", contractive)
        at_least_0("sparsity", sparsity)
        real("sparsity_target", sparsity_target, "lie between 0 and 1", lambda v: 0 < v < 1)
        if tied and of == "inputs":
            raise InputError('A tied decoder gives features back. Pass `of="features"`.')
        try:
            self._loss = keras.losses.get(loss)
        except ValueError as error:
            raise InputError(f"Unknown loss: {str(error).splitlines()[0]}") from error
        if self._loss is None:
            raise InputError("Reconstruction needs a loss. Received: None.")
        self._of_inputs, self._tied = of == "inputs", tied
        self.fresh_head = tied
        self.one_layer = bool(tied or contractive or sparsity)
        of_class = isinstance(self._loss, keras.losses.BinaryCrossentropy)
        self._of_logits = of_class or self._loss is keras.losses.get(_CROSS_ENTROPY)
        if of_class:
            config = {**self._loss.get_config(), "from_logits": True}
            self._loss = keras.losses.BinaryCrossentropy.from_config(config)
        elif self._of_logits:
            self._loss = keras.losses.BinaryCrossentropy(from_logits=True)
        self._corruption, self._corrupt = corruption, NOISES[noise]
        self._contractive = contractive
        self._sparsity, self._rare = sparsity, sparsity_target

    def head(self, feature_shape: Shape, targets: Targets) -> keras.Layer:
        if self._tied:
            return Visible(math.prod(size or 1 for size in targets.input_shape))
        wanted = targets.data_shape if self._of_inputs else targets.input_shape
        return decoder(feature_shape, wanted)

    def target(self, inputs: Array, y: Array | None, targets: Targets) -> Array | None:
        """The inputs themselves, or nothing where the stage's own features are the target."""
        return inputs if self._of_inputs else None

    def check(self, x: Array, y: Array | None) -> None:
        """Raise `InputError` where values do not fit the loss."""
        values = x if y is None else y
        if self._of_logits and (values.min() < 0 or values.max() > 1):
            raise InputError(
                "Reconstruction with binary cross-entropy needs values in [0, 1]. Received values "
                f"from {values.min():.4g} to {values.max():.4g}. Scale the data, give the blocks "
                "a sigmoid, or use the mean squared error."
            )

    def loss(
        self,
        block: keras.Layer,
        head: keras.Layer,
        x: Array,
        y: Array | None,
        *,
        seed: keras.random.SeedGenerator,
        training: bool,
    ) -> tuple[Array, Mapping[str, Any]]:
        seen = self._corrupt(x, self._corruption, seed) if training and self._corruption else x
        code = block(seen, training=training)
        target = x if y is None else y
        if self._tied:
            layer = dense_of(block, "A tied decoder", x)
            output = head(ops.matmul(code, ops.transpose(layer.kernel)))
            target = flat(target)
        else:
            output = head(code, training=training)
        target = ops.cast(target, output.dtype)
        loss = ops.mean(self._loss(target, output))
        return loss + self._penalties(block, x, code), {}

    def _penalties(self, block: keras.Layer, x: Array, code: Array) -> Array | float:
        penalty: Array | float = 0.0
        if self._contractive:
            layer = dense_of(block, "The contractive penalty", x)
            slopes = slope(layer, code, "The contractive penalty")
            norms = ops.sum(ops.square(layer.kernel), axis=0)
            penalty += self._contractive * ops.mean(ops.sum(ops.square(slopes) * norms, axis=-1))
        if self._sparsity:
            dense_of(block, "The sparsity penalty", x, ("sigmoid",))
            mean = ops.clip(ops.mean(code, axis=0), 1e-6, 1 - 1e-6)
            rare = self._rare
            divergence = rare * ops.log(rare / mean)
            divergence += (1 - rare) * ops.log((1 - rare) / (1 - mean))
            penalty += self._sparsity * ops.sum(divergence)
        return penalty
