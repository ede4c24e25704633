"""The greedy loop: what a stage trains, what it leaves alone, what is chosen, what comes back."""

from __future__ import annotations

import dataclasses
import gc
import weakref
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import layerwise
from conftest import two_moons
from layerwise.datasets import Dataset
from layerwise.errors import DivergedError, FreezeError, InputError
from layerwise.growth import digest
from layerwise.history import History, RunStopReason, StopReason


def dense(depth: int) -> keras.Layer:
    return layers.Dense(8, activation="relu")


def normed(depth: int) -> keras.Layer:
    return keras.Sequential(
        [layers.Dense(8, "relu"), layers.Dropout(0.2), layers.BatchNormalization()]
    )


def grow(data: Any, y: Any = None, **changes: Any) -> layerwise.TrainResult:
    """A small run; anything may be changed."""
    arguments: dict[str, Any] = {
        "block": dense,
        "epochs": 4,
        "batch_size": 32,
        "max_depth": 3,
        "depth_rule": layerwise.FixedDepth(),
        "verbose": 0,
    }
    return layerwise.train(data, y, **{**arguments, **changes})


def weights(layer: keras.Layer) -> list[np.ndarray]:
    return [np.array(keras.ops.convert_to_numpy(w.value)) for w in layer.weights]


@pytest.mark.engines
@pytest.mark.parametrize("engine", ["auto", "fit"])
def test_the_newest_block_moves_and_nothing_below_does(moons: Dataset, engine: str) -> None:
    """The tutorials' first failure: the frozen layer moves and the new one does not."""
    made: list[keras.Layer] = []
    snapshots: list[dict[int, list[np.ndarray]]] = []

    def block(depth: int) -> keras.Layer:
        made.append(normed(depth))
        return made[-1]

    class Snapshot(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            snapshots.append({i: weights(layer) for i, layer in enumerate(made)})

    result = grow(moons, block=block, engine=engine, callbacks=[Snapshot()])
    assert len(made) == len(snapshots) == 3
    for stage in range(3):
        before = snapshots[stage]
        after = snapshots[stage + 1] if stage < 2 else {i: weights(b) for i, b in enumerate(made)}
        for old, new in zip(before[stage], after[stage], strict=True):
            assert np.abs(old - new).max() > 0
        for below in range(stage):
            for old, new in zip(before[below], after[below], strict=True):
                np.testing.assert_array_equal(old, new)
    assert result.selected_depth in (1, 2, 3)


@pytest.mark.parametrize("head", ["carry", "fresh", "frozen"])
def test_head_policies(moons: Dataset, head: str) -> None:
    """The tutorials' second failure: a head that claims to be trainable and is not."""
    result = grow(moons, head=head)
    heads = [weights(result.model_at(depth).layers[-1]) for depth in (1, 2, 3)]
    same = all(np.array_equal(a, b) for a, b in zip(heads[0], heads[2], strict=True))
    assert same == (head == "frozen")
    assert [stage.head for stage in result.history.stages] == [head] * 3
    block, with_head = 8 * 8 + 8, 8 * 8 + 8 + 8 * 2 + 2
    expected = block if head == "frozen" else with_head
    assert [stage.parameters for stage in result.history.stages[1:]] == [expected] * 2
    assert all(layer.trainable for layer in result.model.layers)


def test_carry_starts_from_the_head_below(moons: Dataset) -> None:
    begun: list[list[np.ndarray]] = []

    class Watch(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            begun.append(weights(self.model.head))

    result = grow(moons, callbacks=[Watch()])
    ended = weights(result.model_at(1).layers[-1])
    for a, b in zip(begun[1], ended, strict=True):
        np.testing.assert_array_equal(a, b)


def test_carry_turns_fresh_where_the_features_change_shape(moons: Dataset) -> None:
    result = grow(moons, block=lambda depth: layers.Dense(4 if depth == 1 else 8, "relu"))
    assert [stage.head for stage in result.history.stages] == ["carry", "fresh", "carry"]


def test_frozen_head_is_refused_where_the_features_change_shape(moons: Dataset) -> None:
    with pytest.raises(InputError, match="features of one shape"):
        grow(moons, block=lambda depth: layers.Dense(2 + depth), head="frozen")


def test_a_head_of_the_users_own(moons: Dataset) -> None:
    heads = lambda depth: keras.Sequential([layers.Dense(5, "relu"), layers.Dense(2, "softmax")])  # noqa: E731
    result = grow(moons, head=heads)
    assert [stage.head for stage in result.history.stages] == ["fresh"] * 3
    assert result.model.layers[-1].count_params() == 8 * 5 + 5 + 5 * 2 + 2


@pytest.mark.parametrize("engine", ["compiled", "fit"])
def test_growing_further_changes_nothing_below(moons: Dataset, engine: str) -> None:
    short = grow(moons, block=normed, max_depth=2, engine=engine)
    long = grow(moons, block=normed, max_depth=4, engine=engine)
    for depth in (1, 2):
        assert digest(short.model_at(depth)) == digest(long.model_at(depth))


def test_engines_grow_the_same_network(moons: Dataset) -> None:
    """Dropout, BatchNorm and the partial batch included; 8 roundings of a weight of size 1."""
    results = [grow(moons, block=normed, engine=engine) for engine in ("compiled", "fit")]
    for ours, theirs in zip(*(weights(r.model_at(3)) for r in results), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-6)
    first, second = (r.history for r in results)
    assert first.selected_depth == second.selected_depth


def test_seeds(moons: Dataset) -> None:
    assert digest(grow(moons, block=normed).model) == digest(grow(moons, block=normed).model)
    assert digest(grow(moons, seed=1).model_at(1)) != digest(grow(moons).model_at(1))


def test_the_users_random_streams_are_left_alone(moons: Dataset) -> None:
    import random

    random.seed(5)
    np.random.seed(5)
    expected = random.Random(5).random(), np.random.RandomState(5).rand()
    grow(moons, max_depth=1, block=normed)
    assert (random.random(), np.random.rand()) == expected


@pytest.mark.engines
def test_the_model_is_plain_keras(moons: Dataset, tmp_path: Any) -> None:
    result = grow(moons, block=normed)
    model = result.model
    assert type(model) is keras.Sequential
    assert moons.test is not None
    loss, accuracy = model.evaluate(moons.test.x, moons.test.y, verbose=0)
    assert result.test is not None
    # `evaluate` uses other batches and kernels: float32 rounding of a mean over 100 rows.
    assert result.test["loss"] == pytest.approx(loss, abs=1e-5)
    assert result.test["accuracy"] == pytest.approx(accuracy, abs=1e-6)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(
        again.predict(moons.test.x, verbose=0), model.predict(moons.test.x, verbose=0)
    )
    model.fit(moons.train.x, moons.train.y, epochs=1, verbose=0)


def test_records_are_scores_of_the_stitched_network(moons: Dataset) -> None:
    """What the history says of a stage is what the whole network scores on raw rows."""
    result = grow(moons, block=normed, score_test_each_stage=True)
    for stage in result.history.stages:
        model = result.model_at(stage.depth)
        for name, split in moons.splits.items():
            loss, accuracy = model.evaluate(split.x, split.y, verbose=0)
            record: Any = getattr(stage, name)
            assert record["loss"] == pytest.approx(loss, abs=1e-5)
            assert record["accuracy"] == pytest.approx(accuracy, abs=1e-6)


def test_the_test_set_decides_nothing(moons: Dataset) -> None:
    """Shuffled test labels change the test scores and nothing else."""
    assert moons.test is not None
    wrong = Dataset(
        moons.train,
        moons.validation,
        type(moons.test)(moons.test.x, 1 - moons.test.y),
        moons.labels,
    )
    right, fooled = (grow(data, score_test_each_stage=True) for data in (moons, wrong))
    assert digest(right.model) == digest(fooled.model)
    assert right.selected_depth == fooled.selected_depth
    assert right.test["accuracy"] == pytest.approx(1 - fooled.test["accuracy"])  # type: ignore[index,operator]


@pytest.mark.parametrize("of", ["features", "inputs"])
def test_reconstruction_with_a_classifier_beside_it(moons: Dataset, of: Any) -> None:
    result = grow(moons, objective=layerwise.Reconstruction(of=of))
    for stage in result.history.stages:
        assert stage.objective == "reconstruction"
        assert set(stage.validation or {}) == {"loss", "accuracy", "predictor_loss"}
        assert {"loss", "accuracy", "val_accuracy", "predictor_loss"} <= set(stage.curves)
    assert result.history.monitor == "validation.accuracy"
    assert result.model.output_shape == (None, 2)


def test_the_classifier_never_disturbs_the_stage(moons: Dataset) -> None:
    """With and without labels an autoencoder grows the same trunk, to the bit."""
    goal = layerwise.Reconstruction()
    with_labels = grow(moons, objective=goal)
    bare = Dataset(
        type(moons.train)(moons.train.x),
        type(moons.train)(moons.validation.x),
        None,
        None,  # type: ignore[union-attr]
    )
    without = grow(bare, objective=goal)
    ours = weights(with_labels.model_at(3))[:-2]
    theirs = weights(without.model_at(3))
    assert len(ours) == len(theirs) == 6
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)
    assert without.history.monitor == "validation.loss"
    assert without.model.output_shape == (None, 8)


def test_reconstruction_of_inputs_is_scored_against_the_inputs(moons: Dataset) -> None:
    result = grow(moons, objective=layerwise.Reconstruction(of="inputs"), max_depth=2)
    replica = result._replicas[0]
    trunk = result.model_at(2).layers[:-1]
    features = moons.train.x
    for block in trunk:
        features = block(features)
    kept = replica.stages[1].head
    assert kept is not None
    error = np.mean((np.asarray(kept.layer(features), "float64") - moons.train.x) ** 2)
    assert result.history.stages[1].train["loss"] == pytest.approx(error, rel=1e-4)


def test_test_data_without_labels(moons: Dataset) -> None:
    x, _ = two_moons()
    test_x, _ = two_moons(50, seed=2)
    result = grow(
        x, test_data=(test_x, None), objective="reconstruction", score_test_each_stage=True
    )
    chosen = result.history.stages[result.selected_depth - 1]
    assert result.test == pytest.approx(dict(chosen.test or {}), rel=1e-5)


@pytest.mark.engines
def test_regression_recovers_a_linear_map() -> None:
    """One linear block and a linear head on noiseless data reach the closed form's error, 0."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4)).astype("float32")
    y = x @ rng.normal(size=(4, 2)).astype("float32")
    result = grow(x, y, block=lambda d: layers.Dense(6), epochs=60, optimizer="sgd", max_depth=2)
    assert result.history.monitor == "validation.mean_squared_error"
    assert result.model.output_shape == (None, 2)
    best: Any = result.history.stages[result.selected_depth - 1].validation
    assert best["mean_squared_error"] < 1e-3
    assert best["mean_squared_error"] < 1e-3 * y.var()


def test_objective_may_change_with_depth(moons: Dataset) -> None:
    goals = ["reconstruction", "supervised", "supervised"]
    result = grow(moons, objective=lambda depth: goals[depth - 1])
    assert [stage.objective for stage in result.history.stages] == goals


def test_everything_may_depend_on_depth(moons: Dataset) -> None:
    rates: list[float] = []

    class Watch(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            rates.append(float(self.model.optimizer.learning_rate))

    result = grow(
        moons,
        epochs=lambda depth: depth,
        batch_size=lambda depth: 16 * depth,
        optimizer=lambda depth: keras.optimizers.SGD(0.1 / depth),
        callbacks=lambda depth: [Watch()],
    )
    assert [stage.epochs for stage in result.history.stages] == [1, 2, 3]
    assert rates == pytest.approx([0.1, 0.05, 0.1 / 3])


def test_every_stage_gets_a_fresh_optimizer_and_callbacks(moons: Dataset) -> None:
    optimizer = keras.optimizers.Adam(0.01)
    iterations: list[int] = []

    class Watch(keras.callbacks.Callback):
        def on_train_begin(self, logs: Any = None) -> None:
            iterations.append(int(self.model.optimizer.iterations))

    stop = keras.callbacks.EarlyStopping(monitor="val_loss", patience=1, min_delta=10.0)
    result = grow(moons, optimizer=optimizer, callbacks=[Watch(), stop], epochs=6)
    assert iterations == [0, 0, 0]
    assert not optimizer.built
    assert [stage.epochs for stage in result.history.stages] == [2, 2, 2]
    assert {stage.stop_reason for stage in result.history.stages} == {StopReason.EARLY_STOPPING}


def test_stop_reasons(moons: Dataset) -> None:
    assert grow(moons).history.stop_reason == RunStopReason.MAX_DEPTH
    finite = [layers.Dense(6, "relu"), layers.Dense(5, "relu")]
    listed = grow(moons, block=finite, max_depth=9)
    assert listed.history.stop_reason == RunStopReason.BLOCKS_EXHAUSTED
    assert len(listed.history.stages) == 2
    rule = layerwise.Plateau(patience=1, min_delta=1.0)
    plateau = grow(moons, depth_rule=rule, max_depth=9)
    assert plateau.history.stop_reason == RunStopReason.DEPTH_PLATEAU
    assert (len(plateau.history.stages), plateau.selected_depth) == (2, 1)


def test_a_network_of_the_users_is_grown_layer_by_layer() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 8, 8, 1)).astype("float32"), rng.integers(0, 2, 60)
    network = keras.Sequential(
        [
            layers.Conv2D(3, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Flatten(),
            layers.Dense(5, "relu"),
            layers.Dropout(0.1),
            layers.Dense(2, "softmax"),
        ]
    )
    result = grow(x, y, block=network, epochs=1, max_depth=9)
    assert len(result.history.stages) == 2
    assert result.model_at(2).output_shape == (None, 2)
    assert [stage.head for stage in result.history.stages] == ["carry", "fresh"]
    assert not network.built


def test_a_frozen_block_that_is_changed_is_caught(moons: Dataset) -> None:
    made: list[keras.Layer] = []

    def block(depth: int) -> keras.Layer:
        made.append(dense(depth))
        return made[-1]

    class Vandal(keras.callbacks.Callback):
        def on_train_end(self, logs: Any = None) -> None:
            if len(made) == 2:
                made[0].bias.assign(made[0].bias + 1e-7)

    with pytest.raises(FreezeError, match="depth 1"):
        grow(moons, block=block, callbacks=[Vandal()])


def test_a_block_changed_after_the_run_is_caught_when_a_model_is_asked_for(moons: Dataset) -> None:
    result = grow(moons, block=normed)
    block: Any = result._replicas[0].stages[1].block
    statistics = block.layers[-1].moving_mean
    statistics.assign(statistics + 1.0)
    result.model_at(1)
    with pytest.raises(FreezeError, match="depth 2"):
        result.model_at(3)


def test_a_block_is_let_go_once_nothing_needs_it_and_comes_back_the_same(moons: Dataset) -> None:
    """When that of depth 5 is asked for, the third is no layer any more: it is text and arrays. The
    first two live on in the programs that were traced on them."""
    made: list[weakref.ref[keras.Layer]] = []
    alive: list[list[bool]] = []

    def block(depth: int) -> keras.Layer:
        gc.collect()
        alive.append([layer() is not None for layer in made])
        layer = normed(depth)
        made.append(weakref.ref(layer))
        return layer

    result = grow(moons, block=block, max_depth=5)
    assert len(made) == 5
    assert alive[-1][2:] == [False, True]
    # As it stood when its stage ended: the loss on what it gives is the one that was reported.
    model, stage = result.model_at(3), result.history.stages[2]
    assert model.evaluate(moons.train.x, moons.train.y, verbose=0)[0] == pytest.approx(
        stage.train["loss"], rel=1e-5
    )


def adapted(x: np.ndarray, as_network: bool) -> Any:
    """Two blocks, the lower one with a layer that knows the mean and the spread of these rows."""
    norm = layers.Normalization()
    norm.adapt(x)
    if as_network:
        hidden = [layers.Dense(8, "relu") for _ in range(2)]
        return keras.Sequential([norm, *hidden, layers.Dense(2, "softmax")])
    return lambda depth: keras.Sequential([*[norm][depth - 1 :], layers.Dense(8, "relu")])


@pytest.mark.engines
@pytest.mark.parametrize("as_network", [False, True], ids=["callable", "network"])
def test_what_a_layer_was_adapted_to_stays_with_its_copies(
    moons: Dataset, as_network: bool
) -> None:
    """Normalization computes with copies of its statistics, which are in no configuration. Rows
    that lie elsewhere train to the same losses, within 1e-4 by rounding; in one process, so the
    programs of the first run must not serve the second."""
    losses = []
    for scale, shift in ((1, 0), (100, 3000)):
        x = moons.train.x * scale + shift
        split = (moons.validation.x * scale + shift, moons.validation.y)  # type: ignore[union-attr]
        result = grow(
            x, moons.train.y, validation_data=split, block=adapted(x, as_network), max_depth=2,
            depth_rule=layerwise.FixedDepth("last"), baseline="quick",
        )  # fmt: skip
        stage: Any = result.history.stages[1].validation
        assert result.model.evaluate(*split, verbose=0)[0] == pytest.approx(stage["loss"], rel=1e-5)
        baseline: Any = result.history.baseline
        losses.append([stage["loss"], baseline["end_to_end"]["validation"]["loss"]])
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-4)


def test_divergence_keeps_the_last_good_stage(moons: Dataset) -> None:
    def optimizer(depth: int) -> keras.Optimizer:
        return keras.optimizers.SGD(1e30 if depth == 2 else 0.1)

    result = grow(moons, optimizer=optimizer)
    history = result.history
    assert history.stop_reason == RunStopReason.DIVERGED
    assert [stage.stop_reason for stage in history.stages] == ["completed", "diverged"]
    assert result.selected_depth == 1
    # A cross-entropy is clipped and stays finite; the weights do not.
    assert set((history.stages[1].validation or {}).values()) != {0.0}
    assert History.from_json(history.to_json()).stages[1].train["loss"] is None


def test_no_finite_stage_is_an_error(moons: Dataset) -> None:
    with pytest.raises(DivergedError, match="Every stage diverged"):
        grow(moons, optimizer=keras.optimizers.SGD(1e30))


def test_replicates(moons: Dataset) -> None:
    result = grow(moons, replicates=3, max_depth=2, score_test_each_stage=True)
    plain = grow(moons, max_depth=2)
    assert len(result.models) == 3
    assert digest(result.models[0]) == digest(plain.model_at(result.selected_depth))
    assert digest(result.models[1]) != digest(result.models[0])
    for stage in result.history.stages:
        metric: Any = stage.validation["accuracy"]  # type: ignore[index]
        assert metric["mean"] == pytest.approx(np.mean(metric["values"]))
        assert metric["std"] == pytest.approx(np.std(metric["values"], ddof=1))
        assert stage.diverged == 0
    values = result.history.stages[result.selected_depth - 1].validation["accuracy"]["values"]  # type: ignore[index]
    assert result.model is result.models[int(np.argmax(values))]
    count = len(values)
    assert result.models[-1] is result.models[count - 1]
    for index in (count, -count - 1):
        with pytest.raises(IndexError, match=f"each of {count} replicates. Received index {index}"):
            result.models[index]
    json = result.history.to_dict()["stages"][0]
    assert json["diverged"] == 0


def test_a_replicate_that_diverges_leaves_the_others_alone(moons: Dataset) -> None:
    calls = iter(range(99))

    def optimizer(depth: int) -> keras.Optimizer:
        return keras.optimizers.SGD(1e30 if depth == 1 and next(calls) == 1 else 0.1)

    result = grow(moons, optimizer=optimizer, replicates=3, max_depth=2)
    for stage in result.history.stages:
        values: Any = stage.validation["accuracy"]["values"]  # type: ignore[index]
        assert stage.diverged == 1
        assert [value is None for value in values].count(True) == 1
        assert stage.stop_reason == StopReason.COMPLETED
    assert [model is None for model in result.models].count(True) == 1


def test_one_standard_error(moons: Dataset) -> None:
    result = grow(moons, depth_rule=layerwise.OneStandardError(), replicates=3)
    scores = result.history.scores()
    best = max(scores, key=lambda score: score.mean)  # type: ignore[union-attr]
    limit = best.mean - best.std / np.sqrt(3)  # type: ignore[union-attr]
    first = next(i for i, score in enumerate(scores, 1) if score.mean >= limit)  # type: ignore[union-attr]
    assert result.selected_depth == first


@pytest.mark.parametrize(("rate", "kept"), [(1e-3, True), (1e30, False)])
def test_fine_tuning_is_kept_only_if_it_helps(moons: Dataset, rate: float, kept: bool) -> None:
    tune = layerwise.FineTune(learning_rate=rate, epochs=20)
    result = grow(moons, fine_tune=tune, monitor="loss")
    record = result.history.fine_tune
    assert record is not None
    assert record["kept"] is kept
    validation: Any = moons.validation
    loss, _ = result.model.evaluate(validation.x, validation.y, verbose=0)
    expected = record["validation_after" if kept else "validation_before"]["loss"]
    assert loss == pytest.approx(expected, abs=1e-5)
    untuned = digest(result.model_at(result.selected_depth))
    assert (digest(result.model) == untuned) is not kept


def test_fine_tuning_moves_every_layer(moons: Dataset) -> None:
    result = grow(moons, fine_tune=layerwise.FineTune(1e-2, epochs=10), monitor="loss")
    before, after = weights(result.model_at(result.selected_depth)), weights(result.model)
    assert result.history.fine_tune["kept"]  # type: ignore[index]
    assert all(np.abs(a - b).max() > 0 for a, b in zip(before, after, strict=True))


def test_quick_baseline(moons: Dataset) -> None:
    result = grow(moons, baseline="quick", depth_rule=layerwise.FixedDepth(keep="last"))
    baseline = result.history.baseline
    assert baseline is not None
    assert set(baseline) == {"end_to_end", "shallow"}
    assert baseline["end_to_end"]["epochs"] == 12
    assert baseline["end_to_end"]["parameters"] == result.model.count_params()
    assert baseline["shallow"]["parameters"] == result.model_at(1).count_params()
    assert set(baseline["shallow"]["test"]) == {"loss", "accuracy"}


def test_class_weights_equal_sample_weights(moons: Dataset) -> None:
    x, y = two_moons()
    by_class = grow(x, y, class_weight={0: 3.0, 1: 0.5})
    by_sample = grow(x, y, sample_weight=np.where(y == 0, 3.0, 0.5))
    assert digest(by_class.model_at(3)) == digest(by_sample.model_at(3))
    assert digest(by_class.model_at(3)) != digest(grow(x, y).model_at(3))


def test_labels_of_any_type_give_the_same_network() -> None:
    x, y = two_moons()
    words = np.array(["no", "yes"])[y]
    results = [grow(x, labels, max_depth=1) for labels in (y, words, np.eye(2)[y], y[:, None])]
    assert len({digest(result.model) for result in results}) == 1
    assert results[1].classes.tolist() == ["no", "yes"]


def test_a_binary_head_of_one_unit(moons: Dataset) -> None:
    result = grow(moons, head=lambda depth: layers.Dense(1, "sigmoid"), epochs=30, optimizer="adam")
    assert result.model.output_shape == (None, 1)
    assert result.test["accuracy"] > 0.7  # type: ignore[index,operator]
    _, accuracy = result.model.evaluate(moons.test.x, moons.test.y, verbose=0)  # type: ignore[union-attr]
    assert result.test["accuracy"] == pytest.approx(accuracy)  # type: ignore[index]


def test_an_objective_of_the_users_own(moons: Dataset) -> None:
    class Centre:
        """Pull the block's output to the mean of the features: two methods are an objective."""

        def head(self, feature_shape: Any, targets: Any) -> keras.Layer:
            return layers.Dense(1)

        def loss(self, block: Any, head: Any, x: Any, y: Any, *, seed: Any, training: bool) -> Any:
            output = head(block(x, training=training))
            error = keras.ops.mean((output - keras.ops.mean(x, axis=-1, keepdims=True)) ** 2)
            return error, {"size": keras.ops.mean(keras.ops.abs(output))}

    assert isinstance(Centre(), layerwise.Objective)
    result = grow(moons, objective=Centre(), max_depth=2)
    stage = result.history.stages[1]
    assert stage.objective == "Centre"
    assert {"loss", "size", "accuracy", "predictor_loss"} == set(stage.train)


@pytest.mark.parametrize(
    "loss",
    [None, keras.losses.SparseCategoricalCrossentropy(reduction="sum")],
    ids=["default", "sum"],
)
def test_the_model_is_compiled_with_the_loss_of_the_stages(moons: Dataset, loss: Any) -> None:
    result = grow(moons, objective=layerwise.Supervised(loss=loss), max_depth=1, batch_size=100)
    assert moons.test is not None
    theirs = result.model.evaluate(moons.test.x, moons.test.y, verbose=0, batch_size=100)
    # One batch of all 100 test rows, so that a sum over the batch is the same sum.
    assert result.test["loss"] == pytest.approx(theirs[0], rel=1e-5)  # type: ignore[index]


def test_an_objective_without_a_hash(moons: Dataset) -> None:
    """A plain dataclass compares by value and so has no hash."""

    @dataclasses.dataclass
    class Small:
        weight: float = 0.1

        def head(self, feature_shape: Any, targets: Any) -> None:
            return None

        def loss(self, block: Any, head: Any, x: Any, y: Any, *, seed: Any, training: bool) -> Any:
            return self.weight * keras.ops.mean(block(x, training=training) ** 2), {}

    result = grow(moons, objective=Small(), max_depth=2)
    assert [stage.objective for stage in result.history.stages] == ["Small", "Small"]


def test_without_validation_the_last_depth_is_kept() -> None:
    x, y = two_moons()
    keep_last = layerwise.FixedDepth(keep="last")
    result = grow(x, y, validation_split=0, depth_rule=keep_last)
    assert result.selected_depth == 3
    assert result.history.monitor == "train.accuracy"
    assert result.history.stages[0].validation is None


@pytest.mark.parametrize("objective", ["supervised", "reconstruction", "contrastive"])
def test_a_block_that_tells_rows_no_longer_apart_is_reported(
    moons: Dataset, objective: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the history and on the screen; the stage counts as any other."""

    def block(depth: int) -> keras.Layer:
        low = keras.initializers.Constant(-100.0 if depth == 2 else 0.0)
        return layers.Dense(4, activation="relu", bias_initializer=low)

    result = layerwise.train(
        moons, block=block, objective=objective, epochs=1, max_depth=2, verbose=1
    )
    healthy, dead = result.history.stages
    assert healthy.message is None
    assert "gives every row the same output" in (dead.message or "")
    assert dead.stop_reason == StopReason.COMPLETED
    assert "gives every row the same output" in capsys.readouterr().err


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="about programs")
def test_a_second_training_traces_nothing() -> None:
    """Of the same shapes, with another seed: all programs are there."""
    from layerwise.engine import make_engine
    from layerwise.engine._program import Program

    def traces() -> list[int]:
        engine: Any = make_engine("auto")
        known = [program for program, _ in engine._programs.values()]
        return [p.train._cache_size() for p in known if isinstance(p, Program)]

    how = {"block": lambda depth: layers.Dense(7, "relu"), "epochs": 2, "max_depth": 2}
    layerwise.train(*two_moons(50), **how, verbose=0)
    before = traces()
    layerwise.train(*two_moons(50), **how, seed=1, verbose=0)
    assert sum(before) > 0
    assert sorted(traces()) == sorted(before)


def test_programs_make_way(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest go where they hold too many bytes; the newest stays whatever it holds."""
    from layerwise.engine import _compiled

    engine = _compiled.CompiledEngine()
    monkeypatch.setattr(_compiled, "_BYTES_KEPT", 100)
    for name, held in [("a", 60), ("b", 30), ("c", 50)]:
        made = engine._remembered(name, object, held)
        assert engine._remembered(name, object, held) is made
    assert list(engine._programs) == ["b", "c"]
    engine._remembered("d", object, 1000)
    assert list(engine._programs) == ["d"]


@pytest.mark.parametrize("engine", ["auto"])
def test_programs_that_outlive_a_run_do_not_mind_what_became_of_its_layers(engine: str) -> None:
    """Their first layers may rest or move by now; other numbers of rows are traced on them again.

    Against Keras' own loop, which remembers nothing: within 1e-6.
    """

    def block(depth: int) -> keras.Layer:
        return keras.Sequential([layers.Dense(6), layers.BatchNormalization(), layers.Dense(6)])

    how = {
        "block": block,
        "epochs": 2,
        "max_depth": 2,
        "head": "frozen",
        "depth_rule": layerwise.FixedDepth(keep="last"),
        "fine_tune": layerwise.FineTune(0.01, epochs=2, top=1),
        "verbose": 0,
    }
    first = layerwise.train(*two_moons(50), **how, engine=engine)
    for layer in first.blocks:
        layer.trainable = False
    second = layerwise.train(*two_moons(70), **how, engine=engine)
    plain = layerwise.train(*two_moons(70), **how, engine="fit")
    for depth in (1, 2):
        pairs = zip(
            second.model_at(depth).get_weights(), plain.model_at(depth).get_weights(), strict=True
        )
        for ours, theirs in pairs:
            np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
    assert second.history.fine_tune is not None
    assert plain.history.fine_tune is not None
    assert second.history.fine_tune["kept"] is plain.history.fine_tune["kept"]


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="about programs")
def test_stages_with_a_frozen_head_share_a_program() -> None:
    from layerwise.engine import make_engine
    from layerwise.engine._program import Program

    engine: Any = make_engine("auto")
    engine._programs.clear()
    how = {"head": "frozen", "epochs": 1, "depth_rule": layerwise.FixedDepth(keep="last")}
    result = layerwise.train(
        *two_moons(40), block=lambda depth: layers.Dense(2), max_depth=5, **how, verbose=0
    )
    programs = [p for p, _ in engine._programs.values() if isinstance(p, Program)]
    # Of stage 1, whose head moves, and of all others.
    assert [p.train._cache_size() for p in programs] == [1, 1]
    assert all(layer.trainable for layer in result.model.layers)
