"""A lock on an image: one process works on it at a time; the system drops it if that one dies."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from abbe.errors import InputError
from abbe.files.locks import alone


@contextmanager
def image_lock(folder: Path) -> Iterator[None]:
    """Keep other processes out of a hidden folder while the block runs.

    The lock is the file ``FOLDER.lock``; see `abbe.files.locks.alone`.

    Args:
        folder: The folder, which need not exist; only the name of its lock is made of it.

    Raises:
        InputError: Another process works in it, which the message names.
        OSError: The lock cannot be written.
    """
    path = folder.with_name(f"{folder.name}.lock")
    path.parent.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            stack.enter_context(alone(path))
        except BlockingIOError as error:
            raise InputError(
                f"{folder}: {error} has this image in hand. Wait until it has finished, or give "
                "another --out"
            ) from None
        yield
