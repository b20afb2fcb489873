"""What a run holds against what: its networks by seed, and which of them is the best baseline."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import fmean

from abbe import config
from abbe.caveats import listed
from abbe.in_words import counted
from abbe.recipes.recipe import Trained
from abbe.summary import BASELINES, Evidence

SHOWN_EARLY = 60.0
"""Where the rest of the evidence takes more seconds, the first student gets its report already."""


@dataclass
class Gathered:
    """The networks of a run so far: by seed, then by name. The first seed's are handed over."""

    by_seed: dict[int, dict[str, Trained]] = field(default_factory=dict)

    @property
    def first(self) -> Mapping[str, Trained]:
        """The networks of the first seed."""
        return next(iter(self.by_seed.values()))

    @property
    def by_name(self) -> dict[str, dict[int, Trained]]:
        """The same by name, then by seed; in the order of the first seed."""
        return {
            name: {seed: each[name] for seed, each in self.by_seed.items() if name in each}
            for name in self.first
        }

    def validation(self) -> dict[str, list[float | None]]:
        """By name, the best validation score of each seed; None where nothing was validated on."""
        return {
            name: [_best(trained) for trained in by_seed.values()]
            for name, by_seed in self.by_name.items()
            if any(trained.fitted for trained in by_seed.values())
        }


def _best(trained: Trained) -> float | None:
    best = trained.fitted[-1].best if trained.fitted else None
    return None if best is None else best[0]


def evidence_of(
    experiment: config.Experiment,
    gathered: Gathered,
    differs: Mapping[str, str],
    *,
    complete: bool,
) -> Evidence:
    """What the summary says of baselines and seeds.

    The headline's baseline is the one with the best mean score on validation images, never on test
    images; where there are none, it is the first of `abbe.summary.BASELINES` that was trained.
    """
    validation = gathered.validation()
    present = [name for name in BASELINES if name in gathered.by_name]
    scores: dict[str, float] = {}
    for name in present:
        known = [value for value in validation[name] if value is not None]
        if len(known) == len(validation[name]):
            scores[name] = fmean(known)
    best = max(scores, key=scores.__getitem__, default=present[0] if present else "")
    return Evidence(
        level=experiment.evidence_level,
        seeds=list(gathered.by_seed),
        baselines=present,
        differs={name: differs[name] for name in present if name in differs},
        against=best,
        chosen_on="validation" if len(scores) > 1 else "",
        validation=validation,
        complete=complete,
    )


def plan_in_words(experiment: config.Experiment) -> str:
    """What will be trained, before it is.

    >>> student = config.Student(architecture="unet-resnet18", encoder_weights="random")
    >>> teacher = config.Teacher(kind="store", path="targets.zarr")
    >>> given = {"recipe": "cmkd", "out": "a", "student": student, "teacher": teacher}
    >>> plan_in_words(config.Experiment(**given))
    'evidence standard: student, supervised and twin, each from seeds 0, 1 and 2'
    """
    names, seeds = ["student", *experiment.compared_with], experiment.all_seeds
    each = f"each from seed{'s' * (len(seeds) > 1)}" if len(names) > 1 else "from seed"
    level = experiment.evidence_level
    return f"evidence {level}: {listed(names)}, {each} {listed(list(map(str, seeds)))}"


def pace_in_words(experiment: config.Experiment, before: float, steps: int, pace: float) -> str:
    """How long each level of evidence will take, as its first steps let expect.

    Args:
        experiment: of the run.
        before: seconds that its pretraining took.
        steps: of its student, all stages together; later stages may be faster or slower.
        pace: seconds a step.
    """
    seconds = before + steps * pace
    if rest_of(experiment, seconds) < SHOWN_EARLY:
        return ""
    return f"at this pace {times_in_words(experiment, seconds)}"


def times_in_words(experiment: config.Experiment, seconds: float) -> str:
    """How long each level of evidence takes.

    Args:
        experiment: of the run.
        seconds: that the first student takes, with its pretraining.
    """
    told = []
    for level, (baselines, seeds) in config.LEVELS.items():
        trainings = (1 + len(baselines)) * seeds
        told.append(f"{level} {_duration(trainings * seconds)} ({counted(trainings, 'training')})")
    return f"the student takes {_duration(seconds)}; evidence in all: {', '.join(told)} at most"


def rest_of(experiment: config.Experiment, seconds: float) -> float:
    """About how many seconds the other trainings take, if each takes what the first student did."""
    return seconds * ((1 + len(experiment.compared_with)) * len(experiment.all_seeds) - 1)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{math.ceil(seconds)} s"
    minutes = math.ceil(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes / 60:.1f} h"
