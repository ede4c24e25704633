"""Reading what users pass as `x` and `y` into checked NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import keras
import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from layerwise.errors import InputError, InputTypeError

Kind = Literal["classes", "values"]


def to_numpy(value: Any, name: str) -> NDArray[Any]:
    """A NumPy array from an array, a list, or a frame or series of pandas, polars or PyArrow."""
    native = nw.from_native(value, pass_through=True, allow_series=True)
    if isinstance(native, (nw.DataFrame, nw.Series)):
        return np.asarray(native.to_numpy())
    if hasattr(value, "toarray") and hasattr(value, "nnz"):
        raise InputTypeError(f"`{name}` is a sparse matrix. Pass `{name}.toarray()`.")
    if keras.ops.is_tensor(value):
        return np.asarray(keras.ops.convert_to_numpy(value))
    try:
        return np.asarray(value)
    except ValueError as error:
        raise InputTypeError(f"`{name}` is not an array: its rows differ in shape.") from error


def read_x(value: Any, name: str = "x") -> NDArray[Any]:
    """Features as floats of Keras' default width, or as integers where they are integers.

    Raises:
        InputTypeError: the values are no numbers.
        InputError: there are none, or some are not finite.
    """
    array = to_numpy(value, name)
    if array.ndim < 2:
        raise InputError(
            f"`{name}` must have a row for each sample and at least one column. "
            f"Received shape {array.shape}. For a single column pass `{name}.reshape(-1, 1)`."
        )
    if 0 in array.shape:
        raise InputError(f"`{name}` is empty: its shape is {array.shape}.")
    if array.dtype == object or array.dtype.kind in "USMmcV":
        try:
            array = array.astype(keras.config.floatx())
        except (ValueError, TypeError) as error:
            raise InputTypeError(
                f"`{name}` must hold numbers. Received values of type {array.dtype}, such as "
                f"{array.flat[0]!r}. Encode categories as numbers first."
            ) from error
    if array.dtype.kind in "fb":
        array = array.astype(keras.config.floatx(), copy=False)
    elif array.dtype.itemsize > 4:
        array = array.astype(np.int32)
    _check_finite(array, name)
    return np.ascontiguousarray(array)


def _check_finite(array: NDArray[Any], name: str) -> None:
    if array.dtype.kind != "f" or np.isfinite(array.sum(dtype=np.float64)):
        return
    bad = ~np.isfinite(array.reshape(array.shape[0], -1)).all(axis=1)
    if bad.any():
        raise InputError(
            f"`{name}` must be finite. Received NaN or infinity in {int(bad.sum())} of "
            f"{array.shape[0]} rows, first in row {int(bad.argmax())}. Remove or impute them."
        )


@dataclass(frozen=True)
class Labels:
    """How labels are written as numbers: learned once, applied to every split."""

    kind: Kind
    shape: tuple[int, ...]
    classes: NDArray[Any] | None = None
    one_hot: bool = False

    @classmethod
    def learn(cls, value: Any, kind: Kind | None = None) -> Labels:
        """Find out whether these are classes or values.

        Integers, booleans, strings and one-hot rows are classes; other floats are values.

        Raises:
            InputError: there is only one class, or the labels have too many axes.
        """
        array = to_numpy(value, "y")
        if array.ndim == 2 and array.shape[1] > 1 and kind != "values" and _is_one_hot(array):
            return cls("classes", (), np.arange(array.shape[1]), one_hot=True)
        if kind is None:
            kind = "values" if array.dtype.kind == "f" else "classes"
        if kind == "values":
            return cls("values", array.shape[1:] or (1,))
        flat = array.reshape(-1) if array.ndim == 2 and array.shape[1] == 1 else array
        if flat.ndim != 1:
            raise InputError(
                f"`y` must be one label a row, or one-hot rows. Received shape {array.shape}."
            )
        _check_missing(flat)
        try:
            classes = np.unique(flat)
        except TypeError as error:
            raise InputTypeError("`y` mixes labels of different types.") from error
        if len(classes) < 2:
            raise InputError(
                f"`y` must have at least two classes. Received only {classes[0]!r} in "
                f"{len(flat)} rows."
                if len(classes)
                else "`y` is empty."
            )
        return cls("classes", (), classes)

    def encode(self, value: Any, name: str = "y") -> NDArray[Any]:
        """Class numbers `(n_samples,)` as int32, or values `(n_samples, ...)` as floats.

        Raises:
            InputError: a label was not there to learn from, or a value is not finite.
        """
        array = to_numpy(value, name)
        if self.classes is None:
            array = array.astype(keras.config.floatx())
            array = array.reshape(-1, 1) if array.ndim == 1 else array
            if array.shape[1:] != self.shape:
                raise InputError(
                    f"`{name}` must have rows of shape {self.shape}. Received {array.shape[1:]}."
                )
            _check_finite(array, name)
            return array
        if self.one_hot:
            if array.ndim != 2 or array.shape[1] != len(self.classes) or not _is_one_hot(array):
                raise InputError(f"`{name}` must be one-hot rows of {len(self.classes)} classes.")
            return array.argmax(axis=1).astype(np.int32)
        flat = array.reshape(-1)
        _check_missing(flat)
        known = np.isin(flat, self.classes)
        if not known.all():
            raise InputError(
                f"`{name}` has the label {flat[~known][0]!r}, which is not among the "
                f"{len(self.classes)} classes of the training data."
            )
        return np.searchsorted(self.classes, flat).astype(np.int32)


def _is_one_hot(array: NDArray[Any]) -> bool:
    if array.dtype.kind not in "iufb":
        return False
    return bool(((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all())


def _check_missing(labels: NDArray[Any]) -> None:
    missing = labels != labels if labels.dtype.kind in "fO" else np.zeros(len(labels), bool)
    missing = missing | np.array([v is None for v in labels]) if labels.dtype == object else missing
    if missing.any():
        raise InputError(
            f"`y` has missing labels in {int(missing.sum())} rows, first in row "
            f"{int(missing.argmax())}. Remove those rows."
        )
