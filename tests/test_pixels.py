"""Images are kept as bytes and become numbers in the program that trains on them: the same ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import layerwise
from layerwise import Contrastive, Dataset, FineTune, InfoPro, Reconstruction
from layerwise.datasets import Split, _split, of_pixels
from layerwise.growth import Decode

BYTES = np.arange(256, dtype=np.uint8)
SHAPE = (6, 6, 1)


def images() -> tuple[Dataset, Dataset]:
    """As bytes, and as the numbers that they stand for."""
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (150, *SHAPE), dtype=np.uint8)
    y = (x[:, :3].astype(int).sum(axis=(1, 2, 3)) > x[:, 3:].astype(int).sum(axis=(1, 2, 3))) * 1
    test = x[120:], y[120:]
    stored = of_pixels(Dataset.from_arrays(x[:120], y[:120], test_data=test))
    more: dict[str, Any] = {name: split.as_numbers() for name, split in stored.splits.items()}
    return stored, replace(stored, **more)


def dense(depth: int) -> keras.Layer:
    first = [layers.Flatten()] * (depth == 1)
    return keras.Sequential([*first, layers.Dense(9, activation="sigmoid")])


def conv(depth: int) -> keras.Layer:
    return layers.Conv2D(3, 3, padding="same", activation="relu")


def one_map(depth: int) -> keras.Layer:
    return layers.Conv2D(1, 3, padding="same", activation="relu")


def rectified(depth: int) -> keras.Layer:
    first = [layers.Flatten()] * (depth == 1)
    return keras.Sequential([*first, layers.Dense(9, activation="relu")])


@pytest.mark.engines
def test_a_byte_becomes_what_a_division_gives() -> None:
    found = keras.ops.convert_to_numpy(Decode(pixels=True)(BYTES))
    assert found.dtype == np.float32
    wanted = np.divide(BYTES, 255, dtype=np.float32)
    np.testing.assert_array_equal(found, wanted)


CASES: dict[str, dict[str, Any]] = {
    "stages": {"block": dense},
    "the usual loop": {"block": dense, "engine": "fit"},
    "convolutions": {"block": conv},
    "tuned, compared": {"block": dense, "fine_tune": FineTune(epochs=2), "baseline": "quick"},
    "simultaneous": {"block": dense, "schedule": "simultaneous"},
    "a window": {"block": dense, "window": 2},
    "copies": {"block": one_map, "init": "copy"},
    "augmented": {"block": conv, "augment": layers.RandomFlip(seed=1)},
    "augmented copies": {
        "block": conv,
        "augment": layers.RandomFlip(seed=1),
        "augment_views": 2,
    },
    "the data again": {
        "block": dense,
        "objective": Reconstruction(of="inputs"),
        "fine_tune": FineTune(epochs=2, when="both"),
    },
    "a decoder and labels": {"block": dense, "objective": InfoPro()},
    "chances": {"block": dense, "objective": "rbm"},
    "views": {"block": rectified, "objective": "forward_forward"},
    "pairs": {"block": dense, "objective": Contrastive()},
    "fewer bits": {"block": dense, "cache_dtype": "uint8"},
    "in pieces": {"block": dense, "memory_limit": "64kB"},
    "replicates": {"block": dense, "replicates": 2},
    "a search": {"block": dense, "search_fraction": 0.5},
    "weights": {"block": dense, "class_weight": {0: 1.0, 1: 2.0}},
    "depths looked at": {"block": dense, "diagnostics": True},
}


@pytest.mark.parametrize("case", CASES)
def test_bytes_train_as_their_numbers_do(case: str) -> None:
    """To the bit: all metrics, and the network that comes back."""
    how = {"epochs": 2, "batch_size": 32, "max_depth": 2, "verbose": 0, **CASES[case]}
    stored, numbers = images()
    assert stored.train.pixels
    assert not numbers.train.pixels
    one, other = layerwise.train(stored, **how), layerwise.train(numbers, **how)
    for ours, theirs in zip(one.history.stages, other.history.stages, strict=True):
        assert ours.curves == theirs.curves
        assert (ours.train, ours.validation) == (theirs.train, theirs.validation)
    assert one.test == other.test
    for name in ("fine_tune", "baseline", "diagnostics"):
        assert _untimed(getattr(one.history, name)) == _untimed(getattr(other.history, name))
    for ours, theirs in zip(one.models, other.models, strict=True):
        np.testing.assert_array_equal(
            ours.predict(stored.test.x, verbose=0), theirs.predict(numbers.test.x, verbose=0)
        )


def _untimed(found: Any) -> Any:
    """Without what a clock says."""
    if isinstance(found, dict):
        timed = ("seconds", "ledger", "rate", "when")
        return {k: _untimed(v) for k, v in found.items() if not any(t in k for t in timed)}
    return [_untimed(v) for v in found] if isinstance(found, list) else found


def test_few_labels_and_rows_without() -> None:
    stored, numbers = (data.with_labels(60) for data in images())
    assert stored.pool.pixels
    np.testing.assert_array_equal(stored.pool.x, numbers.pool.x)
    np.testing.assert_array_equal(stored.unlabeled.x, numbers.unlabeled.x)
    how: dict[str, Any] = {"block": dense, "objective": "reconstruction", "max_depth": 2}
    one, other = (layerwise.train(data, epochs=2, verbose=0, **how) for data in (stored, numbers))
    assert one.history.stages[0].curves == other.history.stages[0].curves


def test_a_training_never_has_the_numbers_of_all_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is made of the bytes at once, beside the programs, is no more than the test rows."""
    made: list[int] = []
    usual = _split.numbers

    def watched(pixels: np.ndarray) -> np.ndarray:
        made.append(len(pixels))
        return usual(pixels)

    monkeypatch.setattr(_split, "numbers", watched)
    stored, _ = images()
    made.clear()
    how: dict[str, Any] = {"fine_tune": FineTune(epochs=1), "diagnostics": "confusion"}
    result = layerwise.train(
        stored, block=rectified, epochs=1, max_depth=2, verbose=0, init="identity", **how
    )
    result.plot_embedding(max_rows=20)
    assert made
    assert max(made) < stored.train.rows
    assert stored.train.stored.nbytes * 4 == stored.train.x.nbytes


def test_numbers_cannot_be_written_to() -> None:
    """They are made anew at each call: what is written would be lost."""
    stored, _ = images()
    with pytest.raises(ValueError, match="read-only"):
        stored.train.x[0] = 0


def test_splits_of_two_kinds_become_numbers() -> None:
    stored, numbers = images()
    mixed = replace(stored, train=Split(numbers.train.x, numbers.train.y))
    assert not any(split.pixels for split in mixed.splits.values())
    np.testing.assert_array_equal(mixed.test.x, numbers.test.x)
    assert mixed.fingerprint == numbers.fingerprint != stored.fingerprint


def test_bytes_and_pixels_are_not_the_same_data() -> None:
    x, y = np.zeros((20, 3), np.uint8) + BYTES[:20, None], np.arange(20) % 2
    plain = Dataset.from_arrays(x, y)
    assert plain.fingerprint != of_pixels(plain).fingerprint


def _png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def _folder(at: Path, seed: int, shape: Callable[[int], tuple[int, ...]]) -> Path:
    rng = np.random.default_rng(seed)
    for number in range(8):
        label = "cat" if number < 4 else "dog"
        _png(at / label / f"{number}.png", rng.integers(0, 256, shape(number), dtype=np.uint8))
    return at


def test_images_in_color_that_become_gray(tmp_path: Path) -> None:
    """Their numbers are no bytes: then no split keeps bytes, and none is rounded."""
    gray = _folder(tmp_path / "gray", 0, lambda n: (5, 4))
    color = _folder(tmp_path / "color", 1, lambda n: (5, 4, 3) if n == 7 else (5, 4))
    alone = Dataset.from_images(gray, color="gray")
    assert alone.train.pixels
    both = Dataset.from_images(gray, test_folder=color)
    assert not both.train.pixels
    np.testing.assert_array_equal(both.train.x, alone.train.x)
    last = np.asarray(Image.open(color / "dog" / "7.png"))
    wanted = (last / 255) @ [0.299, 0.587, 0.114]
    # Three products of 32-bit floats.
    np.testing.assert_allclose(both.test.x[7, ..., 0], wanted, atol=1e-6)
    first = np.asarray(Image.open(color / "cat" / "0.png"))
    np.testing.assert_array_equal(both.test.x[0, ..., 0], np.divide(first, 255, dtype=np.float32))
    turned = Dataset.from_images(color, color="gray", validation_split=0, test_folder=gray)
    np.testing.assert_allclose(turned.train.x[7, ..., 0], wanted, atol=1e-6)
    assert turned.test.x.dtype == np.float32
    colored = Dataset.from_images(color, validation_split=0)
    assert colored.train.pixels
    np.testing.assert_array_equal(colored.train.stored[7], last)
    np.testing.assert_array_equal(colored.train.stored[0], np.stack([first] * 3, axis=-1))


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="no other backend counts operations")
def test_operations_are_counted_as_of_numbers(tmp_path: Path) -> None:
    """But for turning bytes into numbers, in the first stage."""
    counted = []
    for name, data in zip(("bytes", "numbers"), images(), strict=True):
        how: dict[str, Any] = {"epochs": 1, "max_depth": 2, "verbose": 0}
        result = layerwise.train(data, block=conv, run_dir=tmp_path / name, **how)
        counted.append([stage.ledger["operations"] for stage in result.history.stages])
    assert counted[0][1] == counted[1][1]
    assert counted[0][0] == pytest.approx(counted[1][0], rel=0.05)
