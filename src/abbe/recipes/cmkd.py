"""CMKD: cross-modal distillation of a teacher that sees more channels than its student.

After Mohammad, Ritu and Hossain, "Single-Channel Tissue Segmentation via Cross-Modal Distillation
from Foundation Models", arXiv 2606.00928. The paper's abstract names three ingredients: MSE-based
probability matching, boundary-aware supervision and learnable uncertainty weighting. Their exact
forms are not in what could be read of it; those here are our defaults (docs/cmkd.md).
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from torch import nn

from abbe import config, losses
from abbe.datasets import Dataset
from abbe.datasets.training.batches import Batches
from abbe.datasets.training.prepare import Prepared
from abbe.errors import InputError
from abbe.recipes import unets
from abbe.recipes.recipe import Material, Plan, Recipe, Trained
from abbe.recipes.terms import (
    boundary_term,
    probability_term,
    supervised_term,
    target_boundary_term,
)
from abbe.registry import TASKS
from abbe.runs import build, teaching
from abbe.runs.schedules import Amount, crops_of
from abbe.runs.session import Session
from abbe.targets import TargetStore
from abbe.tasks.maps import StoredModel
from abbe.tasks.task import Task
from abbe.teachers import Teacher
from abbe.training.stage import Metrics, Schedule, Stage

Probability = Literal["off", "mse", "soft_bce", "logit_mse", "cwd", "dist"]
Boundary = Literal["off", "dice", "weighted_bce", "sobel_mse", "edge_head"]


@dataclass(frozen=True)
class Taught(Material):
    """The teacher's answers; and the teacher itself, where it answers while the student learns."""

    live: Teacher | None = None


class Cmkd(Recipe):
    """Labels where they exist, the teacher's maps everywhere."""

    name = "cmkd"
    evaluates_teacher = True
    differs: ClassVar[Mapping[str, str]] = {
        "supervised": "every crop of its batches is from a labelled image",
        "twin": "it sees the student's batches, and learns from the labels in them alone",
        "self-training": "the supervised network's own answers stand in the teacher's place",
    }

    def task(self, experiment: config.Experiment) -> Task:
        """Objects."""
        return TASKS["instances"]

    def amounts(
        self, experiment: config.Experiment, dataset: Dataset, tiles: Dataset | None
    ) -> dict[str, Amount]:
        """The training images with or without labels.

        How many of the crops are labelled is for ``training.labelled_share``: few labelled images
        are seen more often than a pass says.
        """
        return {"training": crops_of(dataset.split("train"), experiment.training.crop)}

    def prepare(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        tiles: Dataset | None,
        session: Session,
    ) -> Taught:
        """Have the teacher answer for all images, or all but the training ones if it runs live."""
        unets.build_unet(experiment)  # a mistake in it is told before the teacher's hours
        teacher, store, speed = teaching.teach(experiment, dataset, session)
        tests = dataset.split("test").ids
        answers = store is not None and not set(store.ids).isdisjoint(tests)
        missing = "The teacher gave no answer for the test images, so it is not in the table."
        return Taught(
            store=store,
            asked=teaching.asked(experiment, dataset),
            teacher=StoredModel(store) if store is not None and answers else None,
            answering=teacher,
            speed=speed,
            warnings=[] if answers or store is None else [missing],
            live=teacher if experiment.teacher.live else None,
        )

    def plans(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        material: Taught,
        session: Session,
        trained: Mapping[str, Trained],
    ) -> Iterator[tuple[str, Plan]]:
        """The student; and where any label is left to learn from, what it is held against."""
        live, store = material.live, material.store
        teacher_sees = None if live is None else live.provenance.channels
        images = unets.read_training(
            experiment, dataset, session, teacher_sees or (), None if live else store
        )
        if live is None:
            _check_targets(images, store)
            images = [image for image in images if image.has_target or image.label is not None]
        settings, outputs = experiment.loss, experiment.student.outputs
        held_out = unets.read_held_out(experiment, dataset)

        def staged(network: nn.Module, batches: Batches, **others: Any) -> Plan:
            """The network's plan; ``others`` go before the student's."""
            options: dict[str, Any] = {
                "supervised": settings.supervised,
                "probability": settings.probability,
                "target_boundary": settings.target_boundary,
                **others,
            }
            schedule = build.build_schedule(experiment.training)
            common = unets.common(experiment, held_out)
            return Plan(network, cmkd(network, batches, schedule, **common, **options))

        student = unets.build_unet(experiment)
        # The networks of the baselines begin with the student's weights, and their order with it.
        first = copy.deepcopy(student)
        taught = {
            "target_outputs": _target_outputs(live, store, outputs),
            "teacher": getattr(live, "network", None),
        }
        mixed = unets.crops(experiment, images, session, teacher_sees)
        yield "student", staged(student, mixed, **taught)
        labelled = [image for image in images if image.label is not None]
        alone = not mixed.has_unlabelled
        for name in experiment.compared_with if labelled else ():
            network = copy.deepcopy(first)
            plan = None
            if name == "twin" and not (alone and "supervised" in trained):
                plan = staged(network, mixed, **taught).twin(network)
            elif name == "supervised":
                only = unets.crops(experiment, labelled, session, labelled_share=1.0)
                plan = staged(network, only, **taught, supervised=True).twin(network)
            elif name == "self-training" and not alone:
                own = unets.answered(trained["supervised"].network, images, experiment, session)
                plan = staged(
                    network, unets.crops(experiment, own, session), target_outputs=outputs
                )
            if plan is not None and plan.stages:
                yield name, plan


def cmkd(
    student: nn.Module,
    batches: Batches,
    schedule: Schedule,
    *,
    outputs: Sequence[str],
    target_outputs: Sequence[str],
    supervised: bool = True,
    probability: Probability = "mse",
    boundary: Boundary = "dice",
    target_boundary: bool = True,
    weighting: Callable[[list[str]], nn.Module] = losses.UncertaintyWeighting,
    teacher: nn.Module | None = None,
    validate: Callable[[nn.Module], Metrics] | None = None,
    watch: str = "dice",
) -> list[Stage]:
    """One stage: labels where they exist, the teacher's maps everywhere.

    Args:
        student: the network to train; it answers (B, K, H, W) logits, one map an output.
        batches: crops of labelled and unlabelled images.
        schedule: steps and learning rate.
        outputs: names of the student's K maps.
        target_outputs: names of the teacher's maps; maps that only one of the two has are not
            distilled.
        supervised: learn from labels by BCE + Dice.
        probability: how probabilities are matched to the teacher's.
        boundary: how foreground edges are supervised, from labels and from targets.
        target_boundary: learn them from targets, too.
        weighting: builds what joins the terms, from their names.
        teacher: a live teacher's network, if there are no stored targets.
        validate: scores the student on validation images.
        watch: the validation score that picks the best weights.

    Raises:
        InputError: the teacher gives no foreground.
    """
    if "foreground" not in target_outputs:
        raise InputError(
            f"the teacher gives {', '.join(target_outputs)} but no map called 'foreground': name "
            "its outputs with teacher.options, such as outputs: foreground"
        )
    terms = []
    if supervised:
        supervised_outputs = outputs if boundary != "edge_head" else ("foreground",)
        terms.append(supervised_term(outputs, supervised_outputs))
    if probability != "off":
        terms.append(
            probability_term(outputs, target_outputs, losses.PROBABILITY_LOSSES[probability])
        )
    if boundary == "edge_head":
        terms.append(supervised_term(outputs, ("boundary",), name="boundary"))
    elif boundary != "off":
        edges = losses.BOUNDARY_LOSSES[boundary]
        terms.append(boundary_term(outputs, edges))
        if target_boundary:
            terms.append(target_boundary_term(outputs, target_outputs, edges))
    return [
        Stage(
            "distil",
            trains=student,
            batches=batches,
            terms=tuple(terms),
            weighting=weighting,
            schedule=schedule,
            validate=validate,
            watch=watch,
            teacher=teacher,
        )
    ]


def _target_outputs(
    teacher: Teacher | None, store: TargetStore | None, outputs: Sequence[str]
) -> tuple[str, ...]:
    """The teacher's maps by name; instances give every map that a student can have."""
    kinds = set().union(*(store.kinds(id) for id in store.ids)) if store is not None else set()
    if "instances" in kinds and "probability" not in kinds:
        return tuple(outputs)
    source = store if store is not None else teacher
    assert source is not None  # the experiment file demands a teacher
    return source.provenance.outputs


def _check_targets(images: Sequence[Prepared], store: TargetStore | None) -> None:
    if store is None or not any(image.has_target for image in images):
        place = store.path if store is not None else "the teacher"
        raise InputError(
            f"{place}: holds no usable target for any training image, so there is nothing to "
            "distil. Compare the ids of the store with those of 'abbe data check'"
        )
