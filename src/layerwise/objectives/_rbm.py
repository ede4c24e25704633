"""Restricted Boltzmann machines: each block is the recognition half of a generative model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal

import keras
from keras import ops

from layerwise._typing import Array, Shape
from layerwise.errors import InputError
from layerwise.objectives._checks import one_of, whole
from layerwise.objectives._dense import affine, dense_of, flat
from layerwise.objectives._described import Described
from layerwise.objectives._noise import bernoulli
from layerwise.objectives._parts import Visible
from layerwise.objectives._protocol import Targets


class RBM(Described, name="rbm"):
    """Contrastive divergence between the data and a short Gibbs chain.

    The block is a Dense layer with a sigmoid: its kernel and bias are those of the hidden units,
    and as it stands it joins the trunk. Momentum and weight decay are the optimizer's.

    The gradient is that of the difference in mean free energy; the loss that is shown is the
    error of one reconstruction by the units' means: cross-entropy for Bernoulli units, squared
    error for Gaussian ones, a mean over elements. The history also has `free_energy`, and on
    validation `free_energy_gap`, by how much held-out rows lie above the training rows: it grows
    when the machine overfits.

    Args:
        k: Gibbs steps a batch.
        persistent: start each chain where it ended for the batch before, and not at the data.
        visible: `"bernoulli"` units for features in [0, 1], or `"gaussian"` units of variance 1
            for features that were standardised.
        chains: how many persistent chains.

    Raises:
        InputError: an argument is out of range, the block is no sigmoid Dense layer, or features
            for Bernoulli units lie outside [0, 1].

    Example:
        >>> from layerwise import RBM
        >>> RBM(k=5, persistent=True)
        RBM(k=5, persistent=True)

    References: Hinton, Training Products of Experts by Minimizing Contrastive Divergence, 2002;
    Tieleman, Training Restricted Boltzmann Machines using Approximations to the Likelihood
    Gradient, 2008; Hinton, Osindero, Teh, A Fast Learning Algorithm for Deep Belief Nets, 2006.
    The chain samples every unit, the last visible ones too, where Hinton's practical guide uses
    their means.
    """

    fresh_head = True
    one_layer = True

    def __init__(
        self,
        k: int = 1,
        *,
        persistent: bool = False,
        visible: Literal["bernoulli", "gaussian"] = "bernoulli",
        chains: int = 100,
    ) -> None:
        super().__init__(k=k, persistent=persistent, visible=visible, chains=chains)
        self._steps = whole("k", k, 1)
        self._chains = whole("chains", chains, 1) if persistent else 0
        self._binary = one_of("visible", visible, ("bernoulli", "gaussian")) == "bernoulli"

    def head(self, feature_shape: Shape, targets: Targets) -> keras.Layer:
        """The bias of the visible units, and the persistent chains."""
        return Visible(math.prod(size or 1 for size in targets.input_shape), self._chains)

    def check(self, x: Array, y: Array | None) -> None:
        """Raise `InputError` where features are not probabilities and should be."""
        low, high = x.min(), x.max()
        if self._binary and (low < 0 or high > 1):
            raise InputError(
                "An RBM with Bernoulli visible units needs features in [0, 1]. Received values "
                f"from {low:.4g} to {high:.4g}. Scale the data, for instance pixels / 255, or "
                'standardise it and pass `RBM(visible="gaussian")`.'
            )

    def loss(
        self,
        block: keras.Layer,
        head: Visible,
        x: Array,
        y: Array | None,
        *,
        seed: keras.random.SeedGenerator,
        training: bool,
    ) -> tuple[Array, Mapping[str, Any]]:
        machine = _Machine(dense_of(block, "An RBM", x, ("sigmoid",)), head, self._binary)
        data = flat(x)
        energy = ops.mean(machine.free_energy(data))
        shown = ops.stop_gradient(machine.reconstruction_error(data))
        if not training:
            return shown, {"free_energy": energy}
        fantasy = data if head.chains is None else ops.convert_to_tensor(head.chains)
        for _ in range(self._steps):
            fantasy = machine.gibbs_step(fantasy, seed)
        if head.chains is not None:
            head.chains.assign(fantasy)
        divergence = energy - ops.mean(machine.free_energy(fantasy))
        # The gradient of one, the value of the other.
        loss = divergence + (shown - ops.stop_gradient(divergence))
        return loss, {"free_energy": ops.stop_gradient(energy)}

    def compare(
        self, train: Mapping[str, float], validation: Mapping[str, float]
    ) -> dict[str, float]:
        """How far the validation rows lie above the training rows in free energy."""
        return {"free_energy_gap": validation["free_energy"] - train["free_energy"]}


class _Machine:
    """The energy function and its conditional distributions.

    Args:
        hidden: kernel `(visible, hidden)` and bias of the hidden units.
        visible: bias of the visible units.
        binary: whether these are Bernoulli units; else Gaussian of variance 1.
    """

    def __init__(self, hidden: keras.layers.Dense, visible: Visible, binary: bool) -> None:
        self.hidden, self.visible, self.binary = hidden, visible, binary

    def free_energy(self, v: Array) -> Array:
        """F(v), with exp(-F(v)) proportional to p(v): `(batch,)`."""
        softplus = ops.sum(ops.softplus(affine(self.hidden, v)), axis=-1)
        if self.binary:
            return -ops.matmul(v, self.visible.bias) - softplus
        return 0.5 * ops.sum(ops.square(v - self.visible.bias), axis=-1) - softplus

    def _down(self, h: Array) -> Array:
        """The visible units' input from above: `(batch, visible)`."""
        return self.visible(ops.matmul(h, ops.transpose(self.hidden.kernel)))

    def gibbs_step(self, v: Array, seed: keras.random.SeedGenerator) -> Array:
        """Sample the hidden units, then the visible ones."""
        h = bernoulli(ops.sigmoid(affine(self.hidden, v)), seed)
        mean = self._down(h)
        if self.binary:
            return bernoulli(ops.sigmoid(mean), seed)
        noise = keras.random.normal(ops.shape(mean), dtype=mean.dtype, seed=seed)
        return ops.stop_gradient(mean + noise)

    def reconstruction_error(self, v: Array) -> Array:
        """By the means of the units: nothing is sampled."""
        mean = self._down(ops.sigmoid(affine(self.hidden, v)))
        if self.binary:
            return ops.mean(ops.binary_crossentropy(v, mean, from_logits=True))
        return ops.mean(ops.square(v - mean))
