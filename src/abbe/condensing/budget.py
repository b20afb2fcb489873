"""What the hours are enough for: steps, and how much evidence."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

from abbe.config import LEVELS
from abbe.errors import ConfigError

KEPT = 0.2
"""Share of the time that is kept for scoring, export and bench."""
LEAST_STEPS = {"full": 2000, "standard": 1000}
"""Of each training, so that a level of evidence is worth its time."""
PASSES = 60
"""Over the training images: more steps than these hardly help, nor fewer than `ENOUGH` harm."""
ENOUGH = 2000
FEW_STEPS = 200
"""Fewer are told: little is learned from them."""


@dataclass(frozen=True)
class Budget:
    """Steps of a training, and how many trainings there are.

    Attributes:
        steps: of each.
        why: the reason for that number.
        level: of evidence.
        trainings: of all networks and seeds, at most.
        step_seconds: measured.
        teaching: seconds of the teacher's answers, measured on a few images.
        others: by level, how many trainings it would be.
    """

    steps: int
    why: str
    level: str
    trainings: int
    step_seconds: float
    teaching: float
    others: Mapping[str, int] = field(default_factory=dict)

    @property
    def seconds(self) -> float:
        """Of teaching and training, as planned."""
        return self.teaching + self.of(self.trainings)

    def of(self, trainings: int) -> float:
        """Seconds of so many trainings."""
        return trainings * self.steps * self.step_seconds


def trainings_of(level: str) -> int:
    """Networks times seeds of a level of evidence.

    >>> [trainings_of(level) for level in ("quick", "standard", "full")]
    [1, 9, 20]
    """
    amount = LEVELS[level]  # pyright: ignore[reportArgumentType]
    return (1 + len(amount.baselines)) * amount.seeds


def budget_of(
    hours: float,
    step_seconds: float,
    *,
    teaching: float = 0.0,
    most: int = ENOUGH,
    choices: Mapping[str, int],
    steps: int | None = None,
) -> Budget:
    """The highest level of evidence that leaves each training its steps, and how many these are.

    >>> budget_of(1, 0.1, choices={"quick": 2, "standard": 9, "full": 20}).level
    'standard'
    >>> budget_of(0.1, 0.1, choices={"quick": 2, "standard": 9}).steps
    1440

    Args:
        hours: for all.
        step_seconds: of a training step.
        teaching: seconds before the first training.
        most: steps that are worth their time.
        choices: levels, and the trainings of each, from the least.
        steps: where they are given.

    Raises:
        ConfigError: teaching alone takes more than the hours.
    """
    seconds = hours * 3600 * (1 - KEPT) - teaching
    if seconds <= 0 and steps is None:
        raise ConfigError(
            f"--hours {hours:g}: the teacher alone takes {in_words(teaching)} on this machine. "
            "Give more hours, or a smaller teacher"
        )
    lowest = next(iter(choices))
    level = lowest
    for name, trainings in choices.items():
        needed = LEAST_STEPS.get(name, 1) if steps is None else steps
        if name == lowest or trainings * needed * step_seconds <= seconds:
            level = name
    trainings = choices[level]
    affordable = max(1, math.floor(seconds / (trainings * step_seconds)))
    found = min(affordable, most) if steps is None else steps
    of = f"{trainings} training{'s' * (trainings > 1)}"
    why = (
        f"{PASSES} passes over the images, or {ENOUGH}; the time would be enough for {affordable}"
        if affordable >= most
        else f"what {hours:g} h are enough for: {of}, {step_seconds:.2g} s a step, measured"
    )
    return Budget(found, why, level, trainings, step_seconds, teaching, dict(choices))


def in_words(seconds: float) -> str:
    """A duration.

    >>> in_words(40), in_words(600), in_words(9000)
    ('40 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
