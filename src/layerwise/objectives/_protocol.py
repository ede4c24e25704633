"""The interface of an objective, with what stands in for its optional parts."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, runtime_checkable

import keras

from layerwise._typing import Array, Shape, Tree


@dataclass(frozen=True, kw_only=True)
class Targets:
    """What is predicted, as far as a head must know it. Shapes are without the batch axis."""

    kind: Literal["classes", "values"] | None
    """`"classes"`: labels 0 to n_classes - 1; `"values"`: real numbers; None: no labels."""
    shape: Shape = ()
    n_classes: int | None = None
    input_shape: Shape = ()
    """The shape of the stage's features."""
    data_shape: Shape = ()
    """The shape of the data that the first stage sees."""


@runtime_checkable
class Objective(Protocol):
    """What a stage minimises. Any object with these two methods is one; no base class is needed.

    These are used where they exist:

    - `finish(block) -> keras.Layer`: turn the trained block into the plain layer that joins the
      trunk.
    - `target(inputs, y, targets) -> array or dictionary of arrays`: what `loss` gets as `y`, with
      a row for each sample; `inputs` are the data that the first stage sees. Without it, `loss`
      gets the labels.
    - `check(x, y)`: raise `InputError` where the features, or the target, cannot be used.
    - `compare(train, validation) -> {name: value}`: more metrics of the validation rows, from the
      metrics of both.
    - `metrics(targets) -> {name: keras.metrics.Metric}`: fresh metrics that keep state. For each
      name, `loss` returns the arguments of its `update_state` as a tuple.
    - `views(x, y, *, seed) -> {name: array}`: several views of the data, all of one shape. The
      trunk is run on each, and `loss` gets the dictionary as `x`. With it comes
    - `stitch(blocks, classifier) -> keras.Model`: the network from the data to the classifier's
      output, or to what the classifier gets where it is None. Both may have a keyword `targets`.
    - `score(blocks, x, y, targets) -> {name: value}`: more metrics of the grown network, from the
      raw test rows and their labels.
    - `fresh_head = True`: a head that is of no use to the next stage is never carried on.
    - `one_layer = True`: the block must be one Dense layer, so no two of them train together.
    - `needs_targets = True`: refuse to train without labels.
    - `predicts_targets = True`: the head predicts the labels, so no classifier is trained beside
      the stage.

    An objective that takes sample weights has a keyword `sample_weight` in `loss`; one whose loss
    changes with time has a keyword `epoch` and gets the number of the epoch, counted from 0. One
    that compares two views of a row has a keyword `again`, None by default: where the run
    augments, it gets the same rows as `x`, augmented once more.

    A head that the objective has built itself is left as it is, so it may be anything; one that is
    not built is built on the block's output.
    """

    def head(self, feature_shape: Shape, targets: Targets) -> keras.Layer | None:
        """The layers trained on top of the block, unbuilt.

        Args:
            feature_shape: shape of the block's output without the batch axis.
            targets: what is predicted.
        """
        ...

    def loss(
        self,
        block: keras.Layer,
        head: keras.Layer | None,
        x: Tree,
        y: Tree,
        *,
        seed: keras.random.SeedGenerator,
        training: bool,
    ) -> tuple[Array, Mapping[str, Any]]:
        """The mean loss over a batch, a scalar, and the batch's mean of each metric."""
        ...


def finish(objective: Objective, block: keras.Layer) -> keras.Layer:
    """The block as it joins the trunk."""
    method = getattr(objective, "finish", None)
    return block if method is None else method(block)


def has_target(objective: Objective) -> bool:
    """Whether the objective's loss gets something else than the labels as `y`."""
    return hasattr(objective, "target")


def stage_target(objective: Objective, inputs: Tree, y: Tree, targets: Targets) -> Tree:
    """What the objective's loss gets as `y`."""
    method = getattr(objective, "target", None)
    return y if method is None else method(inputs, y, targets)


def has_views(objective: Objective) -> bool:
    """Whether the objective trains on views of its own."""
    return hasattr(objective, "views")


def views_of(
    objective: Any, x: Array, y: Array | None, targets: Targets, seed: int
) -> dict[str, Array]:
    """The views of the data that the objective trains on."""
    return dict(objective.views(x, y, seed=seed, **_told(objective.views, targets)))


def stitched_by(
    objective: Any,
    blocks: Sequence[keras.Layer],
    classifier: keras.Layer | None,
    targets: Targets,
) -> keras.Model:
    """The network as the objective puts it together, from layers that it may use as they are."""
    return objective.stitch(blocks, classifier, **_told(objective.stitch, targets))


def _told(method: Callable[..., Any], targets: Targets) -> dict[str, Any]:
    return {"targets": targets} if "targets" in inspect.signature(method).parameters else {}


def has_score(objective: Objective) -> bool:
    """Whether the objective says more of a grown network."""
    return hasattr(objective, "score")


def scored_by(
    objective: Objective, blocks: Sequence[keras.Layer], x: Tree, y: Tree, targets: Targets
) -> dict[str, float]:
    """What else the objective says of the grown network on test rows."""
    method = getattr(objective, "score", None)
    return {} if method is None else dict(method(blocks, x, y, targets))


def check_values(objective: Objective, x: Tree, y: Tree) -> None:
    """Raise `InputError` where the objective cannot use these features or targets."""
    method = getattr(objective, "check", None)
    if method is not None:
        method(x, y)


def compared(
    objective: Objective, train: Mapping[str, float], validation: Mapping[str, float]
) -> dict[str, float]:
    """What the objective says of the validation metrics beside those of training."""
    method = getattr(objective, "compare", None)
    return {} if method is None else dict(method(train, validation))


def stage_metrics(objective: Objective, targets: Targets) -> dict[str, keras.metrics.Metric]:
    """Fresh metrics that keep state over the batches of an epoch."""
    method = getattr(objective, "metrics", None)
    return {} if method is None else dict(method(targets))


def needs_targets(objective: Objective) -> bool:
    """Whether the objective cannot work without labels."""
    return bool(getattr(objective, "needs_targets", False))


def one_layer(objective: Objective) -> bool:
    """Whether the objective needs a block of one Dense layer."""
    return bool(getattr(objective, "one_layer", False))


def predicts_targets(objective: Objective) -> bool:
    """Whether the objective's head predicts the labels."""
    return bool(getattr(objective, "predicts_targets", False))


def takes(objective: Objective, keyword: str) -> bool:
    """Whether the loss has this keyword: `sample_weight`, `epoch` or `again`."""
    return keyword in inspect.signature(objective.loss).parameters


def loss_of(
    objective: Objective,
    block: keras.Layer,
    head: keras.Layer | None,
    x: Tree,
    y: Tree,
    *,
    seed: keras.random.SeedGenerator,
    training: bool,
    **offered: Any,
) -> tuple[Array, Mapping[str, Any]]:
    """The objective's loss, with those of the optional keywords that it knows.

    One that is offered as None is left to the objective's own default.
    """
    more = {
        name: value
        for name, value in offered.items()
        if value is not None and takes(objective, name)
    }
    return objective.loss(block, head, x, y, seed=seed, training=training, **more)
