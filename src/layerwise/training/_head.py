"""The head of a stage: from a template or the objective, built, and perhaps carried on."""

from __future__ import annotations

import keras

from layerwise._random import seeded
from layerwise._typing import Shape
from layerwise.errors import InputError, InputTypeError
from layerwise.growth import attach, copy_layer, copy_weights
from layerwise.objectives import Objective, Targets, on_vectors, predicts_targets
from layerwise.training._settings import Settings


def grow_head(
    settings: Settings,
    objective: Objective,
    targets: Targets,
    depth: int,
    features: Shape,
    seed: int,
) -> keras.Layer | None:
    """A new, unbuilt head: from the user's template where it predicts labels, else the objective's.

    Raises:
        InputTypeError: what came is no layer.
    """
    template = settings.head_template if predicts_targets(objective) else None
    with seeded(seed):
        head = objective.head(features, targets) if template is None else template(depth)
    if head is not None and not isinstance(head, keras.Layer):
        raise InputTypeError(f"A head must be a Keras layer. Received: {head!r}.")
    if head is not None and template is not None and settings.blocks.head is not None:
        return _for_features(head, features)
    return head


def _for_features(head: keras.Layer, features: Shape) -> keras.Layer:
    """The head of the user's network, which stood on its last block, on the features of another.

    The network may have flattened its images only above this block.
    """
    probe = copy_layer(head, seed=0)
    on_these = attach(probe, features, probe.compute_dtype, "The head")
    return on_vectors(head, features) if len(on_these) > 1 else head


def attach_head(
    head: keras.Layer,
    features: Shape,
    dtype: str,
    targets: Targets,
    objective: Objective,
    seed: int,
) -> None:
    """Build a head, and where it predicts labels make sure that it can.

    One that the objective has built itself may be anything and is left as it is.

    Raises:
        InputError: its output does not have the shape of the labels.
    """
    if head.built and not predicts_targets(objective):
        return
    output = attach(head, features, dtype, "The head", seed)
    if not predicts_targets(objective):
        return
    if targets.kind == "values" and output != targets.shape:
        raise InputError(
            f"The head ({head.name}) must give values of shape {targets.shape}. Received {output}."
        )
    allowed: list[Shape] = [(targets.n_classes,)]
    if targets.n_classes == 2:
        allowed.append((1,))
    if targets.kind == "classes" and output not in allowed:
        raise InputError(
            f"The head ({head.name}) must give {targets.n_classes} numbers a sample, one a class. "
            f"Received shape {output}."
        )


def inherit(head: keras.Layer, below: keras.Layer | None, policy: str, depth: int) -> str:
    """Give a new head the weights of the one below, as the policy says; return what was done."""
    if policy == "fresh" or below is None:
        return policy
    if [v.shape for v in below.variables] != [v.shape for v in head.variables]:
        if policy == "frozen":
            raise InputError(
                f'`head="frozen"` needs features of one shape, and those of depth {depth} differ '
                'from those below. Use `head="carry"` or `head="fresh"`.'
            )
        return "fresh"
    copy_weights(below, head)
    head.trainable = policy != "frozen"
    return policy
