"""A preparation as JSON. A stranger may have written the file, so every value is looked at."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any, NoReturn

from layerwise.errors import DamagedError, UnknownFormatError
from layerwise.tables._code import CategoryCode, Code, NumberCode
from layerwise.tables._target import Label, Target

SCHEMA = 1
_NUMBER = {"name", "kind", "median", "mean", "scale", "indicator"}
_CATEGORY = {"name", "kind", "levels", "rare", "missing"}


def write(target: Target, codes: Sequence[Code], ignored: Sequence[str]) -> str:
    """The parts of a preparation as text."""
    columns = [
        {name: getattr(code, name) for name in sorted(_CATEGORY if code.as_text else _NUMBER)}
        for code in codes
    ]
    content = {
        "schema": SCHEMA,
        "target": {
            "name": target.name,
            "classes": target.classes,
            "mean": target.mean,
            "scale": target.scale,
        },
        "columns": columns,
        "ignored": list(ignored),
    }
    return json.dumps(content, indent=1, allow_nan=False) + "\n"


def read(text: str | bytes) -> tuple[Target, tuple[Code, ...], tuple[str, ...]]:
    """The parts of a preparation.

    Raises:
        DamagedError: the text is no preparation.
        UnknownFormatError: it is one of another schema.
    """
    try:
        content = json.loads(text, parse_constant=lambda name: _refuse(f"{name} in it"))
    except (ValueError, RecursionError) as error:
        if isinstance(error, DamagedError):
            raise
        raise DamagedError("The preparation is no JSON.") from error
    if isinstance(content, dict) and type(content.get("schema")) is int:
        if content["schema"] != SCHEMA:
            raise UnknownFormatError(
                f"The preparation has schema {content['schema']}, and this version of layerwise "
                f"reads {SCHEMA}. Use the version that wrote it."
            )
    else:
        _refuse("no schema number")
    _keys(content, {"schema", "target", "columns", "ignored"}, "the preparation")
    target = _target(content["target"])
    codes = tuple(_code(item) for item in _list(content["columns"], "columns"))
    ignored = _texts(content["ignored"], "ignored")
    names = [target.name, *(code.name for code in codes), *ignored]
    if not codes or len(set(names)) < len(names):
        _refuse("no columns, or two of one name")
    return target, codes, ignored


def _refuse(what: str) -> NoReturn:
    raise DamagedError(f"The preparation is not what layerwise writes: {what}.")


def _keys(value: Any, expected: set[str], what: str) -> None:
    if not isinstance(value, dict) or set(value) != expected:
        _refuse(f"{what} must have the entries {', '.join(sorted(expected))}")


def _list(value: Any, what: str) -> list[Any]:
    if not isinstance(value, list):
        _refuse(f"{what} must be a list")
    return value


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str):
        _refuse(f"{what} must be a text")
    return value


def _texts(value: Any, what: str) -> tuple[str, ...]:
    texts = tuple(_text(item, what) for item in _list(value, what))
    if len(set(texts)) < len(texts):
        _refuse(f"{what} must differ")
    return texts


def _number(value: Any, what: str) -> float:
    if type(value) not in (int, float):
        _refuse(f"{what} must be a number")
    try:
        number = float(value)
    except OverflowError:
        _refuse(f"{what} must be a finite number")
    if not math.isfinite(number):
        _refuse(f"{what} must be a finite number")
    return number


def _above_0(value: Any, what: str) -> float:
    number = _number(value, what)
    if number <= 0:
        _refuse(f"{what} must be above 0")
    return number


def _boolean(value: Any, what: str) -> bool:
    if type(value) is not bool:
        _refuse(f"{what} must be true or false")
    return value


def _target(value: Any) -> Target:
    _keys(value, {"name", "classes", "mean", "scale"}, "the target")
    classes: tuple[Label, ...] | None = None
    if value["classes"] is not None:
        classes = tuple(_list(value["classes"], "classes"))
        kinds = {type(label) for label in classes}
        usable = len(kinds) == 1 and kinds <= {str, bool, int, float}
        if not usable or len(set(classes)) < 2 or list(classes) != sorted(set(classes)):
            _refuse("classes must be two labels or more of one type, sorted")
        if kinds <= {int, float} and any(
            abs(float(_number(v, "a class"))) > 2**53 for v in classes
        ):
            _refuse("a class must be a number that is kept whole")
    return Target(
        _text(value["name"], "the target's name"),
        classes,
        _number(value["mean"], "the target's mean"),
        _above_0(value["scale"], "the target's scale"),
    )


def _code(value: Any) -> Code:
    if not isinstance(value, dict) or value.get("kind") not in ("number", "boolean", "category"):
        _refuse("a column must be a number, boolean or category")
    if value["kind"] == "category":
        _keys(value, _CATEGORY, "a category")
        levels, rare = _texts(value["levels"], "levels"), _texts(value["rare"], "rare values")
        if not levels or set(levels) & set(rare):
            _refuse("a category must have levels, none of them rare")
        return CategoryCode(
            _text(value["name"], "a name"), levels, rare, _boolean(value["missing"], "`missing`")
        )
    _keys(value, _NUMBER, "a number")
    return NumberCode(
        _text(value["name"], "a name"),
        value["kind"],
        _number(value["median"], "a median"),
        _number(value["mean"], "a mean"),
        _above_0(value["scale"], "a scale"),
        _boolean(value["indicator"], "`indicator`"),
    )
