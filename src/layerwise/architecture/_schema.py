"""The closed list of what a description of a network may hold, and the limits.

On the list is what neither runs code that a configuration carries nor opens a file. Left out on
purpose: Lambda, the wrappers of foreign modules (TFSMLayer, TorchModuleWrapper, JaxLayer,
FlaxLayer), look-up and text layers (they open vocabularies), hashing, image augmentation,
spectrograms, and Normalization (it makes its arrays while it is built, before anyone could compare
their size with the file's).
"""

from __future__ import annotations

import functools
import inspect
from typing import Any

import keras

FORMAT = 1

MAX_DEPTH = 32
"""Objects in one another."""
MAX_NESTING = 8
"""Lists in one another."""
MAX_LAYERS = 10_000
MAX_LIST = 10_000
MAX_VALUES = 300_000
MAX_TEXT = 1_000
MAX_INTEGER = 2**31 - 1
MAX_SEED = 2**63 - 1
MAX_ELEMENTS = 2**28
"""Numbers in one tensor for one sample."""

OBJECT_KEYS = frozenset({"module", "class_name", "config", "registered_name"})
OWN_KEYS = frozenset({"class_name", "own", "name", "trainable", "config"})


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


LAYERS = _names(
    """
    Activation ActivityRegularization AdaptiveAveragePooling1D AdaptiveAveragePooling2D
    AdaptiveAveragePooling3D AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D Add
    AdditiveAttention AlphaDropout Attention Average AveragePooling1D AveragePooling2D
    AveragePooling3D BatchNormalization Bidirectional Concatenate Conv1D Conv1DTranspose Conv2D
    Conv2DTranspose Conv3D Conv3DTranspose ConvLSTM1D ConvLSTM2D ConvLSTM3D Cropping1D Cropping2D
    Cropping3D Dense DepthwiseConv1D DepthwiseConv2D Dot Dropout ELU EinsumDense Embedding Flatten
    GRU GaussianDropout GaussianNoise GlobalAveragePooling1D GlobalAveragePooling2D
    GlobalAveragePooling3D GlobalMaxPooling1D GlobalMaxPooling2D GlobalMaxPooling3D
    GroupNormalization GroupQueryAttention Identity LSTM LayerNormalization LeakyReLU Masking
    MaxPooling1D MaxPooling2D MaxPooling3D Maximum Minimum MultiHeadAttention Multiply PReLU
    Permute RMSNormalization RNN ReLU RepeatVector Rescaling Reshape ReversibleEmbedding
    SeparableConv1D SeparableConv2D SimpleRNN Softmax SpatialDropout1D SpatialDropout2D
    SpatialDropout3D SpectralNormalization Subtract TimeDistributed UnitNormalization UpSampling1D
    UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    """
)
ACTIVATION_LAYERS = _names("ELU LeakyReLU PReLU ReLU Softmax")
CELLS = _names("GRUCell LSTMCell SimpleRNNCell StackedRNNCells")
INPUTS = _names("InputLayer")

ACTIVATIONS = _names(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh
    leaky_relu linear log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink softmax
    softplus softsign sparse_plus sparse_sigmoid sparsemax squareplus swish tanh tanh_shrink
    threshold
    """
)
INITIALIZERS = _names(
    """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity LecunNormal LecunUniform Ones
    Orthogonal RandomNormal RandomUniform TruncatedNormal VarianceScaling Zeros
    """
)
REGULARIZERS = _names("L1 L1L2 L2 OrthogonalRegularizer")
CONSTRAINTS = _names("MaxNorm MinMaxNorm NonNeg UnitNorm")
DTYPES = _names(
    """
    bfloat16 bool float16 float32 float64 int8 int16 int32 int64 uint8 uint16 uint32 uint64
    """
)
POLICIES = DTYPES | {"mixed_float16", "mixed_bfloat16"}

OPERATIONS = _names(
    """
    absolute add cast clip concatenate divide equal exp expand_dims flip gelu greater greater_equal
    less less_equal log log_softmax logical_and logical_not logical_or matmul max maximum mean min
    minimum multiply negative norm normalize power relu reshape rsqrt sigmoid silu softmax softplus
    sqrt square squeeze stack std stop_gradient subtract sum tanh transpose true_divide var where
    """
)
"""Functions of `keras.ops` that a functional network may call; `get_item` is `x[key]`."""
GET_ITEM = "get_item"

MODULES = {
    "keras.layers": LAYERS | CELLS | INPUTS,
    "keras.initializers": INITIALIZERS,
    "keras.regularizers": REGULARIZERS,
    "keras.constraints": CONSTRAINTS,
    "keras": frozenset({"DTypePolicy", "Sequential", "Functional"}),
}

FIXED: dict[str, Any] = {
    "stateful": False,
    "sparse": False,
    "ragged": False,
    "quantization_config": None,
}
"""Keys with only one value that can be kept."""

PLAIN = _names(
    """
    alpha attention_axes autocast axes axis batch_shape bias_axes center cropping
    data_format depth_multiplier dilation_rate dims distribution dropout epsilon equation factor
    filters flash_attention gain go_backwards groups head_dim input_axes input_dim interpolation
    keepdims kernel_size key_dim l1 l2 logit_soft_cap mask_value mask_zero max_value maxval mean
    merge_mode min_value minval mode momentum n negative_slope noise_shape normalize num_heads
    num_key_value_heads num_query_heads offset optional output_axes output_dim output_padding
    output_shape output_size padding pool_size power_iterations rate recurrent_dropout renorm
    renorm_clipping renorm_momentum reset_after return_sequences return_state rms_scaling scale
    score_mode seed shared_axes size sliding_window stddev strides synchronized target_shape
    threshold tie_weights trainable unit_forget_bias units unroll use_bias use_gate use_scale value
    value_dim zero_output_for_mask
    """
)
"""Keys whose value is None, a bool, a number, a short text, or a list of these."""

_KINDS = {
    "activation": "activation",
    "recurrent_activation": "activation",
    "dtype": "dtype",
    "reverse_dtype": "dtype",
    "layer": "layer",
    "backward_layer": "layer",
    "cell": "cell",
    "cells": "cells",
    "name": "name",
}


def kind_of(key: str) -> str | None:
    """What may stand under a key of a Keras configuration; None for a key that is not known."""
    for kind in ("initializer", "regularizer", "constraint"):
        if key.endswith(f"_{kind}"):
            return kind
    if key in FIXED:
        return "fixed"
    return "plain" if key in PLAIN else _KINDS.get(key)


def find(module: str, class_name: str) -> Any:
    """The class behind a pair that is on the list, from Keras' public namespace."""
    space = keras if module == "keras" else getattr(keras, module.removeprefix("keras."))
    return getattr(space, class_name)


@functools.cache
def keys_of(module: str, class_name: str) -> frozenset[str]:
    """The keys that a configuration of this class may have.

    A key must be on our list and be an argument of the constructor in the installed Keras.
    """
    found = {"rms_scaling"} if class_name == "LayerNormalization" else set()
    for base in find(module, class_name).__mro__:
        if "__init__" in vars(base) and base is not object:
            found.update(inspect.signature(base.__init__).parameters)
    return frozenset(key for key in found if kind_of(key) is not None)


@functools.cache
def arguments_of(operation: str) -> frozenset[str]:
    """The settings that a function of `keras.ops` may be given."""
    if operation == GET_ITEM:
        return frozenset()
    allowed = {"axis", "axes", "dtype", "keepdims", "newshape", "x_min", "x_max", "approximate"}
    allowed |= {"ord", "order", "epsilon", "initial"}
    return frozenset(inspect.signature(getattr(keras.ops, operation)).parameters) & allowed
