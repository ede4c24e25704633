"""Every layer that is written as ONNX, against Keras' own forward pass, by ONNX Runtime."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

from layerwise.errors import InputError

pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")

from layerwise.service._onnx import convert  # noqa: E402
from layerwise.service._onnx._activations import FUNCTIONS  # noqa: E402

RNG = np.random.default_rng(0)


def chain(shape: tuple[int, ...], *inside: keras.Layer, dtype: str = "float32") -> keras.Model:
    return keras.Sequential([keras.Input(shape, dtype=dtype), *inside])


def shaken(model: keras.Model) -> keras.Model:
    """No weight as it was made, statistics included."""
    for variable in model.weights:
        values = RNG.normal(size=variable.shape) / 2
        variable.assign(np.abs(values) + 0.2 if "variance" in variable.path else values)
    return model


def opened(content: bytes, x: np.ndarray) -> dict[str, np.ndarray]:
    session = runtime.InferenceSession(content, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {"input": x}), strict=True))


def assert_same(model: keras.Model, rows: int = 3) -> None:
    """Within 5e-6 of the largest output; float32 loses some 1e-7 a step."""
    shaken(model)
    shape, dtype = (rows, *model.input_shape[1:]), model.inputs[0].dtype
    x = RNG.integers(0, 10, shape) if "int" in dtype else RNG.normal(size=shape)
    x = x.astype(dtype)
    outputs = model(x, training=False)
    expected = outputs if isinstance(outputs, dict) else {"output": outputs}
    received = opened(convert(model, {}), x)
    assert list(received) == list(expected)
    for name, output in expected.items():
        values = keras.ops.convert_to_numpy(output)
        assert values.shape == received[name].shape
        np.testing.assert_allclose(received[name], values, atol=5e-6 * np.abs(values).max(), rtol=0)


@pytest.mark.parametrize("word", FUNCTIONS)
def test_an_activation(word: str) -> None:
    assert_same(chain((5,), layers.Dense(4, activation=word)))


# Sizes, strides and kernels that leave unequal pads at both ends.
WINDOWS = [(p, s) for p in ("valid", "same") for s in (2, 3)]


@pytest.mark.parametrize(("padding", "strides"), WINDOWS)
def test_windows(padding: str, strides: int) -> None:
    how: dict[str, Any] = {"padding": padding, "strides": strides}
    assert_same(chain((11, 8, 4), layers.Conv2D(6, (3, 4), groups=2, activation="relu", **how)))
    assert_same(chain((11, 8, 3), layers.SeparableConv2D(5, 3, depth_multiplier=2, **how)))
    assert_same(chain((11, 8, 3), layers.DepthwiseConv2D(3, depth_multiplier=2, **how)))
    for pooling in (layers.MaxPooling2D, layers.AveragePooling2D):
        assert_same(chain((11, 8, 2), pooling((3, 2), **how)))


OTHERS = {
    "dilation": lambda: chain((11, 8, 3), layers.Conv2D(5, 3, dilation_rate=2, padding="same")),
    "causal": lambda: chain((9, 3), layers.Conv1D(5, 3, dilation_rate=2, padding="causal")),
    "one dimension": lambda: chain(
        (9, 3),
        layers.DepthwiseConv1D(2),
        layers.SeparableConv1D(4, 2),
        layers.MaxPooling1D(2, padding="same"),
        layers.AveragePooling1D(2, padding="same"),
    ),
    "three dimensions": lambda: chain(
        (5, 6, 7, 2),
        layers.Conv3D(3, 3, use_bias=False),
        layers.MaxPooling3D(2, padding="same"),
        layers.AveragePooling3D(2, padding="same"),
    ),
    "batch": lambda: chain((6, 5, 3), layers.BatchNormalization(), layers.BatchNormalization(1)),
    "layer": lambda: chain(
        (6, 5, 3), layers.LayerNormalization(scale=False), layers.LayerNormalization(axis=[1, 3])
    ),
    "rms and group": lambda: chain(
        (6, 5, 8), layers.RMSNormalization(), layers.GroupNormalization(groups=4)
    ),
    "shapes": lambda: chain(
        (6, 4),
        layers.Reshape((3, -1)),
        layers.Permute((2, 1)),
        layers.Flatten(),
        layers.RepeatVector(3),
        layers.Rescaling(0.3, 0.2),
        layers.ZeroPadding1D((1, 2)),
    ),
    "padded images": lambda: chain((6, 4, 2), layers.ZeroPadding2D(((1, 2), (0, 3)))),
    "activations": lambda: chain(
        (6, 4, 2),
        layers.ReLU(max_value=2, negative_slope=0.1),
        layers.LeakyReLU(0.3),
        layers.ELU(0.7),
        layers.PReLU(shared_axes=[1]),
        layers.Softmax(axis=1),
        layers.Activation("tanh"),
        layers.Dropout(0.3),
        layers.GaussianNoise(0.2),
    ),
    "an activation layer": lambda: chain((6,), layers.Dense(3, activation=layers.LeakyReLU(0.3))),
    "embedding": lambda: chain(
        (6,), layers.Embedding(10, 4), layers.GlobalAveragePooling1D(), dtype="int32"
    ),
    "bytes": lambda: chain((6,), layers.Dense(3), dtype="uint8"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_layer(name: str) -> None:
    assert_same(OTHERS[name]())


@pytest.mark.parametrize("kind", ["Max", "Average"])
@pytest.mark.parametrize("keepdims", [False, True])
def test_global_pooling(kind: str, keepdims: bool) -> None:
    for rank in (1, 2, 3):
        pooling = getattr(layers, f"Global{kind}Pooling{rank}D")
        assert_same(chain((*(5, 6, 7)[:rank], 3), pooling(keepdims=keepdims)))


def branches() -> keras.Model:
    inputs = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same")(inputs)
    y = keras.Sequential([layers.Conv2D(4, 3, padding="same"), layers.ReLU()])(x)
    inner = keras.Input((8, 8, 4))
    z = keras.Model(inner, layers.Dense(4)(inner) + 1.0)(y)
    merges = ("Add", "Average", "Maximum", "Minimum", "Multiply", "Subtract")
    merged = [getattr(layers, name)()([x, z]) for name in merges]
    joined = layers.Concatenate()([*merged, x + y, x * 0.3, 1 - y, keras.ops.tanh(x)])
    outputs = {"depth_2": layers.Dense(3)(layers.Flatten()(joined)), "depth_1": z}
    return keras.Model(inputs, outputs)


def test_networks_in_networks_with_several_outputs() -> None:
    assert_same(branches())


def test_any_number_of_rows() -> None:
    model = shaken(branches())
    content = convert(model, {"classes": "[1]"})
    x = RNG.normal(size=(5, 8, 8, 3)).astype("float32")
    whole, alone = opened(content, x), opened(content, x[:1])
    np.testing.assert_allclose(alone["depth_2"], whole["depth_2"][:1], rtol=1e-4)
    session = runtime.InferenceSession(content)
    assert session.get_modelmeta().custom_metadata_map == {"classes": "[1]"}
    assert session.get_inputs()[0].shape == ["batch", 8, 8, 3]


class Mine(layers.Dense):
    """A class of the user's, which may do anything."""


class MyModel(keras.Sequential):
    """The same as a network."""


REFUSED = {
    "LSTM": (lambda: layers.LSTM(3), "LSTM.*not known here"),
    "own class": (lambda: Mine(3), "Mine.*not known here"),
    "own network": (lambda: MyModel([layers.Dense(3)]), "MyModel.*not known here"),
    "own activation": (
        lambda: layers.Dense(3, activation=lambda x: x * 2),
        "its activation <lambda> is not known",
    ),
    "rare activation": (lambda: layers.Dense(3, activation="sparsemax"), "activation sparsemax"),
    "threshold": (lambda: layers.ReLU(threshold=0.5), "threshold"),
    "half": (lambda: layers.Dense(3, dtype="mixed_float16"), "mixed_float16"),
    "first": (lambda: layers.Conv1D(3, 2, data_format="channels_first"), "channels are first"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_form_is_refused_by_name(name: str) -> None:
    make, message = REFUSED[name]
    with pytest.raises(InputError, match=message):
        convert(chain((5, 4), make()), {})


def test_functions_without_a_form_are_refused() -> None:
    inputs = keras.Input((4,))
    with pytest.raises(InputError, match=r"keras\.ops\.square"):
        convert(keras.Model(inputs, keras.ops.square(inputs)), {})
    with pytest.raises(InputError, match="one input"):
        convert(keras.Model([inputs, keras.Input((4,))], inputs + 1), {})
