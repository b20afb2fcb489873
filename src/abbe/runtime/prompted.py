"""Run a promptable package on many images, with prompts from a file."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError, InputError
from abbe.imaging import Image
from abbe.runtime.field import Labels
from abbe.runtime.grid import Grid, Tile
from abbe.runtime.job import SUFFIXES
from abbe.runtime.leftovers import Leftovers
from abbe.runtime.many import Job, Outcome, Report, stem_of
from abbe.runtime.prediction import Inline, Prediction, remarks_on
from abbe.runtime.prompt_files import ObjectPrompt, Prompts
from abbe.runtime.promptable import THRESHOLD, PromptablePredictor
from abbe.runtime.results import write_results
from abbe.runtime.seams import Numbering, pieces_of
from abbe.runtime.tiles import Advance, labels_name
from abbe.runtime.timing import Timings
from abbe.runtime.work import Work


def predict_prompted(
    ready: PromptablePredictor,
    images: Mapping[Path, Path],
    prompts: Prompts,
    out: Path,
    job: Job,
    report: Report | None = None,
) -> Outcome:
    """Ask for the objects of every image and write the results, one image after the other.

    An image that cannot be read, or whose prompts do not fit it, is noted in the outcome. Its id
    in the prompts is its name without ending, below the folder that was named.

    Args:
        ready: The package.
        images: The images, with where each lies below its folder (`abbe.runtime.many.find_images`).
        prompts: See `abbe.runtime.prompt_files.read_prompts`.
        out: Folder for the results.
        job: What to write.
        report: Told of progress.

    Raises:
        ConfigError: Probability maps were asked for, which such a package does not give.
        PackageError: A network fails.
        OSError: The disk is full or cannot be written to.
    """
    if "probability" in job.results:
        raise ConfigError("--results probability: a promptable package gives masks, no such maps")
    out.mkdir(parents=True, exist_ok=True)
    started = time.perf_counter()
    outcome = Outcome()
    leftovers = Leftovers(out / stem_of(below) for below in images.values())
    for path, below in images.items():
        stem = stem_of(below)
        leftovers.remove(out / stem, SUFFIXES.values())
        try:
            image = job.reading.open(path)
            outcome.notes.update(remarks_on(image, ready.package.description))
            objects = _one(ready, image, prompts(stem.as_posix(), image.shape), out / stem, job,
                           outcome.timings)  # fmt: skip
        except InputError as error:
            outcome.failed[str(path)] = str(error)
        except MemoryError:
            outcome.failed[str(path)] = f"{path}: there is too little memory for it"
        else:
            outcome.done[str(path)] = objects
            outcome.megapixels += image.shape[0] * image.shape[1] / 1e6
        if report is not None:
            report(path.name, 1.0)
    outcome.seconds = time.perf_counter() - started
    return outcome


def prompted_labels(
    ready: PromptablePredictor,
    image: Image,
    prompts: Sequence[ObjectPrompt],
    advance: Advance = lambda share: None,
) -> NDArray[np.int32]:
    """The objects of an image that prompts ask for.

    Where two overlap, a pixel belongs to the one with the higher logit.

    Args:
        ready: The package.
        image: The image.
        prompts: An object each.
        advance: Told the share of the work that is newly done: half of it is the embedding.

    Returns:
        (H, W): 0 = background, else the place of the prompt in the list, from 1. An object that
        the network finds nowhere, or below others everywhere, has no pixel.

    Raises:
        InputError: The image lacks a channel or is too large, or a prompt does not fit it.
        PackageError: A network fails.
    """
    labels = np.zeros(image.shape, np.int32)
    if not prompts:
        return labels
    ready.set_channels(image)
    advance(0.5)
    best = np.full(image.shape, THRESHOLD, np.float32)
    for number, prompt in enumerate(prompts, start=1):
        try:
            prompt.require_object()
            logits = ready.predict(
                prompt.points or None,
                prompt.labels or None,
                prompt.box,
                multimask_output=False,
                return_logits=True,
            )[0][0]
        except InputError as error:
            raise InputError(f"{image.source}: {prompt.name}: {error}") from error
        higher = logits > best
        labels[higher] = number
        best[higher] = logits[higher]
        advance(0.5 / len(prompts))
    ready.reset_image()
    return labels


def _one(
    ready: PromptablePredictor,
    image: Image,
    prompts: list[ObjectPrompt],
    stem: Path,
    job: Job,
    timings: Timings,
) -> int:
    """One image, from its pixels to its files; the number of its objects with pixels."""
    description = ready.package.description
    with timings.measure("network"):
        labels = prompted_labels(ready, image, prompts)
    channels = ready.channels_of(image)
    with timings.measure("read"):
        limits = description.normalisation.scaling.image_limits(image, channels)
    prediction = Prediction(
        image, as_field(labels, len(prompts)), None, channels, limits,
        _one_tile(image.shape), timings,
    )  # fmt: skip
    classes = description.classes
    write_results(
        prediction,
        stem,
        job.results,
        Inline(),
        1,
        classification=classes[0] if len(classes) == 1 else None,
        zarr_version=job.zarr_version,
    )
    return len(np.unique(labels[labels > 0]))


def _one_tile(shape: tuple[int, int]) -> Grid:
    return Grid.of(shape, 1.0, 1, max(*shape, 3), 1)


def as_field(labels: NDArray[np.int32], count: int) -> Labels:
    """Labels (H, W) from 1 to ``count`` that are known whole, as results are read: one tile."""
    grid = _one_tile((labels.shape[0], labels.shape[1]))
    core = grid.core(Tile(0, 0))
    pieces = pieces_of(labels, core, core)
    first = np.zeros((count + 1, 2), np.int64)
    known = len(pieces.area)
    first[:known] = np.stack([pieces.first_row, pieces.first_column], axis=1)
    tiles_of = np.ones(count + 1, np.int64)
    numbering = Numbering(
        count, [np.arange(count + 1, dtype=np.int32)], tiles_of, np.zeros_like(tiles_of), first
    )
    work = Work(None)
    work.put(labels_name(Tile(0, 0)), labels, compress=True)
    return Labels(grid, numbering, work)
