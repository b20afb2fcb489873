"""What the chosen student costs on this machine: measured on real crops, not guessed."""

import json
import statistics
import tempfile
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from abbe import config, students
from abbe.condensing.look import free_memory
from abbe.datasets import Dataset, first_spread
from abbe.datasets.training.prepare import Prepared, prepare
from abbe.errors import AbbeError, InputError
from abbe.machine.pace import use_threads
from abbe.recipes import unets
from abbe.recipes.supervised import supervised
from abbe.runs import build
from abbe.runs.normalising import decided, scaling_of
from abbe.training.fit import fit
from abbe.training.log import Log, number_format
from abbe.training.stage import Schedule, Stage

TILE = 256
"""Side of the tile that students are timed on, px."""
IMAGES = 8
"""Labelled images that crops are cut from."""
STEPS = 4
"""That are timed, after as many that are not: first ones are slow."""
MEMORY_SHARE = 0.5
"""Of the free memory, what a step on a processor may need: the rest is for images and others."""


@dataclass(frozen=True)
class Trial:
    """What a training step takes.

    Attributes:
        batch: crops in it; ``wanted`` of them were tried first.
        wanted: as asked for.
        seconds: of a step.
        device: that it was measured on.
        bytes: that a step needs by its activations; None on GPUs, where it was tried.
        pixel_seconds: of the student for a pixel that it answers for: a third of what it learns in.
        processor_seconds: likewise on the processor, which scores and exports beside any GPU.
    """

    batch: int
    wanted: int
    seconds: float
    device: str
    bytes: int | None
    pixel_seconds: float = 0.0
    processor_seconds: float = 0.0


def measure(experiment: config.Experiment, dataset: Dataset, *, fixed: bool) -> Trial:
    """Train the student for a few steps on real crops; halve the batch until a step fits.

    Args:
        experiment: with a batch to try first, and a learning rate or auto.
        dataset: with splits, and labels on some images.
        fixed: take the batch as it is.

    Raises:
        InputError: no image has a label, or not even one crop fits into memory.
    """
    experiment = decided(experiment, dataset)
    images = _some(experiment, dataset)
    wanted = batch = experiment.training.batch_size
    needed = _bytes_of_a_crop(experiment, images)
    if not torch.cuda.is_available():
        while batch > 1 and not fixed and batch * needed > MEMORY_SHARE * free_memory():
            batch //= 2
    while True:
        try:
            seconds, device = _timed(experiment, images, batch)
        except (RuntimeError, MemoryError) as error:
            if not _of_memory(error):
                raise
            if batch == 1 or fixed:
                raise InputError(
                    f"a training step of {batch} crops of {experiment.training.crop} px does not "
                    f"fit into memory ({error}). Give a smaller --training.crop, or "
                    "--student.architecture unet-mobilenetv3"
                ) from error
            batch //= 2
            torch.cuda.empty_cache()
            continue
        pixels = batch * experiment.training.crop**2
        needs = None if device == "cuda" else batch * needed
        answering = seconds / 3 / pixels
        processor = answering if device == "cpu" else _processor_seconds(experiment)
        return Trial(batch, wanted, seconds, device, needs, answering, processor)


def _of_memory(error: Exception) -> bool:
    """Whether memory was short; torch has no class of its own for that of the processor."""
    known = isinstance(error, torch.OutOfMemoryError | MemoryError)
    return known or "can't allocate memory" in str(error)


def _some(experiment: config.Experiment, dataset: Dataset) -> list[Prepared]:
    """A few labelled images, of those to train on where they have labels."""
    labelled = dataset.split("train").labelled.records or dataset.labelled.records
    if not labelled:
        raise InputError(f"data set '{dataset.name}': no image has a label to try a step on")
    student = experiment.student
    return prepare(
        first_spread(labelled, IMAGES), student.input_channels, scaling=scaling_of(student)
    )


def _stage(
    experiment: config.Experiment, images: Sequence[Prepared], batch: int, steps: int
) -> Stage:
    """Steps of a supervised student: what distilling adds to one is small beside the network."""
    training = experiment.training.model_copy(update={"batch_size": batch})
    batches = build.build_batches(
        images, training, input_channels=experiment.student.input_channels, seed=experiment.seed
    )
    schedule = Schedule(steps, 1e-4, ema=training.ema, validate_every=STEPS)
    network = unets.build_unet(experiment)
    return supervised(network, batches, schedule, **unets.common(experiment, []))[0]


def _timed(
    experiment: config.Experiment, images: Sequence[Prepared], batch: int
) -> tuple[float, str]:
    """Seconds of a step, once it runs, and on what."""
    stage = _stage(experiment, images, batch, 2 * STEPS)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # Not one of a run's: trackers would make a run of their own of these steps.
        use_threads()
        accelerator = Accelerator(mixed_precision=number_format(experiment.training.precision))
        log = Log(folder / "log.jsonl", accelerator, "trial")
        workers = build.workers(experiment.training.workers)
        fit(stage, accelerator, log, folder / "trial.pt", workers=workers, progress=False)
        lines = map(json.loads, log.path.read_text("utf-8").splitlines())
        speeds = [line["images_per_s"] for line in lines if "images_per_s" in line]
    if len(speeds) != 2:
        raise AbbeError(f"the trial of a training step logged {len(speeds)} speeds and not 2")
    return batch / speeds[-1], accelerator.device.type


def _bytes_of_a_crop(experiment: config.Experiment, images: Sequence[Prepared]) -> int:
    """What backpropagation keeps of one crop, twice over: gradients are as large at most."""
    stage = _stage(experiment, images, 2, 1)
    kept: dict[int, int] = {}
    own = {parameter.data_ptr() for parameter in stage.trains.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.data_ptr() not in own:
            kept[tensor.data_ptr()] = tensor.nbytes
        return tensor

    pixels = stage.batches[0]["image"]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = stage.trains(pixels)
    del output
    return sum(kept.values())  # of two crops, so twice that of one


def milliseconds(architectures: Iterable[str], channels: int, depth: int = 5) -> dict[str, float]:
    """Median time of one tile of `TILE` px in eager torch on the processor, by architecture."""
    found = {}
    for architecture in architectures:
        network = students.build(
            architecture,
            in_channels=channels,
            outputs=("foreground", "boundary"),
            encoder_weights="random",
            depth=depth,
        ).eval()
        found[architecture] = _milliseconds(network, channels)
    return found


def _processor_seconds(experiment: config.Experiment) -> float:
    """Of the student for a pixel."""
    network = unets.build_unet(experiment).eval()
    return _milliseconds(network, len(experiment.student.input_channels)) / 1000 / TILE**2


def _milliseconds(network: nn.Module, channels: int) -> float:
    tile, times = torch.zeros(1, channels, TILE, TILE), []
    with torch.inference_mode():
        for repeat in range(7):
            started = time.perf_counter()
            network(tile)
            if repeat > 1:
                times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)
