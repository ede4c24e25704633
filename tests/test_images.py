"""A folder of images: what is read, against Pillow and NumPy, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from PIL import Image

import layerwise
from layerwise.errors import InputError

RNG = np.random.default_rng(0)


def pixels(height: int = 8, width: int = 6, channels: int = 3) -> np.ndarray:
    shape = (height, width, channels) if channels > 1 else (height, width)
    return RNG.integers(0, 256, shape).astype("uint8")


def write(path: Path, array: np.ndarray, **how: Any) -> np.ndarray:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **how)
    return array


def folder(rows: int = 5, channels: int = 3) -> Path:
    for name in ("cat", "dog"):
        for i in range(rows):
            write(Path("pets") / name / f"{i}.png", pixels(channels=channels))
    return Path("pets")


def read(path: Path = Path("pets"), **how: Any) -> layerwise.Dataset:
    return layerwise.Dataset.from_images(path, validation_split=0, **how)


@pytest.mark.parametrize("channels", [1, 3])
def test_pixels_are_those_of_the_files(channels: int) -> None:
    data = read(folder(channels=channels))
    assert data.train.x.shape == (10, 8, 6, channels)
    assert data.train.x.dtype == "float32"
    assert data.classes.tolist() == ["cat", "dog"]
    assert data.train.y.tolist() == [0] * 5 + [1] * 5
    for row, file in zip(data.train.x, sorted(Path("pets").glob("*/*.png")), strict=True):
        expected = np.asarray(Image.open(file)).reshape(8, 6, channels) / np.float32(255)
        np.testing.assert_array_equal(row, expected)


def test_images_are_scaled_as_pillow_does() -> None:
    big = write(folder() / "cat" / "big.png", pixels(40, 30))
    with pytest.raises(InputError, match=r"one size.*\(8, 6\).*big\.png has \(40, 30\)"):
        read()
    data = read(size=(8, 6))
    expected = np.asarray(Image.fromarray(big).resize((6, 8), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(data.train.x[5], expected / np.float32(255))
    assert read(size=16).train.x.shape == (11, 16, 16, 3)


def test_gray_and_color() -> None:
    folder()
    gray = write(Path("pets/dog/a.png"), pixels(channels=1))
    data = read()
    np.testing.assert_array_equal(data.train.x[-1, :, :, 1], gray / np.float32(255))
    only = read(color="gray").train.x
    assert only.shape == (11, 8, 6, 1)
    colored = np.asarray(Image.open("pets/cat/0.png").convert("L")) / 255
    np.testing.assert_allclose(only[0, :, :, 0], colored, atol=1 / 255)


def test_formats() -> None:
    folder()
    deep = (RNG.integers(0, 65536, (8, 6))).astype("uint16")
    write(Path("pets/cat/deep.png"), deep)
    write(Path("pets/cat/photo.JPG"), np.full((8, 6, 3), 200, "uint8"), quality=95)
    write(Path("pets/cat/clear.png"), pixels(channels=4))
    Image.fromarray(pixels(channels=1)).convert("P").save("pets/cat/palette.png")
    Image.fromarray(pixels(channels=1)).convert("1").save("pets/cat/bits.png")
    turned = Image.Exif()
    turned[0x0112] = 6  # Orientation: turn by 90 degrees.
    write(Path("pets/cat/turned.jpg"), pixels(6, 8), exif=turned.tobytes())
    Path("pets/cat/notes.txt").write_text("no image")
    Path("pets/.hidden").mkdir()
    data = read()
    names = sorted(file.name for file in Path("pets/cat").iterdir() if file.suffix != ".txt")
    found = dict(zip(names, data.train.x, strict=False))
    assert data.train.rows == 16
    np.testing.assert_allclose(found["deep.png"][..., 0], deep // 256 / 255, atol=1e-6)
    np.testing.assert_allclose(found["photo.JPG"], 200 / 255, atol=0.02)


def test_damaged_files_are_named() -> None:
    whole = folder() / "cat" / "0.png"
    whole.write_bytes(whole.read_bytes()[:60])
    Path("pets/dog/3.png").write_bytes(b"")
    Path("pets/dog/4.png").write_text("<html>")
    with pytest.raises(InputError, match=r"3 of 10 images.*cat/0\.png.*dog/3\.png.*skip"):
        read()
    with pytest.warns(UserWarning, match=r"dog/4\.png\. They are left out"):
        assert read(damaged="skip").train.rows == 7


def test_many_damaged_files_are_counted() -> None:
    for file in folder(rows=8).glob("*/*.png"):
        file.write_bytes(b"no")
    with pytest.raises(InputError, match=r"16 of 16 images.* and 11 more"):
        read()
    with pytest.raises(InputError, match="None of the 16"):
        read(damaged="skip")


def test_an_image_that_would_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    folder()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 20)
    with pytest.raises(InputError, match="10 of 10 images"):
        read()


def test_a_test_folder() -> None:
    folder(channels=1)
    for name in ("cat", "dog"):
        write(Path("more") / name / "a.png", pixels(9, 9))
    data = read(test_folder="more")
    assert data.test is not None
    assert data.test.x.shape == (2, 8, 6, 1)
    write(Path("more/mouse/a.png"), pixels())
    with pytest.raises(InputError, match="mouse"):
        read(test_folder="more")


@pytest.mark.parametrize(
    ("make", "how", "message"),
    [
        (lambda: None, {}, "no folder"),
        (lambda: Path("pets").mkdir(), {}, "sub-folder"),
        (lambda: write(Path("pets/cat/a.png"), pixels()), {}, "two classes"),
        (lambda: (folder(), Path("pets/empty").mkdir()), {}, "empty holds no PNG or JPEG"),
        (folder, {"size": 0}, "`size`"),
        (folder, {"size": (1, 2, 3)}, "`size`"),
        (folder, {"color": "blue"}, "`color`"),
        (folder, {"damaged": "ignore"}, "`damaged`"),
    ],
    ids=["none", "empty", "one class", "empty class", "zero", "three", "blue", "ignore"],
)
def test_what_is_refused(make: Any, how: dict[str, Any], message: str) -> None:
    make()
    with pytest.raises(InputError, match=message):
        read(**how)


def test_a_network_grows_on_them() -> None:
    for name, light in (("dark", 40), ("light", 180)):
        for i in range(20):
            write(Path("pets") / name / f"{i}.png", (pixels() // 4 + light).astype("uint8"))

    def block(depth: int) -> keras.Layer:
        return layers.Conv2D(4, 3, padding="same", activation="relu")

    data = layerwise.Dataset.from_images("pets")
    fast = keras.optimizers.Adam(0.02)
    result = layerwise.train(data, block=block, optimizer=fast, epochs=40, max_depth=2, verbose=0)
    assert result.model.evaluate(data.train.x, data.train.y, verbose=0)[1] > 0.9
