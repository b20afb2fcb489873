"""What starting worker processes must not leave behind."""

import contextlib
import signal
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def child_signals_as_they_were() -> Iterator[None]:
    """Take back the handler of SIGCHLD that torch's data loader sets for the rest of the process.

    Python's handlers run on an alternate stack. Libraries that export and compile networks swap
    that stack and leave a freed one behind; the next child that ends would then end this process
    too, with a segmentation fault. The loader finds a dead worker without the signal, by looking
    every few seconds.
    """
    known = hasattr(signal, "SIGCHLD") and threading.current_thread() is threading.main_thread()
    previous = signal.getsignal(signal.SIGCHLD) if known else None
    try:
        yield
    finally:
        if known:
            signal.signal(signal.SIGCHLD, previous or signal.SIG_DFL)
