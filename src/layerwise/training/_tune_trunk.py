"""Fine-tuning an unsupervised trunk as a whole, before a classifier is put on it."""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from functools import cache

import keras

from layerwise._random import Stream
from layerwise._typing import Shape
from layerwise.checkpoint import Journal
from layerwise.engine import Problem
from layerwise.finetune import FineTune, Tuned
from layerwise.growth import Frozen, Stage, attach, duplicate, path
from layerwise.history import StopReason
from layerwise.progress import Listener, PhaseStarted
from layerwise.training._head import attach_head, grow_head, inherit
from layerwise.training._lazy_features import UnusableFeaturesError
from layerwise.training._network import network
from layerwise.training._phases import Whole, train_in_phases
from layerwise.training._replica import Replica
from layerwise.training._sprout import sprout_predictor, stage_problem
from layerwise.training._trained import Job, trained
from layerwise.training._view import View
from layerwise.training._whole import score


def tune_trunk(
    replica: Replica, depth: int, spec: FineTune, journal: Journal, listen: Listener
) -> tuple[Replica, Tuned]:
    """Train all blocks by the objective of the last stage, then a classifier on what they give.

    The objective sees the data where it saw features: an autoencoder reconstructs the data through
    all blocks.

    Returns:
        The replicate with a last stage in which all blocks have moved, or as it was where that
        diverged; and what came of it on validation.
    """
    listen(PhaseStarted("fine-tuning the trunk", spec.epochs))
    validation = replica.data.validation
    assert validation is not None
    before = score(replica, network(replica, depth), depth, validation)
    view = View(replica.data, ["train", "validation"], replica.settings.engine)
    stage, seconds = _trunk(replica, view, depth, spec, journal, listen)
    if stage is not None:
        stage, more = _classifier(replica, view, stage, journal, listen)
        seconds += more
    if stage is None:
        return replica, Tuned(before, dict.fromkeys(before, math.nan), seconds)
    tuned = copy.copy(replica)
    tuned.stages = [*replica.stages[: depth - 1], stage]
    return tuned, Tuned(before, score(tuned, network(tuned, depth), depth, validation), seconds)


def _trunk(
    replica: Replica, view: View, depth: int, spec: FineTune, journal: Journal, listen: Listener
) -> tuple[Stage | None, float]:
    """All blocks, trained together; None where they diverged. And what earlier sessions took."""
    settings, objective = replica.settings, replica.settings.objective(depth)
    blocks, shape, dtype = _copies(replica, view, depth)
    trunk = keras.Sequential(blocks)
    attach(trunk, view.features.shape, view.features.dtype, "The trunk")
    seed = replica.seed(Stream.TRUNK)
    head = grow_head(settings, objective, view.targets(), depth, shape, seed)
    if head is not None:
        attach_head(head, shape, dtype, view.targets(), objective, seed)
        below = replica.stages[depth - 1].head
        # Where its shape is the same: a decoder to the data goes on from what the stage made of it.
        inherit(head, below and below.layer, "carry", depth)
    raw = View(replica.data, ["train", "validation"], settings.engine, augment=settings.augment)

    def make(optimizer: keras.Optimizer, epochs: int) -> Problem:
        return Problem(
            prefix=raw.prefix(seed),
            block=trunk,
            head=head,
            objective=objective,
            targets=raw.targets(),
            train=raw.rows("train", objective),
            validation=raw.rows("validation", objective),
            optimizer=optimizer,
            batch_size=spec.batch_size or settings.batch_size(depth),
            epochs=epochs,
            seed=seed,
            callbacks=spec.stopping("loss"),
        )

    whole = Whole(
        name=f"fine-tune-trunk-{replica.index}",
        blocks=blocks,
        layers={"block": trunk, "head": head},
        make=make,
        plan={"objective": repr(objective)},
    )
    result = train_in_phases(replica, whole, spec, journal, listen)
    if result.stop_reason == StopReason.DIVERGED:
        return None, result.seconds_before
    moved = tuple(Frozen(block) for block in blocks)
    kept = None if head is None else Frozen(head)
    return Stage(depth=depth, blocks=moved, head=kept, predictor=None), result.seconds_before


def _copies(replica: Replica, view: View, depth: int) -> tuple[list[keras.Layer], Shape, str]:
    """Blocks that may move, the frozen ones stay as they are; shape and type of their output."""
    shape, dtype, blocks = view.features.shape, view.features.dtype, []
    for frozen in path(replica.stages[:depth]):
        block, shape = duplicate(frozen.layer, shape, dtype)
        dtype = block.compute_dtype
        blocks.append(block)
    return blocks, shape, dtype


def _classifier(
    replica: Replica, view: View, stage: Stage, journal: Journal, listen: Listener
) -> tuple[Stage | None, float]:
    """The stage with a classifier or regressor trained as those beside the stages are."""
    settings, depth = replica.settings, stage.depth
    view.features.advance(stage.blocks)
    seed = replica.seed(Stream.CLASSIFIER, depth)
    grown = sprout_predictor(settings, view, depth, seed)
    job = Job(
        name=f"fine-tune-trunk-{replica.index}-predictor",
        plan=grown.plan(settings),
        below=stage.digest,
        layers={"head": grown.head},
        problem=cache(lambda: stage_problem(settings, view, grown, seed)),
    )
    try:
        result = trained(job, settings.engine, journal, listen, replica.meter)
    except UnusableFeaturesError:
        return None, 0.0
    if result.stop_reason == StopReason.DIVERGED:
        return None, result.seconds_before
    assert grown.head is not None
    return replace(stage, predictor=Frozen(grown.head)), result.seconds_before
