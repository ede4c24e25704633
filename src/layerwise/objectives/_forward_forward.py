"""Forward-forward: layers that are active for right labels and quiet for wrong ones."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from layerwise._typing import Array, Shape
from layerwise.errors import InputError
from layerwise.objectives._checks import above_0, at_least_0, whole
from layerwise.objectives._dense import dense_of, flat
from layerwise.objectives._described import Described
from layerwise.objectives._protocol import Targets

_EPSILON = 1e-6


class ForwardForward(Described, name="forward_forward"):
    """Push the goodness of rows with their label up, and with another label down.

    The label is a one-hot part of the first stage's input, beside the row brought to a root mean
    square of 1. Goodness is the sum of a layer's squared activities; it should lie above
    `threshold` a unit for the right label and below for a wrong one. What leaves a layer is
    brought to a root mean square of 1, so that the next one must find something new.

    `result.model` is Hinton's one-pass classifier: a neutral label, and a softmax on the
    activities of all layers but the first (at depth 1, of the first). It is a plain network from
    the data to the classes: the neutral label is folded into the first bias.
    `classify_by_goodness` is the slow one, which tries every label.

    The wrong labels are drawn once, as features are cached; each batch uses one of `negatives`
    draws.

    Args:
        threshold: of the goodness, a unit; above 0.
        negatives: wrong labels a row.
        label_scale: what stands for the 1 of the label.
        peer: weight of how far units differ in mean activity: it keeps them from falling silent.

    Raises:
        InputError: an argument is out of range, labels are no classes, or a block is no relu
            Dense layer.

    Example:
        >>> from layerwise import ForwardForward
        >>> ForwardForward(negatives=4)
        ForwardForward(negatives=4)

    Reference: Hinton, The Forward-Forward Algorithm, 2022. There the label replaces the first
    pixels, wrong labels are drawn anew for each batch, in proportion to what the network thinks,
    and the layers train in step; here they train one after the other.
    """

    needs_targets = True
    one_layer = True

    def __init__(
        self,
        threshold: float = 1.0,
        *,
        negatives: int = 1,
        label_scale: float = 3.0,
        peer: float = 0.03,
    ) -> None:
        super().__init__(
            threshold=threshold, negatives=negatives, label_scale=label_scale, peer=peer
        )
        self._threshold = above_0("threshold", threshold)
        self._negatives = whole("negatives", negatives, 1)
        self._scale = above_0("label_scale", label_scale)
        self._peer = at_least_0("peer", peer)

    def head(self, feature_shape: Shape, targets: Targets) -> None:
        """None: the layer itself tells right from wrong."""

    def views(self, x: Array, y: Array, *, seed: int, targets: Targets) -> dict[str, Array]:
        """The rows with their label, with wrong ones, and with the neutral one."""
        classes = targets.n_classes
        if classes is None:
            raise InputError('"forward_forward" needs classes, and these labels are values.')
        shifts = np.random.default_rng(seed).integers(1, classes, (self._negatives, len(x)))
        rows, one = _unit_rows(x), np.eye(classes, dtype=np.float32)
        labels = {f"negative_{i}": one[(y + shift) % classes] for i, shift in enumerate(shifts)}
        labels |= {"positive": one[y], "predict": np.full_like(one[y], 1 / classes)}
        return {
            name: np.concatenate([rows, self._scale * label], axis=1)
            for name, label in labels.items()
        }

    def loss(
        self,
        block: keras.Layer,
        head: None,
        x: Mapping[str, Array],
        y: Array,
        *,
        seed: keras.random.SeedGenerator,
        training: bool,
    ) -> tuple[Array, Mapping[str, Any]]:
        units = dense_of(block, "Forward-forward", None, ("relu",)).units
        wrong = x["negative_0"]
        if training and self._negatives > 1:
            drawn = keras.random.randint((), 0, self._negatives, seed=seed)
            wrong = ops.stack([x[f"negative_{i}"] for i in range(self._negatives)])[drawn]
        active = block(x["positive"], training=training)
        good = ops.sum(ops.square(active), axis=-1) - self._threshold * units
        quiet = block(wrong, training=training)
        bad = ops.sum(ops.square(quiet), axis=-1) - self._threshold * units
        told = (ops.mean(ops.softplus(-good)) + ops.mean(ops.softplus(bad))) / 2
        mean = ops.mean(active, axis=0)
        loss = told + self._peer * ops.mean(ops.square(mean - ops.mean(mean)))
        right = ops.concatenate([good > 0, bad < 0], axis=0)
        return loss, {"goodness_accuracy": ops.mean(ops.cast(right, loss.dtype))}

    def finish(self, block: keras.Layer) -> keras.Layer:
        """The block, and the normalization that hides its goodness from the next."""
        norm = keras.layers.RMSNormalization(epsilon=_EPSILON)
        norm.build((None, dense_of(block, "Forward-forward").units))
        norm.trainable = False
        finished = keras.Sequential([block, norm])
        finished.build(block.get_build_config()["input_shape"])
        return finished

    def stitch(
        self, blocks: Sequence[keras.Layer], classifier: keras.Layer | None, *, targets: Targets
    ) -> keras.Model:
        """The one-pass classifier as a plain network."""
        inputs = keras.Input(targets.data_shape)
        size = math.prod(length or 1 for length in targets.data_shape)
        rows = keras.layers.Flatten()(inputs)
        norm = keras.layers.RMSNormalization(epsilon=_EPSILON, name="unit_rows")
        norm.trainable = False
        x, activities = norm(rows), []
        for number, block in enumerate(blocks):
            if number == 0:
                block = _without_label(block, size, self._scale / (targets.n_classes or 1))
            x = block(x)
            activities.append(x)
        told = activities[1:] or activities
        seen = told[0] if len(told) == 1 else keras.layers.Concatenate()(told)
        outputs = seen if classifier is None else classifier(seen)
        return keras.Model(inputs, outputs, name="layerwise")

    def score(
        self, blocks: Sequence[keras.Layer], x: Array, y: Array, targets: Targets
    ) -> dict[str, float]:
        """How often the slow classifier, which tries every label, is right."""
        assert targets.n_classes is not None
        guess = classify_by_goodness(blocks, x, targets.n_classes, self)
        return {"goodness_accuracy": float(np.mean(guess == y))}


def _unit_rows(x: Array) -> Array:
    rows = np.asarray(x, np.float32).reshape(len(x), -1)
    return rows / np.sqrt(np.mean(np.square(rows), axis=1, keepdims=True) + _EPSILON)


def _without_label(block: keras.Sequential, size: int, label: float) -> keras.Sequential:
    """The first block with every class at `label` folded into its bias."""
    dense = dense_of(block.layers[0], "Forward-forward")
    kernel, bias = (ops.convert_to_numpy(weight) for weight in (dense.kernel, dense.bias))
    folded = keras.layers.Dense(dense.units, dense.activation, name=dense.name)
    folded.build((None, size))
    folded.set_weights([kernel[:size], bias + label * kernel[size:].sum(axis=0)])
    return keras.Sequential([folded, *block.layers[1:]], name=block.name)


def classify_by_goodness(
    blocks: Sequence[keras.Layer],
    x: Array,
    n_classes: int,
    objective: ForwardForward | None = None,
    batch_size: int = 1000,
) -> Array:
    """The class whose label makes all layers but the first most active, `(n_samples,)`.

    Args:
        blocks: trained by forward-forward, from the lowest up: `result.blocks`.
        x: `(n_samples, ...)`, rows like those of the training.
        n_classes: how many labels are tried.
        objective: that the blocks were trained with; its `label_scale` counts.
        batch_size: rows at a time.
    """
    scale = (objective or ForwardForward())._scale
    found = []
    for start in range(0, len(x), batch_size):
        rows = _unit_rows(x[start : start + batch_size])
        goodness = []
        for label in scale * np.eye(n_classes, dtype=np.float32):
            seen: Any = np.concatenate([rows, np.tile(label, (len(rows), 1))], axis=1)
            total: Any = 0.0
            for number, block in enumerate(blocks):
                active = block.layers[0](seen)
                # The first layer sees the label itself, and is left out where there are more.
                if number or len(blocks) == 1:
                    total = total + ops.sum(ops.square(flat(active)), axis=-1)
                seen = block.layers[1](active)
            goodness.append(ops.convert_to_numpy(total))
        found.append(np.argmax(goodness, axis=0))
    return np.concatenate(found)
