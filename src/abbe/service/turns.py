"""Whose turn it is: some requests are computed at a time, some wait, all others are sent away."""

import asyncio
import math
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from typing import TypeVar

from abbe.service.limits import Limits, Refusal

Result = TypeVar("Result")


class StoppedError(Exception):
    """The work is of no use any more: its time is up, or nobody waits for it."""


class Stop:
    """Told to work that nobody waits for any more; it looks from time to time."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """End the work at its next look."""
        self._event.set()

    def look(self) -> None:
        """End here if so told.

        Raises:
            StoppedError: It was told.
        """
        if self._event.is_set():
            raise StoppedError


class Turns:
    """The places of a service. All but the work itself is called by the server's own thread."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._pool = ThreadPoolExecutor(limits.parallel, thread_name_prefix="abbe-service")
        self._lock = threading.Lock()
        self._inside = 0
        self._computing = 0
        self._usual = 1.0

    @property
    def computing(self) -> int:
        """Requests that are computed."""
        return self._computing

    @property
    def waiting(self) -> int:
        """Requests that wait, or whose bodies are still coming."""
        return max(0, self._inside - self._computing)

    @property
    def full(self) -> bool:
        """Whether the next request would be sent away."""
        return self._inside >= self._limits.parallel + self._limits.queue

    def enter(self) -> ExitStack:
        """A place, to be closed when nothing of the request is left.

        Raises:
            Refusal: With the status 503: all are taken.
        """
        with self._lock:
            if self.full:
                words = f"{self._inside} requests are in hand, and no more may wait. Try again"
                raise Refusal(503, words, self._retry_after())
            self._inside += 1
        place = ExitStack()
        place.callback(self._leave)
        return place

    async def run(
        self, work: Callable[[Stop], Result], place: ExitStack, gone: Callable[[], "asyncio.Task"]
    ) -> Result:
        """Do the work in its turn; its place is given back when it has ended, not before.

        Args:
            work: Looks at `Stop` from time to time.
            place: Of `enter`; taken over.
            gone: A task that ends when the client has gone.

        Raises:
            Refusal: Its time is up: 503 while it waited, 504 while it was computed.
            StoppedError: The client has gone.
        """
        stop = Stop()
        future: Future[Result] = self._pool.submit(self._timed, work, stop)
        own = place.pop_all()
        future.add_done_callback(lambda _: own.close())
        answer, left = asyncio.wrap_future(future), gone()
        try:
            await asyncio.wait(
                {answer, left}, timeout=self._limits.seconds, return_when=asyncio.FIRST_COMPLETED
            )
            if answer.done():
                return answer.result()
            has_left = left.done()
        finally:
            left.cancel()
            stop.set()  # of no matter where it has ended
        waited = future.cancel()
        answer.add_done_callback(_look_at)
        if has_left:
            raise StoppedError
        words = f"there was no answer within {self._limits.seconds:g} s"
        raise Refusal(503, words, self._retry_after()) if waited else Refusal(504, words)

    def end(self) -> None:
        """Wait for what is computed; what waits is not begun."""
        self._pool.shutdown(cancel_futures=True)

    def _timed(self, work: Callable[[Stop], Result], stop: Stop) -> Result:
        stop.look()
        with self._lock:
            self._computing += 1
        began = time.monotonic()
        try:
            return work(stop)
        finally:
            with self._lock:
                self._computing -= 1
                self._usual += 0.2 * (time.monotonic() - began - self._usual)

    def _leave(self) -> None:
        with self._lock:
            self._inside -= 1

    def _retry_after(self) -> int:
        """s until a place should be free."""
        return max(1, math.ceil(self._usual))


def _look_at(ended: "asyncio.Future") -> None:
    """Else asyncio complains of an error that nobody asked for."""
    if not ended.cancelled():
        ended.exception()
