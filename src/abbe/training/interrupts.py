"""A stop that waits for the step to end: Ctrl+C and SIGTERM while a network trains."""

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
_SAID = b"\nabbe: stopping after this step; press Ctrl+C again to stop at once\n"


@contextmanager
def stop_asked() -> Iterator[Callable[[], bool]]:
    """Within the block, the first signal to stop is noted instead of raised.

    A second one raises KeyboardInterrupt at once. Signals that a shell has set to be ignored stay
    so, and outside the main thread nothing changes, for only that one receives signals.

    Yields:
        What tells whether a stop was asked for.
    """
    asked = False

    def note(number: int, frame: FrameType | None) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        with suppress(OSError):  # print() may not be called again while it is at work
            os.write(2, _SAID)

    before = {}
    if threading.current_thread() is threading.main_thread():
        for each in _SIGNALS:
            if signal.getsignal(each) is not signal.SIG_IGN:
                before[each] = signal.signal(each, note)
    try:
        yield lambda: asked
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)


def leave_stopping_to_main(worker: int) -> None:
    """For a process that prepares batches: it gets the signals, too, and ends with the main one."""
    for each in _SIGNALS:
        signal.signal(each, signal.SIG_IGN)
