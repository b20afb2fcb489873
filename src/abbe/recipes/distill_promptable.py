"""A whole run of KD SAM: embeddings, student, twin, scores by kind of prompt, report."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from rich.progress import track

from abbe import config, students, teachers
from abbe.datasets import Dataset
from abbe.datasets.embedded import EmbeddedBatches
from abbe.datasets.pictures import MEMORY_LIMIT, Pictured, picture_records
from abbe.datasets.prompted import PromptedBatches
from abbe.errors import ConfigError
from abbe.foreign_text import shown
from abbe.imaging import choose_rule
from abbe.losses.feature_networks import feature_network
from abbe.losses.perceptual import DecoderLoss, PerceptualLoss, embedding_mse, fit_projection
from abbe.recipes import build, run_folder
from abbe.recipes.kdsam import EmbeddingLoss, decoder_stage, kdsam, kdsam_twin
from abbe.recipes.promptable import prompt_validator
from abbe.recipes.promptable_results import write_results
from abbe.recipes.run_folder import Run
from abbe.sam import SAM, Prompts, load_sam
from abbe.targets import TargetStore
from abbe.teachers.sam import SamTeacher
from abbe.training.fit import Fitted, fit
from abbe.training.log import Log
from abbe.training.stage import Stage

PROJECTED = 500
"""Embeddings that the projection of the perceptual loss is fitted to."""
DECODER_POINTS = 8
"""Random points an image, through which the decoder's view of two embeddings is compared."""

Trained = dict[str, tuple[SAM, list[Fitted]]]


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
    *,
    resume: bool,
    progress: bool,
) -> Run:
    """Carry out a run of recipe 'kdsam' from the teacher's embeddings to the report.

    Raises:
        InputError: no image has an object to ask for, or the teacher failed on all of them.
    """
    settings = replace_options(experiment.teacher, gives="embedding")
    teacher = build.build_teacher(settings, dataset)
    assert isinstance(teacher, SamTeacher)  # the experiment file demands it
    check(experiment, teacher)
    print(shown(teachers.introduction(teacher.provenance)), flush=True)
    material, speed = gather(experiment, dataset, folder, accelerator, teacher, progress)
    trained = train(experiment, dataset, folder, accelerator, teacher, material, resume, progress)
    if accelerator.is_main_process:
        write_results(experiment, dataset, folder, teacher, trained, speed, progress)
    accelerator.wait_for_everyone()
    return run_folder.open_run(folder)


def check(experiment: config.Experiment, teacher: SamTeacher) -> None:
    """Refuse what would end badly after the teacher's work.

    Raises:
        ConfigError: a live teacher would not be shown what it reads; a file of weights is missing.
        InputError: the student's weights are damaged, or another network's.
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
            if done.failed:
                print(shown(f"warning: {done.summary()}"))
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
    """Train student, twin and baseline; each one's weights are saved as soon as it is trained."""
    settings, training = experiment.promptable, experiment.training
    embedded, prompted = batches(experiment, accelerator, teacher, material)
    assert settings.decoder_steps is not None  # the schedule is resolved
    encoder_schedule = build.build_schedule(training)
    decoder_schedule = replace(
        encoder_schedule,
        steps=settings.decoder_steps,
        learning_rate=settings.decoder_learning_rate,
    )
    validate = prompt_validator(material.held_out) if material.held_out else None
    torch.manual_seed(experiment.seed)
    student = build_student(experiment)
    students.copy_decoder(student, teacher.network)
    twin = copy.deepcopy(student)
    stages = kdsam(
        student,
        embedded,
        prompted,
        encoder_schedule,
        decoder_schedule,
        matches=matches(experiment, teacher, material, accelerator.device),
        bce=settings.bce,
        train_neck=settings.train_neck,
        rounds=settings.rounds,
        teacher=teacher.network if experiment.teacher.live else None,
        validate=validate,
    )
    plans: dict[str, tuple[SAM, Sequence[Stage]]] = {
        "student": (student, [stage for stage in stages if stage.schedule.steps])
    }
    if experiment.twin:
        masks = kdsam_twin(
            twin,
            prompted,
            encoder_schedule,
            decoder_schedule,
            bce=settings.bce,
            rounds=settings.rounds,
            validate=validate,
        )
        plans["twin"] = (twin, masks)
    if settings.baseline is not None:
        other, _ = load_sam(settings.baseline)
        stage = decoder_stage(
            other,
            prompted,
            decoder_schedule,
            bce=settings.bce,
            rounds=settings.rounds,
            validate=validate,
        )
        plans["baseline"] = (other, [stage])
    trained: Trained = {}
    for name, (network, its_stages) in plans.items():
        log = Log(folder / "log.jsonl", accelerator, name)
        fitted = [
            fit(
                stage,
                accelerator,
                log,
                folder / "checkpoints" / f"{name}-{stage.name}.pt",
                seed=experiment.seed,
                workers=build.workers(training.workers),
                resume=resume,
                progress=progress,
            )
            for stage in its_stages
        ]
        network.to("cpu").eval()
        if accelerator.is_main_process and name != "baseline":
            path = folder / f"{name}.safetensors"
            students.save_promptable(path, network, facts(experiment, dataset, teacher))
        trained[name] = (network, fitted)
    return trained


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


def matches(
    experiment: config.Experiment,
    teacher: SamTeacher,
    material: Material,
    device: torch.device,
) -> dict[str, tuple[EmbeddingLoss, float]]:
    """How embeddings are compared, by the name of the term."""
    settings = experiment.promptable
    chosen: dict[str, tuple[EmbeddingLoss, float]] = {}
    if settings.mse:
        chosen["mse"] = (embedding_mse, settings.mse)
    if settings.perceptual and settings.perceptual_mode == "decoder":
        match = _through_decoder(teacher.network, settings.side, device)
        chosen["decoder"] = (match, settings.perceptual)
    elif settings.perceptual:
        match = _through_features(settings, teacher, material, device)
        chosen["perceptual"] = (match, settings.perceptual)
    return chosen


def _through_decoder(teacher: SAM, side: int, device: torch.device) -> EmbeddingLoss:
    compare = DecoderLoss(teacher, side).to(device)

    def match(student: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        count = DECODER_POINTS * len(student)
        # The loop seeds torch anew for every step, so that a resumed run draws the same points.
        points = torch.rand(count, 1, 2).to(device) * side
        ones = torch.ones(count, 1, dtype=torch.int64, device=device)
        return compare(student, target, Prompts(points=points, point_labels=ones))

    return match


def _through_features(
    settings: config.Promptable, teacher: SamTeacher, material: Material, device: torch.device
) -> EmbeddingLoss:
    mode = settings.perceptual_mode
    assert mode != "decoder"  # that one needs no feature network
    network = feature_network(settings.features, weights=settings.vgg_weights)
    projection = fit_projection(_some_embeddings(teacher, material))
    compare = PerceptualLoss(network, projection, mode).to(device)

    def match(student: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return compare(student, target, int(torch.randint(1 << 31, ())))

    return match


@torch.inference_mode()
def _some_embeddings(teacher: SamTeacher, material: Material) -> list[torch.Tensor]:
    store, embeddings = material.embeddings, []
    for picture in material.pictures[:PROJECTED]:
        if store is None:
            embeddings.append(teacher.embedding(picture.picture))
        elif picture.id in store.ids:
            stored = np.asarray(store.read(picture.id, "embedding"), np.float32)
            embeddings.append(torch.from_numpy(stored)[None])
    return [embedding.clone() for embedding in embeddings]


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
