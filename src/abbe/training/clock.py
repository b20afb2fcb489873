"""What part of a stage's time goes into validation, and what to set where it is too much."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

MOST_VALIDATING = 0.1
"""Share of a stage's time; where validation takes more, it is said what to set."""
AT_LEAST = 2
"""Validations before that is said: the first one of a stage is slow, and may stay the only one."""


class Clock:
    """The time of a stage since it began, its interruptions left out.

    Args:
        earlier: seconds of the parts before an interruption.
        validating: of these, seconds of validation.
        validations: how many there were.
        told: whether advice was given.
    """

    def __init__(
        self,
        earlier: float = 0.0,
        validating: float = 0.0,
        validations: int = 0,
        told: bool = False,
    ) -> None:
        self._earlier, self._started = earlier, time.perf_counter()
        self._validating, self._validations, self._told = validating, validations, told

    @property
    def seconds(self) -> float:
        """All of it."""
        return self._earlier + time.perf_counter() - self._started

    @property
    def share_validating(self) -> float:
        """Share of it that went into validation."""
        return self._validating / max(self.seconds, 1e-9)

    @property
    def state(self) -> tuple[float, float, int, bool]:
        """What a checkpoint keeps: the arguments of the clock that goes on from here."""
        return self.seconds, self._validating, self._validations, self._told

    @contextmanager
    def validating(self) -> Iterator[None]:
        """Count what is done inside as validation."""
        started = time.perf_counter()
        yield
        self._validating += time.perf_counter() - started
        self._validations += 1

    def advice(self, steps: int, name: str, total: int) -> str | None:
        """A sentence, once, where validation takes more than `MOST_VALIDATING`; else None.

        Args:
            steps: taken so far.
            name: of network and stage.
            total: steps that the stage will have taken at its end.
        """
        share = self.share_validating
        if self._told or self._validations < AT_LEAST or share <= MOST_VALIDATING:
            return None
        self._told = True
        of_one = self._validating / self._validations
        of_a_step = (self.seconds - self._validating) / steps
        enough = _rounded_up(of_one / of_a_step * (1 - MOST_VALIDATING) / MOST_VALIDATING)
        way = f"set validate-every to {enough}" if enough <= total else f"train for {enough} steps"
        return (
            f"{name}: validation takes {share:.0%} of the time. To bring it to "
            f"{MOST_VALIDATING:.0%}, {way}, or have fewer validation images"
        )


def _rounded_up(value: float) -> int:
    """To two digits."""
    unit = 10 ** max(0, math.floor(math.log10(max(value, 1.0))) - 1)
    return math.ceil(value / unit) * unit
