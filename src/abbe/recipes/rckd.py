"""RCKD: an encoder learns a teacher's response to tiles without labels, then another task.

After Kim, Kwak, Chang, Kim and Kim, "Response-Based Cross-Task Knowledge Distillation for
Pathological Image Analysis", Bioengineering 2023, 10(11), 1279. Two stages: the student predicts
what a nuclei segmenter says of unlabelled tiles (`abbe.recipes.pretraining`); its encoder is then
fine-tuned for a task of its own. Between the stages the encoder goes from one network into the
other.
"""

import copy
from collections.abc import Callable, Hashable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, cast

import torch
from torch import nn

from abbe import config, losses
from abbe.datasets import Dataset
from abbe.datasets.collection import ImageSource
from abbe.datasets.stored import Stored
from abbe.datasets.training.batches import Batches
from abbe.datasets.training.demands import require_apart, require_colours
from abbe.errors import InputError
from abbe.recipes.encoder_probes import add_probes, initialisations_of
from abbe.recipes.linear_probe import features_of
from abbe.recipes.pretraining import (
    Pretrained,
    TaskModel,
    pretrain_encoder,
    require_pretrainable,
    require_response,
    take_over,
)
from abbe.recipes.recipe import Material, Plan, Recipe, Trained, require_trainable
from abbe.registry import TASKS
from abbe.remote import as_path
from abbe.runs import build, teaching
from abbe.runs.lost import Lost
from abbe.runs.normalising import scaling_of
from abbe.runs.schedules import Amount, crops_of
from abbe.runs.session import Session
from abbe.students import LinearProbe, UNet
from abbe.summary import RunSummary
from abbe.targets import TargetStore
from abbe.tasks.classes import ClassTask
from abbe.tasks.task import Scored
from abbe.training.stage import Metrics, Schedule, Stage, Term

TASK_OF = {"segmentation": "semantic"}
"""Names of ``fine_tuning.task`` that are not the task's own."""


@dataclass(frozen=True)
class Tiles(Material):
    """The tiles, and what pretraining on them left."""

    tiles: Dataset | None = None
    pretrained: Pretrained | None = None


class Rckd(Recipe):
    """Tiles without labels first, then the task; the twin has the task alone."""

    name = "rckd"
    differs: ClassVar[Mapping[str, str]] = {
        "supervised": "it has the task alone, for as many steps as pretraining and task together",
        "twin": "it has the task alone, for the task's own steps",
    }
    rates: ClassVar[Mapping[str, str]] = {"training": "tuning"}

    def task(self, experiment: config.Experiment) -> ClassTask:
        """What ``fine_tuning.task`` says."""
        return task_of(experiment)

    def tiles(self, experiment: config.Experiment, dataset: Dataset) -> Dataset | None:
        """Those of ``pretrain_data``, with every label taken off."""
        return None if experiment.pretraining.method == "none" else tiles_of(experiment, dataset)

    def require(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        tiles: Dataset | None,
        *,
        trust_code: bool,
    ) -> None:
        """Both stages' networks must be there, and the teacher give what is learned, too."""
        super().require(experiment, dataset, tiles, trust_code=trust_code)
        settings, input_channels = experiment.fine_tuning, experiment.student.input_channels
        require_colours(input_channels, settings.stain, settings.colour, "fine_tuning")
        task_of(experiment).require_classes(dataset)
        network = initial_model(experiment, dataset)
        if settings.trains == "all":  # a frozen encoder's batch norm sees no batch
            require_trainable(network, experiment)
        if tiles is None:
            return
        require_pretrainable(experiment)
        if "rckd" in experiment.pretraining.method:
            teacher = experiment.teacher
            for source in teaching.require_teachers(teacher, tiles, trust_code=trust_code):
                require_response(experiment.pretraining, source.outputs, str(teacher.path))

    def tiles_looked_at(
        self, experiment: config.Experiment, tiles: Dataset, lost: Lost, progress: bool
    ) -> Dataset:
        """Those that can be read; tiles that are images of the data set were looked at with it."""
        if experiment.pretrain_data.kind == "given":
            return tiles.without(lost.left_out)
        return super().tiles_looked_at(experiment, tiles, lost, progress)

    def check(self, experiment: config.Experiment, dataset: Dataset, tiles: Dataset | None) -> None:
        """The tiles must have the student's channels, and suffice for a batch."""
        super().check(experiment, dataset, tiles)
        if tiles is None:
            return
        advice = "give tiles with the channels of the task's images: one network sees both"
        build.check_channels(tiles, experiment.student.input_channels, "the student", advice)
        if "contrastive" in experiment.pretraining.method:
            require_apart(experiment.pretraining.batch_size, len(tiles))

    def amounts(
        self, experiment: config.Experiment, dataset: Dataset, tiles: Dataset | None
    ) -> dict[str, Amount]:
        """The labelled training images, and the tiles.

        In a curve these are all labelled images, whatever share keeps its labels, so that all its
        trainings take equally many steps.
        """
        labelled = task_of(experiment).labelled(dataset.split("train"))
        amounts = {"training": crops_of(labelled, experiment.training.crop)}
        if tiles is not None:
            amounts["pretraining"] = crops_of(tiles, experiment.pretraining.crop)
        return amounts

    def prepare(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        tiles: Dataset | None,
        session: Session,
    ) -> Tiles:
        """Have the teacher answer for the tiles."""
        store, speed = None, {}
        if tiles is not None:
            store, speed = teach_tiles(experiment, tiles, session)
        return Tiles(
            store=store,
            asked=() if tiles is None else tiles.records,
            speed=speed,
            facts={
                "pretraining": experiment.pretraining.method,
                "initialisations": initialisations_of(experiment),
            },
            tiles=tiles,
        )

    def begin(
        self, experiment: config.Experiment, dataset: Dataset, material: Tiles, session: Session
    ) -> Tiles:
        """Pretrain."""
        if material.tiles is None:
            return material
        model = initial_model(experiment, dataset)
        pretrained = pretrain_encoder(experiment, material.tiles, material.store, model, session)
        speed = {
            "pretrain_images_per_s": pretrained.fitted.images_per_second,
            "pretrain_share_waiting_for_data": pretrained.fitted.share_waiting,
        }
        return replace(material, pretrained=pretrained, speed={**material.speed, **speed})

    def plans(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        material: Tiles,
        session: Session,
        trained: Mapping[str, Trained],
    ) -> Iterator[tuple[str, Plan]]:
        """The student takes over what pretraining left; what it is held against does not."""
        model = initial_model(experiment, dataset)
        first = copy.deepcopy(model)
        if material.pretrained is not None:
            take_over(model, material.pretrained)
        yield "student", plan_of(experiment, dataset, model, session)
        for name in experiment.compared_with if material.pretrained is not None else ():
            if name == "self-training":
                continue  # its targets would be of the task, and tiles need not be of its classes
            plan = plan_of(experiment, dataset, copy.deepcopy(first), session)
            longer = experiment.pretraining.steps if name == "supervised" else 0
            yield name, plan.lengthened(longer or 0)

    def complete(
        self,
        summary: RunSummary,
        scored: Scored,
        trained: Mapping[str, Trained],
        experiment: config.Experiment,
        dataset: Dataset,
        material: Tiles,
        session: Session,
    ) -> None:
        """Linear probes of the encoders that are compared."""
        add_probes(summary, scored, experiment, dataset, material.pretrained, session)


def task_of(experiment: config.Experiment) -> ClassTask:
    """The task that the network is fine-tuned for."""
    named = experiment.fine_tuning.task
    return cast(ClassTask, TASKS[TASK_OF.get(named, named)])


def initial_model(experiment: config.Experiment, dataset: Dataset) -> TaskModel:
    """The network of the task with the weights that student and twin both begin with."""
    task = task_of(experiment)
    torch.manual_seed(experiment.seed)
    built = task.build(experiment.student, task.classes(dataset), experiment.fine_tuning.trains)
    return cast(TaskModel, built)


def plan_of(
    experiment: config.Experiment, dataset: Dataset, model: TaskModel, session: Session
) -> Plan:
    """How a network is fine-tuned for the task."""
    settings, task, input_channels = (
        experiment.fine_tuning,
        task_of(experiment),
        experiment.student.input_channels,
    )
    classes, scaling = len(task.classes(dataset)), scaling_of(experiment.student)
    chosen = build.held_out(task.labelled(dataset.split("val")), experiment)
    images, held_out = (
        task.images(dataset, records, input_channels, scaling)
        for records in (dataset.split("train"), chosen)
    )
    if isinstance(model, LinearProbe):
        seen = features_of(model.classifier, images, input_channels, session.accelerator.device)
        model.to("cpu").scale_features(torch.from_numpy(seen.table))
    batches = build.build_batches(
        images,
        experiment.training,
        input_channels=input_channels,
        seed=experiment.seed,
        rank=session.accelerator.process_index,
        processes=session.accelerator.num_processes,
        labelled_share=1.0,
        stain=settings.stain,
        colour=settings.colour,
    )
    stage = fine_tune(
        model,
        batches,
        build.build_schedule(experiment.training),
        term=task.term(images, classes, settings),
        encoder_rate=settings.encoder_rate,
        head_rate=settings.head_rate,
        validate=task.validator(held_out, input_channels, classes),
        watch=task.watch,
    )
    preview = task.preview(held_out, input_channels, task.classes(dataset))
    return Plan(model, [stage]).previewed(preview)


def teach_tiles(
    experiment: config.Experiment, tiles: Dataset, session: Session
) -> tuple[TargetStore | None, dict[str, float]]:
    """The teacher's answers for the tiles, which bring no label with them."""
    if "rckd" not in experiment.pretraining.method:
        return None, {}
    _, store, speed = teaching.teach(experiment, tiles, session)
    return store, speed


def fine_tune(
    model: TaskModel,
    batches: Batches,
    schedule: Schedule,
    *,
    term: Term,
    encoder_rate: float = 1.0,
    head_rate: float = 1.0,
    validate: Callable[[nn.Module], Metrics] | None = None,
    watch: str,
) -> Stage:
    """The second stage, and all that the twin gets: the task, from labels alone.

    Args:
        model: a classifier, a linear probe (whose encoder stays as it is) or a U-Net.
        batches: crops of labelled images.
        schedule: steps and learning rate.
        term: of the task: `classification_term` or `region_term`.
        encoder_rate, head_rate: what the learning rate of each part is multiplied by.
        validate: scores the model on validation images.
        watch: the validation score that picks the best weights.
    """
    return Stage(
        "task",
        trains=model,
        batches=batches,
        terms=(term,),
        weighting=lambda names: losses.FixedWeighting(dict.fromkeys(names, 1.0)),
        schedule=schedule,
        validate=validate,
        watch=watch,
        parts=parts_of(model, encoder_rate, head_rate),
    )


def parts_of(model: TaskModel, encoder_rate: float, head_rate: float) -> dict[str, float]:
    """The parts that train, by the beginning of their names, each with its rate."""
    if isinstance(model, LinearProbe):
        return {"linear.": head_rate}
    if isinstance(model, UNet):
        return {"encoder.": encoder_rate, "decoder.": head_rate, "head.": head_rate}
    rates: dict[str, float] = {}
    for name, _ in model.network.named_parameters():
        first, dot, _ = name.partition(".")
        encodes = name in model.encoder_tensors
        rates[f"network.{first}{dot}"] = encoder_rate if encodes else head_rate
    return rates


def tiles_of(experiment: config.Experiment, dataset: Dataset) -> Dataset:
    """The tiles to pretrain on, with every label taken off.

    Where they come from a set of their own, its validation and test images stay out, and so does
    every image that the task validates or tests on.

    Raises:
        InputError: no tile is left.
    """
    source = experiment.pretrain_data
    if source.kind == "given":
        tiles, records = dataset, list(dataset.split("train"))
    else:
        tiles = build.collect(source)
        held_out = {_place(record.image) for record in dataset if record.split in ("val", "test")}
        records = [
            record
            for record in tiles
            if record.split in (None, "train") and _place(record.image) not in held_out
        ]
    if not records:
        raise InputError(
            f"data set '{tiles.name}' leaves no tile to pretrain on: all of them are validated or "
            "tested on. Give pretrain_data.path a folder of other tiles"
        )
    bare = [replace(record.without_labels(), split="train") for record in records]
    tiles = replace(tiles, records=tuple(bare), classes=())
    return tiles.seen_as(experiment.student.input_channels)


def _place(image: ImageSource) -> Hashable:
    """The file that an image lies in, however it is spelt, and which of the file's images it is.

    A tile counts as its whole slide: splits are of slides, and tiles of other sizes overlap.
    """
    source = getattr(image, "source", image)  # of one whose channel goes by another name
    file = getattr(source, "path", None) or getattr(source, "file", None)
    if file is None:
        return source
    if isinstance(file, Stored):
        return file.place.resolve(), file.member or None
    return as_path(file).resolve(), getattr(source, "index", None)
