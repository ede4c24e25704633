"""A data set with its splits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from layerwise.datasets._arrays import Kind, Labels
from layerwise.datasets._fingerprint import every_split, fingerprint_of
from layerwise.datasets._image_parts import image_parts
from layerwise.datasets._image_preparation import ImagePreparation
from layerwise.datasets._images import Color, Damaged
from layerwise.datasets._mapped import joined
from layerwise.datasets._rows import like, pair, read, with_more, without_label
from layerwise.datasets._split import Split, hold_out
from layerwise.datasets._subsets import few_labels, of_pixels
from layerwise.datasets._table import parts_of
from layerwise.errors import InputError, complaint
from layerwise.memory import bytes_from
from layerwise.tables import Findings, Preparation


@dataclass(frozen=True)
class Dataset:
    """Rows to train on, to choose the depth on, and to score the chosen model on.

    Make one with `from_arrays`, `from_table` or `layerwise.load_dataset`.

    Attributes:
        train: what the stages train on.
        validation: what the depth is chosen on, or None.
        test: what the chosen model is scored on, once, or None.
        labels: what the labels are, or None without labels.
        name: for the run's record.
        unlabeled: more rows, for the stages that need no labels, or None.
        preparation: of a table or images, what turns new ones into inputs; a run folder keeps it.
        findings: of a table what its columns hold, of images which classes; and warnings.
        told: of one process's share, the fingerprint of the whole.
        part: of one process's share, which rows these are.
    """

    train: Split
    validation: Split | None
    test: Split | None
    labels: Labels | None
    name: str = "arrays"
    unlabeled: Split | None = None
    preparation: Preparation | ImagePreparation | None = None
    findings: Findings | None = None
    told: str | None = None
    part: str = ""

    def __post_init__(self) -> None:
        # One program reads the rows of all splits: as bytes, where all are.
        if len({split.pixels for split in every_split(self).values()}) > 1:
            for name, split in every_split(self).items():
                object.__setattr__(self, name, split.as_numbers())

    @classmethod
    def from_arrays(
        cls,
        x: Any,
        y: Any = None,
        *,
        validation_split: float = 0.2,
        validation_data: tuple[Any, Any] | None = None,
        test_data: tuple[Any, Any] | None = None,
        sample_weight: Any = None,
        kind: Kind | None = None,
        seed: int = 0,
        name: str = "arrays",
        unlabeled: Any = None,
        unlabeled_label: Any = None,
        memory_limit: int | str | None = None,
    ) -> Dataset:
        """Check arrays or frames, and split them.

        An array that is mapped (`np.load(path, mmap_mode="r")`) is never in memory as a whole:
        copies of it, such as the splits, lie on disk in files without a name, where the
        environment variable TMPDIR says.

        Args:
            x: `(n_samples, ...)`, numbers.
            y: `(n_samples,)` classes of any type or real values, `(n_samples, n_classes)` one-hot
                rows, `(n_samples, n_values)` real values, or None.
            validation_split: the share of the rows held out, stratified by class; 0 for none.
            validation_data: `(x, y)` to validate on instead; then nothing is held out.
            test_data: `(x, y)` to score the chosen model on.
            sample_weight: `(n_samples,)`, weights of the loss, 0 or more.
            kind: `"classes"` or `"values"`, where the type of `y` does not say it: integers count
                as classes.
            seed: of the split.
            name: for the run's record.
            unlabeled: `(n_unlabeled, ...)`, more rows like those of `x`.
            unlabeled_label: the value in `y` that marks a row without a label, such as -1 in
                scikit-learn's semi-supervised module; these rows join `unlabeled`.
            memory_limit: bytes, or a text such as `"200MB"`: copies of more than a sixteenth of it
                lie on disk, too, where `x` is not mapped.

        Raises:
            InputError, InputTypeError: lengths differ, values are missing or not finite, there is
                one class only, or a label of another split is unknown.

        Example:
            >>> import numpy as np
            >>> from layerwise import Dataset
            >>> data = Dataset.from_arrays(np.eye(10), ["no", "yes"] * 5)
            >>> data.train.rows, data.validation.rows
            (8, 2)
        """
        limit = None if memory_limit is None else bytes_from("memory_limit", memory_limit)
        if not isinstance(validation_split, (int, float)) or not 0 <= validation_split < 1:
            raise InputError(
                complaint(
                    "validation_split",
                    "be 0 or lie strictly between 0 and 1",
                    validation_split,
                    "Pass `validation_data=` to use rows of your own.",
                )
            )
        if unlabeled_label is not None:
            x, y, sample_weight, marked = without_label(x, y, sample_weight, unlabeled_label)
            unlabeled = marked if unlabeled is None else with_more(marked, unlabeled)
        labels = None if y is None else Labels.learn(y, kind)
        whole = read(x, y, labels, "", sample_weight, limit)
        more = (
            None
            if unlabeled is None
            else like(read(unlabeled, None, None, "unlabeled ", limit=limit), whole, "unlabeled")
        )
        validation = pair(validation_data, labels, "validation_data", whole, limit)
        test = pair(test_data, labels, "test_data", whole, limit)
        if validation is None and validation_split:
            kind = labels.kind if labels else None
            whole, validation = hold_out(whole, validation_split, seed, kind, limit=limit)
        return cls(whole, validation, test, labels, name, more)

    @classmethod
    def from_images(
        cls,
        folder: str | Path,
        *,
        size: int | tuple[int, int] | None = None,
        color: Color = "auto",
        damaged: Damaged = "refuse",
        validation_split: float = 0.2,
        test_folder: str | Path | None = None,
        seed: int = 0,
        memory_limit: int | str | None = None,
    ) -> Dataset:
        """Read a folder that has a sub-folder of PNG and JPEG files for each class.

        Pixels become numbers from 0 to 1, `(n_samples, height, width, channels)` in float32. They
        are kept as bytes: `split.x` makes the numbers anew at each call.

        Args:
            folder: the names of its sub-folders are the labels.
            size: height and width, or one number for both, that each image is scaled to; None
                where all have one size already.
            color: `"rgb"`, `"gray"`, or `"auto"`: gray if every image is.
            damaged: `"refuse"` names the files that cannot be decoded; `"skip"` leaves them out
                with a warning that names them.
            validation_split, seed, memory_limit: as in `from_arrays`; the images themselves are
                read into memory.
            test_folder: with the same sub-folders, for the test rows.

        Raises:
            InputError: there are no images of two classes, sizes differ, or files are damaged.
        """
        test = None if test_folder is None else Path(test_folder)
        parts = image_parts(Path(folder), size, color, damaged, test)
        data = cls.from_arrays(
            parts.x,
            parts.labels,
            test_data=parts.test,
            validation_split=validation_split,
            seed=seed,
            name=parts.name,
            memory_limit=memory_limit,
        )
        if parts.x.dtype == np.uint8:
            data = of_pixels(data)
        return replace(data, preparation=parts.preparation, findings=parts.findings)

    @classmethod
    def from_table(
        cls,
        source: Any,
        *,
        target: str,
        test: Any = None,
        task: str | None = None,
        drop: Sequence[str] = (),
        validation_split: float = 0.2,
        seed: int = 0,
        unlabeled: bool = False,
        category: Sequence[str] = (),
        memory_limit: int | str | None = None,
    ) -> Dataset:
        """Turn a table with named columns into numbers, learned from the training rows alone.

        Args:
            source: a CSV, Parquet or NPZ file, or a frame of pandas, polars or PyArrow.
            target: the column to predict.
            test: a table of the same columns, to score the chosen model on.
            task: whether the target is classes or values; default: texts, booleans and few
                different whole numbers are classes. Values are standardized.
            drop: columns to leave out; dates and free text must be.
            validation_split: the share of the rows held out, stratified by class; 0 for none.
            seed: of the split.
            unlabeled: whether rows without a target join the rows without labels.
            category: columns that hold categories, such as codes, though they look like numbers.
            memory_limit: as in `from_arrays`.

        Raises:
            InputError, InputTypeError: the file cannot be read, a column cannot be used, or the
                target is missing somewhere; file, column and row are named.
            MissingDependencyError: CSV and Parquet need PyArrow.

        Example:
            >>> from sklearn.datasets import load_wine
            >>> from layerwise import Dataset
            >>> data = Dataset.from_table(load_wine(as_frame=True).frame, target="target")
            >>> data.train.x.shape, data.findings.target
            ((142, 13), 'target: 3 classes (3 different whole numbers; `--task values` for values)')
        """
        limit = None if memory_limit is None else bytes_from("memory_limit", memory_limit)
        how = (task, drop, validation_split, seed, unlabeled, category, limit)
        parts = parts_of(source, target, test, *how)
        return cls(**vars(parts))

    @property
    def classes(self) -> NDArray[Any] | None:
        """The labels in the order of a model's outputs, `(n_classes,)`; None for values."""
        return None if self.labels is None else self.labels.classes

    @property
    def splits(self) -> dict[str, Split]:
        """The splits that are there, by name."""
        named = {"train": self.train, "validation": self.validation, "test": self.test}
        return {name: split for name, split in named.items() if split is not None}

    @cached_property
    def pool(self) -> Split:
        """The training rows, with or without labels: those with labels come first.

        Where there are rows without, none of these has a label or a weight.
        """
        if self.unlabeled is None:
            return self.train
        rows = joined([self.train.stored, self.unlabeled.stored])
        return Split(rows, pixels=self.train.pixels)

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 over every split: names, shapes, types and bytes."""
        return fingerprint_of(self) if self.told is None else self.told

    def with_labels(self, count: int, *, validation_split: float = 0.2, seed: int = 0) -> Dataset:
        """The same data where only so many rows have a label, and all others none.

        Args:
            count: of the rows that keep their label, in the shares of the classes.
            validation_split: of these, how many are held out for validation.
            seed: which they are.

        Raises:
            InputError: there are not so many, or too few to hold some of each class out.
        """
        return few_labels(self, count, validation_split, seed)

    def first(self, rows: int) -> Dataset:
        """The same data with no more than so many of the first training rows."""
        return replace(self, train=self.train.take(np.arange(min(rows, self.train.rows))))

    def describe(self) -> dict[str, Any]:
        """What a run records of its data."""
        return {
            "name": self.name,
            "rows": {name: split.rows for name, split in every_split(self).items()},
            "shape": list(self.train.shape),
            "dtype": self.train.dtype,
            "kind": None if self.labels is None else self.labels.kind,
            "classes": None if self.classes is None else [str(label) for label in self.classes],
            "fingerprint": self.fingerprint,
        }
