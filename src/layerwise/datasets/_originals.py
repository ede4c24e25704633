"""MNIST, Fashion-MNIST, CIFAR-10 and Abalone from their original files, MD5-checked; the images
also through Keras."""

from __future__ import annotations

import gzip
import os
import pickle
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from layerwise.datasets._mapped import empty, slices
from layerwise.errors import InputError
from layerwise.files import digest_file

Pair: TypeAlias = tuple[NDArray[Any], NDArray[Any]]

_MNIST = {
    "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
    "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
    "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
}
_FASHION = {
    "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
    "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
    "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
    "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
}
_CIFAR10 = {
    "data_batch_1": "c99cafc152244af753f735de768cd75f",
    "data_batch_2": "d4bba439e000b95fd0a9bffe97cbabec",
    "data_batch_3": "54ebc095f3ab1f0389bbae665268c751",
    "data_batch_4": "634d18415352ddfa80567beed471001a",
    "data_batch_5": "482c414d41f54cd18b22e5b47cb7c3cb",
    "test_batch": "40351d587109b95175f43aff81a1287e",
}
_ABALONE = {"abalone.data": "a769fd0119787cac09158fe08971e480"}
_FOLDERS = {
    "mnist": ("mnist", _MNIST),
    "fashion-mnist": ("fashion-mnist", _FASHION),
    "cifar10": ("cifar-10-batches-py", _CIFAR10),
    "abalone": ("abalone", _ABALONE),
}
IMAGES = ("mnist", "fashion-mnist", "cifar10")
NAMES = tuple(_FOLDERS)
ABALONE_TEST_ROWS = 1000


def load(name: str, data_dir: str | os.PathLike[str] | None) -> tuple[Pair, Pair]:
    """`(x, y)` for training and for test: images of uint8, labels of int; Abalone in its order.

    Args:
        name: one of `NAMES`.
        data_dir: the folder that holds the set's own folder of original files; default: the
            environment variable LAYERWISE_DATA. Without either, `keras.datasets` loads images,
            from its cache or the internet.

    Raises:
        InputError: a file is missing or is not the original, or nothing can be reached.
    """
    root = data_dir or os.environ.get("LAYERWISE_DATA")
    if not root:
        return _from_keras(name)
    folder_name, sums = _FOLDERS[name]
    folder = Path(root) / folder_name
    for file in sums:
        if not (folder / file).is_file():
            raise InputError(
                f"{folder / file} is missing. The data folder must hold {folder_name}/ with the "
                f"original files {', '.join(sums)}."
            )
    with ThreadPoolExecutor() as threads:
        found = threads.map(lambda file: digest_file(folder / file, "md5"), sums)
        for (file, expected), digest in zip(sums.items(), found, strict=True):
            if digest != expected:
                raise InputError(
                    f"{folder / file} is not the original file: its MD5 is {digest}, expected "
                    f"{expected}."
                )
    return {"cifar10": _cifar, "abalone": _abalone}.get(name, _idx)(folder)


def _idx(folder: Path) -> tuple[Pair, Pair]:
    def read(kind: str, axes: int) -> NDArray[Any]:
        """A magic number, the length of each axis in four bytes, and the bytes of the array."""
        with gzip.open(folder / kind) as stream:
            shape = np.frombuffer(stream.read(4 + 4 * axes), ">i4")[1:]
            out = empty(tuple(shape.tolist()), np.uint8)
            for part in slices(out):
                out[part] = np.frombuffer(stream.read(out[part].nbytes), np.uint8).reshape(
                    out[part].shape
                )
            return out

    def pair(part: str) -> Pair:
        images = read(f"{part}-images-idx3-ubyte.gz", 3)
        return images, read(f"{part}-labels-idx1-ubyte.gz", 1).astype(np.int32)

    return pair("train"), pair("t10k")


def _cifar(folder: Path) -> tuple[Pair, Pair]:
    def read(file: str) -> Pair:
        # The MD5 of the file matched, so this pickle is the one that everybody has.
        with (folder / file).open("rb") as stream:
            batch = pickle.load(stream, encoding="bytes")
        images = np.asarray(batch[b"data"]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        return images, np.asarray(batch[b"labels"], np.int32)

    def joined(files: Sequence[str]) -> Pair:
        """Two files at a time, so that the parts are never all there beside the whole."""
        images, first = read(files[0])
        each = len(images)
        x = empty((len(files) * each, 32, 32, 3), np.uint8)
        x[:each] = images

        def fill(i: int) -> NDArray[Any]:
            x[i * each : (i + 1) * each], labels = read(files[i])
            return labels

        with ThreadPoolExecutor(2) as threads:
            return x, np.concatenate([first, *threads.map(fill, range(1, len(files)))])

    return joined([f"data_batch_{i}" for i in range(1, 6)]), joined(["test_batch"])


def _abalone(folder: Path) -> tuple[Pair, Pair]:
    """Sex as three columns of 0 and 1, seven measurements; the number of rings."""
    rows = np.genfromtxt(folder / "abalone.data", dtype=str, delimiter=",")
    sex = rows[:, :1] == np.array([["F", "I", "M"]])
    x = np.concatenate([sex, rows[:, 1:-1]], axis=1, dtype=np.float32, casting="unsafe")
    y = rows[:, -1].astype(np.float32)
    last = len(x) - ABALONE_TEST_ROWS
    return (x[:last], y[:last]), (x[last:], y[last:])


def _from_keras(name: str) -> tuple[Pair, Pair]:
    import keras

    if name not in IMAGES:
        raise InputError(
            f"Keras has no data set {name}. Put its original files into a folder "
            f"{_FOLDERS[name][0]}/ and name the folder above it with `--data-dir`, or in the "
            "environment variable LAYERWISE_DATA."
        )
    module = getattr(keras.datasets, name.replace("-", "_"))
    try:
        (x_train, y_train), (x_test, y_test) = module.load_data()
    except Exception as error:
        raise InputError(
            f"The data set {name} is not on this machine and could not be downloaded. Put its "
            f"original files into a folder {_FOLDERS[name][0]}/ and name the folder above it with "
            "`--data-dir`, or in the environment variable LAYERWISE_DATA."
        ) from error
    return (x_train, y_train.reshape(-1)), (x_test, y_test.reshape(-1))
