"""Options that several commands share, and the words that some of them take."""

from __future__ import annotations

import enum
from pathlib import Path
from typing import Annotated, TypeAlias

import typer


class Head(enum.StrEnum):
    """What happens to the head between stages."""

    CARRY = "carry"
    FRESH = "fresh"
    FROZEN = "frozen"


class EngineChoice(enum.StrEnum):
    """What trains a stage."""

    AUTO = "auto"
    COMPILED = "compiled"
    FIT = "fit"


class OnDivergence(enum.StrEnum):
    """What happens when a stage's loss or weights are not finite."""

    STOP = "stop"
    RETRY = "retry"


class BaselineChoice(enum.StrEnum):
    """How much to compare with."""

    NONE = "none"
    QUICK = "quick"
    FULL = "full"


class CacheDtypeChoice(enum.StrEnum):
    """What cached features are stored as."""

    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"
    UINT8 = "uint8"


class ColorChoice(enum.StrEnum):
    """What images are read as."""

    AUTO = "auto"
    GRAY = "gray"
    RGB = "rgb"


class OnDamage(enum.StrEnum):
    """What happens to images that cannot be decoded."""

    REFUSE = "refuse"
    SKIP = "skip"


class ExportFormat(enum.StrEnum):
    """What a network is written as."""

    KERAS = "keras"
    ONNX = "onnx"
    SAFETENSORS = "safetensors"
    TORCH = "torch"


class Task(enum.StrEnum):
    """What the target of a table is."""

    CLASSES = "classes"
    VALUES = "values"


Out: TypeAlias = Annotated[
    Path | None, typer.Option(help="Run folder; default: a new one under runs/.")
]
Seed: TypeAlias = Annotated[int, typer.Option(min=0, help="Seed of every random stream.")]
MaxDepth: TypeAlias = Annotated[int | None, typer.Option(min=1, help="Most stages.")]
Epochs: TypeAlias = Annotated[int | None, typer.Option(min=1, help="Epochs of each stage.")]
BatchSize: TypeAlias = Annotated[int | None, typer.Option(min=1, help="Rows a step.")]
ValidationSplit: TypeAlias = Annotated[
    float | None, typer.Option(help="Share of the training rows that choose the depth.")
]
Replicates: TypeAlias = Annotated[
    int | None, typer.Option(min=1, help="Runs that differ in their random streams.")
]
HeadOption: TypeAlias = Annotated[Head | None, typer.Option(help="The head between stages.")]
Objective: TypeAlias = Annotated[
    str | None, typer.Option(help="A name, such as reconstruction or rbm.")
]
Engine: TypeAlias = Annotated[EngineChoice | None, typer.Option(help="What trains a stage.")]
Baseline: TypeAlias = Annotated[
    BaselineChoice | None, typer.Option(help="Networks to compare with.")
]
OnDivergenceOption: TypeAlias = Annotated[
    OnDivergence | None,
    typer.Option(help="Stop, or try a stage again at half the learning rate."),
]
CacheDir: TypeAlias = Annotated[
    Path | None, typer.Option(help="Folder for features, instead of memory.")
]
CacheDtype: TypeAlias = Annotated[
    CacheDtypeChoice | None, typer.Option(help="Store features in fewer bits.")
]
MemoryLimit: TypeAlias = Annotated[
    str | None,
    typer.Option(help="Such as 200MB: what does not fit lies on disk, and comes piece by piece."),
]
SearchFraction: TypeAlias = Annotated[
    float | None, typer.Option(help="Choose the depth on this part of the training rows.")
]
DataDir: TypeAlias = Annotated[
    Path | None,
    typer.Option(help="Folder of original data files.", envvar="LAYERWISE_DATA"),
]
Diagnostics: TypeAlias = Annotated[
    bool, typer.Option("--diagnostics", help="Look into the chosen network for the report.")
]
Fast: TypeAlias = Annotated[
    bool, typer.Option("--fast", help="A minute-long form on fewer rows and epochs.")
]
Json: TypeAlias = Annotated[
    bool, typer.Option("--json", help="Print the summary as one JSON object.")
]
