"""What tifffile logs while a file is opened: told where the file is read, not where it is refused.

A refusal says in words what is wrong. Where a file is read after all, the lines stay: they may say
that something in it was passed over.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_LOGGER = logging.getLogger("tifffile")
_held: ContextVar[list[logging.LogRecord] | None] = ContextVar("held", default=None)


def _hold(record: logging.LogRecord) -> bool:
    """A filter: keeps the line for later within `lines_held`, lets it pass elsewhere."""
    held = _held.get()
    if held is not None:
        held.append(record)
    return held is None


_LOGGER.addFilter(_hold)


@contextmanager
def lines_held() -> Iterator[None]:
    """Hold lines back until all has gone well; forget them where an error is raised."""
    lines: list[logging.LogRecord] = []
    token = _held.set(lines)
    try:
        yield
    finally:
        _held.reset(token)
    for line in lines:
        _LOGGER.handle(line)
