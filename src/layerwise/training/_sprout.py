"""From a depth to a stage problem: the block, the head on it, and what they are trained with."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from layerwise._random import Stream
from layerwise._typing import Shape
from layerwise.engine import Problem
from layerwise.errors import InputError
from layerwise.growth import (
    Frozen,
    Stage,
    attach,
    duplicate,
    layer_key,
    path,
    start_as_copy,
    start_as_identity,
)
from layerwise.objectives import (
    Objective,
    has_views,
    name_of,
    needs_targets,
)
from layerwise.optimizers import described, slowed
from layerwise.training._head import attach_head, grow_head, inherit
from layerwise.training._settings import Settings
from layerwise.training._view import View


@dataclass(frozen=True)
class Sprout:
    """The layers of a stage, grown and not yet trained."""

    depth: int
    moved: tuple[keras.Layer, ...]
    """Copies of the blocks below that train along, from the lowest up."""
    newest: keras.Layer
    block: keras.Layer
    """All of them in a row."""
    head: keras.Layer | None
    objective: Objective
    head_policy: str
    """What was done: `carry` turns `fresh` where the features changed their shape."""

    optimizer: keras.Optimizer
    parameters: int
    """How many numbers this stage trains."""

    def plan(self, settings: Settings) -> dict[str, Any]:
        """What the stage is trained with, as plain values: a resume compares them."""
        block = layer_key(self.block)
        if block is None:
            # A layer of the user's own: its configuration may not tell, its weights do in part.
            variables = [[list(v.shape), str(v.dtype)] for v in self.block.variables]
            block = f"{type(self.block).__name__} {variables}"
        return {
            # Where an object lies in memory differs from process to process.
            "objective": re.sub(r" at 0x[0-9a-f]+", "", repr(self.objective)),
            "head": f"{self.head_policy} {layer_key(self.head)}",
            "block": str(block),
            "optimizer": described(self.optimizer),
            "epochs": settings.epochs(self.depth),
            "batch_size": settings.batch_size(self.depth),
        }


def sprout(
    settings: Settings,
    view: View,
    depth: int,
    seed: Callable[[Stream, int], int],
    stages: Sequence[Stage],
    slower: float = 1.0,
) -> Sprout:
    """Grow the layers of the stage of this depth on features like those in `view`.

    Args:
        settings: of the run.
        view: features of the trunk; only their shape and type matter here.
        depth: counted from 1.
        seed: the seed of a stream at a depth.
        stages: those before.
        slower: what the learning rate is multiplied by.

    Raises:
        InputError, InputTypeError: block, head, objective and data do not fit together.
    """
    block_seed, head_seed = seed(Stream.BLOCK, depth), seed(Stream.HEAD, depth)
    newest = settings.blocks(depth, block_seed)
    what = f"The block of depth {depth}"
    moved, shape, dtype = _moved(settings, view, depth, stages)
    features = attach(newest, shape, dtype, what, block_seed)
    objective = settings.objective(depth)
    _check(newest, what, objective, view)
    if stages and settings.init != "fresh":
        _initialise(settings.init, newest, path(stages), view)
    block = newest
    if moved:
        block = keras.Sequential([*moved, newest])
        attach(block, view.features.shape, view.features.dtype, what)
    head = grow_head(settings, objective, view.targets(), depth, features, head_seed)
    policy: str = settings.head
    if head is not None:
        attach_head(head, features, block.compute_dtype, view.targets(), objective, head_seed)
        below = stages[-1].head if stages else None
        fresh = bool(getattr(objective, "fresh_head", False))
        policy = inherit(head, below and below.layer, "fresh" if fresh else settings.head, depth)
    return Sprout(
        depth=depth,
        moved=moved,
        newest=newest,
        block=block,
        head=head,
        objective=objective,
        head_policy=policy,
        optimizer=slowed(settings.optimizer(depth), slower),
        parameters=_trainable(block, head),
    )


def _check(newest: keras.Layer, what: str, objective: Objective, view: View) -> None:
    """Refuse a block that cannot learn, and an objective that these features cannot serve."""
    if not newest.trainable_variables:
        raise InputError(
            f"{what} ({newest.name}) has nothing to train. Join it with the layer that follows: "
            "`keras.Sequential([keras.layers.Flatten(), keras.layers.Dense(256)])` is one block."
        )
    if needs_targets(objective) and view.data.labels is None:
        raise InputError(
            f'The objective "{name_of(objective)}" needs labels. Pass `y`, or another objective '
            'such as "reconstruction".'
        )
    if has_views(objective) != view.has_views:
        raise InputError(
            f'"{name_of(objective)}" and the objective of depth 1 cannot be mixed: only one of '
            "them trains on views of its own."
        )


def _moved(
    settings: Settings, view: View, depth: int, stages: Sequence[Stage]
) -> tuple[tuple[keras.Layer, ...], Shape, str]:
    """Copies of the blocks that train along with the newest; shape and type of their output."""
    shape, dtype, lowest = view.features.shape, view.features.dtype, settings.policy.lowest(depth)
    moved = []
    for block in path(stages)[lowest - 1 :] if lowest < depth else ():
        layer, shape = duplicate(block.layer, shape, dtype)
        dtype = layer.compute_dtype
        moved.append(layer)
    return tuple(moved), shape, dtype


_SAMPLE = 64
"""Rows on which a block that starts as the identity is tried."""


def _initialise(how: str, newest: keras.Layer, below: Sequence[Frozen], view: View) -> None:
    """Let a new block start as the settings say."""
    if how == "copy":
        start_as_copy(newest, below[-1].layer, len(below) + 1)
    if how == "identity":
        # Not from the cached features: a finished stage of a resumed run needs none.
        train = view.data.train
        sample = train.take(np.arange(min(_SAMPLE, train.here))).x
        for block in below:
            sample = block.layer(sample, training=False)
        start_as_identity(newest, keras.ops.convert_to_numpy(sample), len(below) + 1)


def sprout_predictor(
    settings: Settings, view: View, depth: int, seed: int, slower: float = 1.0
) -> Sprout:
    """Grow the classifier or regressor beside a stage, on the features that left it.

    Its block does nothing: what the stage trained is behind the features, out of reach.
    """
    nothing, shape, dtype = keras.layers.Identity(), view.features.shape, view.features.dtype
    attach(nothing, shape, dtype, "The features")
    head = grow_head(settings, settings.predictor, view.targets(), depth, shape, seed)
    assert head is not None
    attach_head(head, shape, dtype, view.targets(), settings.predictor, seed)
    optimizer = slowed(settings.optimizer(depth), slower)
    return Sprout(
        depth=depth,
        moved=(),
        newest=nothing,
        block=nothing,
        head=head,
        objective=settings.predictor,
        head_policy="fresh",
        optimizer=optimizer,
        parameters=_trainable(nothing, head),
    )


def _trainable(*layers: keras.Layer | None) -> int:
    return sum(
        math.prod(variable.shape)
        for layer in layers
        if layer is not None
        for variable in layer.trainable_variables
    )


def stage_problem(
    settings: Settings,
    view: View,
    grown: Sprout,
    seed: int,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Problem:
    """The layers with all that they are trained with, on the features in `view`."""
    objective, depth = grown.objective, grown.depth
    train = view.rows("train", objective)
    view.check(objective, train)
    return Problem(
        prefix=view.prefix(seed),
        block=grown.block,
        head=grown.head,
        objective=objective,
        targets=view.targets(),
        train=train,
        validation=view.rows("validation", objective) if "validation" in view.names else None,
        optimizer=grown.optimizer,
        batch_size=settings.batch_size(depth),
        epochs=settings.epochs(depth),
        seed=seed,
        callbacks=callbacks,
    )
