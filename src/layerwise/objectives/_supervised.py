"""Supervised greedy training: each stage predicts the labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
from keras import ops

from layerwise._typing import Array, Shape
from layerwise.errors import InputError, InputTypeError, complaint
from layerwise.objectives._checks import whole
from layerwise.objectives._described import Described
from layerwise.objectives._heads import predictor
from layerwise.objectives._means import mean_over_rows
from layerwise.objectives._protocol import Targets


class Supervised(Described, name="supervised"):
    """Predict the labels from the newest block.

    Labels are class numbers (whatever form the user's labels had) or real values. A loss or
    metric of Keras that wants one-hot labels gets them; a callable of the user's gets class
    numbers.

    Args:
        loss: a Keras loss or its name, or a callable `(y_true, y_pred) -> per sample`. Default:
            cross-entropy for classes, mean squared error for values.
        metrics: Keras metrics or their names, beside `accuracy` (classes) or
            `mean_squared_error` (values), which are always there. Each stage gets fresh ones.
        head_depth: how many layers with weights the head has, at least 1. On images and sequences
            all but the last are convolutions of 3 pixels with batch normalization, before the
            average over a 2 x 2 grid; on vectors they are Dense layers of the features' width. A
            deeper head lets the block keep more for the blocks above (Belilovsky, Eickenberg,
            Oyallon, Greedy Layerwise Learning Can Scale to ImageNet, 2019).

    Example:
        >>> from layerwise import Supervised
        >>> Supervised(metrics=["sparse_top_k_categorical_accuracy"])
        Supervised(metrics=('sparse_top_k_categorical_accuracy',))

    Reference: Bengio, Lamblin, Popovici, Larochelle, Greedy Layer-Wise Training of Deep Networks,
    2007, section 4.2. There the earlier head is thrown away; here `head="carry"` keeps it.
    """

    needs_targets = True
    predicts_targets = True

    def __init__(
        self,
        loss: str | keras.losses.Loss | Callable[..., Array] | None = None,
        metrics: list[Any] | tuple[Any, ...] = (),
        *,
        head_depth: int = 1,
    ) -> None:
        super().__init__(loss=loss, metrics=metrics, head_depth=head_depth)
        self._head_depth = whole("head_depth", head_depth, 1)
        if isinstance(metrics, str):
            raise InputTypeError(complaint("metrics", "be a list", metrics))
        try:
            self._loss = None if loss is None else keras.losses.get(loss)
            # Keras numbers the metrics that it makes from a string, so the string is the name.
            self._metrics = {
                given if isinstance(given, str) else _name(given): keras.metrics.get(given)
                for given in metrics
            }
        except (ValueError, TypeError) as error:
            raise InputError(f"Unknown loss or metric: {str(error).splitlines()[0]}") from error

    def head(self, feature_shape: Shape, targets: Targets) -> keras.Layer:
        return predictor(feature_shape, targets, self._head_depth)

    def loss(
        self,
        block: keras.Layer,
        head: keras.Layer,
        x: Array,
        y: Array,
        *,
        seed: keras.random.SeedGenerator,
        training: bool,
        sample_weight: Array | None = None,
    ) -> tuple[Array, Mapping[str, Any]]:
        prediction = head(block(x, training=training), training=training)
        classes = not keras.backend.is_float_dtype(keras.backend.standardize_dtype(y.dtype))
        if not classes:
            y = ops.reshape(y, (-1, *prediction.shape[1:]))
        loss = self._loss or keras.losses.get(_default_loss(classes, prediction.shape[-1]))
        labels = _labels_for(loss, y, prediction, classes)
        if isinstance(loss, keras.losses.Loss):
            value = loss(labels, prediction, sample_weight)
        else:
            value = mean_over_rows(loss(labels, prediction), sample_weight)
        metrics: dict[str, Any] = {}
        if classes:
            metrics["accuracy"] = _accuracy(y, prediction)
        else:
            metrics["mean_squared_error"] = ops.mean(ops.square(prediction - y))
        for name, metric in self._metrics.items():
            metrics[name] = (_labels_for(metric, y, prediction, classes), prediction)
        return value, metrics

    def loss_on_numbers(self, classes: bool, width: int) -> Any:
        """The loss for a plain model that is given class numbers or values as they are.

        A Keras loss that wants one-hot labels cannot be used so; cross-entropy takes its place.
        """
        if self._loss is None or (classes and width > 1 and _wants_one_hot(self._loss)):
            return _default_loss(classes, width)
        return self._loss

    def metrics(self, targets: Targets) -> dict[str, keras.metrics.Metric]:
        """Fresh copies of the Keras metrics that the user asked for."""
        fresh: dict[str, keras.metrics.Metric] = {}
        for name, metric in self._metrics.items():
            if isinstance(metric, keras.metrics.Metric):
                fresh[name] = type(metric).from_config({**metric.get_config(), "name": name})
            else:
                fresh[name] = keras.metrics.MeanMetricWrapper(metric, name=name)
        return fresh


def _default_loss(classes: bool, width: int) -> str:
    if not classes:
        return "mean_squared_error"
    return "binary_crossentropy" if width == 1 else "sparse_categorical_crossentropy"


def _name(thing: Any) -> str:
    return str(getattr(thing, "name", None) or thing.__name__)


def _labels_for(function: Any, y: Array, prediction: Array, classes: bool) -> Array:
    """Class numbers as a loss or metric wants them: one-hot for Keras' own unless sparse."""
    width = prediction.shape[-1]
    if not classes:
        return y
    if width == 1:
        return ops.cast(ops.reshape(y, (-1, 1)), prediction.dtype)
    if _wants_one_hot(function):
        return ops.one_hot(y, width, dtype=prediction.dtype)
    return y


def _wants_one_hot(function: Any) -> bool:
    """Whether this is a loss or metric of Keras' own that does not take class numbers."""
    kind = function if hasattr(function, "__name__") else type(function)
    return kind.__module__.startswith("keras.") and "sparse" not in kind.__name__.lower()


def _accuracy(y: Array, prediction: Array) -> Array:
    if prediction.shape[-1] == 1:
        guess = ops.cast(ops.squeeze(prediction, -1) > 0.5, y.dtype)
    else:
        guess = ops.cast(ops.argmax(prediction, axis=-1), y.dtype)
    return ops.mean(ops.cast(ops.equal(guess, y), keras.config.floatx()))
