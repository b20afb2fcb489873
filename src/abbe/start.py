"""Where ``abbe`` starts: from its first moment on, Ctrl+C ends it with one line.

Nothing is imported here before that is seen to: the first imports take a good part of a second, in
which somebody who mistyped presses Ctrl+C.
"""

import os
import signal
import sys
from types import FrameType

_STOPPED = b"\nabbe: stopped; what was computed is kept\n"


def _interrupt(number: int, frame: FrameType | None) -> None:
    """End at once while something is imported, else raise KeyboardInterrupt.

    Extension modules turn an exception that comes while they are imported into another, or lose it.
    """
    inner = frame
    while inner is not None:
        if inner.f_code.co_filename.startswith("<frozen importlib"):
            _end(number, frame)
        inner = inner.f_back
    raise KeyboardInterrupt


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, _STOPPED)
    os._exit(130)


if signal.getsignal(signal.SIGINT) is signal.default_int_handler:  # else a shell has it ignored
    signal.signal(signal.SIGINT, _interrupt)


def main() -> int:
    """``abbe VERB …`` as a program of its own; the result is the exit code."""
    try:
        _open_standard_streams()
        from abbe.cli import main as run

        code = run()
    except KeyboardInterrupt:  # it came before the verb had begun, or once more while it ended
        os.write(2, _STOPPED)
        code = 130
    if signal.getsignal(signal.SIGINT) is _interrupt:  # threads and libraries end now
        signal.signal(signal.SIGINT, _end)
    return code


def _open_standard_streams() -> None:
    """Else the first file that is opened would take the place of one that the shell has closed."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            nothing = os.open(os.devnull, os.O_RDWR)
            if nothing != number:
                os.dup2(nothing, number)
                os.close(nothing)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8"))
