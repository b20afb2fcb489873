"""``abbe recipes``: the shipped experiment files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from abbe.cli.shared.arguments import parse


@dataclass(frozen=True)
class RecipesArguments:
    """Arguments of ``abbe recipes``."""

    action: tyro.conf.Positional[Literal["list", "copy"]] = "list"
    name: tyro.conf.Positional[str | None] = None
    """The recipe to copy."""
    destination: tyro.conf.Positional[Path | None] = None
    """Where the copy goes; NAME.yaml where omitted."""


def run(words: list[str]) -> int:
    """``abbe recipes [list | copy NAME FILE]``."""
    description = """List the shipped experiment files, or take one away to edit.

examples:
  abbe recipes
  abbe recipes copy cmkd mine.yaml"""
    arguments = parse(RecipesArguments, "recipes", words, description)
    from abbe.recipes import shipped

    if arguments.action == "list":
        print(shipped.listing())
    else:
        print(shipped.copy(arguments.name, arguments.destination))
    return 0
