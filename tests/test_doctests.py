"""The examples in docstrings say what comes out."""

import doctest
from importlib import import_module
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src"
MODULES = sorted(
    ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")
    for path in SOURCE.rglob("*.py")
    if ">>> " in path.read_text("utf-8")
)


def test_there_are_examples():
    assert {"abbe.scoring.pixel", "abbe.config.recipes", "abbe.datasets.splits"} <= set(MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_examples_come_out_as_they_say(name):
    result = doctest.testmod(import_module(name), optionflags=doctest.ELLIPSIS)
    assert result.attempted > 0
    assert result.failed == 0
