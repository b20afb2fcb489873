"""Fewer threads while others need the cores: threads that wait for each other help nobody."""

import time
from collections.abc import Callable
from statistics import median

import torch

from abbe import threads

STEPS, SECONDS = 4, 2.0
"""A pace is the median of so many steps, or more, over so many seconds, or more."""
BUSY = 0.1
"""Seconds without a core, by second and thread: from here on the machine is busy."""
SLOW = 1.5
"""Where nothing is known of cores: a pace by so much slower than it was means the same."""
FASTER = 0.9
"""What a step must take of its time to show that a number of threads is better."""
PATIENCE, LONGEST = 20.0, 320.0
"""Seconds until another number is tried; twice as many after each that was in vain, up to these."""


def use_threads() -> None:
    """Set torch's threads to the cores that this process may use, unless the user said how many."""
    if threads.given() is None:
        torch.set_num_threads(min(torch.get_num_threads(), threads.cores()))


class Pace:
    """Watches how long steps take, and changes torch's threads where others keep them waiting.

    On a quiet machine nothing changes. On a busy one half as many threads are tried for a few
    steps and kept if these are faster; when there is room again, twice as many. Sums over other
    threads differ in their last digits, so a busy machine's training does not repeat exactly; a
    number that is given (``--threads``, OMP_NUM_THREADS) is kept, and repeats.

    Args:
        told: told in a sentence of each change that is kept.
        clock: seconds; for tests.
        without_core: see `abbe.threads.seconds_without_core`; for tests.
    """

    def __init__(
        self,
        told: Callable[[str], object],
        *,
        clock: Callable[[], float] = time.perf_counter,
        without_core: Callable[[], float | None] = threads.seconds_without_core,
    ) -> None:
        self._told, self._clock, self._without_core = told, clock, without_core
        self._most = torch.get_num_threads()
        self._fixed = threads.given() is not None or self._most == 1
        self._before: tuple[int, float] | None = None  # threads and pace before a trial
        self._best: dict[int, float] = {}
        self._wait, self._tried_at = 0.0, clock()
        self._begin()

    def _begin(self) -> None:
        self._steps: list[float] = []
        self._since, self._waited = self._clock(), self._without_core()

    def after_step(self, seconds: float) -> None:
        """Take note of a step; now and then, change the number of threads."""
        if self._fixed:
            return
        self._steps.append(seconds)
        if len(self._steps) < STEPS or self._clock() - self._since < SECONDS:
            return
        pace, now = median(self._steps), torch.get_num_threads()
        if self._before is not None:
            self._judge(pace, now, *self._before)
        elif self._clock() - self._tried_at >= self._wait:
            busy = self._is_busy(pace, now)
            if busy and now > 1:
                self._try(now // 2, pace, now)
            elif not busy and now < self._most:
                self._try(min(2 * now, self._most), pace, now)
        self._best[now] = min(pace, self._best.get(now, pace))
        self._begin()

    def _is_busy(self, pace: float, now: int) -> bool:
        waited = self._without_core()
        if waited is None or self._waited is None:
            return pace > SLOW * self._best.get(now, pace)
        return (waited - self._waited) / (self._clock() - self._since) / now > BUSY

    def _try(self, number: int, pace: float, now: int) -> None:
        self._before = now, pace
        torch.set_num_threads(number)

    def _judge(self, pace: float, now: int, before: int, pace_before: float) -> None:
        self._before, self._tried_at = None, self._clock()
        if pace < FASTER * pace_before:
            self._wait = 0.0
            why = "others need the cores" if now < before else "there are cores again"
            self._told(
                f"{now} of {self._most} threads from here on: {why}, and a step takes "
                f"{pace:.3g} s instead of {pace_before:.3g} s"
            )
        else:
            self._wait = min(max(PATIENCE, 2 * self._wait), LONGEST)
            torch.set_num_threads(before)
