"""What makes dask's workers leave at a deadline: signals are heard, items end, others go on.

Loaded where distributed is there, by the client and by the workers.
"""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

from distributed.core import Status
from distributed.diagnostics.plugin import NannyPlugin, WorkerPlugin

from abbe.cluster import deadline

SECONDS = 20.0
"""Until items in hand must have ended: SLURM kills 30 s after SIGTERM."""


class LeavesAtDeadline(WorkerPlugin):
    """A worker that ends its items at SIGTERM and SIGUSR1, and then itself."""

    name = "abbe-deadline"
    idempotent = True

    def setup(self, worker: Any) -> None:
        """Listen."""
        deadline.begin()

        def leave() -> None:
            deadline.end_soon()
            worker.loop.add_callback(_leave, worker)

        heed(("SIGTERM", "SIGUSR1"), leave)

    def teardown(self, worker: Any) -> None:
        """The worker closes for another reason, as when its lifetime is over."""
        deadline.end_soon()


class PassesOnDeadline(NannyPlugin):
    """Its nanny, which knows SIGTERM, and by this SIGUSR1 as well."""

    name = "abbe-deadline-nanny"
    idempotent = True

    def setup(self, nanny: Any) -> None:
        """Listen."""
        heed(("SIGUSR1",), lambda: os.kill(os.getpid(), signal.SIGTERM))


async def _leave(worker: Any) -> None:
    worker.status = Status.closing_gracefully  # it is given nothing more
    until = time.monotonic() + SECONDS
    while worker.state.executing and time.monotonic() < until:
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.05)  # what items in hand have come to is on its way
    await worker.scheduler.retire_workers(
        workers=[worker.address],
        close_workers=False,
        remove=True,
        stimulus_id=f"abbe-deadline-{time.time()}",
    )
    await worker.close(nanny=True, reason="deadline")


def heed(names: tuple[str, ...], react: Callable[[], None]) -> None:
    """Have signals cause a reaction, beside that of a handler that is there already.

    Nothing is done in other threads than the first: a nanny in the client's own process leaves
    signals to the client.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    for name in names:
        number = getattr(signal, name, None)
        if number is None:  # Windows has no SIGUSR1
            continue
        before = signal.getsignal(number)

        def handle(got: int, frame: Any, before: Any = before) -> None:
            react()
            if callable(before):
                before(got, frame)

        signal.signal(number, handle)
