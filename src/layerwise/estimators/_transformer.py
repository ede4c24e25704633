"""Greedy training as a scikit-learn transformer."""

from __future__ import annotations

from typing import Any, Literal, Self

import numpy as np
from sklearn.utils.validation import validate_data

from layerwise.estimators._base import LayerwiseBase
from layerwise.estimators._data import Given
from layerwise.objectives import Reconstruction


class LayerwiseTransformer(LayerwiseBase):
    """Features that a network learned one layer at a time, without labels.

    Parameters are those of `LayerwiseClassifier`, but for what only labels need. The default
    objective gives the scaled rows back from the features (mean squared error), so that depths can
    be compared; another is what `layerwise.train` takes without labels.

    Attributes:
        model_: a plain Keras model from scaled rows to features.
        scaler_, history_, selected_depth_, n_features_in_, feature_names_in_: as there.

    Example:
        >>> from sklearn.datasets import load_iris
        >>> from layerwise import LayerwiseTransformer
        >>> x, _ = load_iris(return_X_y=True)
        >>> LayerwiseTransformer(width=3, epochs=5, random_state=0).fit_transform(x).shape
        (150, 3)
    """

    def __init__(
        self,
        *,
        width: int = 128,
        activation: str = "relu",
        block: Any = None,
        objective: Any = "reconstruction",
        max_depth: int = 5,
        patience: int = 2,
        epochs: int = 100,
        batch_size: int | Literal["auto"] = "auto",
        learning_rate: float = 1e-3,
        validation_fraction: float = 0.2,
        dropout: float = 0.0,
        scale: bool = True,
        random_state: Any = None,
        engine: str = "auto",
        verbose: int = 0,
    ) -> None:
        super().__init__(
            width=width,
            activation=activation,
            block=block,
            objective=objective,
            max_depth=max_depth,
            patience=patience,
            epochs=epochs,
            batch_size=batch_size,
            learning_rate=learning_rate,
            validation_fraction=validation_fraction,
            dropout=dropout,
            scale=scale,
            random_state=random_state,
            engine=engine,
            verbose=verbose,
        )

    def fit(self, X: Any, y: Any = None) -> Self:  # noqa: N803
        """Grow the network.

        Args:
            X: `(n_samples, n_features)`, numbers.
            y: ignored.

        Raises:
            InputError: what was given cannot be used; a ValueError.
        """
        X = validate_data(self, X, dtype=np.float64, ensure_min_samples=2)  # noqa: N806
        self._grow(Given(x=X, y=None, kind=None))
        return self

    def _objective(self) -> Any:
        return Reconstruction(of="inputs") if self.objective == "reconstruction" else self.objective
