"""Where a new block starts: afresh, as the identity, or as a copy of the block below."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from layerwise.errors import InputError
from layerwise.growth._build import copy_weights

_PASSING = (
    layers.InputLayer,
    layers.Dropout,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.GaussianNoise,
    layers.GaussianDropout,
    layers.Identity,
)
"""Layers that change nothing in inference mode."""

TOLERANCE = 1e-6
"""How far the output of an identity may lie from its input, on features of size 1."""


def start_as_copy(block: keras.Layer, below: keras.Layer, depth: int) -> None:
    """Give a new block the weights of the trained one below it, as layer stacking does.

    Raises:
        InputError: their variables differ in shape.
    """
    ours = [tuple(variable.shape) for variable in block.variables]
    theirs = [tuple(variable.shape) for variable in below.variables]
    if ours != theirs:
        raise InputError(
            f'`init="copy"` needs a block of depth {depth} shaped as the one below. Its variables '
            f"have the shapes {ours}, those below {theirs}."
        )
    copy_weights(below, block)


def start_as_identity(block: keras.Layer, sample: np.ndarray, depth: int) -> None:
    """Make a new block give in inference mode what it gets, so that the network stays the same.

    Dense layers get the unit matrix, convolutions a 1 in the middle of their kernel, and
    normalization the scale that undoes its epsilon. Then the block is tried.

    Args:
        block: built.
        sample: some features that it will see.
        depth: of the stage, for the error.

    Raises:
        InputError: the block does not give back the sample; the message says why.

    Reference: Chen, Goodfellow, Shlens, Net2Net, 2016, section 3.2.
    """
    for layer in block.layers if isinstance(block, keras.Sequential) else [block]:
        if isinstance(layer, layers.Dense):
            _set(layer, np.eye(*layer.kernel.shape), depth)
        elif isinstance(layer, layers.Conv1D | layers.Conv2D | layers.Conv3D):
            _set(layer, _middle(layer, depth), depth)
        elif isinstance(layer, layers.BatchNormalization):
            scale = np.sqrt(1 + layer.epsilon)
            if not layer.scale:
                raise _refusal(depth, f"{layer.name} has no scale to undo its epsilon with")
            layer.gamma.assign(np.full(layer.gamma.shape, scale))
        elif not isinstance(layer, (*_PASSING, layers.Activation, layers.ReLU)):
            raise _refusal(depth, f"no weights make {type(layer).__name__} the identity")
    output = keras.ops.convert_to_numpy(block(sample, training=False))
    if output.shape != sample.shape:
        raise _refusal(depth, f"it turns features {sample.shape[1:]} into {output.shape[1:]}")
    gap = float(np.abs(output - sample).max())
    if not gap <= TOLERANCE * max(1.0, float(np.abs(sample).max())):
        raise _refusal(
            depth,
            f"its output lies up to {gap:.2g} from its input: an activation such as tanh, or relu "
            "on features below 0, changes what passes",
        )


def _middle(layer: keras.Layer, depth: int) -> np.ndarray:
    """A kernel that picks the pixel in the middle of the same channel."""
    shape = tuple(layer.kernel.shape)
    if layer.padding != "same" or set(layer.strides) != {1} or layer.groups != 1:
        raise _refusal(depth, f"{layer.name} has strides, groups or no padding")
    if any(size % 2 == 0 for size in shape[:-2]):
        raise _refusal(depth, f"the kernel of {layer.name} has no middle")
    kernel = np.zeros(shape)
    kernel[tuple(size // 2 for size in shape[:-2])] = np.eye(*shape[-2:])
    return kernel


def _set(layer: keras.Layer, kernel: np.ndarray, depth: int) -> None:
    if kernel.shape[-1] != kernel.shape[-2]:
        raise _refusal(
            depth, f"{layer.name} turns {kernel.shape[-2]} features into {kernel.shape[-1]}"
        )
    layer.kernel.assign(kernel)
    if layer.bias is not None:
        layer.bias.assign(np.zeros(layer.bias.shape))


def _refusal(depth: int, why: str) -> InputError:
    return InputError(
        f'`init="identity"` cannot start the block of depth {depth}: {why}. '
        'Use `init="fresh"` or another block.'
    )
