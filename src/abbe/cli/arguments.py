"""What the verbs share: parsing and printing. Nothing slow to import, for `abbe predict`'s sake."""

from typing import Any

import tyro

from abbe.foreign_text import shown


def parse(form: Any, verb: str, words: list[str], description: str, **options: Any) -> Any:
    """The arguments of ``abbe VERB`` as an object of the type ``form``."""
    return tyro.cli(form, prog=f"abbe {verb}", args=words, description=description, **options)


def say(text: str) -> None:
    """Print at once, so that it stands above a progress bar that follows.

    Much of it comes from files, so nothing in it may steer the terminal.
    """
    print(shown(text), flush=True)
