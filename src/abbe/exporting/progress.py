"""A progress bar on standard error, where somebody watches."""

from collections.abc import Iterable, Sequence
from typing import TypeVar

from rich.console import Console
from rich.progress import track

Item = TypeVar("Item")


def watched(items: Sequence[Item], text: str) -> Iterable[Item]:
    """The items one by one, with a bar that goes away when they are done."""
    console = Console(stderr=True)
    return track(items, text, console=console, transient=True, disable=not console.is_terminal)
