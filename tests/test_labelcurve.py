"""Label curves: which rows keep their labels, what is compared, what is said of it."""

from __future__ import annotations

import json
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import layerwise
from conftest import two_moons
from layerwise.errors import InputError
from layerwise.labelcurve import LabelCurve, from_scratch


def moons() -> layerwise.Dataset:
    return layerwise.Dataset.from_arrays(*two_moons(120), test_data=two_moons(60, seed=1))


def how(**more: Any) -> dict[str, Any]:
    return {
        "block": lambda depth: layers.Dense(4 + depth, "relu"),
        "objective": "reconstruction",
        "max_depth": 2,
        "epochs": 1,
        "batch_size": 16,
        "fine_tune": layerwise.FineTune(1e-2, epochs=2, batch_size=8),
        **more,
    }


@pytest.mark.parametrize("held", [True, False], ids=["validated", "bare"])
def test_some_rows_keep_their_labels(held: bool) -> None:
    x, y = two_moons(120)
    data = layerwise.Dataset.from_arrays(x, y, validation_split=0.2 if held else 0)
    few = data.with_labels(30, validation_split=0.2, seed=4)
    assert few.validation is not None
    assert few.unlabeled is not None
    assert (few.train.rows, few.validation.rows, few.unlabeled.rows) == (24, 6, 90)
    assert sorted(np.bincount(few.train.y)) == [12, 12]
    together = np.concatenate([few.train.x, few.validation.x, few.unlabeled.x])
    assert {row.tobytes() for row in together} == {row.tobytes() for row in x}
    again, other = (data.with_labels(30, seed=seed) for seed in (4, 5))
    assert again.fingerprint == few.fingerprint != other.fingerprint


def test_more_labels_than_rows() -> None:
    with pytest.raises(InputError, match="2 to 119"):
        moons().with_labels(120)


def test_the_same_network_from_random_weights() -> None:
    """As many blocks of the same shapes, trained as the fine-tuning would."""
    arguments = how(fine_tune=layerwise.FineTune(0.02, 3, optimizer="sgd", patience=2))
    scratch = from_scratch(arguments, "accuracy")
    last = layerwise.FixedDepth(keep="last")
    grown = layerwise.train(moons(), **arguments, depth_rule=last, verbose=0).model
    whole = layerwise.train(moons(), **scratch, verbose=0).model
    assert [w.shape for w in grown.get_weights()] == [w.shape for w in whole.get_weights()]
    assert float(scratch["optimizer"].learning_rate) == pytest.approx(0.02)
    assert isinstance(scratch["optimizer"], keras.optimizers.SGD)
    assert (scratch["epochs"], scratch["batch_size"], scratch["max_depth"]) == (3, 16, 1)
    assert scratch["callbacks"](1)[0].patience == 2


@pytest.mark.slow
def test_a_curve_of_two_counts() -> None:
    lines: list[str] = []
    curve = layerwise.label_curve(
        moons(), [20, 40], seeds=2, listen=lambda curve, line: lines.append(line), **how()
    )
    assert curve.counts == (20, 40)
    assert all(len(scores) == 2 for scores in (*curve.pretrained, *curve.scratch))
    assert len(lines) == 4
    assert lines[0].startswith("20 labels, seed 0: accuracy 0.")
    few = moons().with_labels(20, seed=1)
    once = layerwise.train(
        few, **how(), depth_rule=layerwise.FixedDepth(keep="last"), seed=1, verbose=0
    )
    assert once.test is not None
    assert curve.pretrained[0][1] == pytest.approx(once.test["accuracy"])


CURVE = LabelCurve("accuracy", (100, 300), ((0.8, 0.82), (0.9, 0.9)), ((0.7, 0.72), (0.9, 0.93)))


def test_what_is_said_of_a_curve() -> None:
    """Differences of pairs of runs: 10 points each; 0 and -3, a spread of 2.12."""
    np.testing.assert_allclose(CURVE.gains(), [(0.1, 0), (-0.015, 0.0212132)], atol=1e-6)
    assert CURVE.verdict() == [
        "100 labels: pretraining helps, +10.00 points (spread 0.00).",
        "300 labels: pretraining changes little, -1.50 points (spread 2.12).",
    ]
    error = LabelCurve("mean_squared_error", (9,), ((2.0, 2.0),), ((1.0, 1.0),))
    assert error.verdict() == ["9 labels: pretraining hurts, -1 (spread 0)."]
    assert json.loads(json.dumps(CURVE.to_dict()))["labels"] == [100, 300]
    axes = CURVE.plot()
    assert [text.get_text() for text in axes.get_xticklabels()] == ["100", "300"]
    assert {text.get_text() for text in axes.get_legend().get_texts()} == {
        "pretrained",
        "from random weights",
    }


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"objective": "supervised"}, "need no labels"),
        ({"fine_tune": None}, "pass `fine_tune=FineTune"),
        ({"block": [layers.Dense(3)]}, "as a callable"),
        ({"seeds": 0}, "`seeds`"),
        ({"counts": [1]}, "`counts`"),
        ({"counts": []}, "`counts`"),
        ({"data": layerwise.Dataset.from_arrays(*two_moons(40))}, "test rows"),
    ],
    ids=["supervised", "untuned", "list", "no-seeds", "one-label", "no-counts", "no-test"],
)
def test_what_has_no_curve(changed: dict[str, Any], why: str) -> None:
    given = {"data": moons(), "counts": [20], **how(), **changed}
    with pytest.raises(InputError, match=why):
        layerwise.label_curve(**given)
