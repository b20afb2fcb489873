"""What the verbs share: parsing, and sections that the command line is yet to complete."""

from typing import Any

import tyro

from abbe import config

Unprefixed = tyro.conf.arg(name="")
SOME_DATA = config.Data.model_construct(kind="folder")
SOME_TEACHER = config.Teacher.model_construct()
"""Not checked, because the command line is yet to complete them."""


def parse(form: Any, verb: str, words: list[str], description: str, **options: Any) -> Any:
    """The arguments of ``abbe VERB`` as an object of the type ``form``."""
    return tyro.cli(form, prog=f"abbe {verb}", args=words, description=description, **options)


def say(text: str) -> None:
    """Print at once, so that it stands above a progress bar that follows."""
    print(text, flush=True)
