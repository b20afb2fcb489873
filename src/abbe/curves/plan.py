"""What a curve goes through: shares, seeds, initialisations; how much work that is."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from abbe import config
from abbe.curves.label_subsets import Level, require_distinct, require_shares
from abbe.errors import ConfigError, InputError
from abbe.files import parse_json
from abbe.in_words import counted
from abbe.registry import CURVES
from abbe.reporting.facts import duration
from abbe.summary import CURVE_PLAN

_T = TypeVar("_T")

FRACTIONS = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
SEEDS = (0, 1, 2)


@dataclass(frozen=True)
class Plan:
    """What a curve goes through; see `abbe.curves.curve.curve`."""

    fractions: tuple[float, ...]
    seeds: tuple[int, ...]
    initialisations: tuple[str, ...] | None
    pretrain_per_seed: bool


VARIED: dict[str, dict[str, dict[str, str]]] = {"rckd": {"pretraining": {"method": "none"}}}
"""By recipe, keys that its curve varies itself, and what they are in the curve's own file."""


def for_curve(values: Mapping[str, Any]) -> dict[str, Any]:
    """The contents of an experiment file without what its curve varies itself."""
    varied = VARIED.get(values.get("recipe", ""), {})
    return {
        **values,
        **{section: {**values.get(section, {}), **keys} for section, keys in varied.items()},
    }


def make_plan(
    experiment: config.Experiment,
    *,
    fractions: Sequence[float] | None,
    seeds: Sequence[int] | None,
    initialisations: Sequence[str] | None,
    pretrain_per_seed: bool,
    resume: bool,
) -> Plan:
    """The plan: what is given, added to what a curve has that is resumed; else the default.

    Raises:
        ConfigError: the recipe has no curve, the experiment names what the curve varies, shares or
            seeds are wrong, or a resumed curve was pretrained in another way.
    """
    _require_curve(experiment)
    before = read_plan(experiment.out) if resume else None
    if before is not None and pretrain_per_seed and not before.pretrain_per_seed:
        raise ConfigError(
            f"pretrain_per_seed: {experiment.out} was begun with one pretraining for all seeds. "
            "Leave the switch out, or give another --out"
        )
    plan = Plan(
        FRACTIONS if fractions is None else tuple(fractions),
        SEEDS if seeds is None else tuple(seeds),
        None if initialisations is None else tuple(initialisations),
        pretrain_per_seed,
    )
    require_shares(plan.fractions)
    if not plan.seeds:
        raise ConfigError("seeds: name at least one, such as 0")
    if min(plan.seeds) < 0:
        raise ConfigError(f"seeds: {min(plan.seeds)} is negative; seeds are 0, 1, 2 …")
    require_distinct(plan.seeds, "seeds")
    if experiment.recipe not in VARIED and plan.initialisations is not None:
        raise ConfigError(
            f"initialisations: belong to recipe '{', '.join(VARIED)}'; a curve of "
            f"'{experiment.recipe}' compares the student with its baselines. Leave them out"
        )
    if before is None:
        return plan
    return Plan(
        _added(before.fractions, fractions),
        _added(before.seeds, seeds),
        # None stands for all that teacher and weights allow
        None if before.initialisations is None else _added(before.initialisations, initialisations),
        pretrain_per_seed or before.pretrain_per_seed,
    )


def _added(before: Sequence[_T], given: Sequence[_T] | None) -> tuple[_T, ...]:
    """What a curve has, and then what it lacks of what is given."""
    return tuple(dict.fromkeys([*before, *(given or ())]))


def read_plan(folder: Path) -> Plan | None:
    """The plan of a curve that was begun in this folder; None where there is none.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / CURVE_PLAN
    if not path.exists():
        return None
    try:
        values: dict[str, Any] = parse_json(path.read_text(encoding="utf-8"))
        chosen = values["initialisations"]
        return Plan(
            tuple(values["fractions"]),
            tuple(values["seeds"]),
            None if chosen is None else tuple(chosen),
            bool(values["pretrain_per_seed"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(
            f"{path}: damaged ({error}). Delete it and name fractions, seeds and initialisations "
            "again; finished trainings are kept"
        ) from error


def values_of(plan: Plan) -> dict[str, Any]:
    """The plan as plain values."""
    return asdict(plan)


def describe_plan(
    experiment: config.Experiment,
    plan: Plan,
    levels: Sequence[Level],
    records: int,
    compared: Sequence[str],
    *,
    waiting: int,
    done: int,
    pretrainings: Sequence[str],
) -> str:
    """What will be done, in a few lines.

    Args:
        experiment: of the curve.
        plan: of the curve.
        levels: shares of the labels.
        records: how many labelled training images there are.
        compared: what is compared.
        waiting, done: trainings that are to be done, and that are done already.
        pretrainings: names of those to be done.
    """
    shares = ", ".join(f"{each.labelled} ({100 * each.fraction:g} %)" for each in levels)
    lines = [
        f"curve: {', '.join(compared)}; seeds {', '.join(map(str, plan.seeds))}",
        f"  labelled images: {shares} of {records}",
    ]
    lines += [
        f"  {percents(each.merged)} keep{'s' if len(each.merged) == 1 else ''} the same images as "
        f"{100 * each.fraction:g} %: trained once"
        for each in levels
        if each.merged
    ]
    steps_each = experiment.training.steps
    assert steps_each is not None  # the schedule is resolved
    steps = waiting * steps_each
    parts = []
    if pretrainings:
        number, pretraining_steps = len(pretrainings), experiment.pretraining.steps
        assert pretraining_steps is not None
        steps += number * pretraining_steps
        parts.append(f"{counted(number, 'pretraining')} of {counted(pretraining_steps, 'step')}")
    parts.append(f"{counted(waiting, 'training')} of {counted(steps_each, 'step')} at most")
    lines.append(f"  to do: {', '.join(parts)}; {counted(steps, 'step')} in all")
    if done:
        lines.append(f"  done already: {counted(done, 'training')}")
    return "\n".join(lines)


def percents(fractions: Sequence[float]) -> str:
    """0.01, 0.05 → ``1 % and 5 %``."""
    words = [f"{100 * each:g} %" for each in fractions]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


class Clock:
    """Guesses the time that is left from the work that is done; work is counted in pixels."""

    def __init__(self, experiment: config.Experiment, waiting: int, pretrainings: int) -> None:
        """Start with so many trainings and pretrainings to do."""
        training, pretraining = experiment.training, experiment.pretraining
        assert training.steps is not None  # the schedule is resolved
        self._training = training.steps * training.batch_size * training.crop**2
        steps = pretraining.steps or 0  # where nothing is pretrained, its length is open
        self._pretraining = steps * pretraining.batch_size * pretraining.crop**2
        self._work = self._of(waiting, pretrainings)
        self._started = time.perf_counter()

    def report(self, waiting: int, pretrainings: int) -> str:
        """``3 min, about 20 min left``, with so much still to do."""
        passed, left = time.perf_counter() - self._started, self._of(waiting, pretrainings)
        if not left:
            return duration(passed)
        seconds = passed * left / (self._work - left)
        return f"{duration(passed)}, about {duration(seconds)} left"

    def _of(self, waiting: int, pretrainings: int) -> float:
        return waiting * self._training + pretrainings * self._pretraining


def _require_curve(experiment: config.Experiment) -> None:
    if experiment.recipe not in CURVES:
        raise ConfigError(
            f"recipe '{experiment.recipe}' has no label-efficiency curve; "
            f"{' and '.join(sorted(CURVES, reverse=True))} have"
        )
    if experiment.data.labelled != "all":
        raise ConfigError(
            f"data.labelled is {experiment.data.labelled}, but the fractions say how many labels "
            "are kept: leave the key out"
        )
    for section, keys in VARIED.get(experiment.recipe, {}).items():
        for key, value in keys.items():
            found = getattr(getattr(experiment, section), key)
            if found != value:
                raise ConfigError(
                    f"{section}.{key} is '{found}', but a curve compares several: name them with "
                    "--initialisations"
                )
