"""CMKD: cross-modal distillation of a teacher that sees more channels than its student.

After Mohammad, Ritu and Hossain, "Single-Channel Tissue Segmentation via Cross-Modal Distillation
from Foundation Models", arXiv 2606.00928. The paper's abstract names three ingredients: MSE-based
probability matching, boundary-aware supervision and learnable uncertainty weighting. Their exact
forms are not in what could be read of it; those here are our defaults (docs/cmkd.md).
"""

import copy
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import nn

from abbe import config, losses, students
from abbe.datasets import Dataset
from abbe.datasets.training.batches import Batches
from abbe.datasets.training.demands import require_places
from abbe.errors import InputError
from abbe.foreign_text import shown
from abbe.object_types import shape_maps, types_in
from abbe.recipes import unets
from abbe.recipes.recipe import Material, Plan, Recipe, Trained, require_trainable
from abbe.recipes.terms import (
    boundary_term,
    probability_term,
    supervised_term,
    target_boundary_term,
    type_term,
)
from abbe.registry import TASKS
from abbe.runs import build, teaching
from abbe.runs.schedules import Amount, crops_of
from abbe.runs.session import Session
from abbe.summary import RunSummary
from abbe.targets import TargetStore
from abbe.tasks.maps import StoredModel
from abbe.tasks.task import Scored, Task
from abbe.teachers import Teacher
from abbe.training import trust
from abbe.training.stage import Metrics, Schedule, Stage

Probability = Literal["off", "mse", "soft_bce", "logit_mse", "cwd", "dist"]
Boundary = Literal["off", "dice", "weighted_bce", "sobel_mse", "edge_head"]


@dataclass(frozen=True)
class Taught(Material):
    """The teacher's answers; and the teacher itself, where it answers while the student learns."""

    live: Teacher | None = None
    folder: Path = Path()
    """Of the run, where its trust is kept."""


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

    def require(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        tiles: Dataset | None,
        *,
        trust_code: bool,
    ) -> None:
        """The student must be there, and the teacher give what can be distilled, too."""
        super().require(experiment, dataset, tiles, trust_code=trust_code)
        training, train = experiment.training, dataset.split("train")
        if len(train.labelled) and len(train.unlabelled):
            require_places(training.batch_size, training.labelled_share)
        require_trainable(unets.build_unet(experiment), experiment)
        settings = experiment.teacher
        sources = teaching.require_teachers(settings, dataset, trust_code=trust_code)
        if settings.kind == "store" and not settings.also:
            assert settings.path is not None  # the experiment file demands it
            store = TargetStore(settings.path)
            _require_answers(store, train.ids)
            _require_foreground(_target_outputs(None, store, experiment.student.maps))
        else:
            for source in sources:
                _require_foreground(source.outputs)
        for source in sources:
            _tell_other_types(source.outputs, experiment.student.types)

    def check(self, experiment: config.Experiment, dataset: Dataset, tiles: Dataset | None) -> None:
        """Labels are needed where a teacher's weight is to be chosen, or is 0.

        Raises:
            InputError: so it is and they are missing; also as of all recipes.
        """
        super().check(experiment, dataset, tiles)
        asked = experiment.teacher.trust
        needs = {"auto": ("train", "val"), 0: ("train",)}.get(asked, ())
        for split in needs:
            if not len(dataset.split(split).labelled):
                name = {"train": "training", "val": "validation"}[split]
                raise InputError(
                    f"teacher.trust {asked}: data set '{dataset.name}' has no labelled {name} "
                    "image to go by: label some, or give another trust (1: the teacher in full)"
                )

    def prepare(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        tiles: Dataset | None,
        session: Session,
    ) -> Taught:
        """Have the teacher answer for all images, or all but the training ones if it runs live."""
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
            folder=session.folder,
        )

    def plans(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        material: Taught,
        session: Session,
        trained: Mapping[str, Trained],
    ) -> Iterator[tuple[str, Plan]]:
        """The student; and where any label is left to learn from, what it is held against.

        Where the teacher's weight is chosen, the supervised network comes before the student.
        """
        networks = _Networks(experiment, dataset, material, session)
        if experiment.teacher.trust == "auto":
            yield "supervised", networks.supervised()
        networks.believe(trained)
        yield "student", networks.student(trained)
        for name in experiment.compared_with if networks.labelled else ():
            plan = None
            if name == "twin":
                plan = networks.twin(trained)
            elif name == "supervised" and name not in trained:
                plan = networks.supervised(trained)
            elif name == "self-training":
                plan = networks.self_training(trained["supervised"].network)
            if plan is not None and plan.stages:
                yield name, plan

    def complete(
        self,
        summary: RunSummary,
        scored: Scored,
        trained: Mapping[str, Trained],
        experiment: config.Experiment,
        dataset: Dataset,
        material: Taught,
        session: Session,
    ) -> None:
        """Add how much the teacher counted."""
        believed = trust.read_believed(material.folder)
        summary.trust = believed and believed.trust
        if believed is not None and not believed.most:
            summary.models["student"].about = "labels alone: the teacher was trusted 0"


class _Networks:
    """The student of one seed and its baselines: how each is trained.

    All begin with the weights that the student begins with.
    """

    def __init__(
        self, experiment: config.Experiment, dataset: Dataset, material: Taught, session: Session
    ) -> None:
        self._experiment, self._dataset, self._session = experiment, dataset, session
        self._folder = material.folder
        live, store = material.live, material.store
        self._sees_live = None if live is None else live.provenance.channels
        images = unets.read_training(
            experiment, dataset, session, self._sees_live or (), None if live else store
        )
        if live is None:
            _require_answers(store, [image.id for image in images if image.has_target])
            images = [image for image in images if image.has_target or image.label is not None]
        self._images = images
        self.labelled = [image for image in images if image.label is not None]
        choosing = experiment.teacher.trust == "auto"
        self._held_out = unets.read_held_out(experiment, dataset, store if choosing else None)
        if choosing:
            trust.require_answers(self._held_out)
        self._preview = unets.preview(experiment, self._held_out, store)
        self._taught = {
            "target_outputs": _target_outputs(live, store, experiment.student.maps),
            "teacher": getattr(live, "network", None),
        }
        _require_foreground(self._taught["target_outputs"])
        self._mixed = unets.crops(experiment, images, session, self._sees_live)
        self._first = unets.build_unet(experiment)
        self.heard = True

    def believe(self, trained: Mapping[str, Trained]) -> None:
        """Settle how much the teacher counts, which is found once, with the run's first seed.

        The answers are the same for all seeds. A weight chosen by seed would also hand each seed
        the better of two trainings, and that luck would pass for a gain.
        """
        asked = self._experiment.teacher.trust
        earlier = asked == "auto" or self._folder != self._session.folder
        known = trust.read_believed(self._folder) if earlier else None
        if known is None:
            if self._session.is_main:
                found = self._chosen(trained) if asked == "auto" else self._as_told(asked)
                found.write(self._folder)
                print(trust.in_words(found.trust), flush=True)
            self._session.accelerator.wait_for_everyone()
            known = trust.read_believed(self._folder)
            assert known is not None
        training = self._experiment.training
        self.heard, self._believed = known.most > 0, known
        self._share = known.labelled_share(training.labelled_share, training.batch_size)
        self._crops = unets.crops(
            self._experiment, known.weighed(self._images), self._session, self._sees_live,
            labelled_share=self._share,
        )  # fmt: skip

    def _chosen(self, trained: Mapping[str, Trained]) -> trust.Believed:
        student, network = self._experiment.student, trained["supervised"].network
        assert isinstance(network, students.UNet)
        return trust.chosen(
            student.maps,
            student.input_channels,
            self._taught["target_outputs"],
            self._held_out,
            self._images,
            network,
            device=self._session.accelerator.device,
            progress=self._session.shown,
        )

    def _as_told(self, asked: float) -> trust.Believed:
        """Measured on no more training images than choose weights: there may be thousands."""
        labelled = self._dataset.split("train").labelled.records
        some = {record.id for record in build.held_out(labelled, self._experiment)}
        images = [image for image in self.labelled if image.id in some]
        outputs = self._experiment.student.maps
        return trust.as_told(asked, outputs, images, self._taught["target_outputs"])

    def student(self, trained: Mapping[str, Trained]) -> Plan:
        """Labels where they are, and the teacher as far as it is believed."""
        return self._distilled() if self.heard else self.supervised(trained)

    def supervised(self, trained: Mapping[str, Trained] | None = None) -> Plan:
        """As many steps on labels alone; what was ``trained`` so already is not trained again."""
        network = copy.deepcopy(self._first)
        only = unets.crops(self._experiment, self.labelled, self._session, labelled_share=1.0)
        plan = self._staged(network, only, **self._taught, supervised=True).twin(network)
        same = None
        if trained and not self.heard:
            same = trained.get("supervised") or trained.get("student")
        return plan if same is None else replace(plan, network=same.network, same_as=same)

    def twin(self, trained: Mapping[str, Trained]) -> Plan | None:
        """The student's batches without the teacher; None where that is the supervised network."""
        alone = not self._mixed.has_unlabelled or not self.heard
        if alone and "supervised" in trained:
            return None
        if not self.heard:
            return self.supervised(trained)
        return self._distilled().twin(copy.deepcopy(self._first))

    def self_training(self, network: nn.Module) -> Plan | None:
        """The answers of the supervised ``network`` in the teacher's place; None without need.

        It sees as many labelled crops as the student; the usual share where that has labels alone.
        """
        if not self._mixed.has_unlabelled:
            return None
        own = unets.answered(network, self._images, self._experiment, self._session)
        share = self._share if self.heard else self._experiment.training.labelled_share
        crops = unets.crops(self._experiment, own, self._session, labelled_share=share)
        outputs = self._experiment.student.maps
        return self._staged(copy.deepcopy(self._first), crops, target_outputs=outputs)

    def _distilled(self) -> Plan:
        believed = self._believed
        return self._staged(
            copy.deepcopy(self._first),
            self._crops,
            shares=believed.shares,
            counts=believed.counts,
            **self._taught,
        )

    def _staged(
        self,
        network: nn.Module,
        batches: Batches,
        *,
        shares: Mapping[str, float] | None = None,
        **others: Any,
    ) -> Plan:
        """The network's plan; ``others`` go before what the experiment says."""
        settings = self._experiment.loss
        options: dict[str, Any] = {
            "supervised": settings.supervised,
            "probability": settings.probability,
            "target_boundary": settings.target_boundary,
            **others,
        }
        schedule = build.build_schedule(self._experiment.training)
        common = unets.common(self._experiment, self._held_out, shares)
        plan = Plan(network, cmkd(network, batches, schedule, **common, **options))
        return plan.previewed(self._preview)


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
    counts: Mapping[str, float] | None = None,
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
        counts: how much each of the teacher's maps counts beside the others; alike where None.
        weighting: builds what joins the terms, from their names.
        teacher: a live teacher's network, if there are no stored targets.
        validate: scores the student on validation images.
        watch: the validation score that picks the best weights.

    Raises:
        InputError: the teacher gives no foreground.
    """
    _require_foreground(target_outputs)
    terms = []
    if supervised:
        shapes = shape_maps(outputs)
        supervised_outputs = shapes if boundary != "edge_head" else ("foreground",)
        terms.append(supervised_term(outputs, supervised_outputs))
        if types_in(outputs):
            terms.append(type_term(outputs))
    if probability != "off":
        terms.append(
            probability_term(
                outputs, target_outputs, losses.PROBABILITY_LOSSES[probability], counts
            )
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
    """The teacher's maps by name; instances give foreground and boundary."""
    kinds = set().union(*(store.kinds(id) for id in store.ids)) if store is not None else set()
    if "instances" in kinds and "probability" not in kinds:
        return shape_maps(outputs)
    source = store if store is not None else teacher
    assert source is not None  # the experiment file demands a teacher
    return source.provenance.outputs


def _require_foreground(target_outputs: Sequence[str]) -> None:
    if "foreground" not in target_outputs:
        raise InputError(
            f"the teacher gives {', '.join(target_outputs)} but no map called 'foreground': name "
            "its outputs with teacher.options, such as outputs: foreground"
        )


def _tell_other_types(target_outputs: Sequence[str], types: Sequence[str]) -> None:
    """Say that types are learned from labels alone, where those of teacher and student differ."""
    given = types_in(target_outputs)
    if given and types and set(given).isdisjoint(types):
        text = (
            f"warning: the teacher tells the types {', '.join(given)} and the student is to tell "
            f"{', '.join(types)}: none is the same, so labels alone teach types. Name them alike"
        )
        print(shown(text), flush=True)


def _require_answers(store: TargetStore | None, ids: Collection[str]) -> None:
    """Refuse a store that has nothing for the training images, whose ids are given."""
    if store is None or not set(ids) & set(store.ids):
        place = store.path if store is not None else "the teacher"
        raise InputError(
            f"{place}: holds no usable target for any training image, so there is nothing to "
            "distil. Compare the ids of the store with those of 'abbe data check'"
        )
