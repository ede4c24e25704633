"""Objectives against NumPy in float64, and what else holds for them."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import keras
import numpy as np
import pytest
from keras import layers

import references as ref
from layerwise import objectives
from layerwise._random import seeded
from layerwise.datasets import Split
from layerwise.engine import Problem, Watch, make_engine
from layerwise.growth import attach
from layerwise.objectives import (
    RBM,
    Contrastive,
    InfoPro,
    Mixed,
    PredSim,
    Reconstruction,
    Redundancy,
    Similarity,
    Supervised,
    Targets,
    stage_target,
)
from layerwise.objectives import _noise as noise
from layerwise.objectives import _rbm as rbm

Array = Any
on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="takes gradients with JAX")


class Case(NamedTuple):
    """An objective, what it gives in training, and on what."""

    objective: Any
    reference: Callable[..., Array]
    activation: str = "tanh"
    views: Array = ref.VECTORS
    labels: str = "classes"
    channels: int = 3


NESTED = Mixed({"supervised": 0.25, "reconstruction": 0.75})
CASES: dict[str, Case] = {
    "classes": Case(Supervised(), ref.classify),
    "values": Case(Supervised(), ref.regress, labels="values"),
    "reconstruct-features": Case(Reconstruction(), ref.restore),
    "reconstruct-inputs": Case(Reconstruction(of="inputs"), ref.restore_data),
    "cross-entropy": Case(Reconstruction(loss="binary_crossentropy"), ref.log_loss),
    "tied": Case(
        Reconstruction(loss="binary_crossentropy", tied=True), ref.tied_cross_entropy, "sigmoid"
    ),
    "contractive-tanh": Case(Reconstruction(contractive=0.3), ref.contractive(np.tanh)),
    "contractive-sigmoid": Case(
        Reconstruction(contractive=0.3), ref.contractive(ref.sigmoid), "sigmoid"
    ),
    "sparse": Case(Reconstruction(sparsity=0.2, sparsity_target=0.1), ref.sparse, "sigmoid"),
    "similar-labels": Case(Similarity(), ref.match_labels),
    "similar-features": Case(Similarity(of="features"), ref.match_features),
    "similar-maps": Case(Similarity(), ref.match_maps, views=ref.IMAGES, channels=4),
    "similar-few-maps": Case(Similarity(), ref.match_few_maps, views=ref.IMAGES),
    "predsim": Case(PredSim(0.6), ref.match_and_predict),
    "contrastive": Case(Contrastive(temperature=0.2, projection=3), ref.tell_views_apart),
    "patches": Case(Contrastive(of="patches", grid=2), ref.tell_patches_apart, views=ref.IMAGES),
    "barlow": Case(Redundancy(projection=3, weight=0.05), ref.barlow),
    "vicreg": Case(Redundancy("vicreg", projection=3), ref.vicreg),
    "infopro": Case(InfoPro(0.5, 2.0), ref.keep_and_classify),
    "infopro-values": Case(InfoPro(), ref.keep_and_regress, labels="values"),
    "mixed": Case(Mixed({"supervised": 0.3, "reconstruction": 0.7}), ref.mixed(0.3)),
    "mixed-in-epoch-1": Case(
        Mixed({"supervised": [0.0, 0.8], "reconstruction": [1, 0.2]}), ref.mixed(0.8)
    ),
    "mixed-values": Case(
        Mixed({"supervised": 0.3, "reconstruction": 0.7}), ref.mixed_values, labels="values"
    ),
    "mixed-of-mixed": Case(Mixed({"similarity": 0.5, NESTED: 0.5}), ref.mixed_twice),
}


class Stage:
    """A block, a head and a batch; the weights are drawn anew, biases too."""

    def __init__(self, case: Case) -> None:
        self.objective, images = case.objective, case.views.ndim > 3
        floats = keras.config.floatx()
        self.x, self.again = (view.astype(floats) for view in case.views)
        labels = ref.VALUES.astype(floats) if case.labels == "values" else ref.CLASSES
        targets = Targets(
            kind=case.labels,
            shape=ref.VALUES.shape[1:] if case.labels == "values" else (),
            n_classes=3 if case.labels == "classes" else None,
            input_shape=self.x.shape[1:],
            data_shape=ref.DATA.shape[1:],
        )
        with seeded(0):
            if images:
                self.block = layers.Conv2D(
                    case.channels, 3, padding="same", activation=case.activation
                )
            else:
                self.block = layers.Dense(4, activation=case.activation)
            shape = attach(self.block, self.x.shape[1:], floats, "The block")
            self.head = self.objective.head(shape, targets)
            if not self.head.built:
                attach(self.head, shape, floats, "The head")
        y = stage_target(self.objective, ref.DATA.astype(floats), labels, targets)
        self.y = None if y is None else keras.tree.map_structure(keras.ops.convert_to_tensor, y)
        self.noise = keras.random.SeedGenerator(1)
        self.variables = [*self.block.trainable_variables, *self.head.trainable_variables]
        rng = np.random.default_rng(5)
        for variable in self.variables:
            variable.assign(rng.normal(size=variable.shape) * 0.7)

    def weights(self) -> list[Array]:
        return [np.array(numbers(v.value), "float64") for v in self.variables]

    def loss(self, training: bool = True) -> tuple[Any, Any]:
        """The loss and metrics of the batch; the second view and epoch 1 where it takes them."""
        known = type(self.objective).loss.__code__.co_varnames
        more = {"again": keras.ops.convert_to_tensor(self.again)} if "again" in known else {}
        more |= {"epoch": keras.ops.convert_to_tensor(1)} if "epoch" in known else {}
        return self.objective.loss(
            self.block,
            self.head,
            keras.ops.convert_to_tensor(self.x),
            self.y,
            seed=self.noise,
            training=training,
            **more,
        )

    def gradient(self) -> list[Array]:
        """By JAX."""
        import jax

        def value(values: list[Any]) -> Any:
            with keras.StatelessScope(list(zip(self.variables, values, strict=True))):
                return self.loss()[0]

        return jax.jit(jax.grad(value))([v.value for v in self.variables])


def numbers(tensor: Any) -> Array:
    return keras.ops.convert_to_numpy(tensor)


@pytest.fixture
def double(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Keras and JAX in float64 for a while; Keras' operations make it float32 unless told."""
    import jax
    from keras.src.backend.common import dtypes

    before = keras.config.floatx(), keras.config.dtype_policy()
    monkeypatch.setitem(dtypes.BIT64_TO_BIT32_DTYPE, "float64", "float64")
    with jax.enable_x64(True):
        keras.config.set_floatx("float64")
        keras.config.set_dtype_policy("float64")
        yield
    keras.config.set_floatx(before[0])
    keras.config.set_dtype_policy(before[1])


@pytest.mark.engines
@pytest.mark.parametrize("name", CASES)
def test_the_loss_is_that_of_the_paper(name: str) -> None:
    """In float32: a few hundred roundings."""
    stage = Stage(CASES[name])
    wanted = CASES[name].reference(*stage.weights())
    assert float(numbers(stage.loss()[0])) == pytest.approx(float(wanted), rel=1e-5)


@on_jax
@pytest.mark.parametrize("name", CASES)
@pytest.mark.usefixtures("double")
def test_the_gradient_is_that_of_the_paper(name: str) -> None:
    """In float64, through every use of a weight, against finite differences."""
    stage = Stage(CASES[name])
    wanted = ref.differences(CASES[name].reference, stage.weights())
    assert ref.worst(stage.gradient(), wanted) < 1e-6


MACHINES = {
    "cd-1": RBM(),
    "cd-2": RBM(2),
    "persistent": RBM(2, persistent=True, chains=5),
    "gaussian": RBM(2, visible="gaussian"),
}


class Chain:
    """Samples given in advance, in the place of those that an RBM draws; asked[i] led to i."""

    def __init__(self, machine: RBM, patch: pytest.MonkeyPatch) -> None:
        self.gaussian = "gaussian" in repr(machine)
        rows, rng = 5 if "persistent" in repr(machine) else ref.ROWS, np.random.default_rng(6)
        self.samples = [
            (rng.random((rows, units)) < 0.5) * 1.0 for _ in range(2) for units in (4, 6)
        ]
        self.asked: list[Array] = []
        self._next = iter(self.samples)
        patch.setattr(rbm, "bernoulli", self.bernoulli)
        if self.gaussian:
            patch.setattr(keras.random, "normal", self.normal)

    def bernoulli(self, probability: Any, seed: Any) -> Any:
        self.asked.append(probability)
        return keras.ops.convert_to_tensor(next(self._next), dtype=probability.dtype)

    def normal(self, *_: Any, dtype: Any, **__: Any) -> Any:
        return keras.ops.convert_to_tensor(next(self._next), dtype=dtype)


def start(stage: Stage) -> Array:
    """Where the Gibbs chain begins."""
    chains = stage.head.chains
    return stage.x if chains is None else np.array(numbers(chains.value))


@pytest.mark.engines
@pytest.mark.parametrize("name", MACHINES)
def test_a_gibbs_chain_goes_by_the_conditional_probabilities(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up and down, k times, from the data or from where the chains stand."""
    machine = MACHINES[name]
    stage, chain = Stage(Case(machine, ref.free_energies, "sigmoid")), Chain(machine, monkeypatch)
    w, c, b = stage.weights()
    v = start(stage)
    loss, metrics = stage.loss()
    steps = 1 if name == "cd-1" else 2
    for step in range(steps):
        h, drawn = chain.samples[2 * step : 2 * step + 2]
        up = chain.asked[step if chain.gaussian else 2 * step]
        np.testing.assert_allclose(numbers(up), ref.sigmoid(v @ w + c), rtol=1e-5)
        mean = h @ w.T + b
        if not chain.gaussian:
            np.testing.assert_allclose(
                numbers(chain.asked[2 * step + 1]), ref.sigmoid(mean), rtol=1e-5
            )
        v = mean + drawn if chain.gaussian else drawn
    assert len(chain.asked) == steps * (1 if chain.gaussian else 2)
    if name == "persistent":
        np.testing.assert_array_equal(start(stage), v)
    back = ref.sigmoid(stage.x @ w + c) @ w.T + b
    error = np.mean((stage.x - back) ** 2)
    if not chain.gaussian:
        error = -np.mean(
            stage.x * np.log(ref.sigmoid(back)) + (1 - stage.x) * np.log(ref.sigmoid(-back))
        )
    energy = ref.free_energies(stage.x, w, c, b, chain.gaussian).mean()
    assert float(numbers(loss)) == pytest.approx(error, rel=1e-5)
    assert float(numbers(metrics["free_energy"])) == pytest.approx(energy, rel=1e-5)


@on_jax
@pytest.mark.parametrize("name", MACHINES)
@pytest.mark.usefixtures("double")
def test_the_gradient_is_that_of_contrastive_divergence(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the mean free energy of the data less that of the chain's end, which is held."""
    machine = MACHINES[name]
    stage, chain = Stage(Case(machine, ref.free_energies, "sigmoid")), Chain(machine, monkeypatch)
    w, _, b = stage.weights()
    h, end = chain.samples[0:2] if name == "cd-1" else chain.samples[2:4]
    end = h @ w.T + b + end if chain.gaussian else end

    def divergence(*weights: Array) -> Array:
        data, fantasy = (ref.free_energies(v, *weights, chain.gaussian) for v in (stage.x, end))
        return data.mean() - fantasy.mean()

    wanted = ref.differences(divergence, stage.weights())
    assert ref.worst(stage.gradient(), wanted) < 1e-6


def trained(objective: Any, x: Array, engine: str = "auto", **more: Any) -> Any:
    """A stage trained on vectors, and how it went."""
    targets = Targets(kind=None, input_shape=x.shape[1:], data_shape=x.shape[1:])
    with seeded(1):
        block = layers.Dense(3, activation="sigmoid")
        shape = attach(block, x.shape[1:], "float32", "The block")
        head = objective.head(shape, targets)
    stage = Problem(
        block=block,
        head=head,
        objective=objective,
        targets=targets,
        train=Split(x, stage_target(objective, x, None, targets)),
        validation=Split(x[:20], stage_target(objective, x[:20], None, targets)),
        optimizer=keras.optimizers.SGD(0.1),
        seed=1,
        **more,
    )
    return stage, make_engine(engine).train(stage, Watch())


@pytest.mark.parametrize("persistent", [False, True], ids=["cd", "persistent"])
def test_an_rbm_gives_what_it_has_seen_the_lowest_free_energy(persistent: bool) -> None:
    """Two patterns of the 16 that four units can take."""
    seen = np.array([[1, 1, 0, 0], [0, 0, 1, 1]], "float32")
    machine, rows = RBM(persistent=persistent), np.tile(seen, (20, 1))
    stage, _ = trained(machine, rows, epochs=300, batch_size=10)
    weights = [numbers(v.value) for v in (*stage.block.weights, *stage.head.trainable_variables)]
    states = np.array(list(itertools.product([0.0, 1.0], repeat=4)))
    order = np.argsort(ref.free_energies(states, *weights, False))
    assert {tuple(states[i]) for i in order[:2]} == {tuple(pattern) for pattern in seen}


@pytest.mark.engines
def test_chains_go_on_where_they_ended_and_rest_in_scoring() -> None:
    stage = Stage(Case(RBM(persistent=True, chains=5), ref.free_energies, "sigmoid"))
    stands = [start(stage)]
    for training in (True, False, True):
        stage.loss(training=training)
        stands.append(start(stage))
    assert set(np.unique(stands[1])) == {0, 1}
    np.testing.assert_array_equal(stands[1], stands[2])
    assert (stands[2] != stands[3]).any()
    assert not any(v is stage.head.chains for v in stage.head.trainable_variables)


# Noise and views.

SQUARE = np.full((400, 500), 0.25, "float32")


def drawn(name: str, amount: float) -> Array:
    x = keras.ops.convert_to_tensor(SQUARE)
    return numbers(noise.NOISES[name](x, amount, keras.random.SeedGenerator(3)))


@pytest.mark.engines
def test_noises_have_their_statistics() -> None:
    """On 200000 elements; the bounds are five standard errors."""
    error = 5 * np.sqrt(0.3 * 0.7 / SQUARE.size)
    masked, salted = drawn("masking", 0.3), drawn("salt_and_pepper", 0.3)
    assert set(np.unique(masked)) == {0, 0.25}
    assert np.mean(masked == 0) == pytest.approx(0.3, abs=error)
    assert set(np.unique(salted)) == {0, 0.25, 1}
    assert np.mean(salted == 0) == pytest.approx(0.15, abs=error)
    assert np.mean(salted == 1) == pytest.approx(0.15, abs=error)
    added = drawn("gaussian", 0.3).astype("float64") - 0.25
    assert added.mean() == pytest.approx(0, abs=5 * 0.3 / np.sqrt(SQUARE.size))
    assert added.std() == pytest.approx(0.3, abs=5 * 0.3 / np.sqrt(2 * SQUARE.size))
    chance = keras.ops.convert_to_tensor(SQUARE)
    coins = numbers(noise.bernoulli(chance, keras.random.SeedGenerator(3)))
    assert set(np.unique(coins)) == {0, 1}
    assert coins.mean() == pytest.approx(0.25, abs=error)


class Recorder(layers.Layer):
    """Remembers what it is given, and gives it back."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Array] = []

    def call(self, x: Any) -> Any:
        self.seen.append(numbers(x))
        return x


@pytest.mark.engines
@pytest.mark.parametrize("kind", noise.NOISES)
def test_a_corrupted_stage_must_restore_what_is_clean(kind: str) -> None:
    """In training; scores are taken without corruption."""
    objective, block = Reconstruction(corruption=0.4, noise=kind), Recorder()
    losses = [
        objective.loss(
            block, layers.Identity(), keras.ops.convert_to_tensor(ref.VECTORS[0], dtype="float32"),
            None, seed=keras.random.SeedGenerator(2), training=training,
        )[0]
        for training in (True, False)
    ]  # fmt: skip
    error = np.mean((block.seen[0] - ref.VECTORS[0].astype("float32")) ** 2)
    assert error > 0.01
    assert [float(numbers(loss)) for loss in losses] == pytest.approx([error, 0], rel=1e-5)


@pytest.mark.engines
@pytest.mark.parametrize("training", [True, False], ids=["training", "scoring"])
@pytest.mark.parametrize("kind", [Contrastive, Redundancy])
def test_views_without_augmentation_mask_different_features(kind: Any, training: bool) -> None:
    block, x = Recorder(), keras.ops.convert_to_tensor(SQUARE)
    seed = keras.random.SeedGenerator(4)
    kind(corruption=0.3).loss(block, layers.Identity(), x, None, seed=seed, training=training)
    first, second = (view == 0 for view in block.seen)
    for share, wanted in ((first, 0.3), (second, 0.3), (first & second, 0.09)):
        assert share.mean() == pytest.approx(wanted, abs=0.006)


# Heads, mixtures, names.


def test_a_tied_decoder_has_a_bias_and_nothing_else() -> None:
    head = Reconstruction(tied=True).head((4,), Targets(kind=None, input_shape=(2, 3)))
    assert [tuple(v.shape) for v in head.variables] == [(6,)]


@pytest.mark.engines
def test_a_mixture_of_all_and_nothing_is_the_first_alone() -> None:
    whole = Stage(CASES["mixed"]._replace(objective=Mixed({"supervised": 1, "reconstruction": 0})))
    loss, metrics = whole.loss()
    alone = whole.objective.loss.__self__._parts["supervised"]
    head, y = whole.head["supervised"], whole.y["supervised"]
    x, seed = keras.ops.convert_to_tensor(whole.x), keras.random.SeedGenerator(1)
    wanted, said = alone.loss(whole.block, head, x, y, seed=seed, training=True)
    assert float(numbers(loss)) == pytest.approx(float(numbers(wanted)), rel=1e-6)
    assert float(numbers(metrics["supervised_accuracy"])) == float(numbers(said["accuracy"]))


class Flat:
    """A loss of 0 or 1, whatever the block does."""

    def __init__(self, value: float) -> None:
        self.value = value

    def head(self, feature_shape: Any, targets: Any) -> None:
        return None

    def loss(self, block: Any, head: Any, x: Any, y: Any, **rest: Any) -> Any:
        return self.value + 0 * keras.ops.mean(block(x)), {}


@pytest.mark.engines
@pytest.mark.parametrize("engine", ["auto", "fit"])
def test_a_schedule_gives_each_epoch_its_weights(engine: str) -> None:
    """The loss of the mixture is the weight itself; 44 rows make two full batches and a rest."""
    mixture = Mixed({Flat(0): [1, 0.5, 0.25, 0], Mixed({Flat(1): 1.0}): [0, 0.5, 0.75, 1]})
    x = np.random.default_rng(0).random((44, 3)).astype("float32")
    stage, result = trained(mixture, x, engine, epochs=6, batch_size=16)
    wanted = pytest.approx([0, 0.5, 0.75, 1, 1, 1], abs=1e-6)
    assert result.curves["loss"] == wanted
    assert result.curves["val_loss"] == wanted
    assert make_engine(engine).evaluate(stage, stage.train)["loss"] == pytest.approx(1, abs=1e-6)


DIFFERENT = [
    *(case.objective for case in CASES.values()),
    *MACHINES.values(),
    Supervised("mean_squared_error", metrics=["auc"]),
    Reconstruction(corruption=0.1, noise="gaussian"),
]


@pytest.mark.parametrize("objective", dict.fromkeys(DIFFERENT), ids=repr)
def test_an_objective_is_the_call_that_makes_it(objective: Any) -> None:
    twin = eval(repr(objective), vars(objectives))
    assert twin == objective
    assert hash(twin) == hash(objective)
    assert repr(twin) == repr(objective)
    assert sum(twin == other for other in dict.fromkeys(DIFFERENT)) == 1
