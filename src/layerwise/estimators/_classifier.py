"""Greedy training as a scikit-learn classifier."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import column_or_1d, validate_data

from layerwise.errors import InputError
from layerwise.estimators._base import LayerwiseBase
from layerwise.estimators._data import Given, weights_of


class LayerwiseClassifier(ClassifierMixin, LayerwiseBase):
    """A network that grows one layer at a time; validation chooses its depth.

    Args:
        width: units of each block.
        activation: of each block, by its Keras name.
        block: a callable from the depth, counted from 1, to a Keras layer, instead of `width`,
            `activation` and `dropout`.
        objective: what a stage minimises, as in `layerwise.train`.
        max_depth: the most blocks.
        patience: stop growing after so many depths without a better validation score.
        epochs: of each stage.
        batch_size: rows a step; `"auto"` is a fortieth of the training rows, 32 at least and 200 at
            most.
        learning_rate: of Adam.
        validation_fraction: of the rows, held out to choose the depth; 0 keeps the last depth.
        fine_tune: at most so many epochs of all layers together after growth, kept only if
            validation gains by it; 0 for none.
        dropout: after each block, the share of its units.
        scale: standardize the columns, by the training rows.
        unlabeled_label: the value in `y` that marks a row without a label, such as -1; objectives
            that need no labels train on those rows too.
        random_state: same number, same network, to the bit on the same machine.
        engine: as in `layerwise.train`.
        verbose: as in `layerwise.train`.

    Attributes:
        classes_: the labels, in the order of `predict_proba`.
        model_: a plain Keras model from scaled rows to probabilities.
        scaler_: the `StandardScaler`, or None.
        history_: the record of the growth; `history_.plot()` draws it.
        selected_depth_: how many blocks `model_` has.
        stages_: the network of each depth, as it grew.
        n_features_in_, feature_names_in_: as everywhere in scikit-learn.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from layerwise import LayerwiseClassifier
        >>> x, y = load_iris(return_X_y=True)
        >>> grown = LayerwiseClassifier(epochs=20, max_depth=2, random_state=0).fit(x, y)
        >>> grown.predict_proba(x[:2]).shape
        (2, 3)

    Reference: Bengio, Lamblin, Popovici, Larochelle, Greedy Layer-Wise Training of Deep Networks,
    2007.
    """

    def fit(
        self,
        X: Any,  # noqa: N803
        y: Any,
        X_val: Any = None,  # noqa: N803
        y_val: Any = None,
        sample_weight: Any = None,
    ) -> Self:
        """Grow the network.

        Args:
            X: `(n_samples, n_features)`, numbers.
            y: `(n_samples,)`, labels of any type.
            X_val, y_val: rows that choose the depth, instead of held-out ones.
            sample_weight: `(n_samples,)`, weights of the loss, 0 or more.

        Raises:
            InputError: what was given cannot be used; a ValueError.
        """
        X, y = validate_data(self, X, y, dtype=np.float64, ensure_min_samples=2)  # noqa: N806
        y = column_or_1d(y, warn=True)
        weight = weights_of(sample_weight, X)
        known = np.ones(len(y), bool)
        if self.unlabeled_label is not None:
            known = y != self.unlabeled_label
        check_classification_targets(y[known])
        self.classes_, numbers = np.unique(y[known], return_inverse=True)
        if len(self.classes_) < 2:
            raise InputError(f"A classifier needs 2 classes or more. Received: {self.classes_}.")
        validation = None
        if X_val is not None:
            X_val = validate_data(self, X_val, reset=False, dtype=np.float64)  # noqa: N806
            validation = X_val, self._numbers(column_or_1d(y_val))
        self._grow(
            Given(
                x=X[known],
                y=numbers,
                kind="classes",
                weight=None if weight is None else weight[known],
                validation=validation,
                unlabeled=None if known.all() else X[~known],
            )
        )
        return self

    def predict(self, X: Any) -> NDArray[Any]:  # noqa: N803
        """The likeliest class of each row: `(n_samples,)`."""
        numbers = np.argmax(self.predict_proba(X), axis=1)
        return np.asarray(self.classes_[numbers])

    def predict_proba(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """Probabilities: `(n_samples, n_classes)`."""
        return _proba(self._through("model_", self._rows(X)))

    def staged_predict(self, X: Any) -> Iterator[NDArray[Any]]:  # noqa: N803
        """What the network of each depth predicts, as it grew, from depth 1 up."""
        for probabilities in self.staged_predict_proba(X):
            yield np.asarray(self.classes_[np.argmax(probabilities, axis=1)])

    def staged_predict_proba(self, X: Any) -> Iterator[NDArray[np.float64]]:  # noqa: N803
        """Probabilities by the network of each depth, as it grew, from depth 1 up."""
        rows = self._rows(X)
        for index in range(len(self.stages_)):
            yield _proba(self._through("stages_", rows, index))

    def _numbers(self, labels: NDArray[Any]) -> NDArray[Any]:
        """Labels as class numbers.

        Raises:
            InputError: one was not in the training rows.
        """
        unknown = ~np.isin(labels, self.classes_)
        if unknown.any():
            raise InputError(
                f"`y_val` holds labels that `y` does not: {np.unique(labels[unknown])[:5]}."
            )
        return np.searchsorted(self.classes_, labels)


def _proba(output: NDArray[np.float32]) -> NDArray[np.float64]:
    """Rows that sum to 1 in double precision."""
    exact = output.astype(np.float64)
    return exact / exact.sum(axis=1, keepdims=True)
