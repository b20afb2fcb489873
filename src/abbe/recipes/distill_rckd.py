"""A whole run of RCKD: the teacher's response to tiles, an encoder, its task, the twin, scores."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from rich.progress import track

from abbe import config, students
from abbe.datasets import Dataset, Record, class_numbers
from abbe.datasets.training.batches import Batches
from abbe.datasets.training.prepare import Prepared, prepare
from abbe.errors import ConfigError, InputError
from abbe.imaging import Scaling
from abbe.recipes.linear_probe import features_of
from abbe.recipes.rckd import (
    HV_MAPS,
    INSTANCE_MAPS,
    TaskModel,
    classification_term,
    fine_tune,
    pretrain,
    region_term,
)
from abbe.runs import build, schedules
from abbe.runs import folder as run_folder
from abbe.runs.distill import teach_run
from abbe.runs.folder import Run
from abbe.runs.lost import Lost, readable
from abbe.runs.normalising import scaling_of
from abbe.runs.pixel_sizes import student_pixel_size
from abbe.students import LinearProbe, ResponseNetwork, UNet
from abbe.students.unet import encoder_name_of
from abbe.targets import TargetStore
from abbe.tasks import labelled as task_data
from abbe.tasks.answers import WATCHED, task_validator
from abbe.training.fit import Fitted, fit
from abbe.training.log import Log
from abbe.training.stage import Stage

Trained = dict[str, tuple[TaskModel, list[Fitted]]]


@dataclass(frozen=True)
class Session:
    """Where and how stages are trained."""

    folder: Path
    accelerator: Accelerator
    lost: Lost
    resume: bool
    trust_code: bool
    progress: bool


@dataclass(frozen=True)
class Pretrained:
    """What pretraining left: the encoder's file, and the decoder if it learned a response."""

    encoder: Path
    unet: UNet
    fitted: Fitted
    responds: bool


def distill_rckd(experiment: config.Experiment, dataset: Dataset, session: Session) -> Run:
    """Carry out a run of recipe 'rckd' from the teacher's answers to the report.

    Raises:
        InputError: the teacher's answers cannot be learned from.
    """
    from abbe.recipes.encoder_probes import probe_encoders
    from abbe.recipes.rckd_results import write_results

    speed: dict[str, float] = {}
    tiles = None
    amounts = schedules.amounts_of(experiment, dataset)
    if experiment.pretraining.method != "none":
        tiles = readable_tiles(experiment, dataset, session)
        amounts["pretraining"] = schedules.crops_of(tiles, experiment.pretraining.crop)
    experiment = schedules.resolve(experiment, amounts, session.folder, resume=session.resume)
    model = initial_model(experiment, dataset)
    twin = copy.deepcopy(model)
    pretrained, store = None, None
    if tiles is not None:
        store, speed = teach(experiment, tiles, session)
        pretrained = pretrain_encoder(experiment, tiles, store, model, session)
        take_over(model, pretrained)
    plans = {"student": model}
    if experiment.twin and pretrained is not None:
        plans["twin"] = twin
    trained = {
        name: (network, [tune(experiment, dataset, network, name, session)])
        for name, network in plans.items()
    }
    if session.accelerator.is_main_process:
        probes = probe_encoders(experiment, dataset, pretrained, session)
        write_results(
            experiment, dataset, tiles, session, store, pretrained, trained, probes, speed
        )
    session.accelerator.wait_for_everyone()
    return run_folder.open_run(session.folder)


def initial_model(experiment: config.Experiment, dataset: Dataset) -> TaskModel:
    """The network of the task with the weights that student and twin both begin with."""
    settings, task = experiment.student, experiment.fine_tuning
    assert settings.encoder_weights != "choose"  # the experiment file demands a choice
    classes = task_data.classes_of(dataset, task.task)
    torch.manual_seed(experiment.seed)
    if task.task == "segmentation":
        return students.build(
            settings.architecture,
            in_channels=len(settings.sees),
            outputs=classes,
            encoder_weights=settings.encoder_weights,
            standardisation=build.standardisation_of(settings),
        )
    classifier = students.build_classifier(
        encoder_name_of(settings.architecture),
        in_channels=len(settings.sees),
        classes=classes,
        encoder_weights=settings.encoder_weights,
        standardisation=build.standardisation_of(settings),
    )
    return LinearProbe(classifier) if task.trains == "linear" else classifier


def readable_tiles(experiment: config.Experiment, dataset: Dataset, session: Session) -> Dataset:
    """The tiles to pretrain on; those of a set of their own are looked at as those of data are."""
    tiles = task_data.tiles_of(experiment, dataset)
    if experiment.pretrain_data.kind == "given":
        return tiles  # they are images of the data set
    return readable(tiles, session.lost, progress=session.progress)


def teach(
    experiment: config.Experiment, tiles: Dataset, session: Session
) -> tuple[TargetStore | None, dict[str, float]]:
    """The teacher's answers for the tiles, which bring no label with them."""
    if "rckd" not in experiment.pretraining.method:
        return None, {}
    _, store, speed = teach_run(
        experiment,
        tiles,
        session.folder,
        session.accelerator,
        session.lost,
        trust_code=session.trust_code,
        progress=session.progress,
    )
    return store, speed


def pretrain_encoder(
    experiment: config.Experiment,
    tiles: Dataset,
    store: TargetStore | None,
    model: TaskModel,
    session: Session,
    name: str = "student",
) -> Pretrained:
    """Train the encoder that ``model`` begins with on the tiles, and write encoder.safetensors.

    ``name`` is what the log and the progress bar call it.

    Raises:
        InputError: the store has nothing for the tiles, or what it has does not go with the
            response that was asked for.
    """
    settings = experiment.pretraining
    sees, method = experiment.student.sees, settings.method
    assert method != "none"  # the caller asks for pretraining
    assert settings.steps is not None  # it has resolved the schedule, too
    assert settings.learning_rate != "auto"
    reading = track(tiles, "reading", disable=not session.progress)
    scaling = scaling_of(experiment.student)
    images = prepare(reading, sees, scaling=scaling, targets=store)
    outputs, hv = ("foreground",), 0.0
    if store is not None:
        images = [image for image in images if image.has_target]
        outputs, hv = _response_of(settings, images, store)
    torch.manual_seed(experiment.seed)
    unet = students.build(
        experiment.student.architecture,
        in_channels=len(sees),
        outputs=(*outputs, *(HV_MAPS if hv else ())),
        encoder_weights="random",
    )
    students.copy_encoder(unet, _base(model))
    network = ResponseNetwork(unet)
    stage = pretrain(
        network,
        _pretraining_batches(experiment, images, session.accelerator),
        replace(
            build.build_schedule(experiment.training),
            steps=settings.steps,
            learning_rate=settings.learning_rate,
            weight_decay=settings.weight_decay,
            patience=None,
        ),
        method=method,
        response=settings.response,
        temperature=settings.temperature,
        target_outputs=outputs,
        hv=hv,
        contrastive=settings.contrastive,
        contrastive_temperature=settings.contrastive_temperature,
    )
    fitted = _fit(experiment, stage, name, session)
    network.to("cpu").eval()
    path = session.folder / "encoder.safetensors"
    if session.accelerator.is_main_process:
        students.save_encoder(path, unet, encoder_facts(experiment, tiles, store, len(images)))
    session.accelerator.wait_for_everyone()
    return Pretrained(path, unet, fitted, responds=store is not None)


def take_over(model: TaskModel, pretrained: Pretrained) -> None:
    """Give the network of the task the pretrained encoder, and for segmentation the decoder."""
    students.load_encoder(_base(model), pretrained.encoder)
    if isinstance(model, UNet) and pretrained.responds:
        model.decoder.load_state_dict(pretrained.unet.decoder.state_dict())


def tune(
    experiment: config.Experiment,
    dataset: Dataset,
    model: TaskModel,
    name: str,
    session: Session,
) -> Fitted:
    """Fine-tune a network for the task, and write its file."""
    settings, task = experiment.fine_tuning, experiment.fine_tuning.task
    sees, classes = experiment.student.sees, task_data.classes_of(dataset, task)
    scaling = scaling_of(experiment.student)
    images, held_out = (
        task_images(dataset, dataset.split(part).records, sees, task, scaling)
        for part in ("train", "val")
    )
    validate = task_validator(task, held_out, sees, len(classes)) if held_out else None
    if isinstance(model, LinearProbe):
        seen = features_of(model.classifier, images, sees, session.accelerator.device)
        model.to("cpu").scale_features(torch.from_numpy(seen.table))
    if task == "classification":
        weights = class_weights(images, len(classes))
        balanced = settings.class_weights == "balanced"
        term = classification_term(weights if balanced else None, settings.label_smoothing)
    else:
        term = region_term()
    stage = fine_tune(
        model,
        _task_batches(experiment, images, session.accelerator),
        build.build_schedule(experiment.training),
        term=term,
        encoder_rate=settings.encoder_rate,
        head_rate=settings.head_rate,
        validate=validate,
        watch=WATCHED[task],
    )
    fitted = _fit(experiment, stage, name, session)
    model.to("cpu").eval()
    if session.accelerator.is_main_process:
        path = session.folder / f"{name}.safetensors"
        if isinstance(model, UNet):
            students.save(path, model, task_facts(experiment, dataset))
        else:
            students.save_classifier(path, model, task_facts(experiment, dataset))
    return fitted


def task_images(
    dataset: Dataset, records: Sequence[Record], sees: Sequence[str], task: str, scaling: Scaling
) -> list[Prepared]:
    """The labelled ones of the records, decoded, with their class or that of each pixel."""
    images = prepare(task_data.labelled(records, task), sees, scaling=scaling)
    if task == "classification":
        numbers = class_numbers(dataset)
        return [replace(image, category=numbers[image.id]) for image in images]
    if task_data.classes_of(dataset, task)[-1] != task_data.FOREGROUND:
        return images
    one = []
    for image in images:
        assert image.label is not None  # only labelled ones were prepared
        one.append(replace(image, label=np.minimum(image.label, 1)))
    return one


def class_weights(images: Sequence[Prepared], classes: int) -> list[float]:
    """N / (K Nₖ): each class counts as much as any other; a class without images counts 1."""
    counts = np.bincount([image.category for image in images], minlength=classes)
    return [len(images) / (classes * count) if count else 1.0 for count in counts.tolist()]


def encoder_facts(
    experiment: config.Experiment, tiles: Dataset, store: TargetStore | None, count: int
) -> dict[str, Any]:
    """What must be known to use the encoder."""
    provenance = None if store is None else store.provenance
    return {
        "channels": list(experiment.student.sees),
        "normalisation": scaling_of(experiment.student).words,
        "pretraining": experiment.pretraining.method,
        "tiles": count,
        "trained_on": tiles.name,
        "simulated": tiles.simulated,
        "data_licence": tiles.licence,
        "encoder_weights": str(experiment.student.encoder_weights),
        "teacher": None if provenance is None else provenance.teacher,
        "teacher_weights_licence": None if provenance is None else provenance.weights_licence,
        "teacher_stand_in": provenance is not None and provenance.stand_in,
        "seed": experiment.seed,
    }


def task_facts(experiment: config.Experiment, dataset: Dataset) -> dict[str, Any]:
    """What must be known to use the network of the task."""
    return {
        "channels": list(experiment.student.sees),
        "normalisation": scaling_of(experiment.student).words,
        "pixel_size": student_pixel_size(dataset),
        "recipe": experiment.recipe,
        "task": experiment.fine_tuning.task,
        "classes": list(task_data.classes_of(dataset, experiment.fine_tuning.task)),
        "trained_on": dataset.name,
        "simulated": dataset.simulated,
        "weights_licence": f"trained by its user; see the licence of {dataset.name}",
        "data_licence": dataset.licence,
        "encoder_weights": str(experiment.student.encoder_weights),
    }


def _response_of(
    settings: config.Pretraining, images: Sequence[Prepared], store: TargetStore
) -> tuple[tuple[str, ...], float]:
    """Names of the maps to learn, and the weight of the horizontal and vertical ones."""
    if not images:
        raise InputError(
            f"{store.path}: holds no usable target for any tile, so there is nothing to learn. "
            "Compare its ids with those of 'abbe data check'"
        )
    instances = images[0].instances is not None
    outputs = INSTANCE_MAPS if instances else store.provenance.outputs
    overlap = instances or set(outputs) >= set(INSTANCE_MAPS)  # a boundary is foreground, too
    if settings.response == "kl" and (overlap or len(outputs) < 2):
        raise ConfigError(
            "pretraining.response: 'kl' needs a teacher of two or more classes that exclude each "
            f"other; this one gives {', '.join(outputs)}. Take soft_bce"
        )
    return tuple(outputs), settings.hv if instances else 0.0


def _base(model: TaskModel) -> UNet | students.Classifier:
    return model.classifier if isinstance(model, LinearProbe) else model


def _pretraining_batches(
    experiment: config.Experiment, images: Sequence[Prepared], accelerator: Accelerator
) -> Batches:
    settings, augmentation = experiment.pretraining, experiment.training.augmentation
    return Batches(
        images,
        sees=experiment.student.sees,
        batch_size=settings.batch_size,
        crop=settings.crop,
        seed=experiment.seed,
        scale=augmentation.scale,
        flips=augmentation.flips,
        gamma=augmentation.gamma,
        brightness=augmentation.brightness,
        noise=augmentation.noise,
        blur=augmentation.blur,
        stain=settings.stain,
        colour=settings.colour,
        second_view="contrastive" in settings.method,
        rank=accelerator.process_index,
        processes=accelerator.num_processes,
    )


def _task_batches(
    experiment: config.Experiment, images: Sequence[Prepared], accelerator: Accelerator
) -> Batches:
    settings, training = experiment.fine_tuning, experiment.training
    augmentation = training.augmentation
    return Batches(
        images,
        sees=experiment.student.sees,
        batch_size=training.batch_size,
        crop=training.crop,
        seed=experiment.seed,
        labelled_share=1.0,
        scale=augmentation.scale,
        flips=augmentation.flips,
        gamma=augmentation.gamma,
        brightness=augmentation.brightness,
        noise=augmentation.noise,
        blur=augmentation.blur,
        stain=settings.stain,
        colour=settings.colour,
        rank=accelerator.process_index,
        processes=accelerator.num_processes,
    )


def _fit(experiment: config.Experiment, stage: Stage, name: str, session: Session) -> Fitted:
    return fit(
        stage,
        session.accelerator,
        Log(session.folder / "log.jsonl", session.accelerator, name),
        session.folder / "checkpoints" / f"{name}-{stage.name}.pt",
        seed=experiment.seed,
        workers=build.workers(experiment.training.workers),
        resume=session.resume,
        progress=session.progress,
    )
