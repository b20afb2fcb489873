"""From what there is to an experiment, key by key, each with its reason."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

from abbe import config, teachers
from abbe.condensing import derive, trial
from abbe.condensing.answers import TIMED, labels_of_teacher
from abbe.condensing.asked import Asked
from abbe.condensing.budget import (
    ENOUGH,
    FEW_STEPS,
    PASSES,
    Budget,
    Hours,
    Pace,
    budget_of,
    in_words,
    pace_of,
    trainings_of,
)
from abbe.condensing.draft import SAID, Choice, Draft
from abbe.condensing.look import Facts, look
from abbe.condensing.teacher import channels_of, without_masks
from abbe.condensing.trial import Trial
from abbe.condensing.unusable import explain, lost_of
from abbe.datasets import Dataset
from abbe.errors import ConfigError, InputError
from abbe.exporting.parity.instances import LARGEST_SIDE
from abbe.in_words import counted
from abbe.recipes.recipe import recipe_named
from abbe.recipes.shipped import values_of
from abbe.registry import traits_of
from abbe.runs import build
from abbe.runs.accounts.overlap import require_unseen
from abbe.runs.export_inputs.instances import IMAGES as PARITY_IMAGES
from abbe.runs.lost import Lost, readable
from abbe.runs.schedules import crops_of
from abbe.runs.teaching import STORE
from abbe.tasks.maps import THRESHOLD_IMAGES

EVIDENCE = ("evidence", "seeds", "baselines")
EVERY = "ten times a training, or every 100 steps; rarer where that takes a tenth of the time"
QUICK = ["supervised"]
"""What a student of one seed is held against."""


@dataclass(frozen=True)
class Plan:
    """A plan.

    Attributes:
        draft: keys, values and reasons.
        experiment: the same, checked.
        facts: what it was derived from.
        trial: what a step takes.
        hours: where the time goes.
        budget: what it is enough for.
        notes: what the user should think of before it is carried out.
    """

    draft: Draft
    experiment: config.Experiment
    facts: Facts
    trial: Trial
    hours: Hours
    budget: Budget
    notes: tuple[str, ...]


def make_plan(
    asked: Asked,
    *,
    trust_code: bool = False,
    progress: bool = True,
    say: Callable[[str], None] = print,
    started: float | None = None,
) -> Plan:
    """Look at the data and the machine, try a few steps, and choose everything.

    The hours began at ``started`` by `time.monotonic`, or begin now.

    Raises:
        InputError: data or teacher do not suffice; the message says for what.
        ConfigError: a key is wrong.
    """
    asked.check()
    started = time.monotonic() if started is None else started
    draft = Draft(asked.said)
    section = _recipe(asked, draft)
    _place(asked, draft)
    dataset = build.collect(_section(draft))
    build.tell_problems(dataset)
    teacher = config.Teacher(**section) if section else None
    without_mask = _checked(teacher, dataset, trust_code=trust_code)
    lost = lost_of(draft, dataset, without_mask)
    bare = not len(dataset.labelled)
    if bare:
        _learn_from_teacher_alone(
            asked, draft, teacher, dataset, lost, trust_code=trust_code, progress=progress
        )
        dataset = build.collect(_section(draft))
    usable = readable(dataset, lost, progress=progress)
    explain(draft, lost, without_mask)
    facts = look(usable, labels_are_teachers=bare, progress=progress)
    say("timing students and a few training steps on this machine")
    derive.student(draft, facts, asked.target_ms)
    derive.splits(draft, facts)
    derive.training(draft, facts)
    _like_the_recipe(draft)
    trying = draft.experiment()
    split = build.split(
        dataset.seen_as(trying.student.input_channels), trying.data
    )  # as the run will do it
    split = split.without(lost.left_out)
    tried = trial.measure(trying, split, fixed=draft.has("training.batch_size"))
    derive.batch(draft, tried, facts)
    teaching = 0.0
    if teacher is not None and not traits_of(teacher.kind).keeps_answers:
        built = build.build_teacher(teacher, dataset, trust_code=trust_code)
        teaching = teachers.plan(built, usable, asked.out / STORE, images=TIMED).seconds
    total = 3600 * asked.hours
    pace = _pace(draft, tried, split)
    hours = Hours(total, time.monotonic() - started, teaching, pace.after)
    budget = _budget(draft, tried, split, hours, pace)
    draft.put_rest()
    experiment = draft.experiment()
    chosen = build.choose_labels(split, experiment.data)
    recipe_named(experiment.recipe).check(experiment, chosen, None)
    require_unseen(experiment, chosen, lost)
    notes = _notes(facts, hours, budget, chosen)
    return Plan(draft, experiment, facts, tried, hours, budget, notes)


def _recipe(asked: Asked, draft: Draft) -> dict[str, object]:
    """Choose the recipe by whether there is a teacher, whose section comes back."""
    section = {**asked.teacher}
    section |= {key[8:]: value for key, value in draft.said.items() if key[:8] == "teacher."}
    recipe = asked.recipe or ("cmkd" if section else "supervised")
    why = "a student learns from the teacher's masks or maps" if section else "there is no teacher"
    draft.choices["recipe"] = Choice(recipe, SAID if asked.recipe else why)
    if config.RECIPES[recipe].reads("teacher") != bool(section):
        raise ConfigError(
            f"--recipe {recipe}: goes {'without' if section else 'with'} a teacher. Leave --recipe "
            f"out, or {'leave out' if section else 'give'} --teacher"
        )
    for key, value in asked.teacher.items():
        draft.put(f"teacher.{key}", value, "what lies there" if key == "kind" else "--teacher")
    return section


def _place(asked: Asked, draft: Draft) -> None:
    draft.put("out", str(asked.out), "where plan, run and package go")
    draft.put("data.kind", "folder", "images/, labels/ with the same names, index.csv")
    draft.put("data.path", str(asked.folder), "the folder that was named")


def _section(draft: Draft) -> config.Data:
    """The section ``data`` as far as it is chosen."""
    return config.Data(**draft.values()["data"])


def _checked(teacher: config.Teacher | None, dataset: Dataset, *, trust_code: bool) -> list[str]:
    """See that a teacher can read the images; of masks, the images that have none come back."""
    if teacher is None:
        return []
    channels_of(teacher, dataset, trust_code=trust_code)
    return without_masks(teacher, dataset)


def _learn_from_teacher_alone(
    asked: Asked,
    draft: Draft,
    teacher: config.Teacher | None,
    dataset: Dataset,
    lost: Lost,
    *,
    trust_code: bool,
    progress: bool,
) -> None:
    """Where no image has a label, the teacher's objects choose weights and test.

    Raises:
        InputError: there is no teacher either, or it fails on more images than may be lost.
    """
    if teacher is None:
        raise InputError(
            f"{asked.folder}: has no labels, and no teacher was named, so there is nothing to "
            "learn from. Put masks into labels/, named like the images, or give --teacher: masks "
            "of another program, a package such as nuclei, a run"
        )
    fixed = draft.has("training.steps") or draft.has("training.passes")
    folder = labels_of_teacher(
        teacher, dataset, asked.out, lost, seconds=None if fixed else 3600 * asked.hours / 2,
        trust_code=trust_code, progress=progress,
    )  # fmt: skip
    why = "no image has a label: the teacher's objects stand in, to choose weights and to test"
    draft.put("data.labels", str(folder), why)
    draft.put("data.labelled", 0, "the student learns from the teacher alone")
    draft.put(
        "title",
        f"cmkd on {dataset.name}: agreement with the teacher, for there are no labels",
        "scores say how like the teacher the student is, not how right",
    )


def _like_the_recipe(draft: Draft) -> None:
    """What the shipped recipe says of the loss."""
    recipe = draft.choices["recipe"].value
    _, values = values_of(recipe)
    for key, value in values.get("loss", {}).items():
        draft.put(f"loss.{key}", value, f"as recipe {recipe} has it")


def _pace(draft: Draft, tried: Trial, split: Dataset) -> Pace:
    """What training, validating, scoring and exporting take, from the trial of a few steps."""
    chosen = build.choose_labels(split, _section(draft))
    most = draft.experiment().training.validation_images
    labelled = _pixels(chosen.split("val").labelled)
    judged = (labelled or _pixels(chosen.split("train").labelled))[:THRESHOLD_IMAGES]
    compared = [min(each, LARGEST_SIDE**2) for each in judged[:PARITY_IMAGES]]
    return pace_of(
        tried.seconds,
        tried.pixel_seconds,
        tried.processor_seconds,
        validated=sum(labelled[:most]),
        scored=sum(judged) + sum(_pixels(chosen.split("test").labelled)),
        compared=sum(compared),
    )


def _pixels(dataset: Dataset) -> list[int]:
    """Of each image; only headers are read."""
    return [math.prod(record.image.open().shape) for record in dataset]


def _budget(draft: Draft, tried: Trial, split: Dataset, hours: Hours, pace: Pace) -> Budget:
    """Steps and evidence from the time there is; what the user said of either counts."""
    values = draft.values()["training"]
    samples = crops_of(split.split("train"), values["crop"]).samples
    passes, steps = values.get("passes"), values.get("steps")
    if passes is not None:
        steps = max(values.get("minimum_steps", 1), math.ceil(passes * samples / tried.batch))
    most = max(ENOUGH, math.ceil(PASSES * samples / tried.batch))
    choices = _evidence(draft, split)
    if steps is None:
        hours.require_training()
    budget = budget_of(hours.training, pace, most=most, steps=steps, choices=choices)
    if passes is None:
        draft.put("training.steps", budget.steps, budget.why)
    every = pace.validate_every(budget.steps)
    draft.put("training.validate_every", every, EVERY)
    if _compares(draft):
        _put_evidence(draft, budget)
    return budget


def _compares(draft: Draft) -> bool:
    return config.RECIPES[str(draft.choices["recipe"].value)].reads("evidence")


def _evidence(draft: Draft, split: Dataset) -> dict[str, int]:
    """The levels of evidence that may be chosen, from the least, and the trainings of each."""
    if not _compares(draft):
        return {"": 1}
    chosen = build.choose_labels(split, _section(draft)).split("train")
    alone = bool(len(chosen)) and not len(chosen.unlabelled)
    if any(draft.has(key) for key in EVIDENCE):
        asks = draft.experiment()
        trainings = trainings_of(asks.compared_with, len(asks.all_seeds), alone=alone)
        return {asks.evidence_level: trainings}
    if not len(chosen.labelled):
        return {"quick": 1}
    levels = {
        level: trainings_of(*config.LEVELS[level], alone=alone) for level in ("standard", "full")
    }
    return {"quick": trainings_of(QUICK, 1, alone=alone), **levels}


def _put_evidence(draft: Draft, budget: Budget) -> None:
    if any(draft.has(key) for key in EVIDENCE):
        for key in EVIDENCE:
            if draft.has(key):
                draft.put(key, None, "")
    elif budget.trainings == 1:
        draft.put("evidence", budget.level, "no labels to hold the student against")
    else:
        draft.put("evidence", budget.level, budget.why_level)
        if budget.level == "quick":
            why = "what the student must beat on validation images to be handed over"
            draft.put("baselines", QUICK, why)


def _notes(facts: Facts, hours: Hours, budget: Budget, chosen: Dataset) -> tuple[str, ...]:
    found = [derive.scale(facts)]
    if not len(chosen.split("val").labelled):
        found.append("no validation image has a label: the last weights are kept, not the best")
    if budget.steps < FEW_STEPS:
        found.append(f"{counted(budget.steps, 'step')} teach little: give more --hours, or a GPU")
    takes = hours.planning + hours.teaching + hours.after + budget.of(budget.trainings)
    if takes > hours.total:  # the steps are the user's
        found.append(
            f"with these steps all of it takes about {in_words(takes)}, and not the "
            f"{in_words(hours.total)} of --hours"
        )
    return tuple(note for note in found if note is not None)
