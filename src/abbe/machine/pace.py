"""Fewer threads while others need the cores: threads that wait for each other help nobody."""

import math
import time
from collections.abc import Callable
from statistics import median
from typing import Self

import torch

from abbe.in_words import counted
from abbe.machine import threads

STEPS, SECONDS = 4, 2.0
"""A pace is the median of so many steps, or more, over so many seconds, or more."""
FEWEST, HALF = 2, 0.5
"""A trial ends after so many steps and seconds if none of them was faster than before."""
BUSY = 0.2
"""Seconds by second that threads of this process wait for a core: from here on it is busy."""
ROOM = 0.5
"""Seconds by second that cores have nothing to do: from here on there is room for a thread."""
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

    On a quiet machine nothing changes. On a busy one fewer threads are tried for a few steps, as
    many as others leave cores for but at least half, and kept if these are faster. More are tried
    once cores have nothing to do; where all of them are taken, a trial only costs time, and is made
    very seldom. At the end of a ``with`` block torch has as many threads again as at its beginning:
    what slowed down this work need not slow down the next. Sums over other threads differ in their
    last digits, so a busy machine's training does not repeat exactly; a number that is given
    (``--threads``, OMP_NUM_THREADS) is kept, and repeats.

    Args:
        told: told in a sentence of each change that is kept.
        fixed: change nothing.
        clock: seconds; for tests.
        without_core: see `abbe.machine.threads.seconds_without_core`; for tests.
        use_of_cores: see `abbe.machine.threads.use_of_cores`; for tests.
        computed: seconds that this process has computed; for tests.
    """

    def __init__(
        self,
        told: Callable[[str], object],
        *,
        fixed: bool = False,
        clock: Callable[[], float] = time.perf_counter,
        without_core: Callable[[], float | None] = threads.seconds_without_core,
        use_of_cores: Callable[[], threads.Use | None] = threads.use_of_cores,
        computed: Callable[[], float] = time.process_time,
    ) -> None:
        self._told, self._clock, self._without_core = told, clock, without_core
        self._use_of_cores, self._computed = use_of_cores, computed
        self._most = torch.get_num_threads()
        self._fixed = fixed or threads.given() is not None or self._most == 1
        self._before: tuple[int, float] | None = None  # threads and pace before a trial
        self._best: dict[int, float] = {}
        self._wait, self._tried_at = 0.0, clock()
        self._begin()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self._fixed:
            torch.set_num_threads(self._most)

    def _begin(self) -> None:
        self._steps: list[float] = []
        self._since, self._waited = self._clock(), self._without_core()
        self._used, self._own = self._use_of_cores(), self._computed()

    def after_step(self, seconds: float) -> None:
        """Take note of a step; now and then, change the number of threads."""
        if self._fixed:
            return
        self._steps.append(seconds)
        if self._before is not None and self._is_hopeless(self._before[1]):
            self._judge(min(self._steps), torch.get_num_threads(), *self._before)
            self._begin()
            return
        if len(self._steps) < STEPS or self._clock() - self._since < SECONDS:
            return
        pace, now = median(self._steps), torch.get_num_threads()
        if self._before is not None:
            self._judge(pace, now, *self._before)
        else:
            self._look(pace, now)
        self._best[now] = min(pace, self._best.get(now, pace))
        self._begin()

    def _is_hopeless(self, before: float) -> bool:
        enough = len(self._steps) >= FEWEST and self._clock() - self._since >= HALF
        return enough and min(self._steps) >= before

    def _look(self, pace: float, now: int) -> None:
        """Begin a trial, if one is due and promises something."""
        passed, seen = self._clock() - self._tried_at, self._others_and_idle()
        if self._is_busy(pace, now):
            if now > 1 and passed >= self._wait:
                left = 0 if seen is None else now - math.ceil(seen[0])
                self._try(min(max(left, now // 2), now - 1), pace, now)
        elif now < self._most:
            if seen is None:
                due, more = max(self._wait, PATIENCE), now
            else:
                due, more = (self._wait if seen[1] >= ROOM else LONGEST), max(round(seen[1]), 1)
            if passed >= due:
                self._try(min(now + more, self._most), pace, now)

    def _is_busy(self, pace: float, now: int) -> bool:
        waited = self._without_core()
        if waited is None or self._waited is None:
            return pace > SLOW * self._best.get(now, pace)
        return (waited - self._waited) / (self._clock() - self._since) > BUSY

    def _others_and_idle(self) -> tuple[float, float] | None:
        """How many cores others computed with, and how many had nothing to do, if that is known."""
        used, seconds = self._use_of_cores(), self._clock() - self._since
        if used is None or self._used is None:
            return None
        others = used.busy - self._used.busy - (self._computed() - self._own)
        return max(others, 0.0) / seconds, (used.idle - self._used.idle) / seconds

    def _try(self, number: int, pace: float, now: int) -> None:
        self._before = now, pace
        torch.set_num_threads(number)

    def _judge(self, pace: float, now: int, before: int, pace_before: float) -> None:
        self._before, self._tried_at = None, self._clock()
        # Of many threads one more brings less than a tenth: then half of what it may bring.
        share = FASTER if now < before else max(FASTER, (1 + before / now) / 2)
        if pace < share * pace_before:
            self._wait = 0.0
            why = "others need the cores" if now < before else "there are cores again"
            self._told(
                f"{now} of {counted(self._most, 'thread')} from here on: {why}, and a step takes "
                f"{pace:.3g} s instead of {pace_before:.3g} s"
            )
        else:
            self._wait = min(max(PATIENCE, 2 * self._wait), LONGEST)
            torch.set_num_threads(before)
