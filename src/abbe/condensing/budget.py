"""What the hours are enough for: steps, and how much evidence."""

import math
from bisect import bisect_right
from collections.abc import Collection, Mapping
from dataclasses import astuple, dataclass, field

from abbe.errors import ConfigError
from abbe.in_words import counted

SPARE = 0.1
"""Share of the time that is kept, for nothing takes quite what it was measured to take."""
AFTER = (30.0, 80.0)
"""Seconds, and windows of 1024 px that a student answers for meanwhile, that export and bench take
beside the parity check: fitted to three runs on two cores that others used, too."""
COMPARED = 6
"""How often the images of the parity check are answered for: by the student, and by engines."""
SCORED = 2.0
"""What scoring takes, in times of the bare answers: thresholds, objects and metrics are the rest.
"""
SCORED_ALSO = 2
"""Scorings beside one a network: the teacher's, and the first student's as soon as it is there."""
BESIDE = 1.05
"""What a training takes without validation, in times of its steps: checkpoints are the rest."""
MOST_VALIDATING = 0.1
"""Of a training's steps, the share of time that validation may take beside them."""
VALIDATIONS = (3, 10)
"""Of a training, at least and usually; long ones have one every 100 steps."""
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
        after: that export and bench take.
    """

    total: float
    planning: float
    teaching: float
    after: float

    @property
    def training(self) -> float:
        """Seconds that are left to train; 0 where none are."""
        return max(0.0, self.total - self.planning - self.teaching - self.after - self.spare)

    @property
    def spare(self) -> float:
        """Seconds that nothing is planned for."""
        return SPARE * self.total

    def require_training(self) -> None:
        """Refuse a time of which nothing is left to train.

        Raises:
            ConfigError: naming what would be enough for a few steps.
        """
        if self.training > 0:
            return
        others = self.planning + self.teaching + self.after + self.spare
        raise ConfigError(
            f"--hours {self.total / 3600:g}: {self.text} leave nothing to train on this machine. "
            f"Give --hours {math.ceil(20 * others / 3600) / 10:g} or more, or --training.steps"
        )

    @property
    def text(self) -> str:
        """The parts beside training and scoring."""
        parts = [f"planning {in_words(self.planning)}"]
        if self.teaching:
            parts.append(f"the teacher's answers {in_words(self.teaching)}")
        parts.append(f"export and bench {in_words(self.after)}")
        return ", ".join([*parts, f"to spare {in_words(self.spare)}"])


@dataclass(frozen=True)
class Pace:
    """What things take on this machine, in seconds.

    Attributes:
        step: of a training.
        validation: one.
        scoring: of one network.
        after: export and bench.
    """

    step: float
    validation: float = 0.0
    scoring: float = 0.0
    after: float = 0.0

    def training(self, steps: int) -> float:
        """One training.

        >>> Pace(0.1, validation=1.0).training(1000)
        115.0
        """
        return BESIDE * steps * self.step + self.validation * (steps // self.validate_every(steps))

    def validate_every(self, steps: int) -> int:
        """Steps from one validation to the next: rarer where validation takes long.

        >>> Pace(0.1).validate_every(400), Pace(0.1, validation=10.0).validate_every(400)
        (40, 133)
        """
        usual = max(VALIDATIONS[1], steps // 100)
        worth = MOST_VALIDATING * steps * self.step / self.validation if self.validation else usual
        return max(1, steps // max(VALIDATIONS[0], min(usual, int(worth))))

    def run(self, trainings: int, steps: int) -> float:
        """All trainings of a run, scored."""
        return trainings * self.training(steps) + (trainings + SCORED_ALSO) * self.scoring

    def steps_within(self, seconds: float, trainings: int) -> int:
        """The most steps of each training so that all of a run is within ``seconds``; 1 at least.

        >>> Pace(0.1).steps_within(105, trainings=2)
        500
        """
        most = max(1, math.ceil(seconds / (trainings * self.step)))
        fitting = bisect_right(
            range(1, most + 1), seconds, key=lambda steps: self.run(trainings, steps)
        )
        return max(1, fitting)

    def slower(self, times: float) -> "Pace":
        """The same on a machine that takes so many times as long for everything."""
        return Pace(*(times * value for value in astuple(self)))


def pace_of(
    step: float, pixel: float, processor: float, *, validated: int, scored: int, compared: int
) -> Pace:
    """The pace that a few trial steps let expect.

    Args:
        step: seconds of a training step.
        pixel: seconds of the student for a pixel, without learning.
        processor: likewise on the processor, which scores and exports.
        validated: pixels of the images of one validation.
        scored: pixels of the images that thresholds are chosen by, and of those that are tested.
        compared: pixels of the images of the parity check.
    """
    return Pace(
        step,
        validation=validated * pixel,
        scoring=SCORED * scored * processor,
        after=AFTER[0] + (AFTER[1] * 1024**2 + COMPARED * compared) * processor,
    )


@dataclass(frozen=True)
class Budget:
    """Steps of a training, and how many trainings there are.

    Attributes:
        steps: of each.
        why: the reason for that number.
        level: of evidence.
        why_level: the reason for that.
        trainings: of all networks and seeds.
        pace: measured.
        most: steps that are worth their time.
        others: by level, how many trainings it would be.
    """

    steps: int
    why: str
    level: str
    why_level: str
    trainings: int
    pace: Pace
    most: int
    others: Mapping[str, int] = field(default_factory=dict)

    def of(self, trainings: int) -> float:
        """Seconds of so many trainings, scored."""
        return self.pace.run(trainings, self.steps)


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
    pace: Pace,
    *,
    most: int = ENOUGH,
    choices: Mapping[str, int],
    steps: int | None = None,
) -> Budget:
    """The highest level of evidence that leaves each training its steps, and how many these are.

    >>> pace = Pace(0.1)
    >>> budget_of(2880, pace, choices={"quick": 2, "standard": 9, "full": 20}).level
    'standard'
    >>> budget_of(288, pace, choices={"quick": 2, "standard": 9}).steps
    1371
    >>> print(budget_of(1051, pace, choices={"standard": 9, "full": 20}).why_level)
    'full' would leave its 20 trainings 500 steps each, 2000 needed

    Args:
        seconds: for all trainings.
        pace: what things take.
        most: steps that are worth their time.
        choices: levels, and the trainings of each, from the least.
        steps: where they are given.
    """
    affordable = {
        name: pace.steps_within(seconds, trainings) for name, trainings in choices.items()
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
        else f"what the time is enough for: {of}, {pace.step:.2g} s a step, measured"
    )
    return Budget(
        found, why, level, _why_level(level, choices, affordable, needed), trainings, pace, most,
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
    each = counted(affordable[above], "step")
    short = (
        f"'{above}' would leave its {choices[above]} trainings {each} each, {needed[above]} needed"
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
