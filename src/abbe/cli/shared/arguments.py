"""What the verbs share: parsing and printing. Nothing slow to import, for `abbe predict`'s sake."""

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import tyro

from abbe.foreign_text import shown
from abbe.progress import end_all


def parse(form: Any, verb: str, words: list[str], description: str, **options: Any) -> Any:
    """The arguments of ``abbe VERB`` as an object of the type ``form``."""
    return tyro.cli(form, prog=f"abbe {verb}", args=words, description=description, **options)


def say(text: str) -> None:
    """Print at once, so that it stands above a progress bar that follows.

    Much of it comes from files, so nothing in it may steer the terminal.
    """
    print(shown(text), flush=True)


@contextmanager
def going_on_told(verb: str, out: Path, *, trust_code: bool = False) -> Iterator[None]:
    """Where Ctrl+C stops what writes to the folder ``out``, print the command that goes on."""
    try:
        yield
    except KeyboardInterrupt:
        end_all()
        if out.is_dir():  # else nothing was computed
            words = ["abbe", verb, str(out), "--resume", *(["--trust-code"] if trust_code else [])]
            print(shown(f"\nGo on with: {shlex.join(words)}"), file=sys.stderr, flush=True)
        raise
