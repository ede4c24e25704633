"""Greedy training as a scikit-learn regressor."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import MultiOutputMixin, RegressorMixin
from sklearn.utils.validation import (
    check_array,
    check_consistent_length,
    validate_data,
)

from layerwise.errors import InputError
from layerwise.estimators._base import LayerwiseBase
from layerwise.estimators._data import Given, weights_of


class LayerwiseRegressor(MultiOutputMixin, RegressorMixin, LayerwiseBase):
    """A network that grows one layer at a time; validation chooses its depth.

    Parameters are those of `LayerwiseClassifier`. Targets are standardized by the training rows,
    and predictions brought back. A row without a target is marked by `unlabeled_label=nan`.

    Attributes:
        model_: a plain Keras model from scaled rows to scaled values.
        scaler_, target_scaler_: the `StandardScaler` of rows and of targets, or None.
        history_, selected_depth_, stages_, n_features_in_, feature_names_in_: as there.

    Example:
        >>> from sklearn.datasets import load_diabetes
        >>> from layerwise import LayerwiseRegressor
        >>> x, y = load_diabetes(return_X_y=True)
        >>> grown = LayerwiseRegressor(epochs=20, max_depth=2, random_state=0).fit(x, y)
        >>> grown.predict(x[:2]).shape
        (2,)
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
            y: `(n_samples,)` or `(n_samples, n_values)`.
            X_val, y_val: rows that choose the depth, instead of held-out ones.
            sample_weight: `(n_samples,)`, weights of the loss, 0 or more.

        Raises:
            InputError: what was given cannot be used; a ValueError.
        """
        X, y = self._checked(X, y)  # noqa: N806
        weight = weights_of(sample_weight, X)
        self._shape = y.shape[1:]
        known = ~np.isnan(y.reshape(len(y), -1).astype(np.float64)).any(axis=1)
        if not known.any():
            raise InputError("No row has a target: every one is marked as unlabelled.")
        validation = None
        if X_val is not None:
            X_val = validate_data(self, X_val, reset=False, dtype=np.float64)  # noqa: N806
            validation = X_val, np.asarray(y_val, np.float64).reshape(len(X_val), -1)
        self._grow(
            Given(
                x=X[known],
                y=y[known].reshape(known.sum(), -1).astype(np.float64),
                kind="values",
                weight=None if weight is None else weight[known],
                validation=validation,
                unlabeled=None if known.all() else X[~known],
            )
        )
        return self

    def _checked(self, X: Any, y: Any) -> tuple[Any, Any]:  # noqa: N803
        """Rows and targets; a missing target is let through where it marks a row."""
        mark = self.unlabeled_label
        how: dict[str, Any] = {"dtype": np.float64, "ensure_min_samples": 2}
        if mark is None:
            checked = validate_data(self, X, y, multi_output=True, y_numeric=True, **how)
            return checked[0], checked[1]
        if mark == mark:  # Only what is no number differs from itself.
            raise InputError(
                "A regressor marks rows without a target by `unlabeled_label=nan`: any other "
                f"number may be a target. Received: {mark!r}."
            )
        X = validate_data(self, X, **how)  # noqa: N806
        check_consistent_length(X, y)
        allowed = {"dtype": np.float64, "ensure_all_finite": "allow-nan"}
        return X, check_array(y, ensure_2d=False, **allowed)

    def predict(self, X: Any) -> NDArray[np.float64]:  # noqa: N803
        """The value of each row: `(n_samples,)` or `(n_samples, n_values)`, as `y` was."""
        return self._values(self._through("model_", self._rows(X)))

    def staged_predict(self, X: Any) -> Iterator[NDArray[np.float64]]:  # noqa: N803
        """What the network of each depth predicts, as it grew, from depth 1 up."""
        rows = self._rows(X)
        for index in range(len(self.stages_)):
            yield self._values(self._through("stages_", rows, index))

    def _values(self, output: NDArray[np.float32]) -> NDArray[np.float64]:
        values = output.astype(np.float64).reshape(len(output), -1)
        if self.target_scaler_ is not None:
            values = self.target_scaler_.inverse_transform(values)
        return np.asarray(values.reshape(len(values), *self._shape))
