"""Features stored in fewer bits: how far off they are, and that stages compute in 32 bits."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest

import layerwise
from layerwise.datasets import Split
from layerwise.engine import Engine, Watch, make_engine
from layerwise.errors import InputError
from layerwise.features import CACHE_DTYPES, Coding, Disk, Features, Memory
from layerwise.growth import Decode
from layerwise.progress import StageFinished
from stages import BATCH, BLOCKS, ROWS, problem, weights_of

on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="compares the JAX engine")


def numbers(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype("float32")


# --- the coding


@pytest.mark.parametrize("shape", [(5,), (3, 4, 5), ()], ids=str)
def test_a_code_is_off_by_half_a_step_at_most(shape: tuple[int, ...]) -> None:
    x = numbers(200, *shape) * np.logspace(-3, 3, 5 if shape else 1)
    x = x.reshape(200, *shape).astype("float32")
    coding = Coding.learn("uint8", [x[:77], x[77:]])
    codes = coding.encode(x)
    assert codes.dtype == np.uint8
    flat = x.astype("float64").reshape(-1, shape[-1] if shape else 1)
    step = (flat.max(0) - flat.min(0)) / 255
    off = np.abs(coding.decode(codes).astype("float64").reshape(flat.shape) - flat)
    # Half a step, and a few roundings of 32-bit floats.
    assert (off <= step * 0.5001 + 1e-6 * np.abs(flat).max(0)).all()
    assert len(np.unique(codes.reshape(flat.shape)[:, 0])) > 50
    assert coding.decode(coding.encode(coding.decode(codes))).tobytes() == (
        coding.decode(codes).tobytes()
    ), "what was stored once is stored as it is"


def test_other_rows_are_cut_off_and_chances_stay_below_one() -> None:
    x = np.array([[0.1, 7.0], [1.0, 7.0], [0.3, 7.0]], "float32")
    coding = Coding.learn("uint8", [x])
    decoded = coding.decode(coding.encode(np.array([[-5, 7], [9, 8], [0.55, 6]], "float32")))
    assert decoded.max(axis=0)[0] <= 1
    np.testing.assert_allclose(decoded[:, 0], [0.1, 1, 0.55], atol=0.9 / 510 + 1e-6)
    np.testing.assert_array_equal(decoded[:, 1], 7)
    low, high = coding.extremes((2,))
    assert (low[0], low[1]) == (np.float32(0.1), 7)
    assert 0.999 < high[0] <= 1


@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("dtype", CACHE_DTYPES)
def test_what_is_not_finite_shows(dtype: str, bad: float) -> None:
    x = numbers(40, 3)
    x[7, 1] = bad
    features = Features({"train": Split(x)})
    features.advance(lambda batch: batch, (3,), "block", dtype=dtype)
    assert not features.finite


@pytest.mark.parametrize("dtype", CACHE_DTYPES)
def test_the_next_block_sees_what_the_codes_stand_for(tmp_path: Path, dtype: str) -> None:
    splits = {"train": Split(numbers(90, 3)), "validation": Split(numbers(20, 3, seed=1))}
    seen: list[np.dtype[Any]] = []

    def double(batch: Any) -> Any:
        seen.append(batch.dtype)
        return 2 * batch

    for store in (Memory(), Disk(tmp_path)):
        features = Features(splits, store, "data")
        features.advance(np.tanh, (3,), "a", dtype=dtype)
        coding = features.coding
        assert coding is not None
        stored = {name: coding.decode(features[name].x) for name in splits}
        features.advance(double, (3,), "b")
        assert features.coding is None
        for name, x in stored.items():
            np.testing.assert_array_equal(features[name].x, 2 * x)
    assert set(seen) == {np.dtype("float32")}


@pytest.mark.parametrize("dtype", CACHE_DTYPES)
def test_a_resume_finds_codes_and_what_they_stand_for(tmp_path: Path, dtype: str) -> None:
    splits = {"train": Split(numbers(90, 3)), "validation": Split(numbers(20, 3, seed=1))}

    def never(batch: Any) -> Any:
        raise AssertionError("nothing was to be computed")

    first = Features(splits, Disk(tmp_path), "data")
    first.advance(np.tanh, (3,), "a", dtype=dtype)
    second, third = (Features(splits, Disk(tmp_path), "data") for _ in range(2))
    assert second.recall(["a", "b"], dtype=dtype) == 1
    assert second.recall(["a"]) == 0, "other bits are other features"
    third.advance(never, (3,), "a", dtype=dtype)
    for found in (second, third):
        assert found.coding is not None
        assert found.coding.encode(numbers(9, 3)).tobytes() == (
            first.coding.encode(numbers(9, 3)).tobytes()
        )
        np.testing.assert_array_equal(found["train"].x, first["train"].x)
    third.forget(["a"], dtype=dtype)
    assert list(tmp_path.iterdir()) == []


# --- the engines


@on_jax
@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("compiled", "uint8"),
        ("fit", "uint8"),
        pytest.param("fit", "float16", marks=pytest.mark.slow),
    ],
)
def test_a_stage_trains_on_codes_as_on_what_they_stand_for(name: str, dtype: str) -> None:
    """The tolerance is that between the engines, 8 units in the last place."""
    engine: Engine = make_engine(name)
    plain = problem(BLOCKS[2])
    x = plain.train.x
    coding = Coding.learn(dtype, [x]) if dtype == "uint8" else Coding(dtype)
    codes = coding.encode(x)
    ends = []
    for rows, prefix in ((coding.decode(codes), None), (codes, Decode(coding.span))):
        grown = problem(BLOCKS[2])
        stage = type(grown)(
            block=grown.block,
            head=grown.head,
            objective=grown.objective,
            targets=grown.targets,
            train=replace(grown.train, stored=rows),
            validation=Split(rows[:20], grown.train.y[:20]),
            optimizer=keras.optimizers.Adam(0.01),
            batch_size=BATCH,
            epochs=3,
            seed=3,
            prefix=prefix,
        )
        result = engine.train(stage, Watch())
        ends.append((result.curves["loss"], [*weights_of(problem_layers(stage))]))
    assert ends[0][0] == pytest.approx(ends[1][0], rel=1e-6)
    for a, b in zip(ends[0][1], ends[1][1], strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=8 * float(np.finfo("float32").eps))
    assert len(x) == ROWS


def problem_layers(stage: Any) -> Any:
    """The block and the head, as something that has a model with weights."""

    class Layers:
        model = keras.Sequential([stage.block, stage.head])

    return Layers


# --- runs


def arguments(**changes: Any) -> dict[str, Any]:
    usual = {
        "block": lambda depth: keras.layers.Dense(12, "sigmoid"),
        "epochs": 2,
        "max_depth": 3,
        "depth_rule": layerwise.FixedDepth(keep="last"),
        "verbose": 0,
    }
    return usual | changes


@pytest.mark.parametrize("dtype", ["uint8", pytest.param("float16", marks=pytest.mark.slow)])
def test_a_run_stores_fewer_bytes_and_scores_about_alike(dtype: str) -> None:
    data = layerwise.load_dataset("wine")
    how = arguments(epochs=30, block=lambda depth: keras.layers.Dense(12, "tanh"))
    plain = layerwise.train(data, **how)
    tight = layerwise.train(data, cache_dtype=dtype, **how)
    held = [
        [stage["ledger"]["feature_bytes"] for stage in result.history.to_dict()["stages"]]
        for result in (plain, tight)
    ]
    assert held[1][1] * (4 if dtype == "uint8" else 2) == held[0][1]
    # Of 45 rows one or two may fall on the other side.
    assert tight.test["accuracy"] == pytest.approx(plain.test["accuracy"], abs=0.05)
    assert not np.array_equal(tight.model.get_weights()[-2], plain.model.get_weights()[-2])


@on_jax
def test_a_run_on_codes_goes_on(tmp_path: Path) -> None:
    data = layerwise.load_dataset("wine")
    how = arguments(cache_dtype="uint8", cache_dir="cache")
    plain = layerwise.train(data, **how)
    assert list(Path("cache").iterdir()) == []

    def stop(event: object) -> None:
        if isinstance(event, StageFinished) and event.history["stages"][-1]["depth"] == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        layerwise.train(data, run_dir="run", listeners=stop, **how)
    with pytest.raises(InputError, match="cache_dtype"):
        layerwise.resume("run", data, **how | {"cache_dtype": "float16"})
    result = layerwise.resume("run", data, **how)
    for a, b in zip(result.model.get_weights(), plain.model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert list(Path("cache").iterdir()) == []


def test_an_rbm_takes_codes_of_chances() -> None:
    x = np.random.default_rng(0).random((120, 6))
    data = layerwise.Dataset.from_arrays(x, np.arange(120) % 2)
    result = layerwise.train(data, objective="rbm", cache_dtype="uint8", **arguments(max_depth=2))
    assert result.selected_depth == 2


@pytest.mark.parametrize("given", ["int4", 16, True])
def test_other_types_are_refused(given: Any) -> None:
    told = re.escape('`cache_dtype` must be None, "float16", "bfloat16" or "uint8". Received: ')
    with pytest.raises(InputError, match=told):
        layerwise.train(layerwise.load_dataset("wine"), **arguments(cache_dtype=given))


def test_what_is_not_cached_has_no_type() -> None:
    augment = keras.layers.GaussianNoise(0.1)
    with pytest.raises(InputError, match="Leave out `cache_dtype`"):
        layerwise.train(
            layerwise.load_dataset("wine"), **arguments(cache_dtype="uint8", augment=augment)
        )
