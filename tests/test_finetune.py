"""Fine-tuning in parts: which blocks move, how far, and when."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import layerwise
from conftest import two_moons
from layerwise.errors import InputError
from layerwise.optimizers import slowed_by_variable

X, Y = two_moons(96)


def block(depth: int) -> keras.Layer:
    return keras.Sequential([layers.Dense(5), layers.BatchNormalization(), layers.ReLU()])


def tuned(tune: layerwise.FineTune, **more: Any) -> layerwise.TrainResult:
    how: dict[str, Any] = {
        "block": block,
        "epochs": 2,
        "max_depth": 3,
        "depth_rule": layerwise.FixedDepth(keep="last"),
        **more,
    }
    return layerwise.train(X, Y, **how, fine_tune=tune, verbose=0)


def moves(result: layerwise.TrainResult) -> list[float]:
    """How far each block and the head went in fine-tuning, statistics included."""
    before = result.model_at(result.selected_depth)
    found = []
    for old, new in zip(before.layers, result.model.layers, strict=True):
        pairs = zip(old.get_weights(), new.get_weights(), strict=True)
        found.append(max(float(np.abs(a - b).max()) for a, b in pairs))
    return found


@pytest.fixture(autouse=True)
def _always_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether it helped is not the question here."""
    from layerwise.training import _tune

    monkeypatch.setattr(_tune, "_better", lambda *_: True)


@pytest.mark.parametrize("schedule", [{}, {"objective": "reconstruction"}], ids=["own", "beside"])
def test_a_fresh_head_begins_anew_on_the_trunk(schedule: dict[str, Any]) -> None:
    """With steps of nothing the head tells: as it was, or drawn, and the same when drawn again."""
    carried, fresh, again = (
        tuned(layerwise.FineTune(1e-12, epochs=1, head=head), optimizer="sgd", **schedule)
        for head in ("carry", "fresh", "fresh")
    )
    assert moves(carried)[-1] < 1e-6
    assert moves(fresh)[-1] > 0.1
    assert moves(fresh)[-1] == moves(again)[-1]
    for before, after in ((carried, fresh), (fresh, again)):
        for old, new in zip(before.model.layers[:-1], after.model.layers[:-1], strict=True):
            for ours, theirs in zip(new.get_weights(), old.get_weights(), strict=True):
                np.testing.assert_allclose(ours, theirs, atol=1e-6)
    first, second = (result.history.fine_tune for result in (carried, fresh))
    assert first is not None
    assert second is not None
    assert first["validation_before"] == second["validation_before"]
    assert first["validation_after"] != second["validation_after"]


@pytest.mark.parametrize("engine", ["compiled", pytest.param("fit", marks=pytest.mark.slow)])
@pytest.mark.parametrize(("top", "still"), [(None, 0), (2, 1), (1, 2), (9, 0)], ids=str)
def test_the_newest_blocks_alone(engine: str, top: int | None, still: int) -> None:
    """The others rest to the bit, the statistics of their BatchNorm too."""
    result = tuned(layerwise.FineTune(0.01, epochs=2, top=top), engine=engine)
    went = moves(result)
    assert went[:still] == [0.0] * still
    assert min(went[still:]) > 0
    assert all(layer.trainable for layer in result.model.layers)


def test_what_a_phase_trains() -> None:
    assert layerwise.FineTune(epochs=10).phases(3) == [(3, 10)]
    assert layerwise.FineTune(epochs=10, top=2).phases(3) == [(2, 10)]
    assert layerwise.FineTune(epochs=10, gradual=True).phases(3) == [(1, 3), (2, 3), (3, 4)]
    assert layerwise.FineTune(epochs=2, gradual=True).phases(3) == [(2, 1), (3, 1)]
    assert layerwise.FineTune(epochs=4, gradual=True, top=2).phases(9) == [(1, 2), (2, 2)]


def test_gradually() -> None:
    """As many epochs as there are; a lower block has had less time to go."""
    one = tuned(layerwise.FineTune(0.01, epochs=3, gradual=True), optimizer="sgd")
    other = tuned(layerwise.FineTune(0.01, epochs=3), optimizer="sgd")
    assert 0 < moves(one)[0] < moves(other)[0]


def trunk_tuned(**how: Any) -> layerwise.TrainResult:
    """Two linear blocks that learned to give the data back, then went on together."""
    return layerwise.train(
        X,
        Y,
        block=lambda depth: layers.Dense(4),
        objective=layerwise.Reconstruction(of="inputs"),
        max_depth=2,
        depth_rule=layerwise.FixedDepth(keep="last"),
        epochs=2,
        verbose=0,
        **how,
    )


def test_a_trunk_takes_the_step_that_keras_takes() -> None:
    """One step of plain gradient descent on all rows, through both blocks and the decoder of the
    stage, which goes on: within 1e-6 of Keras' own. The classifier on it is a new one."""
    data = layerwise.Dataset.from_arrays(X, Y)
    plain = trunk_tuned()
    stage = plain._replicas[0].stages[-1]
    assert stage.head is not None
    layers = [*plain.blocks, stage.head.layer]
    keras_own = keras.Sequential([keras.Input((2,)), *layers])
    keras_own = keras.models.clone_model(keras_own)
    for ours, theirs in zip(keras_own.layers, layers, strict=True):
        ours.set_weights(theirs.get_weights())
    keras_own.compile(keras.optimizers.SGD(0.1), loss="mse")
    keras_own.train_on_batch(data.train.x, data.train.x)
    tune = layerwise.FineTune(
        0.1, epochs=1, when="before", optimizer="sgd", batch_size=data.train.rows
    )
    result = trunk_tuned(fine_tune=tune)
    for ours, theirs in zip(result.model.layers[:2], keras_own.layers[:2], strict=True):
        for one, other in zip(ours.get_weights(), theirs.get_weights(), strict=True):
            np.testing.assert_allclose(one, other, atol=1e-6)
    before = result.model_at(2)
    np.testing.assert_array_equal(
        before.layers[0].get_weights()[0], plain.blocks[0].get_weights()[0]
    )
    assert moves(result)[2] > 0


def test_the_record_of_both() -> None:
    """Each step begins where the one before ended; the scores are those of the networks."""
    result = trunk_tuned(fine_tune=layerwise.FineTune(0.05, epochs=2, when="both"))
    record = result.history.fine_tune
    assert record is not None
    before, after = record["steps"]
    assert (record["when"], before["when"], after["when"]) == ("both", "before", "after")
    assert record["validation_before"] == before["validation_before"]
    assert after["validation_before"] == before["validation_after"]
    assert record["validation_after"] == after["validation_after"]
    rows = layerwise.Dataset.from_arrays(X, Y).validation
    assert rows is not None
    for model, told in [
        (result.model_at(2), "validation_before"),
        (result.model, "validation_after"),
    ]:
        score = model.evaluate(rows.x, rows.y, verbose=0, return_dict=True)
        assert record[told]["accuracy"] == pytest.approx(score["accuracy"], abs=1e-6)


def test_a_trunk_that_got_worse_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    from layerwise.training import _tune

    monkeypatch.setattr(_tune, "_better", lambda *_: False)
    result = trunk_tuned(fine_tune=layerwise.FineTune(0.05, epochs=1, when="both"))
    assert result.history.fine_tune is not None
    assert not result.history.fine_tune["kept"]
    assert moves(result) == [0.0] * 3


def test_a_trunk_that_diverges_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    tune = layerwise.FineTune(1e30, epochs=3, when="before", optimizer="sgd")
    result = trunk_tuned(fine_tune=tune)
    record = result.history.to_dict()["fine_tune"]
    assert record["kept"] is False
    assert record["validation_after"]["accuracy"] is None
    assert moves(result) == [0.0] * 3


def test_parts_of_a_trunk_rest() -> None:
    tune = layerwise.FineTune(0.1, epochs=1, when="before", top=1)
    assert moves(trunk_tuned(fine_tune=tune))[0] == 0.0


@pytest.mark.parametrize("name", ["sgd", "adam", "adamw"])
@pytest.mark.engines
def test_a_step_times_a_factor(name: str) -> None:
    """Each variable goes its factor of the way that the plain optimizer goes: within 1e-6."""
    gradient = [keras.ops.convert_to_tensor(np.array([0.5, -2.0], "float32"))] * 2
    start = np.array([1.0, 2.0], "float32")

    def went(optimizer: keras.Optimizer) -> list[np.ndarray]:
        variables = [keras.Variable(start) for _ in range(2)]
        optimizer.build(variables)
        optimizer.apply(gradient)
        return [keras.ops.convert_to_numpy(v.value) - start for v in variables]

    plain = went(keras.optimizers.get({"class_name": name, "config": {"learning_rate": 0.1}}))
    given = keras.optimizers.get({"class_name": name, "config": {"learning_rate": 0.1}})
    slowed = went(slowed_by_variable(given, [1.0, 0.25]))
    np.testing.assert_allclose(slowed[0], plain[0], atol=1e-6)
    np.testing.assert_allclose(slowed[1], 0.25 * plain[1], atol=1e-6)


@pytest.mark.parametrize("engine", ["compiled", pytest.param("fit", marks=pytest.mark.slow)])
def test_lower_blocks_learn_slower(engine: str) -> None:
    """One step of SGD: the head goes as far as without, each block a tenth as far as the next."""
    data = layerwise.Dataset.from_arrays(X, Y)
    how: dict[str, Any] = {
        "block": lambda depth: layers.Dense(5, "tanh"),
        "batch_size": data.train.rows,
        "optimizer": "sgd",
        "engine": engine,
    }
    plain = moves(tuned(layerwise.FineTune(0.1, epochs=1), **how))
    slowed = moves(tuned(layerwise.FineTune(0.1, epochs=1, layer_decay=0.1), **how))
    expected = [plain[0] * 1e-3, plain[1] * 1e-2, plain[2] * 1e-1, plain[3]]
    np.testing.assert_allclose(slowed, expected, rtol=1e-2, atol=1e-7)


def test_patience_takes_the_best_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    from layerwise.training import _phases

    results: list[Any] = []

    def watched(*arguments: Any) -> Any:
        results.append(trained(*arguments))
        return results[-1]

    trained = _phases.trained
    monkeypatch.setattr(_phases, "trained", watched)
    tune = tuned(layerwise.FineTune(0.3, epochs=50, patience=3, optimizer="adam")).history.fine_tune
    curve = results[0].curves["val_accuracy"]
    assert tune is not None
    assert tune["validation_after"]["accuracy"] == pytest.approx(max(curve))
    assert len(curve) == int(np.argmax(curve)) + 1 + 3 < 50


@pytest.mark.parametrize(
    "wrong",
    [
        {"top": 0},
        {"head": "new"},
        {"patience": 0},
        {"batch_size": 0},
        {"layer_decay": 0},
        {"layer_decay": 1.1},
    ],
    ids=str,
)
def test_what_cannot_be(wrong: dict[str, Any]) -> None:
    with pytest.raises(InputError, match=f"`{next(iter(wrong))}`"):
        layerwise.FineTune(**wrong)
