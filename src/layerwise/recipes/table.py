"""A run on a table of the user's own: everything that its `run.json` needs to go on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import keras

from layerwise.datasets import Dataset
from layerwise.depth import DepthRule, FixedDepth, Plateau
from layerwise.errors import DamagedError
from layerwise.finetune import FineTune
from layerwise.recipes import Options, Recipe

WIDTH = 64
"""Units of each block where the user says nothing."""


@dataclass(frozen=True, kw_only=True)
class TableJob:
    """What `layerwise train` was given beside the options that every recipe has.

    Attributes:
        data: the table; kept with its whole path, so that a resume may come from anywhere.
        target: the column to predict.
        task: `"classes"` or `"values"`, or None to find out.
        drop: columns to leave out.
        category: columns that hold categories, whatever they look like.
        test: a table to score the chosen network on, or None.
        unlabeled: whether rows without a target join the rows without labels.
        fine_tune: epochs of joint training after growth, or None for no such training.
    """

    key: ClassVar[str] = "table"
    """Under which `run.json` keeps it."""

    data: Path
    target: str
    task: str | None = None
    drop: tuple[str, ...] = ()
    category: tuple[str, ...] = ()
    test: Path | None = None
    unlabeled: bool = False
    fine_tune: int | None = None

    def recipe(self) -> Recipe:
        """The job as a recipe that is not on the list."""
        return Recipe(name=self.data.stem, summary=f"the table {self.data}", plan=self.plan)

    def plan(self, options: Options) -> tuple[Dataset, dict[str, Any]]:
        """Read the table; one dense layer with relu a stage, where the user says nothing else.

        Raises:
            InputError: the table cannot be used.
        """
        split = 0.2 if options.validation_split is None else options.validation_split
        data = Dataset.from_table(
            self.data,
            target=self.target,
            test=self.test,
            task=self.task,
            drop=self.drop,
            validation_split=split,
            seed=options.seed,
            unlabeled=self.unlabeled,
            category=self.category,
            memory_limit=options.memory_limit,
        )
        width = options.width or WIDTH
        block = lambda depth: keras.layers.Dense(width, "relu")  # noqa: E731
        return data, options.over({"block": block, **finish(split, self.fine_tune)})

    def to_json(self) -> dict[str, Any]:
        """The job for `run.json`."""
        lists = {"drop": list(self.drop), "category": list(self.category)}
        given = {**asdict(self), **lists, "data": str(self.data.resolve())}
        if self.test is not None:
            given["test"] = str(self.test.resolve())
        return given

    @classmethod
    def from_json(cls, given: Any) -> TableJob:
        """The job of a run as its `run.json` keeps it.

        Raises:
            DamagedError: it is no job.
        """
        known = {field.name for field in fields(cls)}
        if not isinstance(given, Mapping) or set(given) != known or not _is_job(given):
            raise DamagedError(f"The table of the run must have {', '.join(sorted(known))}.")
        test = None if given["test"] is None else Path(given["test"])
        lists = {name: tuple(given[name]) for name in ("drop", "category")}
        return cls(**{**given, **lists, "data": Path(given["data"]), "test": test})


def finish(validation_split: float, fine_tune: int | None) -> dict[str, Any]:
    """How a job on the user's own data chooses its depth, and what it does after growth."""
    rule: DepthRule = Plateau() if validation_split else FixedDepth(keep="last")
    tuning = None if fine_tune is None else FineTune(epochs=fine_tune)
    return {"depth_rule": rule, "fine_tune": tuning}


def _is_job(given: Mapping[str, Any]) -> bool:
    """Whether each entry has its type."""
    return (
        all(isinstance(given[name], str) for name in ("data", "target"))
        and all(isinstance(given[name], (str, type(None))) for name in ("test", "task"))
        and all(isinstance(given[name], list) for name in ("drop", "category"))
        and all(isinstance(name, str) for name in given["drop"] + given["category"])
        and isinstance(given["unlabeled"], bool)
        and (given["fine_tune"] is None or type(given["fine_tune"]) is int)
    )
