"""Redundancy reduction: two views agree, and no unit says what another says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import keras
from keras import ops

from layerwise._typing import Array, Shape
from layerwise.objectives._checks import at_least_0, one_of, rate, whole
from layerwise.objectives._described import Described
from layerwise.objectives._heads import projector
from layerwise.objectives._protocol import Targets
from layerwise.objectives._views import two_views


class Redundancy(Described, name="redundancy"):
    """Barlow Twins or VICReg on two views, local to a stage.

    A row is seen twice: through `augment=` where the run has it, else with each time other
    features masked. Both pass the block and a projection head.

    Args:
        method: `"barlow"`: the cross-correlation of the two outputs shall be the identity, and
            what is off its diagonal weighs `weight`, over the width; `"vicreg"`: the two agree
            (25), every unit keeps a standard deviation of 1 (25), no two units covary (1).
        corruption: the rate in [0, 1) of masked features, without `augment=`.
        projection: the width of the projection head.
        weight: of what is off the diagonal; of Barlow Twins alone.

    Raises:
        InputError: an argument is out of range.

    Example:
        >>> from layerwise import Redundancy
        >>> Redundancy("vicreg")
        Redundancy(method='vicreg')

    References: Zbontar, Jing, Misra, LeCun, Deny, Barlow Twins, 2021; Bardes, Ponce, LeCun,
    VICReg, 2022, as its authors' code has it: the agreement is a mean, the two variance terms are
    averaged. Their projection heads are 8192 wide and trained end to end. Barlow Twins sums
    its loss over the width; here it is divided by it, so that the width need not move the
    learning rate.
    """

    def __init__(
        self,
        method: Literal["barlow", "vicreg"] = "barlow",
        *,
        corruption: float = 0.2,
        projection: int = 128,
        weight: float = 5e-3,
    ) -> None:
        super().__init__(method=method, corruption=corruption, projection=projection, weight=weight)
        self._barlow = one_of("method", method, ("barlow", "vicreg")) == "barlow"
        self._corruption = rate("corruption", corruption)
        self._width = whole("projection", projection, 1)
        self._weight = at_least_0("weight", weight)

    def head(self, feature_shape: Shape, targets: Targets) -> keras.Layer:
        return projector(feature_shape, self._width)

    def loss(
        self,
        block: keras.Layer,
        head: keras.Layer,
        x: Array,
        y: Array | None,
        *,
        seed: keras.random.SeedGenerator,
        training: bool,
        again: Array | None = None,
    ) -> tuple[Array, Mapping[str, Any]]:
        first, second = (
            head(block(view, training=training), training=training)
            for view in two_views(x, again, self._corruption, seed, training)
        )
        if self._barlow:
            return self._barlow_twins(first, second)
        return _vicreg(first, second)

    def _barlow_twins(self, first: Array, second: Array) -> tuple[Array, Mapping[str, Any]]:
        rows = ops.cast(ops.shape(first)[0], first.dtype)
        width = first.shape[-1]
        correlation = ops.matmul(ops.transpose(_standard(first)), _standard(second)) / rows
        diagonal = ops.diagonal(correlation)
        off = ops.sum(ops.square(correlation)) - ops.sum(ops.square(diagonal))
        disagreement = ops.sum(ops.square(1 - diagonal))
        loss = (disagreement + self._weight * off) / width
        return loss, {"agreement": ops.mean(diagonal)}


def _standard(z: Array) -> Array:
    centred = z - ops.mean(z, axis=0)
    return centred * ops.rsqrt(ops.mean(ops.square(centred), axis=0) + 1e-5)


def _vicreg(first: Array, second: Array) -> tuple[Array, Mapping[str, Any]]:
    agreement = ops.mean(ops.square(first - second))
    spread, covariance = zip(_spread(first), _spread(second), strict=True)
    loss = 25 * agreement + 25 * sum(spread) / 2 + sum(covariance)
    return loss, {"disagreement": agreement, "missing_spread": sum(spread) / 2}


def _spread(z: Array) -> tuple[Array, Array]:
    """How much standard deviations lack to 1, and how much units covary."""
    rows, width = ops.cast(ops.shape(z)[0], z.dtype), z.shape[-1]
    centred = z - ops.mean(z, axis=0)
    # A batch of one row has no covariance; it is taken as 0.
    covariance = ops.matmul(ops.transpose(centred), centred) / ops.maximum(rows - 1, 1)
    variance = ops.diagonal(covariance)
    missing = ops.mean(ops.relu(1 - ops.sqrt(variance + 1e-4)))
    off = ops.sum(ops.square(covariance)) - ops.sum(ops.square(variance))
    return missing, off / width
