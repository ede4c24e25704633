"""The documentation's examples run as they stand, and its file map is true."""

from __future__ import annotations

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import pytest

import layerwise

ROOT = Path(__file__).parent.parent
EXAMPLES = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
MODULES = [module.name for module in pkgutil.walk_packages(layerwise.__path__, prefix="layerwise.")]


@pytest.mark.parametrize("number", range(len(EXAMPLES)))
def test_an_example_of_the_readme(number: int, capsys: pytest.CaptureFixture[str]) -> None:
    exec(compile(EXAMPLES[number], f"README example {number}", "exec"), {"__name__": "example"})
    assert capsys.readouterr().out


@pytest.mark.parametrize("name", ["layerwise", *MODULES])
def test_the_examples_in_docstrings(name: str) -> None:
    assert doctest.testmod(importlib.import_module(name)).failed == 0


def test_every_public_name_loads_and_is_documented() -> None:
    for name in layerwise._ROOMS:
        assert getattr(layerwise, name).__doc__, name
        assert name in dir(layerwise)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        layerwise.nonsense  # noqa: B018


def test_the_file_map_of_the_readme_is_true() -> None:
    block = (ROOT / "README.md").read_text().split("src/layerwise/\n")[1].split("tests/")[0]
    listed = set(re.findall(r"^  (\S+)", block, re.MULTILINE))
    rooms = {
        path.name + "/" * path.is_dir()
        for path in (ROOT / "src" / "layerwise").iterdir()
        if not path.name.startswith(("_", "py.typed"))
    }
    assert listed == rooms
