"""Options that take one of a few words."""

from __future__ import annotations

import enum


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


class Task(enum.StrEnum):
    """What the target of a table is."""

    CLASSES = "classes"
    VALUES = "values"
