"""scikit-learn's faces of greedy training."""

from layerwise.estimators._classifier import LayerwiseClassifier as LayerwiseClassifier
from layerwise.estimators._regressor import LayerwiseRegressor as LayerwiseRegressor
from layerwise.estimators._transformer import LayerwiseTransformer as LayerwiseTransformer
