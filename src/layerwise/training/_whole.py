"""The chosen network of one replicate as a whole: trained jointly, scored on raw data."""

from __future__ import annotations

from collections.abc import Sequence

import keras

from layerwise._random import Stream
from layerwise.datasets import Split
from layerwise.engine import Problem
from layerwise.growth import path
from layerwise.joint import joint_problem
from layerwise.objectives import Supervised
from layerwise.training._replica import Replica
from layerwise.training._view import View, targets_of


def whole_problem(
    replica: Replica,
    model: keras.Model,
    depth: int,
    epochs: int,
    optimizer: keras.Optimizer,
    *,
    batch_size: int | None = None,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    number: int = 0,
) -> Problem:
    """A network that predicts the labels, all its layers to be trained together.

    Those of another `number` see the rows in another order.
    """
    data, settings = replica.data, replica.settings
    staged = settings.objective(depth)
    seed = replica.seed(Stream.FINE_TUNE, *[number] * (number > 0))
    raw = View(data, ["train"], settings.engine, augment=settings.augment)
    return joint_problem(
        model,
        data,
        staged if isinstance(staged, Supervised) else settings.predictor,
        targets_of(data, data.train.shape),
        optimizer,
        epochs=epochs,
        batch_size=batch_size or settings.batch_size(depth),
        seed=seed,
        prefix=raw.prefix(seed),
        callbacks=callbacks,
    )


def score(replica: Replica, model: keras.Model, depth: int, split: Split) -> dict[str, float]:
    """The metrics of the network of a depth on rows that it was not grown on.

    Without labels these are the metrics of its last stage's objective.
    """
    settings = replica.settings
    if replica.data.labels is not None:
        problem = whole_problem(replica, model, depth, 1, settings.optimizer(depth))
        return settings.engine.evaluate(problem, split)
    view = View(replica.data, ["train", "test"], settings.engine)
    stages, objective = replica.stages[:depth], settings.objective(depth)
    view.features.advance(path(stages)[:-1])
    head = stages[-1].head
    problem = Problem(
        block=stages[-1].block,
        head=head and head.layer,
        objective=objective,
        targets=view.targets(),
        train=view.rows("train", objective),
        validation=None,
        optimizer=settings.optimizer(depth),
        batch_size=settings.batch_size(depth),
        epochs=1,
        seed=replica.seed(Stream.TRAINING, depth),
    )
    return settings.engine.evaluate(problem, view.rows("test", objective))
