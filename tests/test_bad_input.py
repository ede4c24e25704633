"""What `train` refuses: the class of the error, what its message says, and that nothing is written.

Each row of the table is one wrong argument on top of arguments that work.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import layerwise
from layerwise.errors import DivergedError, InputError, InputTypeError, LayerwiseError

ROWS = 40
X = np.random.default_rng(0).normal(size=(ROWS, 2)).astype("float32")
Y = np.arange(ROWS) % 2


def with_value(value: float) -> np.ndarray:
    """The rows with one bad number, in row 7."""
    x = X.copy()
    x[7, 1] = value
    return x


def dense(depth: int) -> keras.Layer:
    return layers.Dense(4, activation="relu")


def same_layer() -> Callable[[int], keras.Layer]:
    layer = layers.Dense(4)
    return lambda depth: layer


def built(layer: keras.Layer) -> keras.Layer:
    layer.build((None, 2))
    return layer


class VectorLoss:
    """An objective that forgets to average."""

    def head(self, feature_shape: Any, targets: Any) -> keras.Layer:
        return layers.Dense(1)

    def loss(self, block: Any, head: Any, x: Any, y: Any, **rest: Any) -> Any:
        return keras.ops.mean(head(block(x)), axis=-1), {}


class Rule:
    """Not a depth rule: it can stop and not select."""

    def stop(self, history: object) -> bool:
        return True


def case(
    name: str, error: type[LayerwiseError], *fragments: str, marks: Any = (), **wrong: Any
) -> Any:
    return pytest.param(wrong, error, fragments, id=name, marks=marks)


CASES = [
    # Data.
    case("lengths differ", InputError, "equally many rows", "40 and 39", y=Y[:-1]),
    case("nan", InputError, "`x` must be finite", "1 of 40 rows", "row 7", x=with_value(math.nan)),
    case("infinity", InputError, "`x` must be finite", "row 7", x=with_value(math.inf)),
    case("minus infinity", InputError, "must be finite", "row 7", x=with_value(-math.inf)),
    case("both infinities", InputError, "must be finite", x=with_value(math.inf) * [[1, -1]]),
    case("nan in values", InputError, "`y` must be finite", "row 7", y=with_value(math.nan)[:, 1]),
    case("no rows", InputError, "is empty", x=X[:0], y=Y[:0]),
    case("no columns", InputError, "`x` is empty", "(40, 0)", x=X[:, :0]),
    case("one axis", InputError, "`x` must have a row for each", "reshape(-1, 1)", x=X[:, 0]),
    case("ragged", InputTypeError, "`x` is not an array", x=[[1, 2], [3]], y=[0, 1]),
    case("text", InputTypeError, "`x` must hold numbers", "'a'", x=[["a"], ["b"]], y=[0, 1]),
    case("one class", InputError, "at least two classes", y=np.ones(ROWS, int)),
    case("missing label", InputError, "missing labels", "row 1", y=["a", None] * 20),
    case("mixed labels", InputTypeError, "mixes labels", y=np.array(["a", 1] * 20, object)),
    case("rare class", InputError, "validation_split=0.2", "`validation_data=`", y=[2, *Y[1:]]),
    case("no labels", InputError, '"supervised" needs labels', "Pass `y`", y=None),
    case("validation_split 1", InputError, "`validation_split`", "1.0", validation_split=1.0),
    case("validation_split nan", InputError, "`validation_split`", validation_split=math.nan),
    case("validation_split negative", InputError, "-0.5", validation_split=-0.5),
    case("unknown label", InputError, "5", "2 classes", validation_data=(X, [5] * ROWS)),
    case("unknown test label", InputError, "test_data y", "5", test_data=(X, [5] * ROWS)),
    case("validation shape", InputError, "(2,)", "(1,)", validation_data=(X[:, :1], Y)),
    case("validation lengths", InputError, "validation_data x", validation_data=(X, Y[:-1])),
    case("validation nan", InputError, "validation_data x", validation_data=(X * np.nan, Y)),
    case("validation no pair", InputTypeError, "be a pair (x, y)", validation_data=X),
    case("validation no labels", InputError, "must have labels", validation_data=(X, None)),
    case("sample_weight negative", InputError, "`sample_weight`", sample_weight=-np.ones(ROWS)),
    case("sample_weight short", InputError, "(3,) for 40 rows", sample_weight=np.ones(3)),
    case("sample_weight zeros", InputError, "not all 0", sample_weight=np.zeros(ROWS)),
    case("class_weight misses", InputError, "have the keys [0, 1]", class_weight={0: 1.0}),
    case("class_weight unknown", InputError, "keys [0, 1]", class_weight={0: 1, 1: 1, 2: 1}),
    case("class_weight of values", InputError, "are classes", y=X[:, 0], class_weight={0: 1}),
    case(
        "dataset and y",
        InputError,
        "A Dataset brings its own labels",
        "`Dataset.from_arrays`",
        x=layerwise.Dataset.from_arrays(X, Y),
    ),
    # Blocks and heads.
    case("block none", InputTypeError, "`block` must", "None", block=None),
    case("block number", InputTypeError, "callable of depth", "256", block=256),
    case("block text", InputTypeError, "callable of depth", "'dense'", block="dense"),
    case("block gives none", InputTypeError, "Keras layer", "depth 1", block=lambda depth: None),
    case("block gives a class", InputTypeError, "Keras layer", block=lambda depth: layers.Dense),
    case("block a layer", InputTypeError, "single layer", "lambda depth", block=layers.Dense(4)),
    case("block empty list", InputError, "`block` is empty", block=[]),
    case("block list of text", InputTypeError, "list of Keras layers", "'a'", block=["a"]),
    case(
        "block needs images",
        InputError,
        "The block of depth 1",
        "shape (2,)",
        "Keras says",
        block=lambda depth: layers.Conv2D(4, 3),
    ),
    case(
        "block nothing to train",
        InputError,
        "nothing to train",
        "keras.Sequential",
        block=lambda depth: layers.Flatten(),
    ),
    case(
        "network without head",
        InputError,
        "fewer than two layers",
        block=keras.Sequential([layers.Dense(4)]),
    ),
    case("head unknown", InputError, '"carry", "fresh", "frozen"', "'melt'", head="melt"),
    case("head a layer", InputError, "callable of depth", head=layers.Dense(2)),
    case("head no layer", InputTypeError, "A head must be", "3", head=lambda depth: 3),
    case("head too wide", InputError, "The head", "3", head=lambda depth: layers.Dense(3)),
    case(
        "head too wide for values",
        InputError,
        "shape (1,)",
        "(2,)",
        y=X[:, 0],
        head=lambda depth: layers.Dense(2),
    ),
    # Names and objects.
    case("monitor unknown", InputError, "`monitor`", "loss, accuracy", "'f1'", monitor="f1"),
    case("objective unknown", InputError, "'guess'", "reconstruction", objective="guess"),
    # How the network grows.
    case("window 0", InputError, "`window`", "at least 1", window=0),
    case("window half", InputError, "`window`", "1.5", window=1.5),
    case("window too large", InputError, "3 blocks together", "at most 2", window=3),
    case("freeze word", InputError, "`freeze`", '"all", "none"', freeze="some"),
    case("freeze negative", InputError, "`freeze`", "-1", freeze=-1),
    case("window and freeze", InputError, "pass one of them", window=2, freeze="none"),
    case("init word", InputError, "`init`", '"identity"', init="zeros"),
    case("schedule word", InputError, "`schedule`", "'parallel'", schedule="parallel"),
    case(
        "window in step", InputError, "have no meaning", window=2, schedule="simultaneous"
    ),
    case("augment word", InputTypeError, "`augment`", "'flip'", augment="flip"),
    case("augment trains", InputError, "weights to train", augment=built(layers.Dense(2))),
    case(
        "augment and cache",
        InputError,
        "no features can be cached",
        "`augment_views`",
        augment=layers.GaussianNoise(0.1),
        cache_dir="cache",
    ),
    case("views of nothing", InputError, "`augment_views` needs `augment`", augment_views=2),
    case(
        "views none", InputError, "at least 1", augment=layers.GaussianNoise(0.1), augment_views=0
    ),
    case("unlabeled shape", InputError, "`unlabeled`", "(2,)", "(1,)", unlabeled=X[:, :1]),
    case("unlabeled nan", InputError, "unlabeled x", "finite", unlabeled=X * np.nan),
    case("unlabeled_label of all", InputError, "none is left", y=Y * 0 - 1, unlabeled_label=-1),
    case("unlabeled_label without y", InputError, "Pass `y`", y=None, unlabeled_label=-1),
    # Objectives: test_objectives_refuse.py has more.
    case("objective number", InputTypeError, "head and loss", "3", objective=3),
    case("objective class", InputTypeError, "head and loss", objective=layerwise.Supervised),
    case("objective gives none", InputTypeError, "None", objective=lambda depth: None),
    case("objective vector loss", InputError, "VectorLoss must be", objective=VectorLoss()),
    case("optimizer unknown", InputError, "`optimizer`", "'walk'", optimizer="walk"),
    case("optimizer number", InputTypeError, "`optimizer`", "0.1", optimizer=0.1),
    case("optimizer none", InputTypeError, "`optimizer`", "None", optimizer=None),
    case(
        "optimizer gives none",
        InputTypeError,
        "`optimizer`",
        "None",
        optimizer=lambda depth: None,
    ),
    case("engine unknown", InputError, '"auto", "compiled" or "fit"', "'steam'", engine="steam"),
    case("depth rule text", InputTypeError, "`depth_rule`", "'plateau'", depth_rule="plateau"),
    case("depth rule half", InputTypeError, "stop, select and check", depth_rule=Rule()),
    case("verbose unknown", InputError, "`verbose`", '"auto", 0 or 1', "2", verbose=2),
    case("verbose text", InputError, "`verbose`", "'loud'", verbose="loud"),
    case("baseline unknown", InputError, '"none", "quick" or "full"', "'slow'", baseline="slow"),
    case("fine_tune true", InputTypeError, "be a FineTune", "True", fine_tune=True),
    case("callbacks text", InputTypeError, "Keras callbacks", "'stop'", callbacks=["stop"]),
    case(
        "callbacks class",
        InputTypeError,
        "Keras callbacks",
        callbacks=[keras.callbacks.EarlyStopping],
    ),
    case("callbacks gives text", InputTypeError, "'stop'", callbacks=lambda depth: ["stop"]),
    case(
        "callbacks number",
        InputTypeError,
        "callbacks",
        callbacks=3,
    ),
    case(
        "callback inside epochs",
        InputError,
        "TerminateOnNaN",
        'engine="fit"',
        engine="compiled",
        callbacks=[keras.callbacks.TerminateOnNaN()],
    ),
    case(
        "callback saves models",
        InputError,
        "ModelCheckpoint",
        "save_weights_only=True",
        callbacks=[keras.callbacks.ModelCheckpoint("m.keras")],
    ),
    case(
        "callback resumes",
        InputError,
        "BackupAndRestore",
        "`run_dir=`",
        callbacks=[keras.callbacks.BackupAndRestore("backup")],
    ),
    # Numbers.
    case("epochs 0", InputError, "`epochs`", "at least 1", "0", epochs=0),
    case("epochs negative", InputError, "`epochs`", "-3", epochs=-3),
    case("epochs fraction", InputError, "`epochs`", "whole number", "1.5", epochs=1.5),
    case("epochs true", InputError, "`epochs`", "True", epochs=True),
    case("epochs text", InputError, "`epochs`", "'9'", epochs="9"),
    case("epochs gives 0", InputError, "`epochs`", "0", epochs=lambda depth: 0),
    case("batch_size 0", InputError, "`batch_size`", "at least 1", "0", batch_size=0),
    case("batch_size gives 0", InputError, "`batch_size`", "0", batch_size=lambda depth: 0),
    case("max_depth 0", InputError, "`max_depth`", "at least 1", "0", max_depth=0),
    case("max_depth text", InputError, "`max_depth`", max_depth="3"),
    case("max_depth fraction", InputError, "`max_depth`", max_depth=1.5),
    case("replicates 0", InputError, "`replicates`", "at least 1", "0", replicates=0),
    case("replicates fraction", InputError, "`replicates`", replicates=1.5),
    case("seed negative", InputError, "seed", "at least 0", "-1", seed=-1, validation_split=0,
         depth_rule=layerwise.FixedDepth(keep="last")),
    case(
        "seed negative with a split",
        InputError,
        "`seed`",
        "-1",
        seed=-1,
    ),
    case("seed fraction", InputError, "`seed`", seed=0.5),
    # Things that need one another.
    case("one standard error alone", InputError, "`replicates` of 2 or more", "replicates=1",
         depth_rule=layerwise.OneStandardError()),
    case("plateau without validation", InputError, "no validation data", 'keep="last"',
         validation_split=0),
    case("best without validation", InputError, "no validation data", validation_split=0,
         depth_rule=layerwise.FixedDepth(keep="best")),
    case("fine_tune without labels", InputError, "`fine_tune` needs labels", y=None,
         objective="reconstruction", fine_tune=layerwise.FineTune()),
    case("search fraction", InputError, "`search_fraction`", "between 0 and 1",
         search_fraction=1.0),
    case("search without validation", InputError, "no validation data", search_fraction=0.5,
         validation_split=0, depth_rule=layerwise.FixedDepth(keep="last")),
    case("search for the last", InputError, "no depth to search", search_fraction=0.5,
         depth_rule=layerwise.FixedDepth(keep="last")),
    case("search in too few rows", InputError, "32 rows cannot be split with",
         "search_fraction=0.01", "larger part", search_fraction=0.01),
    case("augment changes the shape", InputError, "`augment` must leave the shape", "(2,)", "(4,)",
         augment=[layers.RepeatVector(2), layers.Flatten()]),
    case("trunk of supervised stages", InputError, "when", "predict the labels already",
         fine_tune=layerwise.FineTune(when="before")),
    case("trunk of single layers", InputError, 'when="both"', "rbm", "a single layer",
         objective="rbm", fine_tune=layerwise.FineTune(when="both")),
    case("trunk on other values than features", InputError, "values in [0, 1]",
         block=lambda depth: layers.Dense(4, "sigmoid"),
         objective=lambda depth: layerwise.Reconstruction(
             loss="mse" if depth == 1 else "binary_crossentropy"),
         fine_tune=layerwise.FineTune(when="before")),
    case("trunk of views", InputError, "forward_forward", "a single layer",
         objective="forward_forward", fine_tune=layerwise.FineTune(when="before")),
    case("window of single layers", InputError, "rbm", "one Dense layer", "window",
         objective="rbm", window=2),
    case("window of tied layers", InputError, "one Dense layer", "freeze", freeze="none",
         objective=layerwise.Reconstruction(tied=True)),
    case("fine_tune without validation", InputError, "no validation data", validation_split=0,
         depth_rule=layerwise.FixedDepth(keep="last"), fine_tune=layerwise.FineTune()),
    case("baseline without labels", InputError, "`baseline`", "Pass `y`", y=None,
         objective="reconstruction", baseline="quick"),
    case("listeners", InputTypeError, "`listeners` must be a callable", "3", listeners=3),
    case("listeners of others", InputTypeError, "`listeners` must hold callables", "None",
         listeners=[print, None]),
    case("callbacks as listeners", InputTypeError, "Keras callbacks go into `callbacks`",
         listeners=[keras.callbacks.EarlyStopping()]),
    case("test scores without test", InputError, "`score_test_each_stage` needs `test_data`",
         score_test_each_stage=True),
]  # fmt: skip


def arguments(**wrong: Any) -> dict[str, Any]:
    """Arguments that work, but for what is wrong."""
    right = {
        "x": X,
        "y": Y,
        "block": dense,
        "epochs": 1,
        "batch_size": 8,
        "max_depth": 2,
        "verbose": 0,
    }
    return right | wrong


def test_the_rest_of_the_table_works(tmp_path: Path) -> None:
    """Each case differs from this by one argument, so it is that argument that is refused."""
    result = layerwise.train(**arguments(), run_dir=tmp_path / "run")
    assert (tmp_path / "run" / "history.json").exists()
    assert result.selected_depth in (1, 2)


@pytest.mark.parametrize(("wrong", "error", "fragments"), CASES)
def test_bad_input_is_refused(
    tmp_path: Path, wrong: dict[str, Any], error: type[LayerwiseError], fragments: tuple[str, ...]
) -> None:
    with pytest.raises(LayerwiseError) as caught:
        layerwise.train(**arguments(**wrong), run_dir=tmp_path / "run")
    assert type(caught.value) is error
    assert isinstance(caught.value, {InputError: ValueError, InputTypeError: TypeError}[error])
    message = str(caught.value)
    for fragment in fragments:
        assert fragment in message
    assert not list(tmp_path.iterdir()), "nothing is written before the arguments are accepted"


@pytest.mark.parametrize(
    ("wrong", "fragments"),
    [
        ({"block": same_layer()}, ("same layer object", "depth 2", "new layer")),
        (
            {"block": lambda depth: layers.Dense(4 * depth), "head": "frozen"},
            ("frozen", "depth 2", "carry"),
        ),
        ({"epochs": lambda depth: 2 - depth}, ("`epochs`", "0")),
        ({"block": lambda depth: dense(1) if depth == 1 else None}, ("depth 2", "None")),
    ],
    ids=["same layer twice", "frozen head", "epochs", "block"],
)
def test_what_only_the_second_stage_shows(
    tmp_path: Path, wrong: dict[str, Any], fragments: tuple[str, ...]
) -> None:
    """The first stage is trained by then; its record stays."""
    with pytest.raises((InputError, InputTypeError)) as caught:
        layerwise.train(**arguments(**wrong), run_dir=tmp_path / "run")
    for fragment in fragments:
        assert fragment in str(caught.value)
    text = (tmp_path / "run" / "history.json").read_text()
    assert [stage.depth for stage in layerwise.History.from_json(text).stages] == [1]
    assert not (tmp_path / "run" / "model.keras").exists()


@pytest.mark.parametrize(
    ("make", "fragments"),
    [
        (lambda: layerwise.Plateau(patience=0), ("`patience`", "at least 1", "0")),
        (lambda: layerwise.Plateau(min_delta=-1), ("`min_delta`", "-1")),
        (lambda: layerwise.Plateau(min_delta=math.nan), ("`min_delta`", "nan")),
        (lambda: layerwise.FixedDepth(keep="first"), ("`keep`", "'first'")),
        (lambda: layerwise.OneStandardError(patience=0), ("`patience`", "0")),
        (lambda: layerwise.FineTune(learning_rate=0), ("`learning_rate`", "above 0")),
        (lambda: layerwise.FineTune(learning_rate=math.nan), ("`learning_rate`", "nan")),
        (lambda: layerwise.FineTune(epochs=0), ("`epochs`", "at least 1")),
        (lambda: layerwise.FineTune(when="never"), ("`when`", "'never'")),
        (lambda: layerwise.Reconstruction(of="labels"), ("`of`", "'labels'")),
        (lambda: layerwise.Reconstruction(loss="nope"), ("Unknown loss", "nope")),
        (lambda: layerwise.Supervised(loss="nope"), ("Unknown loss", "nope")),
        (lambda: layerwise.Supervised(metrics=["nope"]), ("Unknown", "metric", "nope")),
        (lambda: layerwise.load_dataset("nope"), ("nope", "digits")),
    ],
)
def test_bad_values_are_refused_where_they_are_made(
    make: Callable[[], object], fragments: tuple[str, ...]
) -> None:
    with pytest.raises(InputError) as caught:
        make()
    for fragment in fragments:
        assert fragment in str(caught.value)


def test_a_run_folder_that_is_taken_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(InputError, match="not empty"):
        layerwise.train(**arguments(), run_dir=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_divergence_is_no_input_error() -> None:
    """The arguments were fine; what came of them was not."""
    huge = keras.optimizers.SGD(1e30)
    with pytest.raises(DivergedError, match="Every stage diverged") as caught:
        layerwise.train(**arguments(optimizer=huge, epochs=3))
    assert not isinstance(caught.value, ValueError)


def test_fewer_validation_rows_than_a_batch_are_fine() -> None:
    """20% of 40 rows are 8, and the default batch is 32."""
    result = layerwise.train(**arguments(batch_size=32, max_depth=1))
    assert result.selected_depth == 1
