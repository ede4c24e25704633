"""Reading what users pass as `x` and `y` into checked NumPy arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import keras
import narwhals as nw
import numpy as np
from numpy.typing import NDArray

from layerwise.datasets._mapped import cast, looked_through
from layerwise.errors import InputError, InputTypeError, complaint
from layerwise.memory import forget_pages

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
        array = np.asarray(value)
        # NumPy turns a list of texts and missing values into texts; as objects they stay apart.
        return np.asarray(value, dtype=object) if array.dtype.kind in "US" else array
    except ValueError as error:
        raise InputTypeError(f"`{name}` is not an array: its rows differ in shape.") from error


def read_x(value: Any, name: str = "x", limit: int | None = None) -> NDArray[Any]:
    """Features as floats of Keras' default width, or as integers where they are integers.

    A mapped array stays mapped; where it needs a copy, that lies on disk, and so does one that is
    too large for a memory limit.

    Raises:
        InputTypeError: the values are no numbers.
        InputError: there are none, or some are not finite or too large.
    """
    array = to_numpy(value, name)
    if array.ndim < 2:
        raise InputError(
            f"`{name}` must have a row for each sample and at least one column. "
            f"Received shape {array.shape}. For a single column pass `{name}.reshape(-1, 1)`."
        )
    if 0 in array.shape:
        raise InputError(f"`{name}` is empty: its shape is {array.shape}.")
    if array.dtype.kind not in "biuf":
        array = _as_floats(array, name)
    if array.dtype.kind in "fb":
        array = cast(array, keras.config.floatx(), limit)
    else:
        array = _as_small_integers(array, name, limit)
    _check_finite(array, name)
    forget_pages(array)
    return array


def _as_floats(array: NDArray[Any], name: str) -> NDArray[Any]:
    """Objects that are all numbers, as floats."""
    bad = array.flat[0]
    if array.dtype == object:
        bad = next((item for item in array.flat if not _is_number(item)), None)
        if bad is None:
            missing_as_nan = np.array([np.nan if _is_missing(v) else float(v) for v in array.flat])
            return missing_as_nan.reshape(array.shape)
    raise InputTypeError(
        f"`{name}` must hold numbers. Received values of type {array.dtype}, such as {bad!r}. "
        "Encode categories and dates as numbers first."
    )


def _is_missing(value: Any) -> bool:
    """None, NaN of any library, or pandas' NA, whose comparisons are neither true nor false."""
    try:
        return value is None or bool(value != value)
    except TypeError:
        return True


def _is_number(value: Any) -> bool:
    return _is_missing(value) or (
        isinstance(value, (int, float, np.number)) and not isinstance(value, np.complexfloating)
    )


def _as_small_integers(array: NDArray[Any], name: str, limit: int | None) -> NDArray[Any]:
    """Integers of at most 32 bits in this machine's byte order, which is what backends take."""
    if array.dtype.itemsize > 4:
        limits = np.iinfo(np.int32)
        if array.min() < limits.min or array.max() > limits.max:
            raise InputError(
                f"`{name}` holds integers beyond 32 bits, such as {int(array.max())}. "
                f"Pass `{name}.astype(float)`, or leave out columns that only name a row."
            )
        return cast(array, np.int32, limit)
    return cast(array, array.dtype.newbyteorder("="), limit)


def _check_finite(array: NDArray[Any], name: str) -> None:
    with np.errstate(invalid="ignore"):
        if array.dtype.kind != "f" or np.isfinite(array.sum(dtype=np.float64)):
            return
    axes = tuple(range(1, array.ndim))
    bad = np.concatenate(looked_through(array, lambda rows: ~np.isfinite(rows).all(axis=axes)))
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
        if kind not in (None, "classes", "values"):
            raise InputError(complaint("kind", 'be "classes", "values" or None', kind))
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
        _check_missing(flat, "y")
        try:
            classes = np.unique(flat)
        except TypeError as error:
            raise InputTypeError("`y` mixes labels of different types.") from error
        if len(classes) < 2:
            raise InputError(
                f"`y` must have at least two classes. Received only {classes.tolist()[0]!r} in "
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
            try:
                array = array.astype(keras.config.floatx())
            except (ValueError, TypeError) as error:
                raise InputTypeError(f"`{name}` must hold numbers: {error}.") from error
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
        _check_missing(flat, name)
        known = np.isin(flat, self.classes)
        if not known.all():
            raise InputError(
                f"`{name}` has the label {flat[~known].tolist()[0]!r}, which is not among the "
                f"{len(self.classes)} classes of the training data."
            )
        return np.searchsorted(self.classes, flat).astype(np.int32)


def _is_one_hot(array: NDArray[Any]) -> bool:
    if array.dtype.kind not in "iufb":
        return False
    return bool(((array == 0) | (array == 1)).all() and (array.sum(axis=1) == 1).all())


def _check_missing(labels: NDArray[Any], name: str) -> None:
    if labels.dtype.kind not in "fO":
        return
    missing = np.array([_is_missing(label) for label in labels], dtype=bool)
    if missing.any():
        raise InputError(
            f"`{name}` has missing labels in {int(missing.sum())} rows, first in row "
            f"{int(missing.argmax())}. Remove those rows."
        )
