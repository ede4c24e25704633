"""Networks as plain data and back: equal to the bit, plain Keras, made without memory first."""

from __future__ import annotations

import json
import random
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops

from layerwise.architecture import _rebuild, _schema, describe, rebuild
from layerwise.errors import DamagedError, InputError, InputTypeError


class Scale(keras.Layer):
    """A layer as a user would write it."""

    def __init__(self, factor: float = 2.0, inner: Any = None, **settings: Any) -> None:
        super().__init__(**settings)
        self.factor, self.inner = factor, inner

    def build(self, shape: Any) -> None:
        self.gain = self.add_weight(shape=(shape[-1],), initializer="ones", name="gain")
        if self.inner is not None:
            self.inner.build(shape)

    def call(self, x: Any) -> Any:
        x = x * self.gain * self.factor
        return x if self.inner is None else self.inner(x)

    def get_config(self) -> dict[str, Any]:
        inner = keras.saving.serialize_keras_object(self.inner)
        return {**super().get_config(), "factor": self.factor, "inner": inner}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Scale:
        config["inner"] = keras.saving.deserialize_keras_object(config["inner"])
        return cls(**config)


class Secret(keras.Layer):
    """A layer that cannot say how it was made."""

    def __init__(self, function: Any, **settings: Any) -> None:
        super().__init__(**settings)
        self.function = function

    def call(self, x: Any) -> Any:
        return self.function(x)

    def compute_output_shape(self, shape: Any) -> Any:
        return shape

    def get_config(self) -> dict[str, Any]:
        raise RuntimeError("not telling")


class MyBlock(keras.Sequential):
    """A subclass of a class that is on the list is not on the list."""


def tripled(x: Any) -> Any:
    return 3 * x


@dataclass(frozen=True)
class Network:
    """A network under a name."""

    name: str
    make: Callable[[], list[Any]]
    shape: tuple[int, ...] = (6,)
    layers: dict[str, Callable[..., keras.Layer]] = field(default_factory=dict)
    engines: bool = False
    tokens: bool = False

    def build(self) -> keras.Sequential:
        """Built, its variables moved away from where they started."""
        model = keras.Sequential([keras.Input(self.shape), *self.make()], name="net")
        rng = np.random.default_rng(0)
        for variable in model.variables:
            if "float" in str(variable.dtype):
                shift = rng.uniform(0.05, 0.3, tuple(variable.shape))
                variable.assign(keras.ops.convert_to_numpy(variable.value) + shift)
        return model

    def rows(self) -> np.ndarray:
        rng = np.random.default_rng(1)
        if self.tokens:
            return rng.integers(0, 9, (8, *self.shape)).astype("float32")
        return rng.normal(size=(8, *self.shape)).astype("float32")


def _mlp() -> list[Any]:
    return [
        layers.Dense(8, "relu", kernel_regularizer=keras.regularizers.L2(1e-3)),
        layers.BatchNormalization(),
        layers.Dropout(0.3),
        layers.Dense(3, "softmax", kernel_constraint="max_norm", kernel_initializer="he_normal"),
    ]


def _cnn() -> list[Any]:
    return [
        layers.Conv2D(4, 3, padding="same"),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.MaxPooling2D(),
        layers.SeparableConv2D(3, 3),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2),
    ]


def _residual() -> list[Any]:
    x = keras.Input((6,))
    branch = layers.Dense(6, activation=layers.LeakyReLU(0.1))(x)
    y = layers.add([x, branch]) * 2.0 - x
    y = ops.concatenate([ops.relu(y), x[:, :2], ops.mean(y, axis=-1, keepdims=True)], axis=-1)
    return [keras.Model(x, y), layers.Dense(2)]


def _shared() -> list[Any]:
    x = keras.Input((6,))
    twice = layers.Dense(6, "tanh")
    inner = keras.Model(x, layers.subtract([twice(twice(x)), x]), name="inner")
    z = keras.Input((6,))
    return [keras.Model(z, inner(inner(z)), name="outer"), layers.Rescaling(0.5, offset=1.0)]


def _lstm() -> list[Any]:
    return [
        layers.Embedding(10, 4, mask_zero=True),
        layers.LSTM(5, return_sequences=True, dropout=0.1, seed=3),
        layers.Dense(1),
    ]


def _recurrent() -> list[Any]:
    cells = layers.StackedRNNCells([layers.LSTMCell(3), layers.GRUCell(2)])
    block = keras.Sequential([layers.Dense(3), layers.PReLU()])
    return [
        layers.RNN(cells, return_sequences=True),
        layers.Bidirectional(layers.GRU(3, return_sequences=True), merge_mode="sum"),
        layers.TimeDistributed(block),
    ]


def _attention() -> list[Any]:
    x = keras.Input((6, 8))
    attended = layers.MultiHeadAttention(2, 4, dropout=0.1)(x, x, use_causal_mask=True)
    normed = layers.LayerNormalization()(layers.add([x, attended]))
    return [keras.Model(x, normed), layers.Flatten(), layers.Dense(2)]


def _nested() -> list[Any]:
    inner = keras.Sequential([layers.Dense(3), layers.BatchNormalization()], name="inner")
    return [keras.Sequential([layers.Dense(4), inner]), layers.Dense(2)]


def _mixed() -> list[Any]:
    return [
        layers.Dense(4, "gelu", dtype="mixed_float16"),
        layers.BatchNormalization(dtype="mixed_float16"),
        layers.Dense(3, dtype="bfloat16"),
        layers.Dense(2, dtype="mixed_bfloat16"),
    ]


def _frozen() -> list[Any]:
    normal = layers.BatchNormalization()
    block = keras.Sequential([layers.Dense(4), normal])
    block.trainable = False
    normal.trainable = True
    x = keras.Input((2, 2))
    attention = layers.MultiHeadAttention(2, 2)
    frozen = keras.Model(x, attention(x, x))
    # The layers that it made for itself are frozen with it, which its settings do not say.
    attention.trainable = False
    return [block, layers.Dense(4, trainable=False), layers.Reshape((2, 2)), frozen]


def _own() -> list[Any]:
    return [Scale(3.0), layers.Dense(4), Scale(inner=layers.Dense(3), trainable=False)]


def _unnamed() -> list[Any]:
    return [
        Secret(tripled, name="secret"),
        layers.Lambda(lambda x: 3 * x, output_shape=(6,), name="tripled"),
        layers.Dense(3, activation=lambda x: 3 * x, name="dense"),
        MyBlock([layers.Dense(2)], name="block"),
    ]


_UNNAMED = {
    "Secret": lambda name: Secret(tripled, name=name),
    "Lambda": lambda name: layers.Lambda(tripled, output_shape=(6,), name=name),
    "Dense": lambda name: layers.Dense(3, activation=tripled, name=name),
    "MyBlock": lambda **settings: MyBlock([keras.Input((3,)), layers.Dense(2)], name="block"),
}

NETWORKS = [
    Network("mlp", _mlp, engines=True),
    Network("cnn", _cnn, (8, 8, 1)),
    Network("residual", _residual, engines=True),
    Network("shared", _shared),
    Network("lstm", _lstm, tokens=True, engines=True),
    Network("recurrent", _recurrent, (4, 3)),
    Network("attention", _attention, (6, 8), engines=True),
    Network("nested", _nested, engines=True),
    Network("mixed", _mixed, engines=True),
    Network("frozen", _frozen),
    Network("own", _own, layers={"Scale": Scale}, engines=True),
    Network("unnamed", _unnamed, layers=_UNNAMED),
]


def values(model: keras.Model) -> list[np.ndarray]:
    return [ops.convert_to_numpy(variable.value) for variable in model.variables]


def as_json(description: Any) -> Any:
    return json.loads(json.dumps(description, allow_nan=False))


def again(model: keras.Model, made_by: dict[str, Any] | None = None) -> keras.Model:
    description = as_json(describe(model))
    back = rebuild(description, values(model), made_by)
    assert description == as_json(describe(model))
    return back


def table() -> list[Any]:
    marks = {True: pytest.mark.engines, False: ()}
    return [pytest.param(n, id=n.name, marks=marks[n.engines]) for n in NETWORKS]


@pytest.mark.parametrize("network", table())
def test_a_network_comes_back_to_the_bit(network: Network) -> None:
    """Tolerance none: the same program on the same numbers, at the same batch size."""
    model = network.build()
    back = again(model, network.layers)
    assert type(back) is keras.Sequential
    rows = network.rows()
    expected, found = (m.predict(rows, verbose=0, batch_size=4) for m in (model, back))
    assert expected.dtype == found.dtype
    np.testing.assert_array_equal(expected, found)
    for ours, theirs in zip(values(model), values(back), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert [layer.name for layer in back.layers] == [layer.name for layer in model.layers]
    if "own" not in json.dumps(describe(model)) and network.name not in ("residual", "shared"):
        # Operations are named anew.
        assert describe(back) == describe(model)
    flags = [[variable.trainable for variable in m.variables] for m in (model, back)]
    assert flags[0] == flags[1]
    assert not back.compiled


@pytest.mark.engines
def test_it_is_a_plain_network_afterwards(tmp_path: Path) -> None:
    """Training goes on as it would have, dropout included, and Keras saves and loads it."""
    network = NETWORKS[0]
    model = network.build()
    back = again(model)
    rows, targets = network.rows(), np.arange(8) % 3
    for one in (model, back):
        one.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
    curves = []
    for one in (model, back):
        # On PyTorch a Dropout without a seed draws on the global stream.
        keras.utils.set_random_seed(0)
        fitted = one.fit(rows, targets, epochs=1, batch_size=4, shuffle=False, verbose=0)
        curves.append(fitted.history)
    assert curves[0] == curves[1]
    for ours, theirs in zip(values(model), values(back), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    back.save(tmp_path / "ours.keras")
    loaded = keras.models.load_model(tmp_path / "ours.keras")
    np.testing.assert_array_equal(
        loaded.predict(rows, verbose=0, batch_size=4), back.predict(rows, verbose=0, batch_size=4)
    )


def test_its_inner_layers_can_be_looked_into() -> None:
    back = again(NETWORKS[0].build())
    looked = keras.Model(back.inputs, back.layers[1].output)
    assert looked.predict(NETWORKS[0].rows(), verbose=0).shape == (8, 8)


def test_a_functional_network_is_described_too() -> None:
    a, b = keras.Input((3,), name="a"), keras.Input((2,), name="b", dtype="int32")
    joined = layers.concatenate([layers.Dense(4)(a), ops.cast(b, "float32")])
    model = keras.Model({"a": a, "b": b}, [layers.Dense(2)(joined), joined], name="two")
    back = again(model)
    rows = {"a": np.ones((4, 3), "float32"), "b": np.ones((4, 2), "int32")}
    for ours, theirs in zip(
        model.predict(rows, verbose=0), back.predict(rows, verbose=0), strict=True
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_arrays_are_copied() -> None:
    """JAX takes over the memory of an array without a copy where it is aligned."""
    model = keras.Sequential([keras.Input((64,)), layers.Dense(64, use_bias=False)])
    memory = np.zeros(64 * 64 * 4 + 64, "uint8")
    start = -memory.ctypes.data % 64
    kernel = memory[start : start + 64 * 64 * 4].view("float32").reshape(64, 64)
    kernel[...] = 1
    back = rebuild(describe(model), [kernel])
    kernel[...] = 0
    assert values(back)[0].min() == 1


def test_the_streams_and_names_of_the_user_stay() -> None:
    model = NETWORKS[0].build()
    description, arrays = describe(model), values(model)
    name = keras.random.SeedGenerator(0).name
    state, numbers = random.getstate(), np.random.get_state()[1].copy()
    rebuild(description, arrays)
    assert random.getstate() == state
    np.testing.assert_array_equal(np.random.get_state()[1], numbers)
    numbered = [int(word.rsplit("_", 1)[1]) for word in (name, keras.random.SeedGenerator(0).name)]
    assert numbered[1] == numbered[0] + 1


def test_the_policy_of_the_user_holds_for_what_a_layer_makes_for_itself() -> None:
    class Inside(keras.Layer):
        def __init__(self, **settings: Any) -> None:
            super().__init__(**settings)
            self.inner = layers.Dense(2)

        def build(self, shape: Any) -> None:
            self.inner.build(shape)

        def call(self, x: Any) -> Any:
            return self.inner(x)

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("bfloat16")
    try:
        model = keras.Sequential([keras.Input((3,)), Inside()])
        back = again(model, {"Inside": Inside})
    finally:
        keras.config.set_dtype_policy(before)
    assert [str(v.dtype) for v in back.variables] == ["bfloat16", "bfloat16"]


def test_integers_of_another_backend_are_taken() -> None:
    """The state of a random generator is uint32 on JAX, int32 on PyTorch, int64 on TensorFlow."""
    model = NETWORKS[0].build()
    arrays = values(model)
    states = [i for i, array in enumerate(arrays) if array.dtype.kind in "iu"]
    assert len(states) == 1
    for kind in ("int64", "int32", "uint32"):
        arrays[states[0]] = arrays[states[0]].astype(kind)
        back = rebuild(describe(model), arrays)
        assert values(back)[states[0]].tolist() == arrays[states[0]].tolist()
    arrays[states[0]] = np.array([2**64 - 1, 0], "uint64")
    with pytest.raises(DamagedError, match="Variable"):
        rebuild(describe(model), arrays)


def test_what_is_written() -> None:
    model = keras.Sequential(
        [keras.Input((4,), name="x"), layers.Dense(2, name="d"), Scale(name="s")], name="net"
    )
    description = describe(model)
    dense = keras.saving.serialize_keras_object(model.layers[0])
    del dense["build_config"]
    head, *rest = description["network"]["config"]["layers"]
    assert head["class_name"] == "InputLayer"
    assert rest[0] == dense
    assert rest[1]["own"] is True
    assert rest[1]["config"]["factor"] == 2.0
    assert {k: v for k, v in description.items() if k != "network"} == {
        "format": 1,
        "inputs": [{"shape": [None, 4], "dtype": "float32"}],
        "variables": 3,
        "trainable": [True, True, True],
    }


def test_a_layer_that_cannot_be_kept_is_described_by_name() -> None:
    model = NETWORKS[-1].build()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        described = describe(model)["network"]["config"]["layers"][1:]
    assert told == []
    assert [(d["class_name"], d["own"], d["name"]) for d in described] == [
        ("Secret", True, "secret"),
        ("Lambda", True, "tripled"),
        ("Dense", True, "dense"),
        ("MyBlock", True, "block"),
    ]
    assert [d["config"] for d in described[:3]] == [None, None, None]


def test_an_adapted_normalization_comes_back_by_the_users_hand() -> None:
    model = keras.Sequential([keras.Input((3,)), layers.Normalization(), layers.Dense(2)])
    rows = np.random.default_rng(0).normal(3.0, 2.0, (20, 3)).astype("float32")
    model.layers[0].adapt(rows)
    back = again(model, {"Normalization": layers.Normalization})
    np.testing.assert_array_equal(model.predict(rows, verbose=0), back.predict(rows, verbose=0))


def test_what_describe_refuses() -> None:
    with pytest.raises(InputTypeError, match="Sequential or functional"):
        describe(layers.Dense(2))
    with pytest.raises(InputError, match="not built"):
        describe(keras.Sequential([layers.Dense(2)]))
    dense = layers.Dense(4)
    with pytest.raises(InputError, match="two places"):
        describe(keras.Sequential([keras.Input((4,)), dense, keras.Sequential([dense])]))
    x = keras.Input((4,))
    with pytest.raises(InputError, match="cannot be described"):
        describe(keras.Model(x, ops.split(x, 2, axis=-1)))
    with pytest.raises(InputError, match="cannot be described"):
        describe(keras.Model(x, x + np.ones(4, "float32")))


def test_a_class_that_takes_no_name_keeps_it() -> None:
    class Plain(keras.Layer):
        def __init__(self, factor: float = 2.0) -> None:
            super().__init__()
            self.factor = factor

        def call(self, x: Any) -> Any:
            return x * self.factor

        def get_config(self) -> dict[str, Any]:
            return {"factor": self.factor}

    layer = Plain(3.0)
    layer.name = "mine"
    back = again(keras.Sequential([keras.Input((3,)), layer]), {"Plain": Plain})
    assert (back.layers[0].name, back.layers[0].factor) == ("mine", 3.0)


def test_a_missing_class_is_named() -> None:
    model = NETWORKS[-2].build()
    with pytest.raises(InputError, match=r"'Scale'.*layers=\{name: class\}"):
        again(model)


def test_code_of_the_user_that_fails_is_named() -> None:
    model = NETWORKS[-2].build()
    with pytest.raises(InputError, match=r"layers\['Scale'\].*ZeroDivisionError"):
        again(model, {"Scale": lambda **settings: 1 / 0})
    with pytest.raises(InputTypeError, match="make a Keras layer"):
        again(model, {"Scale": lambda **settings: 3})


def test_a_shared_place_in_a_functional_block_is_written_as_own() -> None:
    """A block whose arguments have no form is the user's to make, like any other layer."""
    x = keras.Input((4,))
    block = keras.Model(x, layers.Dense(4)(x) + np.ones(4, "float32"), name="block")
    model = keras.Sequential([keras.Input((4,)), block, layers.Dense(2)])
    record = describe(model)["network"]["config"]["layers"][1]
    assert (record["class_name"], record["own"], record["config"]) == ("Functional", True, None)

    def make(name: str) -> keras.Model:
        y = keras.Input((4,))
        return keras.Model(y, layers.Dense(4)(y) + np.ones(4, "float32"), name=name)

    rows = np.ones((3, 4), "float32")
    np.testing.assert_array_equal(
        model.predict(rows, verbose=0), again(model, {"Functional": make}).predict(rows, verbose=0)
    )


# The least that each class of the list needs, where that is something.
_SEQUENCE, _IMAGE, _VOLUME = (6, 4), (6, 6, 4), (6, 6, 6, 4)
_ARGUMENTS: dict[str, dict[str, Any]] = {
    "Activation": {"activation": "mish"},
    "Dense": {"units": 3},
    "Dot": {"axes": -1},
    "Dropout": {"rate": 0.2},
    "AlphaDropout": {"rate": 0.2},
    "EinsumDense": {"equation": "ab,bc->ac", "output_shape": 3, "bias_axes": "c"},
    "Embedding": {"input_dim": 9, "output_dim": 2},
    "ReversibleEmbedding": {"input_dim": 9, "output_dim": 2},
    "GaussianDropout": {"rate": 0.2},
    "GaussianNoise": {"stddev": 0.2},
    "SpatialDropout1D": {"rate": 0.2},
    "SpatialDropout2D": {"rate": 0.2},
    "SpatialDropout3D": {"rate": 0.2},
    "GroupNormalization": {"groups": 2},
    "GroupQueryAttention": {"head_dim": 2, "num_query_heads": 4, "num_key_value_heads": 2},
    "MultiHeadAttention": {"num_heads": 2, "key_dim": 3},
    "Permute": {"dims": (2, 1)},
    "RepeatVector": {"n": 2},
    "Rescaling": {"scale": [0.5, 1.0, 2.0, 4.0]},
    "Reshape": {"target_shape": (2, -1)},
    "GRU": {"units": 3},
    "LSTM": {"units": 3},
    "SimpleRNN": {"units": 3},
}
_PAIRS = {"Add", "Average", "Concatenate", "Dot", "Maximum", "Minimum", "Multiply", "Subtract"}
_QUERIES = {"AdditiveAttention", "Attention", "GroupQueryAttention", "MultiHeadAttention"}


def _one(name: str) -> tuple[keras.Layer, tuple[int, ...]]:
    """A layer of each class on the list, and the shape of what it takes."""
    kind = getattr(layers, name)
    ranks = {"1D": _SEQUENCE, "2D": _IMAGE, "3D": _VOLUME}
    shape: tuple[int, ...] = (4,)
    for suffix, rank in ranks.items():
        if suffix in name:
            shape = (3, *rank) if name.startswith("ConvLSTM") else rank
    if name in {"GRU", "LSTM", "SimpleRNN", "Permute", "Masking"} | _QUERIES:
        shape = _SEQUENCE
    if name in {"Bidirectional", "RNN", "TimeDistributed", "SpectralNormalization"}:
        inner = {
            "Bidirectional": lambda: layers.SimpleRNN(2),
            "RNN": lambda: layers.SimpleRNNCell(2),
            "TimeDistributed": lambda: layers.Dense(2),
            "SpectralNormalization": lambda: layers.Dense(2),
        }[name]()
        return kind(inner), (4,) if name == "SpectralNormalization" else _SEQUENCE
    arguments = dict(_ARGUMENTS.get(name, {}))
    if name.startswith("AveragePooling"):
        arguments |= {"pool_size": 2}
    if "Conv" in name:
        arguments |= {"kernel_size": 2}
        arguments |= {} if name.startswith("Depthwise") else {"filters": 2}
    if name.startswith("Adaptive"):
        arguments |= {"output_size": 2}
    return kind(**arguments), shape


@pytest.mark.parametrize("name", sorted(_schema.LAYERS))
def test_every_class_on_the_list_comes_back(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And none asks for the value of a variable before all were compared with the arrays."""
    layer, shape = _one(name)
    x = keras.Input(shape)
    if name in _PAIRS:
        y = layer([x, x])
    elif name in _QUERIES:
        y = layer(x, x) if "Head" in name or "Group" in name else layer([x, x])
    else:
        y = layer(x)
    model = keras.Sequential([keras.Input(shape), keras.Model(x, y)])
    description, arrays = as_json(describe(model)), values(model)
    assert '"own"' not in json.dumps(description)
    compared, asked = [], []
    compare = _rebuild._compare
    monkeypatch.setattr(
        _rebuild, "_compare", lambda *given: (compare(*given), compared.append(True))
    )
    for kind in _schema.INITIALIZERS:
        cls = getattr(keras.initializers, kind)

        def call(self: Any, *args: Any, plain: Any = cls.__call__, **kwargs: Any) -> Any:
            if not compared:
                asked.append(type(self).__name__)
            return plain(self, *args, **kwargs)

        monkeypatch.setattr(cls, "__call__", call)
    back = rebuild(description, arrays)
    assert compared == [True]
    assert asked == []
    assert describe(back) == description
    for ours, theirs in zip(values(model), values(back), strict=True):
        np.testing.assert_array_equal(ours, theirs)
