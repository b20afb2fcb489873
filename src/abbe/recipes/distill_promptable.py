"""A whole run of KD SAM: embeddings, student, twin, scores by kind of prompt, report."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from torch import nn

import abbe
from abbe import config, report, students, teachers
from abbe.datasets import Dataset, Record
from abbe.datasets.embedded import EmbeddedBatches
from abbe.datasets.prompted import Pictured, PromptedBatches, picture_records
from abbe.errors import InputError
from abbe.files import atomic_path, write_json
from abbe.imaging import choose_rule, three_channels
from abbe.losses.feature_networks import feature_network
from abbe.losses.perceptual import DecoderLoss, PerceptualLoss, embedding_mse, fit_projection
from abbe.recipes import build, results, run_folder
from abbe.recipes.evaluate import EXAMPLES, Scores, save_scores, summarise
from abbe.recipes.kdsam import EmbeddingLoss, decoder_stage, kdsam, kdsam_twin
from abbe.recipes.promptable import prompt_validator
from abbe.recipes.promptable_scores import (
    METRICS,
    PromptedModel,
    objects_of,
    score_prompted,
)
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
    print(teachers.introduction(teacher.provenance), flush=True)
    material, speed = gather(experiment, dataset, folder, accelerator, teacher, progress)
    trained = train(experiment, dataset, folder, accelerator, teacher, material, resume, progress)
    if accelerator.is_main_process:
        write_results(experiment, dataset, folder, teacher, trained, speed, progress)
    accelerator.wait_for_everyone()
    return run_folder.open_run(folder)


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
                print(f"warning: {done.summary()}")
        accelerator.wait_for_everyone()
        store = TargetStore(path)
    longest = round(settings.side / settings.zoom[0])
    return Material(
        picture_records(training, sees, longest=longest),
        picture_records(dataset.split("val").labelled, sees, longest=settings.side),
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
    encoder_schedule = build.build_schedule(training)
    decoder_schedule = replace(
        encoder_schedule,
        steps=settings.decoder_steps,
        learning_rate=settings.decoder_learning_rate,
    )
    validate = prompt_validator(material.held_out) if material.held_out else None
    torch.manual_seed(experiment.seed)
    weights = experiment.student.encoder_weights
    assert weights != "choose"  # the experiment file demands a choice
    student = students.build_promptable(
        experiment.student.architecture,
        side=settings.side,
        encoder_weights=weights,
        neck=settings.neck,
    )
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
            validate=validate,
        )
        plans["twin"] = (twin, masks)
    if settings.baseline is not None:
        other, _ = load_sam(settings.baseline)
        stage = decoder_stage(other, prompted, decoder_schedule, settings.bce, validate=validate)
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


def write_results(
    experiment: config.Experiment,
    dataset: Dataset,
    folder: Path,
    teacher: SamTeacher,
    trained: Trained,
    speed: dict[str, float],
    progress: bool,
) -> None:
    """Score teacher, student, twin and baseline by kind of prompt; write what the report needs."""
    sees = experiment.student.sees
    networks = {"teacher": (teacher.network.to("cpu"), teacher.provenance.channels)}
    networks |= {name: (network, sees) for name, (network, _) in trained.items()}
    models = {name: PromptedModel(network, tuple(c)) for name, (network, c) in networks.items()}
    tests = list(dataset.split("test").labelled)
    scores = score_prompted(
        models, tests, tolerance=experiment.evaluation.tolerance, progress=progress
    )
    if not scores.rows:
        raise InputError(f"data set '{dataset.name}': no test image has an object to ask for")
    save_scores(scores, folder / "scores.parquet")
    save_examples(models, dataset, scores, folder / "examples")
    store = folder / "targets.zarr"
    provenance = results.describe_provenance(teacher.provenance)
    taught = TargetStore(store) if store.exists() else None
    summary: dict[str, Any] = {
        "abbe": abbe.__version__,
        "recipe": experiment.recipe,
        "title": experiment.title or f"{experiment.recipe} on {dataset.name}",
        "task": "promptable segmentation",
        "data": results.describe_data(dataset),
        "student_sees": list(sees),
        "encoder_weights": str(experiment.student.encoder_weights),
        "teacher": provenance,
        "teacher_sees": list(teacher.provenance.channels),
        "targets": {"images": len(taught.ids), "empty": 0, "missing": 0} if taught else None,
        "stand_in": [provenance["teacher"]] if provenance["stand_in"] else [],
        **summarise(scores, experiment.evaluation.resamples, METRICS),
        "metric_names": {metric: METRICS[metric].name for metric in scores.metrics},
        "speed": {**speed, **results.training_speed(trained)},
        "seed": experiment.seed,
        "thresholds": {},
        "thresholds_chosen_on": "nothing: a mask is where the logit is above 0",
    }
    for name, model in models.items():
        summary["models"][name] |= describe_network(model)
    summary["warnings"] = warnings(summary, experiment)
    write_json(folder / "summary.json", summary)
    report.write_report(folder)


def describe_network(model: PromptedModel) -> dict[str, Any]:
    """Parameters, MACs of one image, and the time an image and a prompt took in this process."""
    network = model.network
    size = students.count(_EncoderAlone(network.image_encoder), 3, network.side)
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "macs": size.macs,
        "macs_image_size": network.side,
        "encoder_parameters": size.parameters,
        "encoder_macs": size.macs,
        "ms_per_image": 1000 * float(np.median(model.seconds_encoding)),
        "ms_per_prompt": 1000 * float(np.median(model.seconds_a_prompt)),
    }


class _EncoderAlone(nn.Module):
    """An image encoder in the place where its size is counted."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.encoder(images)


def warnings(summary: dict[str, Any], experiment: config.Experiment) -> list[str]:
    """What a reader should doubt."""
    said = [
        "Objects are asked for with prompts made from the labels, as is usual for promptable "
        "networks: scores say how well a shown object is outlined, not whether it is found."
    ]
    settings = experiment.promptable
    seen = settings.perceptual and settings.perceptual_mode != "decoder"
    if seen and settings.vgg_weights == "random":
        said.append("The perceptual loss saw through a network with random weights.")
    return said + results.warnings(summary)


def save_examples(
    models: dict[str, PromptedModel], dataset: Dataset, scores: Scores, folder: Path
) -> None:
    """Keep the best, median and worst test images by the student's Dice, asked by boxes."""
    order = sorted(scores.values("student", "dice").items(), key=lambda item: -item[1])
    middle = max(0, len(order) // 2 - EXAMPLES // 2)
    chosen = {
        "best": order[:EXAMPLES],
        "median": order[middle : middle + EXAMPLES],
        "worst": order[-EXAMPLES:],
    }
    folder.mkdir(exist_ok=True)
    seen: set[str] = set()
    for kind, images in chosen.items():
        for rank, (id, _) in enumerate(images):
            if id in seen:
                continue
            seen.add(id)
            arrays = _example(models, dataset[id])
            name = "".join(c if c.isalnum() or c in "-_." else "_" for c in id)
            path = folder / f"{rank}-{kind}-{name}.npz"
            with atomic_path(path) as temporary, open(temporary, "wb") as file:
                np.savez_compressed(file, **arrays, allow_pickle=False)


def _example(models: dict[str, PromptedModel], record: Record) -> dict[str, np.ndarray]:
    assert record.label is not None  # only labelled images are scored
    label = record.label.read()
    image = record.image.open()
    channels = models["student"].channels
    picture = three_channels(image.read(channels=channels), choose_rule("auto", len(channels)))
    arrays = {"id": np.array(record.id), "image": picture, "truth": label}
    for name, model in models.items():
        if name in ("teacher", "student", "twin"):
            arrays[name] = model.masks(record, objects_of(label))["box"].astype(np.int32)
    return arrays
