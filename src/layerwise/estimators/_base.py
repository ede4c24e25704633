"""What the three estimators share: their parameters, the growth, the rows that pass a network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import keras
import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from layerwise.depth import FixedDepth, Plateau
from layerwise.engine import make_engine
from layerwise.errors import InputError, complaint
from layerwise.estimators._data import (
    Given,
    dataset_of,
    dealt,
    scaler_of,
    target_scaler_of,
    with_scaled_targets,
)
from layerwise.finetune import FineTune
from layerwise.training import train

_CHUNK = 256
"""Rows that pass a network at a time. Always as many, so that a prediction does not depend on the
rows beside it: other shapes may end in other last bits."""


class LayerwiseBase(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Parameters, growth and features. Not to be used by itself."""

    def __init__(
        self,
        *,
        width: int = 128,
        activation: str = "relu",
        block: Callable[[int], keras.Layer] | None = None,
        objective: Any = "supervised",
        max_depth: int = 5,
        patience: int = 2,
        epochs: int = 100,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: float = 1e-3,
        validation_fraction: float = 0.2,
        fine_tune: int = 50,
        dropout: float = 0.0,
        scale: bool = True,
        unlabeled_label: Any = None,
        random_state: Any = None,
        engine: str = "auto",
        verbose: int = 0,
    ) -> None:
        self.width = width
        self.activation = activation
        self.block = block
        self.objective = objective
        self.max_depth = max_depth
        self.patience = patience
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction
        self.fine_tune = fine_tune
        self.dropout = dropout
        self.scale = scale
        self.unlabeled_label = unlabeled_label
        self.random_state = random_state
        self.engine = engine
        self.verbose = verbose

    def transform(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """The features of the trunk at the chosen depth.

        Args:
            X: `(n_samples, n_features)`.

        Returns:
            `(n_samples, n_features_out)`, with names by `get_feature_names_out`.
        """
        rows = self._rows(X)
        features = self._through("features_", rows)
        return features.reshape(len(rows), -1)

    def _grow(self, given: Given) -> None:
        """Grow on these rows and keep what predictions need."""
        seed = int(check_random_state(self.random_state).randint(2**31 - 1))
        fraction = self.validation_fraction
        if not 0 <= fraction < 1:
            raise InputError(complaint("validation_fraction", "lie in [0, 1)", fraction))
        rows, held_out = dealt(given, fraction, seed)
        self.scaler_ = scaler_of(given, rows) if self.scale else None
        if given.kind == "values":
            self.target_scaler_ = target_scaler_of(given, rows) if self.scale else None
            given = with_scaled_targets(given, self.target_scaler_)
        data = dataset_of(given, rows, held_out, self._scaled)
        chosen = data.validation is not None
        labels = data.labels is not None
        tune = FineTune(self.learning_rate, self.fine_tune, patience=10) if self.fine_tune else None
        result = train(
            data,
            block=self.block or self._block,
            objective=self._objective(),
            optimizer=keras.optimizers.Adam(self.learning_rate),
            epochs=self.epochs,
            batch_size=_rows_a_step(self.batch_size, len(rows)),
            max_depth=self.max_depth,
            depth_rule=Plateau(self.patience) if chosen else FixedDepth(keep="last"),
            fine_tune=tune if chosen and labels else None,
            seed=seed,
            engine=self.engine,  # type: ignore[arg-type]
            verbose=self.verbose,
        )
        self.model_ = result.model
        self.history_ = result.history
        self.selected_depth_ = result.selected_depth
        # Not those of the tuned network: the heads of the stages stand on the blocks as they grew.
        self.stages_ = [result.model_at(d) for d in range(1, len(result.history.stages) + 1)]
        self.features_ = _trunk(self.model_) if labels else self.model_
        # What scikit-learn names the columns of `transform` by.
        self._n_features_out = int(np.prod(self.features_.outputs[0].shape[1:]))
        self._passes: dict[str, Callable[[Any], Any]] = {}

    def _objective(self) -> Any:
        return self.objective

    def _block(self, depth: int) -> keras.Layer:
        dense = keras.layers.Dense(self.width, self.activation)
        if not self.dropout:
            return dense
        return keras.Sequential([dense, keras.layers.Dropout(self.dropout)])

    def _rows(self, X: Any) -> NDArray[np.float32]:  # noqa: N803
        """Rows like those of `fit`, scaled as those were."""
        check_is_fitted(self, "model_")
        return self._scaled(validate_data(self, X, reset=False, dtype=np.float64))

    def _scaled(self, rows: NDArray[np.float64]) -> NDArray[np.float32]:
        return np.asarray(rows if self.scaler_ is None else self.scaler_.transform(rows), "float32")

    def _through(self, name: str, rows: NDArray[np.float32], index: int | None = None) -> Any:
        """What a network gives for rows, a padded chunk at a time."""
        network = getattr(self, name) if index is None else getattr(self, name)[index]
        key = f"{name}{index}"
        if key not in self._passes:
            self._passes[key] = make_engine(self.engine).forward(network)  # type: ignore[arg-type]
        return np.concatenate(list(_chunks(self._passes[key], rows)))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        # Networks compute in single precision whatever comes in.
        tags.transformer_tags.preserves_dtype = []
        return tags

    def __getstate__(self) -> dict[str, Any]:
        """Without compiled programs, which are made again where they are needed."""
        state = dict(super().__getstate__())
        if "_passes" in state:
            state["_passes"] = {}
        return state


def _trunk(model: keras.Model) -> keras.Model:
    """A network without its head."""
    return keras.Model(model.inputs, model.layers[-1].input)


def _chunks(
    forward: Callable[[Any], Any], rows: NDArray[np.float32]
) -> Iterator[NDArray[np.float32]]:
    for start in range(0, len(rows), _CHUNK):
        chunk = rows[start : start + _CHUNK]
        padded = np.zeros((_CHUNK, *rows.shape[1:]), rows.dtype)
        padded[: len(chunk)] = chunk
        yield keras.ops.convert_to_numpy(forward(padded))[: len(chunk)]


def _rows_a_step(given: Any, rows: int) -> Any:
    """The batch size: small where there are few rows, as a network needs steps to learn."""
    if isinstance(given, str) and given == "auto":
        return min(max(rows // 40, 32), 200)
    return given
