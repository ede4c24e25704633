"""A trained stage as a value, the freeze audit, and the stitching of stages into one model."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import keras

from layerwise._random import seeded
from layerwise._typing import Shape
from layerwise.errors import FreezeError
from layerwise.growth._build import copy_layer
from layerwise.growth._frozen import Frozen


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What one growth step left: its blocks and its heads, trained and frozen."""

    depth: int
    blocks: tuple[Frozen, ...]
    """What the stage trained, from the lowest up; the newest is the last and as a rule alone."""
    head: Frozen | None
    """What the objective trained on top; None where the objective needs nothing."""
    predictor: Frozen | None
    """What ends a model of this depth: the head itself, the classifier trained beside the stage,
    or None without labels."""

    @property
    def block(self) -> keras.Layer:
        """The newest of its blocks."""
        return self.blocks[-1].layer

    @cached_property
    def digest(self) -> str:
        """The digests of its blocks."""
        return " ".join(block.digest for block in self.blocks)

    def let_go(self) -> None:
        """Keep the layers as text and arrays, where those tell all there is to tell."""
        for frozen in (*self.blocks, self.head, self.predictor):
            if frozen is not None:
                frozen.let_go()


def path(stages: Sequence[Stage]) -> list[Frozen]:
    """The blocks of the network as it stood after the last of these stages, from the lowest up.

    A block that several stages trained is taken as the last of them left it.
    """
    blocks: list[Frozen] = []
    for stage in stages:
        blocks[stage.depth - len(stage.blocks) :] = stage.blocks
    return blocks


def digest_of(stages: Sequence[Stage]) -> str:
    """SHA-256 over the digests of the blocks of all these stages; empty for none."""
    if not stages:
        return ""
    every = " ".join(stage.digest for stage in stages)
    return hashlib.sha256(every.encode()).hexdigest()


def audit(stages: Sequence[Stage]) -> None:
    """Compare frozen blocks with the digests taken when they froze.

    Raises:
        FreezeError: a block has changed since; the message names it.
    """
    for stage in stages:
        for block in stage.blocks:
            if block.has_moved():
                raise FreezeError(
                    f"A frozen block of depth {stage.depth} ({block.name}) has changed since it "
                    "was trained. A callback or your own code writes to its weights, or "
                    "another network shares the layer. Nothing that is frozen may move."
                )


def stitch(
    stages: Sequence[Stage],
    predictor: Frozen | None,
    input_shape: Shape,
    dtype: str,
    *,
    seed: int | None = None,
    assemble: Callable[[Sequence[keras.Layer], keras.Layer | None], keras.Model] | None = None,
) -> keras.Model:
    """One plain model of copies: the blocks of `stages` in order, and the predictor on top.

    Predictions equal those on cached features exactly at equal batch size, and within float
    rounding at others. With a `seed` the weights are not copied but drawn anew from it. With
    `assemble` the model is what that makes of the copies; else it is a chain.
    """
    blocks = [(f"block_{i + 1}", block) for i, block in enumerate(path(stages))]
    parts = blocks if predictor is None else [*blocks, ("head", predictor)]
    copies = [
        copy_layer(part.layer, seed=(seed or 0) + i, name=name)
        for i, (name, part) in enumerate(parts)
    ]
    with seeded(seed or 0):
        if assemble is None:
            inputs = keras.Input(input_shape, dtype=dtype)
            model: keras.Model = keras.Sequential([inputs, *copies], name="layerwise")
        else:
            for (_, part), copy in zip(parts, copies, strict=True):
                copy.build_from_config(part.layer.get_build_config())
    if seed is None:
        for (_, part), copy in zip(parts, copies, strict=True):
            part.give(copy)
    if predictor is not None:
        # A head may have been frozen while its stage trained; the whole network may be trained on.
        copies[-1].trainable = True
    if assemble is None:
        return model
    return assemble(copies[: len(blocks)], None if predictor is None else copies[-1])
