"""KD SAM: SAM's image encoder distilled into a small one, then the mask decoder fitted to it.

After Patil, Palani and Krishnamurthi, "Efficient Knowledge Distillation of SAM for Medical Image
Segmentation", arXiv 2501.16740. Two stages: the student's encoder learns the teacher's embeddings
by mean squared error and a perceptual loss; then the mask decoder, which is the teacher's, is
fitted to the student's embeddings with a Dice loss. What could not be read of the paper is filled
with our defaults (docs/kdsam.md).
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar, cast

import torch
from torch import Tensor, nn

from abbe import config, losses, students, teachers
from abbe.datasets import Dataset
from abbe.datasets.pictures import MEMORY_LIMIT, Pictured, picture_records
from abbe.datasets.training.batches import Batch
from abbe.datasets.training.embedded import EmbeddedBatches
from abbe.datasets.training.prompted import PromptedBatches
from abbe.errors import ConfigError, InputError
from abbe.foreign_text import shown
from abbe.imaging import ThreeChannelRule
from abbe.losses.feature_networks import feature_network
from abbe.near import meant_beside
from abbe.progress import track
from abbe.recipes.masks import WATCHED, PromptPreview, prompt_validator, promptable
from abbe.recipes.matching import Match, matches, on_grid
from abbe.recipes.recipe import Material, Plan, Recipe, Trained
from abbe.registry import TASKS
from abbe.runs import build, teaching
from abbe.runs.schedules import Amount
from abbe.runs.session import Session
from abbe.sam import SAM, Facts
from abbe.tasks.promptable.task import PromptedModel
from abbe.tasks.task import Task
from abbe.teachers.introduction import as_asked
from abbe.teachers.sam.source import load_network
from abbe.teachers.sam.teacher import SamTeacher
from abbe.training.stage import Metrics, Schedule, Stage, Term

AFTER_FIRST = "student after stage 1"
ZERO_SHOT = "baseline zero-shot"

NECK_RATE = 0.1
"""The neck, where it is trained in the second stage, learns so much slower than the decoder."""


@dataclass(frozen=True)
class Pictures(Material):
    """Decoded pictures, and the teacher."""

    sam: Any = None
    pictures: Sequence[Pictured] = ()
    held_out: Sequence[Pictured] = field(default_factory=list)


class KdSam(Recipe):
    """The teacher's embeddings first, then labelled objects; the twin has the objects alone."""

    name = "kdsam"
    differs: ClassVar[Mapping[str, str]] = {
        "twin": "it learns from masks alone, in as many steps as both stages together"
    }
    rates: ClassVar[Mapping[str, str]] = {"training": "embeddings"}

    def task(self, experiment: config.Experiment) -> Task:
        """Masks that answer prompts."""
        return TASKS["promptable"]

    def amounts(
        self, experiment: config.Experiment, dataset: Dataset, tiles: Dataset | None
    ) -> dict[str, Amount]:
        """Pictures are shown whole, so a picture is a sample.

        All of them to the encoder, and those with labels to the decoder.
        """
        train = dataset.split("train")
        pictures, labelled = len(train), len(train.labelled)
        return {"training": Amount(pictures, pictures), "decoder": Amount(labelled, labelled)}

    def require(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        tiles: Dataset | None,
        *,
        trust_code: bool,
    ) -> None:
        """All networks must be there, and go together; and there must be objects to ask for."""
        super().require(experiment, dataset, tiles, trust_code=trust_code)
        if not len(dataset.split("train").labelled):
            raise InputError(
                f"data set '{dataset.name}' has no labelled training image, and the second stage "
                "asks for labelled objects: check the names in the label folder, or data.labelled"
            )
        check_networks(experiment, dataset)

    def prepare(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        tiles: Dataset | None,
        session: Session,
    ) -> Pictures:
        """Store the teacher's embeddings of training and test images once, and decode pictures."""
        teacher = build_teacher(experiment, dataset)
        print(shown(teachers.introduction(teacher.provenance)), flush=True)
        settings, input_channels = experiment.promptable, experiment.student.input_channels
        train, store, speed = dataset.split("train"), None, {}
        asked = [*train.records, *dataset.split("test").labelled.records]
        if not experiment.teacher.live:
            store, speed = teaching.stored_predictions(teacher, dataset.having(asked), session)
        held_out = picture_records(
            build.held_out(dataset.split("val").labelled.records, experiment),
            input_channels,
            longest=settings.side,
            memory_limit=MEMORY_LIMIT // 4,
        )
        reading = track(train, "reading", shown=session.progress)
        inputs = cast(ThreeChannelRule, experiment.teacher.options.get("inputs", "auto"))
        seen = settings.perceptual and settings.perceptual_mode != "decoder"
        random = "The perceptual loss saw through a network with random weights."
        return Pictures(
            store=store,
            asked=asked,
            provenance=as_asked(teacher.provenance),
            teacher=PromptedModel(teacher.network, teacher.provenance.channels, inputs, store),
            speed=speed,
            warnings=[random] if seen and settings.vgg_weights == "random" else [],
            about=about_models(experiment),
            sam=teacher,
            pictures=picture_records(
                reading, input_channels, longest=longest_side(experiment, teacher.network.side)
            ),
            held_out=[each for each in held_out if each.has_objects],
        )

    def plans(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        material: Pictures,
        session: Session,
        trained: Mapping[str, Trained],
    ) -> Iterator[tuple[str, Plan]]:
        """Student, twin and baseline; a stage without steps is left out.

        The twin learns from masks alone, in as many steps as both of the student's stages have
        together: no other network would be more supervised.
        """
        settings, teacher = experiment.promptable, material.sam
        embedded, prompted = batches(experiment, session, material)
        assert settings.decoder_steps is not None  # the schedule is resolved
        first = build.build_schedule(experiment.training)
        second = replace(
            first, steps=settings.decoder_steps, learning_rate=settings.decoder_learning_rate
        )
        fitted = fitted_parts(settings, first, second)
        common: dict[str, Any] = {
            "bce": settings.bce,
            "rounds": settings.rounds,
            "validate": prompt_validator(material.held_out) if material.held_out else None,
        }
        torch.manual_seed(experiment.seed)
        student = build_student(experiment)
        students.copy_decoder(student, teacher.network)
        twin = copy.deepcopy(student)
        compared = matches(
            settings,
            teacher,
            material.pictures,
            material.store,
            session.accelerator.device,
            progress=session.shown,
        )
        stages = kdsam(
            student,
            embedded,
            prompted,
            first,
            second,
            matches=compared,
            fitted=fitted,
            teacher=teacher.network if experiment.teacher.live else None,
            **common,
        )
        about = decoder_metadata(teacher)
        whole = [stage for stage in stages if stage.schedule.steps]
        preview = PromptPreview(material.held_out) if material.held_out else None
        plan = Plan(student, whole, about, {"encoder": AFTER_FIRST})
        yield "student", plan.previewed(preview)
        if {"twin", "supervised"} & set(experiment.compared_with):
            plan = Plan(twin, kdsam_twin(twin, prompted, first, second, **common), about)
            yield "twin", plan.previewed(preview)
        baseline = load_baseline(settings)
        if baseline is not None:
            network, _ = baseline
            yield ZERO_SHOT, Plan(untrained(network, fitted), [], None)
            if second.steps:
                stage = decoder_stage(network, prompted, second, fitted=fitted, **common)
                yield "baseline", Plan(network, [stage], None).previewed(preview)


def longest_side(experiment: config.Experiment, teacher_side: int) -> int:
    """px that longest sides are shrunk to: as the student, or a live teacher, sees pictures."""
    settings = experiment.promptable
    own = round(settings.side / settings.zoom[0])
    return max(own, teacher_side) if experiment.teacher.live else own


def build_teacher(experiment: config.Experiment, dataset: Dataset) -> SamTeacher:
    """The teacher, which gives embeddings alone.

    Raises:
        ConfigError: an option is unknown or impossible.
        InputError: its weights are missing, damaged, or cannot be fetched.
    """
    options = {**experiment.teacher.options, "gives": "embedding"}
    asking = experiment.teacher.model_copy(update={"options": options})
    teacher = build.build_teacher(asking, dataset)
    assert isinstance(teacher, SamTeacher)  # the experiment file demands it
    return teacher


def check_networks(experiment: config.Experiment, dataset: Dataset) -> None:
    """Refuse networks that are not there, or do not go together.

    Raises:
        ConfigError: a live teacher would not be shown what it reads; a file of weights is missing,
            or weights cannot be fetched; the baseline sees another square than the student.
        InputError: weights are damaged, or another network's.
    """
    settings = experiment.promptable
    for key, path in (("baseline", settings.baseline), ("vgg_weights", settings.vgg_weights)):
        if isinstance(path, Path) and not path.is_file():
            raise ConfigError(f"promptable.{key}: there is no file {path}.{meant_beside(path)}")
    if settings.perceptual and settings.perceptual_mode != "decoder":
        feature_network(settings.features, weights=settings.vgg_weights)
    load_baseline(settings)
    student, teacher = build_student(experiment), build_teacher(experiment, dataset)
    students.copy_decoder(student, teacher.network)
    reads = teacher.provenance.channels, experiment.teacher.options.get("inputs", "auto")
    if experiment.teacher.live and reads != (tuple(experiment.student.input_channels), "auto"):
        raise ConfigError(
            "teacher.live: a live teacher is shown the student's pictures, and this one reads "
            f"{', '.join(reads[0])} ({reads[1]}). Leave live out, so that its embeddings are stored"
        )


def load_baseline(settings: config.Promptable) -> tuple[SAM, Facts] | None:
    """The network that is compared with the student as it comes, and where it is from.

    Where a second stage trains both, a network of SAM's family sees the student's square.

    Raises:
        ConfigError: it is a student of another square, with whom this one is to be trained.
        InputError: its file is damaged, or no network of SAM's family.
    """
    if settings.baseline is None:
        return None
    network, facts = load_network(settings.baseline)
    if not settings.decoder_steps or network.side == settings.side:
        return network, facts
    if facts.layout is None:
        raise ConfigError(
            f"promptable.baseline: {settings.baseline} is a student that sees squares of "
            f"{network.side} px, and promptable.side is {settings.side}: the second stage shows "
            f"both the same. Set promptable.side to {network.side}, give a baseline that sees "
            f"{settings.side} px, or leave it out"
        )
    return load_network(settings.baseline, side=settings.side)


def build_student(experiment: config.Experiment) -> SAM:
    """The student as training begins with it, but for the decoder, which the teacher's becomes."""
    weights = experiment.student.encoder_weights
    assert weights != "choose"  # the experiment file demands a choice
    return students.build_promptable(
        experiment.student.architecture,
        side=experiment.promptable.side,
        encoder_weights=weights,
        neck=experiment.promptable.neck,
        standardisation=build.standardisation_of(experiment.student),
    )


def fitted_parts(
    settings: config.Promptable, first: Schedule, second: Schedule
) -> dict[str, float]:
    """What the second stage fits beside the decoder, each with its share of the decoder's rate."""
    if settings.train_encoder:
        return {"image_encoder": first.learning_rate / second.learning_rate}
    return {"image_encoder.neck": NECK_RATE} if settings.train_neck else {}


def untrained(network: SAM, fitted: Mapping[str, float]) -> SAM:
    """The same network, which the second stage of the other leaves as it is.

    The image encoder, nearly all of it, is shared where all of it rests in that stage.
    """
    encoder = network.image_encoder
    return copy.deepcopy(network, {} if fitted else {id(encoder): encoder}).eval()


def batches(
    experiment: config.Experiment,
    session: Session,
    material: Pictures,
) -> tuple[EmbeddedBatches, PromptedBatches]:
    """The batches of the two stages."""
    settings, training = experiment.promptable, experiment.training
    common: dict[str, Any] = {
        "side": settings.side,
        "batch_size": training.batch_size,
        "seed": experiment.seed,
        "flips": training.augmentation.flips,
        "gamma": training.augmentation.gamma,
        "brightness": training.augmentation.brightness,
        "noise": training.augmentation.noise,
        "blur": training.augmentation.blur,
        "rank": session.accelerator.process_index,
        "processes": session.accelerator.num_processes,
    }
    embedded = EmbeddedBatches(
        material.pictures, material.store, teacher_side=material.sam.network.side, **common
    )
    prompted = PromptedBatches(
        material.pictures,
        objects=settings.objects,
        mask_step=settings.mask_step,
        prompts=settings.prompts,
        jitter=settings.jitter,
        zoom=settings.zoom,
        **common,
    )
    return embedded, prompted


def decoder_metadata(teacher: SamTeacher) -> dict[str, Any]:
    """What the files of networks with the teacher's decoder say of it."""
    source = teacher.provenance
    return {
        "teacher": source.teacher,
        "teacher_stand_in": source.stand_in,
        "weights_licence": f"mask decoder: {source.weights_licence}; encoder: trained by its user",
    }


def about_models(experiment: config.Experiment) -> dict[str, str]:
    """What the networks are that a name does not explain, by name."""
    settings = experiment.promptable
    file = settings.baseline.name if settings.baseline is not None else ""
    seen = f"{file} at {settings.side} px" if settings.decoder_steps else file
    return {
        AFTER_FIRST: "the student's encoder with the teacher's own decoder, before any label of "
        "this run was used: what matching the embeddings came to",
        ZERO_SHOT: f"{seen} as it comes, before anything here trained it",
        "baseline": f"{seen} after the same second stage as the student's",
    }


def embed(network: nn.Module, batch: Batch) -> Tensor:
    """The student's embeddings of the batch's images."""
    assert isinstance(network, SAM)
    return network.encode(batch["image"])


def embed_for(teacher: nn.Module, batch: Batch) -> Tensor:
    """A live teacher's embeddings."""
    assert isinstance(teacher, SAM)
    return teacher.encode(batch["teacher_image"]).float()


def embedding_term(name: str, match: Match) -> Term:
    """The student's embedding against the teacher's, brought to the student's grid."""

    def loss(embedding: Tensor, batch: Batch) -> Tensor:
        return match.compare(embedding.float(), on_grid(batch["target"], embedding.shape[-2:]))

    return Term(name, loss, distils=True, parts=match.parts)


def kdsam(
    student: SAM,
    embedded: EmbeddedBatches,
    prompted: PromptedBatches,
    encoder_schedule: Schedule,
    decoder_schedule: Schedule,
    *,
    matches: Mapping[str, Match],
    bce: bool = False,
    fitted: Mapping[str, float] | None = None,
    rounds: int = 1,
    teacher: SAM | None = None,
    validate: Callable[[nn.Module], Metrics] | None = None,
) -> list[Stage]:
    """Two stages: the encoder alone, by embeddings; the decoder, by prompts.

    Args:
        student: its decoder is the teacher's.
        embedded: pictures and the teacher's embeddings of them.
        prompted: pictures with labelled objects and prompts.
        encoder_schedule, decoder_schedule: steps and learning rate of each stage.
        matches: by name, how embeddings are compared.
        bce: add cross-entropy to the decoder's Dice.
        fitted: what else the second stage fits, and at which share of the decoder's rate.
        rounds: how often an object is asked for in the second stage.
        teacher: a live teacher, if there are no stored embeddings.
        validate: scores masks through the decoder: a low feature loss is not yet a good mask.
    """
    weights = {name: match.weight for name, match in matches.items()}
    encoder = Stage(
        "encoder",
        trains=student,
        batches=embedded,
        terms=tuple(embedding_term(name, match) for name, match in matches.items()),
        weighting=lambda names: losses.FixedWeighting({name: weights[name] for name in names}),
        schedule=encoder_schedule,
        validate=validate,
        watch=WATCHED[prompted.prompts],
        teacher=teacher,
        forward=embed,
        forward_teacher=embed_for,
        parts={"image_encoder": 1.0},
    )
    decoder = decoder_stage(
        student,
        prompted,
        decoder_schedule,
        bce=bce,
        fitted=fitted,
        rounds=rounds,
        validate=validate,
    )
    return [encoder, decoder]


def decoder_stage(
    network: SAM,
    prompted: PromptedBatches,
    schedule: Schedule,
    *,
    bce: bool = False,
    fitted: Mapping[str, float] | None = None,
    rounds: int = 1,
    validate: Callable[[nn.Module], Metrics] | None = None,
) -> Stage:
    """Fit the mask decoder, and what else is ``fitted``; a baseline gets the same."""
    (stage,) = promptable(
        network, prompted, schedule, bce=bce, rounds=rounds, validate=validate, name="decoder"
    )
    return replace(stage, parts={"mask_decoder": 1.0, **(fitted or {})})


def kdsam_twin(
    twin: SAM,
    prompted: PromptedBatches,
    encoder_schedule: Schedule,
    decoder_schedule: Schedule,
    *,
    bce: bool = False,
    rounds: int = 1,
    validate: Callable[[nn.Module], Metrics] | None = None,
) -> list[Stage]:
    """The same network without a teacher's embeddings: encoder and decoder by masks alone.

    It has the student's initial weights, decoder included, its labels, its rate for each part, and
    as many steps as both of the student's stages together.
    """
    steps = encoder_schedule.steps + decoder_schedule.steps
    schedule = replace(encoder_schedule, steps=steps)
    (stage,) = promptable(
        twin, prompted, schedule, bce=bce, rounds=rounds, validate=validate, name="masks"
    )
    decoder_rate = decoder_schedule.learning_rate / encoder_schedule.learning_rate
    return [replace(stage, parts={"image_encoder": 1.0, "mask_decoder": decoder_rate})]
