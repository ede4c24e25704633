"""Growing: blocks from what users pass, copies, the freeze audit, and the stitched model."""

from __future__ import annotations

import gc
import hashlib
import itertools
import random
import weakref

import keras
import numpy as np
import pytest
from keras import layers

import layerwise
from layerwise.errors import FreezeError, InputError, InputTypeError
from layerwise.growth import (
    Frozen,
    Stage,
    attach,
    audit,
    blocks_from,
    copy_layer,
    copy_weights,
    digest,
    digest_of,
    duplicate,
    layer_key,
    stitch,
)


def built(layer, shape=(3,), dtype="float32"):
    attach(layer, shape, dtype, "The block")
    return layer


def values_of(variables) -> list[np.ndarray]:
    return [np.asarray(keras.ops.convert_to_numpy(variable.value)) for variable in variables]


def weights_of(layer) -> list[np.ndarray]:
    return values_of(layer.weights)


def equal(one, two) -> bool:
    pairs = zip(weights_of(one), weights_of(two), strict=True)
    return all(np.array_equal(a, b) for a, b in pairs)


def frozen(*blocks, predictor=None) -> list[Stage]:
    """Blocks, built on one another, as trained stages; a built predictor ends the last one."""
    stages = []
    for depth, block in enumerate(blocks, start=1):
        last = Frozen(predictor) if predictor is not None and depth == len(blocks) else None
        stages.append(Stage(depth=depth, blocks=(Frozen(block),), head=last, predictor=last))
    return stages


def streams() -> tuple:
    kind, numbers, *rest = np.random.get_state()
    return random.getstate(), kind, numbers.tolist(), rest


@keras.saving.register_keras_serializable("tests")
class Late(layers.Layer):
    """Chooses its initializer when built, as any layer does that names none in `add_weight`."""

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 2), initializer="random_uniform")

    def call(self, x):
        return x @ self.w


# --- blocks_from


def test_a_callable_is_asked_for_each_depth():
    blocks = blocks_from(lambda depth: layers.Dense(2 * depth), (3,), "float32")
    assert (blocks.count, blocks.head) == (None, None)
    assert [blocks(depth, seed=0).units for depth in (1, 2, 5)] == [2, 4, 10]


@pytest.mark.parametrize("kind", [list, tuple])
def test_a_list_gives_clones_in_order(kind):
    mine = kind([layers.Dense(4, activation="relu"), built(layers.Dense(5), (4,))])
    blocks = blocks_from(mine, (3,), "float32")
    assert (blocks.count, blocks.head) == (2, None)
    made = [blocks(depth, seed=0) for depth in (1, 2)]
    assert [(b.units, b.activation.__name__) for b in made] == [(4, "relu"), (5, "linear")]
    for block, layer in zip(made, mine, strict=True):
        assert block is not layer
        assert not block.built
    # The user's own layers stay as they were.
    assert not mine[0].built


def test_clones_are_initialized_anew_and_by_the_seed_alone():
    mine = built(layers.Dense(4))
    blocks = blocks_from([mine], (3,), "float32")
    random.seed(1)
    one = built(blocks(1, seed=7))
    random.seed(2)
    np.random.seed(2)
    two, other = built(blocks(1, seed=7)), built(blocks(1, seed=8))
    assert equal(one, two)
    assert not equal(one, other)
    assert not equal(one, mine)


def test_dropout_of_a_block_depends_on_the_seed_alone():
    def mask(seed):
        block = blocks_from(lambda depth: layers.Dropout(0.5), (64,), "float32")(1, seed)
        return np.asarray(built(block, (64,))(np.ones((1, 64), "float32"), training=True))

    random.seed(1)
    first = mask(7)
    random.seed(2)
    np.testing.assert_array_equal(mask(7), first)
    assert not np.array_equal(mask(8), first)


@pytest.mark.parametrize(
    "block",
    [
        lambda: lambda depth: layers.Dense(4),
        lambda: [layers.Dense(4), layers.Dropout(0.5)],
        pytest.param(
            lambda: keras.Sequential([layers.Dense(4), layers.Dropout(0.5), layers.Dense(2)]),
        ),
    ],
    ids=["callable", "list", "sequential"],
)
def test_the_users_random_streams_are_not_touched(block):
    block = block()
    before = streams()
    built(blocks_from(block, (3,), "float32")(1, seed=3))
    assert streams() == before


def test_a_layer_that_draws_when_built_is_seeded_too():
    x, y = np.eye(8, 3, dtype="float32"), np.arange(8) % 2

    def kernel(users_seed):
        random.seed(users_seed)
        result = layerwise.train(
            x,
            y,
            block=lambda depth: Late(),
            depth_rule=layerwise.FixedDepth(keep="last"),
            validation_split=0,
            max_depth=1,
            epochs=1,
            engine="fit",
            verbose=0,
        )
        return weights_of(result.model)[0]

    np.testing.assert_array_equal(kernel(1), kernel(2))


CONV_NET = [
    layers.Conv2D(4, 3, padding="same", name="c1"),
    layers.BatchNormalization(name="n1"),
    layers.ReLU(name="r1"),
    layers.MaxPooling2D(name="p1"),
    layers.Conv2D(6, 3, padding="same", name="c2"),
    layers.ReLU(name="r2"),
    layers.Flatten(name="f"),
    layers.Dropout(0.1, name="d"),
    layers.Dense(3, activation="softmax", name="head"),
]


def dense(name, units=4):
    return layers.Dense(units, name=name)


@pytest.mark.parametrize(
    ("network", "shape", "blocks", "head"),
    [
        ([dense("a"), dense("b"), dense("h")], (3,), ["a", "b"], "h"),
        (CONV_NET, (8, 8, 3), ["c1 n1 r1 p1", "c2 r2"], "f d head"),
        # Whatever stands before the first kernel belongs to the first block.
        (
            [layers.Rescaling(0.5, name="s"), layers.Flatten(name="f"), dense("a"), dense("h")],
            (2, 2),
            ["s f a"],
            "h",
        ),
        # Reshaping opens the next block, and what follows the reshaping goes with it.
        (
            [
                dense("a"),
                layers.Reshape((2, 2), name="r"),
                layers.ReLU(name="u"),
                dense("b"),
                dense("h"),
            ],
            (3,),
            ["a", "r u b"],
            "h",
        ),
        # The head keeps what follows its kernel, reshaping included.
        (
            [dense("a"), dense("h"), layers.Softmax(name="s"), layers.Flatten(name="f")],
            (3,),
            ["a"],
            "h s f",
        ),
        # A small model is a block like any other, as it holds a kernel.
        (
            [keras.Sequential([dense("x"), layers.ReLU(name="y")], name="m"), dense("h")],
            (3,),
            ["m"],
            "h",
        ),
    ],
)
def test_a_sequential_is_parted_at_its_kernels(network, shape, blocks, head):
    def names(part):
        whole = isinstance(part, keras.Sequential) and part.name != "m"
        return " ".join(layer.name for layer in part.layers) if whole else part.name

    made = blocks_from(keras.Sequential(network), shape, "float32")
    assert made.count == len(blocks)
    assert [names(made(d, seed=0)) for d in range(1, made.count + 1)] == blocks
    assert names(made.head) == head


def test_the_blocks_of_a_sequential_are_clones():
    network = keras.Sequential([keras.Input((3,)), dense("a"), layers.ReLU(), dense("h", 2)])
    before = weights_of(network)
    blocks = blocks_from(network, (3,), "float32")
    block = blocks(1, seed=0)
    built(block)
    assert not np.array_equal(weights_of(block)[0], before[0])
    np.testing.assert_equal(weights_of(network), before)
    again = built(blocks(1, seed=0))
    assert equal(block, again)


@pytest.mark.parametrize(
    ("block", "error", "message"),
    [
        (layers.Dense(3, name="one"), InputTypeError, "`block` is the single layer one"),
        ([], InputError, r"`block` is empty\. Pass at least one layer\."),
        ((), InputError, r"`block` is empty"),
        ([layers.Dense], InputTypeError, "must be a list of Keras layers. Received: <class"),
        ([layers.Dense(2), 3], InputTypeError, "must be a list of Keras layers. Received: 3"),
        (["dense"], InputTypeError, "must be a list of Keras layers. Received: 'dense'"),
        ("dense", InputTypeError, "must be a callable of depth, a list .* Received: 'dense'"),
        (None, InputTypeError, "must be a callable of depth, a list .* Received: None"),
        (256, InputTypeError, "must be a callable of depth, a list .* Received: 256"),
    ],
)
def test_what_is_no_block(block, error, message):
    with pytest.raises(error, match=message):
        blocks_from(block, (3,), "float32")


@pytest.mark.parametrize(
    "network",
    [
        [dense("only")],
        [layers.ReLU(name="only")],
        [dense("only"), layers.Flatten(), layers.BatchNormalization()],
    ],
)
def test_a_sequential_needs_a_block_and_a_head(network):
    with pytest.raises(InputError, match=r"fewer than two layers that have a kernel.*'only'"):
        blocks_from(keras.Sequential(network), (3,), "float32")


def test_a_sequential_must_fit_the_data():
    network = keras.Sequential([layers.Conv2D(2, 3, name="conv"), dense("h")])
    with pytest.raises(InputError, match=r"\(conv\) cannot take features of shape \(3,\)"):
        blocks_from(network, (3,), "float32")


@pytest.mark.parametrize("value", [None, 3, "dense", layers.Dense, [layers.Dense(2)]], ids=str)
def test_a_callable_must_return_a_layer(value):
    blocks = blocks_from(lambda depth: value, (3,), "float32")
    with pytest.raises(InputTypeError, match=r"must return a Keras layer .* for depth 4: "):
        blocks(4, seed=0)


@pytest.mark.parametrize("given", [int, layers.Dense], ids=["int", "Dense"])
def test_a_class_is_refused(given):
    with pytest.raises(InputTypeError, match=rf"is the class {given.__name__}\. Pass a callable"):
        blocks_from(given, (3,), "float32")


class Alike(layers.Dense):
    """Equal to every other of its kind, so that Python takes its hash away."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Alike)


def test_a_block_need_not_have_a_hash() -> None:
    """Blocks are told apart by which object they are, not by what they compare equal to."""
    assert Alike.__hash__ is None
    made = blocks_from(lambda depth: Alike(3), (4,), "float32")
    first, second = made(1, seed=0), made(2, seed=1)
    assert first == second
    again = blocks_from(lambda depth: first, (4,), "float32")
    again(1, seed=0)
    with pytest.raises(InputError, match="the same layer object again for depth 2"):
        again(2, seed=1)


def test_the_same_layer_twice_is_refused():
    shared, other = layers.Dense(4), layers.Dense(4)
    blocks = blocks_from(lambda depth: other if depth == 2 else shared, (3,), "float32")
    blocks(1, seed=0)
    blocks(2, seed=0)
    with pytest.raises(InputError, match="the same layer object again for depth 3"):
        blocks(3, seed=0)


# --- building and copying


class Two(layers.Layer):
    def call(self, x):
        return x, x


class Pair(layers.Layer):
    def call(self, x):
        return {"a": x}


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (layers.Dense(4), (3,), (4,)),
        (layers.Conv2D(5, 3), (8, 8, 1), (6, 6, 5)),
        (layers.Flatten(), (2, 3), (6,)),
        (layers.GlobalMaxPooling1D(), (None, 3), (3,)),
    ],
)
def test_attach_builds_and_says_the_shape(layer, shape, expected):
    assert attach(layer, shape, "float32", "The block") == expected
    assert layer.built


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (layers.Conv2D(4, 3, name="l"), (3,), r"cannot take features of shape \(3,\)\. Keras says"),
        (layers.Conv2D(4, 9, name="l"), (4, 4, 1), r"cannot take features of shape \(4, 4, 1\)"),
        (built(layers.Dense(2, name="l"), (3,)), (5,), r"cannot take features of shape \(5,\)"),
        (Two(name="l"), (3,), r"must return one array\. Received: tuple\."),
        (Pair(name="l"), (3,), r"must return one array\. Received: dict\."),
    ],
)
def test_attach_refuses_what_does_not_fit(layer, shape, message):
    with pytest.raises(InputError, match=rf"^The block of depth 2 \(l\) {message}") as caught:
        attach(layer, shape, "float32", "The block of depth 2")
    assert "\n" not in str(caught.value)


def test_copy_layer_copies_the_configuration_and_no_weight():
    source = built(layers.Dense(4, activation="tanh", use_bias=False, name="mine"))
    random.seed(1)
    copy = copy_layer(source, seed=5)
    random.seed(2)
    again = copy_layer(source, seed=5, name="renamed")
    assert (copy.name, again.name, source.name) == ("mine", "renamed", "mine")
    assert (copy.units, copy.activation, copy.use_bias) == (4, source.activation, False)
    assert not copy.built
    assert equal(built(copy), built(again))
    assert not equal(copy, source)
    assert not equal(built(copy_layer(source, seed=6)), copy)


def test_copy_layer_keeps_the_seed_that_the_user_fixed():
    source = layers.Dense(4, kernel_initializer=keras.initializers.GlorotUniform(seed=3))
    assert equal(built(copy_layer(source, seed=1)), built(copy_layer(source, seed=2)))


def test_copy_layer_with_a_seed_touches_no_global_stream():
    source = keras.Sequential([keras.Input((3,)), layers.Dense(4), layers.Dropout(0.5)])
    before = streams()
    copy_layer(source, seed=1)
    assert streams() == before


class Needy(layers.Layer):
    """`get_config` forgets what `__init__` needs."""

    def __init__(self, width, **kwargs):
        super().__init__(**kwargs)
        self.width = width

    def get_config(self):
        return {"name": self.name}


class Mute(layers.Layer):
    def get_config(self):
        raise NotImplementedError


class Opaque(layers.Layer):
    """Without `get_config`, and with an argument that Keras cannot write down."""

    def __init__(self, thing, **kwargs):
        super().__init__(**kwargs)
        self.thing = thing


class Lost(layers.Layer):
    """What Keras says of a network with a class inside that is not registered."""

    @classmethod
    def from_config(cls, config):
        raise TypeError(f"Could not locate class 'Mine'. Full object config: {config}")


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (lambda: layers.Lambda(lambda x: 2 * x, name="l"), "Lambda"),
        (lambda: Lost(name="l"), "Lost"),
        (lambda: Needy(3, name="l"), "Needy"),
        (lambda: Opaque(object(), name="l"), "Opaque"),
        pytest.param(
            lambda: Mute(name="l"),
            "Mute",
        ),
    ],
    ids=["lambda", "not-registered", "config-lacks-argument", "no-config", "no-message"],
)
def test_a_layer_that_cannot_be_copied_is_named(layer, kind):
    with pytest.raises(InputError, match=rf"The layer l \({kind}\) cannot be copied") as caught:
        copy_layer(layer())
    assert "`get_config`" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "object config" not in str(caught.value)


def test_copy_weights_copies_statistics_and_random_states():
    def block(seed):
        parts = [layers.Dense(4), layers.BatchNormalization(), layers.Dropout(0.5)]
        return built(copy_layer(keras.Sequential(parts), seed=seed))

    source, target = block(1), block(2)
    source(np.arange(6, dtype="float32").reshape(2, 3), training=True)
    copy_weights(source, target)
    assert len(source.variables) > len(source.weights) == 6
    np.testing.assert_equal(values_of(source.variables), values_of(target.variables))
    assert not {id(v) for v in source.variables} & {id(v) for v in target.variables}
    target.weights[0].assign_add(np.ones((3, 4), "float32"))
    assert not equal(source, target)


def test_copy_weights_refuses_another_architecture():
    with pytest.raises(ValueError, match=r"zip\(\) argument 2 is longer"):
        copy_weights(built(layers.Dense(4)), built(layers.Dense(4, use_bias=False)))


@keras.saving.register_keras_serializable("tests")
class Lazy(keras.Model):
    """Makes its layers when it is built."""

    def build(self, shape):
        self.one, self.two = layers.Dense(4), layers.Dense(2)
        self.one.build(shape)
        self.two.build((None, 4))

    def call(self, x):
        return self.two(self.one(x))

    def get_config(self):
        return {"name": self.name}


def test_a_network_that_makes_its_layers_late_is_copied():
    source = built(Lazy())
    x = np.ones((2, 3), "float32")
    copy, shape = duplicate(source, (3,), "float32")
    assert shape == (2,)
    np.testing.assert_array_equal(values_at(copy, x), values_at(source, x))


# --- digest and audit


def test_digest_is_sha256_over_type_shape_and_bytes():
    layer = built(layers.Dense(4))
    whole = hashlib.sha256()
    for array in weights_of(layer):
        whole.update(f"float32{array.shape}".encode() + array.tobytes())
    assert digest(layer) == whole.hexdigest()


def normalized():
    block = keras.Sequential([layers.Dense(4), layers.BatchNormalization(), layers.Dropout(0.5)])
    return built(block)


@pytest.mark.parametrize("index", range(6))
def test_digest_sees_every_weight_and_statistic(index):
    block = normalized()
    before = digest(block)
    weight = block.weights[index]
    value = weights_of(block)[index].copy()
    # The smallest change there is.
    value.flat[-1] = np.nextafter(value.flat[-1], np.float32(2))
    weight.assign(value)
    assert digest(block) != before


def test_digest_sees_statistics_move_but_no_random_state():
    x = np.arange(6, dtype="float32").reshape(2, 3)
    block = normalized()
    before = digest(block)
    block(x, training=False)
    assert digest(block) == before
    block(x, training=True)
    assert digest(block) != before
    dropout = built(keras.Sequential([layers.Dense(4), layers.Dropout(0.5)]))
    before = digest(dropout)
    (state,) = values_of(dropout.non_trainable_variables)
    dropout(x, training=True)
    assert digest(dropout) == before
    # The run did draw, or this would show nothing.
    assert not np.array_equal(state, *values_of(dropout.non_trainable_variables))


def test_equal_weights_have_equal_digests():
    one, two = (built(copy_layer(layers.Dense(4), seed=1)) for _ in range(2))
    assert digest(one) == digest(two)
    assert digest(one) != digest(built(copy_layer(layers.Dense(4), seed=2)))


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_the_audit_names_the_block_that_changed(depth):
    stages = frozen(*(built(layers.Dense(3, name=f"mine_{d}")) for d in (1, 2, 3)))
    audit(stages)
    stages[depth - 1].block.bias.assign([0, 0, 1e-30])
    with pytest.raises(FreezeError, match=rf"frozen block of depth {depth} \(mine_{depth}\) has"):
        audit(stages)
    audit([stage for stage in stages if stage.depth != depth])


KINDS = {
    "dense": lambda: layers.Dense(3, "tanh", kernel_regularizer="l2"),
    "image": lambda: keras.Sequential(
        [
            layers.Reshape((3, 1, 1)),
            layers.Conv2D(2, 3, padding="same", dilation_rate=(2, 1)),
            layers.BatchNormalization(),
            layers.Dropout(0.5),
            layers.Flatten(),
        ]
    ),
    "sequence": lambda: keras.Sequential([layers.Reshape((3, 1)), layers.LSTM(4)]),
    "graph": lambda: forked(),
    "half": lambda: layers.Dense(3, dtype="mixed_bfloat16"),
}


def forked() -> keras.Model:
    x = keras.Input((3,))
    return keras.Model(x, layers.add([layers.Dense(4)(x), layers.Dense(4, "relu")(x)]))


@pytest.mark.engines
@pytest.mark.parametrize("kind", KINDS)
def test_a_layer_that_was_let_go_comes_back_to_the_bit(kind):
    layer = built(KINDS[kind]())
    x = np.random.RandomState(0).rand(8, 3).astype("float32")
    layer(x, training=True)  # Statistics and random states move.
    kept, name, key = Frozen(layer), layer.name, layer_key(layer)
    predicted, values = values_at(layer, x), [v.copy() for v in values_of(layer.variables)]
    identity, gone = kept.identity, weakref.ref(layer)
    kept.let_go()
    assert kept.layer is layer  # As long as anybody holds it.
    del layer
    gc.collect()
    assert gone() is None
    again = kept.layer
    assert (again.name, layer_key(again)) == (name, key)
    np.testing.assert_equal(values_of(again.variables), values)
    np.testing.assert_array_equal(values_at(again, x), predicted)
    assert (digest(again), kept.identity) == (kept.digest, identity)
    assert not kept.has_moved()
    again.weights[0].assign(again.weights[0] + 1)
    assert kept.has_moved()
    other = built(KINDS[kind]())
    kept.give(other)
    np.testing.assert_equal(values_of(other.variables), values_of(again.variables))


def values_at(layer, x) -> np.ndarray:
    return np.array(keras.ops.convert_to_numpy(layer(x, training=False)))


def test_a_layer_of_the_users_own_is_kept_as_it_is():
    """Its configuration may leave out what makes it what it is."""
    kept = Frozen(built(Late()))
    layer = id(kept.layer)
    kept.let_go()
    gc.collect()
    assert id(kept.layer) == layer
    assert kept.identity == ""


def test_the_digest_of_stages_tells_their_blocks_and_their_order():
    """What a checkpoint stands on: another block anywhere below makes another digest."""
    blocks = [built(layers.Dense(3, name=f"dense_{i}")) for i in range(3)]
    every = [digest_of(frozen(*some)) for some in itertools.permutations(blocks, 3)]
    every += [digest_of(frozen(*blocks[:n])) for n in range(3)]
    assert len(set(every)) == 9
    assert digest_of([]) == ""
    again = digest_of(frozen(*blocks))
    blocks[0].kernel.assign(blocks[0].kernel + 1)
    assert digest_of(frozen(*blocks)) != again == every[0]


def test_nothing_to_audit_is_fine():
    audit([])


# --- stitch


def conv_stages():
    """Two blocks with statistics and Dropout, and a head, each moved away from its first state."""
    first = keras.Sequential([layers.Conv2D(3, 3), layers.BatchNormalization(), layers.ReLU()])
    second = keras.Sequential([layers.Flatten(), layers.Dense(5, "tanh"), layers.Dropout(0.5)])
    head = layers.Dense(2)
    shape = (6, 6, 1)
    for layer in (first, second, head):
        shape = attach(layer, shape, "float32", "A layer")
    x = np.random.RandomState(0).rand(8, 6, 6, 1).astype("float32")
    first(x, training=True)
    return frozen(first, second, predictor=head), head, x


def test_the_stitched_model_predicts_what_the_stages_predict():
    stages, head, x = conv_stages()
    model = stitch(stages, stages[-1].predictor, (6, 6, 1), "float32")
    features = x
    for part in [*(stage.block for stage in stages), head]:
        features = part(features, training=False)
    # Equal to the bit at equal batch size: the same operations on the same weights.
    np.testing.assert_array_equal(model(x, training=False), features)
    # Other batch sizes may add in another order: a few units in the last place.
    np.testing.assert_allclose(model(x[:3], training=False), features[:3], rtol=1e-5, atol=1e-6)
    assert type(model) is keras.Sequential
    assert model.input_shape == (None, 6, 6, 1)
    assert [layer.name for layer in model.layers] == ["block_1", "block_2", "head"]


def test_the_stitched_model_shares_no_variable_with_the_stages():
    stages, head, x = conv_stages()
    model = stitch(stages, stages[-1].predictor, (6, 6, 1), "float32")
    theirs = {id(v) for part in (*(s.block for s in stages), head) for v in part.variables}
    assert not theirs & {id(v) for v in model.variables}
    before = np.asarray(model(x, training=False))
    for variable in model.weights:
        variable.assign(variable + 1)
    audit(stages)
    assert not np.array_equal(model(x, training=False), before)


def test_without_a_predictor_the_model_ends_in_the_trunk():
    stages, _, x = conv_stages()
    model = stitch(stages, None, (6, 6, 1), "float32")
    assert [layer.name for layer in model.layers] == ["block_1", "block_2"]
    assert model(x).shape == (8, 5)


def test_names_are_distinct_even_where_the_users_are_not():
    head = built(layers.Dense(2, name="same"))
    stages = frozen(*(built(layers.Dense(3, name="same")) for _ in range(3)), predictor=head)
    model = stitch(stages, stages[-1].predictor, (3,), "float32")
    assert [layer.name for layer in model.layers] == ["block_1", "block_2", "block_3", "head"]
    paths = [variable.path for variable in model.variables]
    assert len(set(paths)) == len(paths) == 8
    assert {stage.block.name for stage in stages} == {"same"}


def test_the_stitched_model_can_be_saved(tmp_path):
    stages, _head, x = conv_stages()
    model = stitch(stages, stages[-1].predictor, (6, 6, 1), "float32")
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(again(x, training=False), model(x, training=False))


def test_a_seed_draws_the_weights_anew():
    head = built(layers.Dense(3))
    stages = frozen(built(layers.Dense(3)), built(layers.Dense(3)), predictor=head)

    def fresh(seed):
        return stitch(stages, stages[-1].predictor, (3,), "float32", seed=seed)

    random.seed(1)
    one = fresh(4)
    before = streams()
    two = fresh(4)
    assert streams() == before
    assert equal(one, two)
    assert not equal(one, fresh(40))
    kernels = [w for w in weights_of(one) if w.ndim == 2]
    trained = [weights_of(part)[0] for part in (*(s.block for s in stages), head)]
    # Three draws of their own: neither the trained weights nor one another's.
    every = [*kernels, *trained]
    assert len({kernel.tobytes() for kernel in every}) == 6
    audit(stages)


def test_copying_the_stages_touches_no_global_stream():
    stages, _head, _ = conv_stages()
    before = streams()
    stitch(stages, stages[-1].predictor, (6, 6, 1), "float32")
    assert streams() == before


def test_a_seed_also_draws_what_is_drawn_when_built():
    stages = frozen(built(Late()))

    def fresh(users_seed):
        random.seed(users_seed)
        return stitch(stages, None, (3,), "float32", seed=4)

    assert equal(fresh(1), fresh(2))
