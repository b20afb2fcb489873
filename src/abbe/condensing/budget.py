"""What the hours are enough for: steps, and how much evidence."""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from abbe.errors import ConfigError

KEPT = 0.2
"""Share of the time that is kept for scoring, export and bench, at least."""
AFTER = (30.0, 90.0)
"""Seconds, and windows of 1024 px that a student answers for meanwhile, that scoring, export and
bench take of small images: fitted to two runs on two cores that others used, too, where they were
131 and 312 s and are held to be 167 and 276."""
BESIDE = 1.1
"""What a training takes, in times of its steps: validation and checkpoints are the rest."""
LEAST_STEPS = {"full": 2000, "standard": 1000}
"""Of each training, so that a level of evidence is worth its time."""
PASSES = 60
"""Over the training images: more steps than these hardly help, nor fewer than `ENOUGH` harm."""
ENOUGH = 2000
FEW_STEPS = 200
"""Fewer are told: little is learned from them."""


@dataclass(frozen=True)
class Hours:
    """Where the time goes.

    Attributes:
        total: seconds for all.
        planning: that the plan took.
        teaching: that the teacher's answers will take, measured on a few images.
        after: that are kept for scoring, export and bench.
    """

    total: float
    planning: float
    teaching: float
    after: float

    @property
    def training(self) -> float:
        """Seconds that are left to train; 0 where none are."""
        return max(0.0, self.total - self.planning - self.teaching - self.after)

    def require_training(self) -> None:
        """Refuse a time of which nothing is left to train.

        Raises:
            ConfigError: naming what would be enough for a few steps.
        """
        if self.training > 0:
            return
        others = self.planning + self.teaching + self.after
        raise ConfigError(
            f"--hours {self.total / 3600:g}: {self.text} leave nothing to train on this machine. "
            f"Give --hours {math.ceil(20 * others / 3600) / 10:g} or more, or --training.steps"
        )

    @property
    def text(self) -> str:
        """The parts beside training."""
        parts = [f"planning {in_words(self.planning)}"]
        if self.teaching:
            parts.append(f"the teacher's answers {in_words(self.teaching)}")
        return ", ".join([*parts, f"scoring, export and bench {in_words(self.after)}"])


def kept(total: float, pixel_seconds: float) -> float:
    """Seconds of ``total`` to keep for scoring, export and bench, whatever is trained.

    Args:
        total: seconds for all.
        pixel_seconds: of the student for a pixel, without learning.

    >>> round(kept(3600, 1e-6)), round(kept(360, 1e-6))
    (720, 124)
    """
    return max(KEPT * total, AFTER[0] + AFTER[1] * 1024**2 * pixel_seconds)


@dataclass(frozen=True)
class Budget:
    """Steps of a training, and how many trainings there are.

    Attributes:
        steps: of each.
        why: the reason for that number.
        level: of evidence.
        why_level: the reason for that.
        trainings: of all networks and seeds.
        step_seconds: measured.
        others: by level, how many trainings it would be.
    """

    steps: int
    why: str
    level: str
    why_level: str
    trainings: int
    step_seconds: float
    others: Mapping[str, int] = field(default_factory=dict)

    def of(self, trainings: int) -> float:
        """Seconds of so many trainings."""
        return trainings * self.steps * self.step_seconds * BESIDE


def trainings_of(baselines: Collection[str], seeds: int, *, alone: bool) -> int:
    """How many networks are trained, over all seeds.

    Args:
        baselines: that the student is held against.
        seeds: how many.
        alone: every training image is labelled. Twin and supervised network are one then, and
            nothing is left for self-training.

    >>> from abbe.config import LEVELS
    >>> [trainings_of(*LEVELS[level], alone=False) for level in LEVELS]
    [1, 9, 20]
    >>> [trainings_of(*LEVELS[level], alone=True) for level in LEVELS]
    [1, 6, 10]
    """
    held = bool({"supervised", "twin"} & set(baselines)) if alone else len(set(baselines))
    return (1 + held) * seeds


def budget_of(
    seconds: float,
    step_seconds: float,
    *,
    most: int = ENOUGH,
    choices: Mapping[str, int],
    steps: int | None = None,
) -> Budget:
    """The highest level of evidence that leaves each training its steps, and how many these are.

    >>> budget_of(2880, 0.1, choices={"quick": 2, "standard": 9, "full": 20}).level
    'standard'
    >>> budget_of(288, 0.1, choices={"quick": 2, "standard": 9}).steps
    1309
    >>> print(budget_of(1101, 0.1, choices={"standard": 9, "full": 20}).why_level)
    'full' would leave its 20 trainings 500 steps each, 2000 needed

    Args:
        seconds: for all trainings.
        step_seconds: of a training step.
        most: steps that are worth their time.
        choices: levels, and the trainings of each, from the least.
        steps: where they are given.
    """
    affordable = {
        name: max(1, math.floor(seconds / (trainings * step_seconds * BESIDE)))
        for name, trainings in choices.items()
    }
    needed = {name: steps or LEAST_STEPS.get(name, 1) for name in choices}
    fitting = [name for name in choices if affordable[name] >= needed[name]]
    level = fitting[-1] if fitting else next(iter(choices))
    trainings = choices[level]
    found = min(affordable[level], most) if steps is None else steps
    of = f"{trainings} training{'s' * (trainings > 1)}"
    why = (
        f"more hardly help; the time would be enough for {affordable[level]}"
        if affordable[level] >= most
        else f"what the time is enough for: {of}, {step_seconds:.2g} s a step, measured"
    )
    return Budget(
        found, why, level, _why_level(level, choices, affordable, needed), trainings, step_seconds,
        dict(choices),
    )  # fmt: skip


def _why_level(
    level: str,
    choices: Mapping[str, int],
    affordable: Mapping[str, int],
    needed: Mapping[str, int],
) -> str:
    """Why a level of evidence is the one that the time is enough for."""
    names = list(choices)
    if level == names[-1]:
        return "the time is enough for all of its seeds"
    above = names[names.index(level) + 1]
    short = (
        f"'{above}' would leave its {choices[above]} trainings {affordable[above]} steps each, "
        f"{needed[above]} needed"
    )
    return f"one seed, which proves little: {short}" if level == "quick" else short


def in_words(seconds: float) -> str:
    """A duration.

    >>> in_words(40), in_words(600), in_words(9000)
    ('40 s', '10 min', '2.5 h')
    """
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
