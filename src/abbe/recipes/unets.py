"""What recipes share whose student is a U-Net that finds objects: images, crops, the network."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np
import torch
from torch import nn

from abbe import config, students
from abbe.datasets import Dataset
from abbe.datasets.training.batches import Batches
from abbe.datasets.training.prepare import MEMORY_LIMIT, Prepared, prepare
from abbe.foreign_text import shown
from abbe.progress import track
from abbe.runs import build
from abbe.runs.normalising import scaling_of
from abbe.runs.session import Session
from abbe.targets import TargetStore
from abbe.tasks import typed
from abbe.tasks.instances import validator
from abbe.tasks.previews import ObjectPreview


def read_training(
    experiment: config.Experiment,
    dataset: Dataset,
    session: Session,
    teacher_channels: Sequence[str] = (),
    targets: TargetStore | None = None,
) -> list[Prepared]:
    """The training images in memory, with the student's channels, a live teacher's, and targets."""
    channels = tuple(dict.fromkeys([*experiment.student.input_channels, *teacher_channels]))
    records = track(dataset.split("train"), "reading", shown=session.progress)
    types = experiment.student.types
    images = prepare(
        records, channels, scaling=scaling_of(experiment.student), targets=targets,
        types=types, classes=dataset.classes,
    )  # fmt: skip
    for line in typed.tell_few(images, types) if types else ():
        if session.shown:
            print(shown(f"note: {line}"), flush=True)
    return images


def read_held_out(
    experiment: config.Experiment, dataset: Dataset, targets: TargetStore | None = None
) -> list[Prepared]:
    """The labelled validation images that choose weights, in memory; with targets, if given."""
    student = experiment.student
    chosen = build.held_out(dataset.split("val").labelled.records, experiment)
    return prepare(chosen, student.input_channels, scaling=scaling_of(student), targets=targets)


def crops(
    experiment: config.Experiment,
    images: Sequence[Prepared],
    session: Session,
    teacher_channels: Sequence[str] | None = None,
    **others: Any,
) -> Batches:
    """Random crops of the training images; ``others`` go before what the experiment says."""
    return build.build_batches(
        images,
        experiment.training,
        input_channels=experiment.student.input_channels,
        teacher_channels=teacher_channels,
        seed=experiment.seed,
        rank=session.accelerator.process_index,
        processes=session.accelerator.num_processes,
        **others,
    )


def answered(
    network: nn.Module,
    images: Sequence[Prepared],
    experiment: config.Experiment,
    session: Session,
) -> list[Prepared]:
    """The images with what a network says of them in the place of a teacher's answers.

    As of a teacher's, no more than `MEMORY_LIMIT` bytes of its answers are kept in memory.
    """
    assert isinstance(network, students.UNet)
    network.to(session.accelerator.device)
    found, held = [], 0
    for image in track(images, "self-training: answering", shown=session.shown):
        seen = [image.channels.index(name) for name in experiment.student.input_channels]
        maps = np.rint(255 * students.predict(network, image.whole()[seen])).astype(np.uint8)
        if held + maps.nbytes > MEMORY_LIMIT:
            maps = _on_disk(maps, session.folder)
        else:
            held += maps.nbytes
        found.append(replace(image, probability=maps, instances=None))
    network.to("cpu")
    return found


def _on_disk(array: np.ndarray, folder: Path) -> np.memmap:
    """The array in a file of no name in a folder, which goes when nothing refers to it."""
    with TemporaryFile(dir=folder) as file:
        mapped = np.memmap(file, array.dtype, "w+", shape=array.shape)
    mapped[...] = array
    mapped.flush()
    return mapped


def build_unet(experiment: config.Experiment) -> students.UNet:
    """The student as training begins with it: the same at every call.

    Raises:
        ConfigError: its weights cannot be fetched.
        InputError: the file of weights is missing, damaged, or another network's.
    """
    student = experiment.student
    assert student.encoder_weights != "choose"  # the experiment file demands a choice
    torch.manual_seed(experiment.seed)
    return students.build(
        student.architecture,
        in_channels=len(student.input_channels),
        outputs=student.maps,
        encoder_weights=student.encoder_weights,
        standardisation=build.standardisation_of(student),
        depth=student.depth,
        decoder_widths=student.decoder_widths,
    )


def preview(
    experiment: config.Experiment,
    held_out: Sequence[Prepared],
    targets: TargetStore | None = None,
) -> ObjectPreview | None:
    """What draws the answers to validation images while a network trains; None without any."""
    student = experiment.student
    if not held_out:
        return None
    return ObjectPreview(
        held_out,
        student.input_channels,
        student.maps,
        teacher=targets,
        minimum_area=experiment.evaluation.minimum_area,
    )


def common(
    experiment: config.Experiment,
    held_out: Sequence[Prepared],
    shares: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Arguments of both recipes' stages; ``shares``: how much a term counts, 1 if not given."""
    outputs = experiment.student.maps
    return {
        "outputs": outputs,
        "boundary": experiment.loss.boundary,
        "weighting": build.build_weighting(experiment.loss, shares),
        "validate": validator(held_out, experiment.student.input_channels, outputs),
        "watch": experiment.training.watch,
    }
