"""A whole run of KD SAM: embeddings, student, twin, scores by kind of prompt, report."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from rich.progress import track

from abbe import config, students, teachers
from abbe.datasets import Dataset
from abbe.datasets.pictures import MEMORY_LIMIT, Pictured, picture_records
from abbe.datasets.training.embedded import EmbeddedBatches
from abbe.datasets.training.prompted import PromptedBatches
from abbe.errors import ConfigError
from abbe.foreign_text import shown
from abbe.imaging import choose_rule
from abbe.losses.feature_networks import feature_network
from abbe.recipes.kdsam import decoder_stage, kdsam, kdsam_twin
from abbe.recipes.masks import prompt_validator
from abbe.recipes.matching import matches
from abbe.recipes.promptable_results import AFTER_FIRST, ZERO_SHOT, Trained, write_results
from abbe.runs import build
from abbe.runs import folder as run_folder
from abbe.runs.folder import Run
from abbe.runs.lost import Lost
from abbe.sam import SAM, Facts
from abbe.targets import TargetStore
from abbe.teachers.sam.source import load_network
from abbe.teachers.sam.teacher import SamTeacher
from abbe.training.fit import Fitted, fit
from abbe.training.log import Log
from abbe.training.stage import Stage


@dataclass(frozen=True)
class Material:
    """What is trained on: decoded pictures, and the teacher's embeddings unless it is live."""

    pictures: list[Pictured]
    held_out: list[Pictured]
    embeddings: TargetStore | None


def distill_promptable(
    experiment: config.Experiment,
    dataset: Dataset,
    folder: Path,
    accelerator: Accelerator,
    lost: Lost,
    *,
    resume: bool,
    progress: bool,
) -> Run:
    """Carry out a run of recipe 'kdsam' from the teacher's embeddings to the report.

    Raises:
        InputError: no image has an object to ask for, or more images are lost than allowed.
    """
    settings = replace_options(experiment.teacher, gives="embedding")
    teacher = build.build_teacher(settings, dataset)
    assert isinstance(teacher, SamTeacher)  # the experiment file demands it
    check(experiment, teacher)
    print(shown(teachers.introduction(teacher.provenance)), flush=True)
    material, speed = gather(experiment, dataset, folder, accelerator, teacher, lost, progress)
    trained = train(experiment, dataset, folder, accelerator, teacher, material, resume, progress)
    if accelerator.is_main_process:
        write_results(experiment, dataset, folder, teacher, trained, speed, lost, progress)
    accelerator.wait_for_everyone()
    return run_folder.open_run(folder)


def check(experiment: config.Experiment, teacher: SamTeacher) -> None:
    """Refuse what would end badly after the teacher's work.

    Raises:
        ConfigError: a live teacher would not be shown what it reads; a file of weights is missing,
            or weights cannot be fetched; the baseline sees another square than the student.
        InputError: weights are damaged, or another network's.
    """
    settings = experiment.promptable
    reads = teacher.provenance.channels, experiment.teacher.options.get("inputs", "auto")
    if experiment.teacher.live and reads != (tuple(experiment.student.sees), "auto"):
        raise ConfigError(
            "teacher.live: a live teacher is shown the student's pictures, and this one reads "
            f"{', '.join(reads[0])} ({reads[1]}). Leave live out, so that its embeddings are stored"
        )
    for key, path in (("baseline", settings.baseline), ("vgg_weights", settings.vgg_weights)):
        if isinstance(path, Path) and not path.is_file():
            raise ConfigError(f"promptable.{key}: there is no file {path}")
    build_student(experiment)
    load_baseline(settings)
    if settings.perceptual and settings.perceptual_mode != "decoder":
        feature_network(settings.features, weights=settings.vgg_weights)


def load_baseline(settings: config.Promptable) -> tuple[SAM, Facts] | None:
    """The network that is compared with the student as it comes, and where it is from.

    Raises:
        ConfigError: it sees another square than the student, with whom it is to be trained.
        InputError: its file is damaged, or no network of SAM's family.
    """
    if settings.baseline is None:
        return None
    network, facts = load_network(settings.baseline)
    if settings.decoder_steps and network.side != settings.side:
        raise ConfigError(
            f"promptable.baseline: {settings.baseline} sees squares of {network.side} px, and "
            f"promptable.side is {settings.side}: the second stage shows both the same. Set "
            f"promptable.side to {network.side}, give a baseline that sees {settings.side} px, or "
            "leave it out"
        )
    return network, facts


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


def replace_options(teacher: config.Teacher, **options: Any) -> config.Teacher:
    """The same teacher with further options."""
    return teacher.model_copy(update={"options": {**teacher.options, **options}})


def gather(
    experiment: config.Experiment,
    dataset: Dataset,
    folder: Path,
    accelerator: Accelerator,
    teacher: SamTeacher,
    lost: Lost,
    progress: bool,
) -> tuple[Material, dict[str, float]]:
    """Decode pictures, and store the teacher's embeddings of the training images once."""
    settings, sees = experiment.promptable, experiment.student.sees
    training, speed = dataset.split("train"), {}
    store = None
    if not experiment.teacher.live:
        path = folder / "targets.zarr"
        if accelerator.is_main_process:
            done = teachers.teach(teacher, training, path, progress=progress)
            if done.done:
                speed = {"teach_images_per_s": done.images_per_second}
            lost.add(done.failed, path)
        accelerator.wait_for_everyone()
        store = TargetStore(path)
    longest = round(settings.side / settings.zoom[0])
    held_out = picture_records(
        dataset.split("val").labelled, sees, longest=settings.side, memory_limit=MEMORY_LIMIT // 4
    )
    reading = track(training, "reading", disable=not progress)
    return Material(
        picture_records(reading, sees, longest=longest),
        [each for each in held_out if each.has_objects],
        store,
    ), speed


def train(
    experiment: config.Experiment,
    dataset: Dataset,
    folder: Path,
    accelerator: Accelerator,
    teacher: SamTeacher,
    material: Material,
    resume: bool,
    progress: bool,
) -> Trained:
    """Train student, twin and baseline; each one's weights are saved as soon as it is trained.

    Beside them stand the student between its two stages, and the baseline as it came.
    """
    trained: Trained = {}
    for name, (network, stages) in plans(experiment, accelerator, teacher, material, progress):
        if name == "baseline":
            trained[ZERO_SHOT] = (with_own_decoder(network), [])
        fitted: list[Fitted] = []
        log = Log(folder / "log.jsonl", accelerator, name)
        for stage in stages:
            if name == "student" and fitted:
                trained[AFTER_FIRST] = (copy.deepcopy(network).to("cpu").eval(), [])
            fitted.append(
                fit(
                    stage,
                    accelerator,
                    log,
                    folder / "checkpoints" / f"{name}-{stage.name}.pt",
                    seed=experiment.seed,
                    workers=build.workers(experiment.training.workers),
                    resume=resume,
                    progress=progress,
                )
            )
        network.to("cpu").eval()
        if accelerator.is_main_process and name != "baseline":
            path = folder / f"{name}.safetensors"
            students.save_promptable(path, network, facts(experiment, dataset, teacher))
        if stages:
            trained[name] = (network, fitted)
    return trained


def plans(
    experiment: config.Experiment,
    accelerator: Accelerator,
    teacher: SamTeacher,
    material: Material,
    progress: bool,
) -> Iterator[tuple[str, tuple[SAM, list[Stage]]]]:
    """Student, twin and baseline, each with its stages; a stage without steps is left out."""
    settings = experiment.promptable
    embedded, prompted = batches(experiment, accelerator, teacher, material)
    assert settings.decoder_steps is not None  # the schedule is resolved
    first = build.build_schedule(experiment.training)
    second = replace(
        first, steps=settings.decoder_steps, learning_rate=settings.decoder_learning_rate
    )
    common: dict[str, Any] = {
        "bce": settings.bce,
        "rounds": settings.rounds,
        "validate": prompt_validator(material.held_out) if material.held_out else None,
    }
    torch.manual_seed(experiment.seed)
    student = build_student(experiment)
    students.copy_decoder(student, teacher.network)
    twin = copy.deepcopy(student)
    stages = kdsam(
        student,
        embedded,
        prompted,
        first,
        second,
        matches=matches(
            settings,
            teacher,
            material.pictures,
            material.embeddings,
            accelerator.device,
            progress=progress and accelerator.is_main_process,
        ),
        train_neck=settings.train_neck,
        teacher=teacher.network if experiment.teacher.live else None,
        **common,
    )
    yield "student", (student, [stage for stage in stages if stage.schedule.steps])
    if experiment.twin:
        yield "twin", (twin, kdsam_twin(twin, prompted, first, second, **common))
    baseline = load_baseline(settings)
    if baseline is not None:
        stage = decoder_stage(baseline[0], prompted, second, **common)
        yield "baseline", (baseline[0], [stage] if second.steps else [])


def with_own_decoder(network: SAM) -> SAM:
    """The same network with a decoder of its own: what is done to the other's leaves it alone.

    The image encoder, nearly all of it, is shared.
    """
    encoder = network.image_encoder
    return copy.deepcopy(network, {id(encoder): encoder}).eval()


def batches(
    experiment: config.Experiment,
    accelerator: Accelerator,
    teacher: SamTeacher,
    material: Material,
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
        "rank": accelerator.process_index,
        "processes": accelerator.num_processes,
    }
    embedded = EmbeddedBatches(
        material.pictures, material.embeddings, teacher_side=teacher.network.side, **common
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


def facts(experiment: config.Experiment, dataset: Dataset, teacher: SamTeacher) -> dict[str, Any]:
    """What must be known to use the student's weights."""
    source = teacher.provenance
    return {
        "channels": list(experiment.student.sees),
        "inputs": choose_rule("auto", len(experiment.student.sees)),
        "recipe": experiment.recipe,
        "trained_on": dataset.name,
        "simulated": dataset.simulated,
        "data_licence": dataset.licence,
        "teacher": source.teacher,
        "teacher_stand_in": source.stand_in,
        "weights_licence": f"mask decoder: {source.weights_licence}; encoder: trained by its user",
        "encoder_weights": str(experiment.student.encoder_weights),
    }
