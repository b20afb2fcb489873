"""Keep to the hours while a plan is carried out: other steps where they prove slower than measured.

The first network is looked at when it is validated. Where all would take longer than the hours, or
much less, it begins anew with as many steps as they are enough for: all networks of a run have the
same.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from abbe.condensing.budget import SPARE, Pace
from abbe.condensing.page import ASKED
from abbe.files import write_json

MEASURED = "measured"
"""The key of `ASKED` that holds what a plan counts on."""
LOOKS = 3
"""Validations of the first network after all but the first of which it may begin anew."""
LATE, EARLY = 0.05, 0.25
"""Shares of the time by which it may be late, or early, before it does."""
WORTH = (0.9, 1.5)
"""Times the steps: between them it goes on as it is."""
LEAST = 20
"""Steps of a training, however slow they are."""


@dataclass(frozen=True)
class Counted:
    """What a plan counts on.

    Attributes:
        steps: of each training.
        trainings: how many there are.
        pace: that was measured.
        most: steps that are worth their time.
    """

    steps: int
    trainings: int
    pace: Pace
    most: int

    def write(self, folder: Path) -> None:
        """Add it to what was asked for."""
        file = folder / ASKED
        write_json(file, {**json.loads(file.read_text("utf-8")), MEASURED: asdict(self)})


def counted_in(folder: Path) -> Counted | None:
    """What the plan in a folder counts on; None where an earlier version made it."""
    found: dict[str, Any] | None = json.loads((folder / ASKED).read_text("utf-8")).get(MEASURED)
    if found is None:
        return None
    return Counted(**{**found, "pace": Pace(**found["pace"])})


class OtherPaceError(Exception):
    """All would take longer than the hours, or much less.

    Attributes:
        steps: that they are enough for.
        why: in words.
        pace: as it proved to be.
    """

    def __init__(self, steps: int, why: str, pace: Pace) -> None:
        super().__init__(why)
        self.steps, self.why, self.pace = steps, why, pace


class Watch:
    """Told of each validation of a run's networks; `OtherPaceError` where the first goes otherwise.

    Args:
        counted: what the plan counts on.
        total: seconds for all.
        started: when they began, by ``clock``.
        clock: seconds that pass.
    """

    def __init__(
        self,
        counted: Counted,
        total: float,
        started: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._counted, self._total, self._started, self._clock = counted, total, started, clock
        self._looks, self._step = 0, 0
        self._first = (0, 0.0)

    def __call__(self, step: int, seconds: float) -> None:
        """See whether all will be done in time.

        Args:
            step: that a network has come to.
            seconds: since it began, validations among them.

        Raises:
            OtherPaceError: it will not, or long before.
        """
        counted = self._counted
        another = step <= self._step
        self._looks, self._step = self._looks + 1, step
        if another or self._looks > LOOKS or step >= counted.steps:
            self._looks = LOOKS  # only the first network is looked at
            return
        if self._looks == 1:
            self._first = step, seconds  # the first steps are slow: they say little of the others
            return
        share = (step - self._first[0]) / counted.steps
        times = (seconds - self._first[1]) / (share * counted.pace.training(counted.steps))
        pace = counted.pace.slower(times)
        left = self._total - (self._clock() - self._started)
        over = pace.run(counted.trainings, counted.steps) + pace.after - seconds - left
        if -EARLY * self._total < over <= LATE * self._total:
            return
        aim = left - SPARE / 2 * self._total - pace.after
        fitting = pace.steps_within(max(aim, 0.0), counted.trainings)
        steps = max(LEAST, min(fitting, counted.most))
        fewer, more = (times * counted.steps for times in WORTH)
        if fewer < steps < more or (over > 0) != (steps < counted.steps):
            return
        why = (
            f"a step takes {pace.step:.2g} s here, and not {counted.pace.step:.2g} as it was "
            f"measured: {steps} steps a training, and not {counted.steps}"
        )
        raise OtherPaceError(steps, why, pace)
