"""Run a promptable package: it sees each image whole and is asked for every object by a prompt."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError, InputError
from abbe.imaging import Image, Region
from abbe.runtime.job import SUFFIXES, Advance, Block, Blocks, Job, Result, Tools, Written
from abbe.runtime.package import Package
from abbe.runtime.package.promptable_networks import PromptableNetworks
from abbe.runtime.predictors.opening import RunOptions
from abbe.runtime.predictors.prompt_files import ObjectPrompt
from abbe.runtime.predictors.promptable import THRESHOLD, PromptablePredictor
from abbe.runtime.tiling.field import Labels
from abbe.runtime.tiling.grid import Grid
from abbe.runtime.tiling.seams import crop, pieces_of, same_numbers
from abbe.runtime.tiling.tiles import labels_name
from abbe.runtime.tiling.work import Work
from abbe.runtime.tiling.workers import PART, prompted_workers
from abbe.runtime.writing.results import Prediction, write_results


@dataclass(frozen=True)
class PromptedPredictor:
    """A promptable package that is ready to run on images with prompts.

    Attributes:
        predictor: What a copy of is asked for each image.
        workers: How many images are in hand at a time.
    """

    predictor: PromptablePredictor
    workers: int

    @property
    def package(self) -> Package:
        """What is run."""
        return self.predictor.package

    @property
    def engine(self) -> PromptableNetworks:
        """Its networks."""
        return self.predictor.networks

    @property
    def tile(self) -> int:
        """Side of the parts of an image in which its masks are kept and written, px."""
        return PART

    @property
    def results(self) -> tuple[Result, ...]:
        """What it can write, all but probability maps; the usual one first."""
        return tuple(result for result in SUFFIXES if result != "probability")

    @property
    def counts(self) -> str:
        """What it counts."""
        return "objects"

    def __str__(self) -> str:
        return str(self.engine)

    def channels_of(self, image: Image) -> tuple[str, ...]:
        """The channels that are shown: the package's, or the only one of a grey image."""
        return self.predictor.channels_of(image)

    def blocks(self, image: Image, job: Job) -> Blocks:
        """None: an image is embedded whole."""
        return {}

    def compute(self, image: Image, job: Job, tools: Tools, block: Block) -> None:
        """Nothing is ever asked for: there are no blocks."""
        raise NotImplementedError(f"{self} has no blocks")

    def tiles(self, image: Image) -> int:
        """In how many parts an image's masks are kept and written."""
        self.channels_of(image)
        return len(_parts_of(image.shape).tiles)

    def write(self, image: Image, stem: Path, job: Job, tools: Tools) -> Written:
        """One image, from its pixels to its files; how many objects have pixels."""
        labels = self._labels(image, tools)
        channels, description = self.channels_of(image), self.package.description
        with tools.timings.measure("read"):
            limits = description.normalisation.scaling.image_limits(image, channels)
        prediction = Prediction(image, labels, None, channels, limits, labels.grid, tools.timings)
        workers = 2 * self.workers
        notes = write_results(prediction, stem, job, tools.pool, workers, description)
        return Written(int(np.count_nonzero(labels.numbering.tiles_of[1:])), notes=notes)

    def files(self, image: Image, results: tuple[Result, ...]) -> tuple[str, ...]:
        """Suffixes of the files that ``write`` leaves."""
        return tuple(SUFFIXES[result] for result in results)

    def predict(self, image: Image, tools: Tools) -> np.ndarray:
        """The objects of an image, (H, W) int32, numbered as their prompts."""
        return self._labels(image, tools).read()

    def conclude(self, out: Path, answers: Mapping[str, Any]) -> None:
        """Each image's files tell all there is."""

    def _labels(self, image: Image, tools: Tools) -> Labels:
        grid, work, count = _parts_of(image.shape), tools.work, len(tools.prompts)
        if all(work.has(labels_name(part), compressed=True) for part in grid.tiles):
            tools.advance(1.0)  # a run that was interrupted while it wrote has asked for all
        else:
            with tools.timings.measure("network"):
                labels = prompted_labels(copy(self.predictor), image, tools.prompts, tools.advance)
            _keep(labels, grid, work)
        return _kept(grid, work, count)


def prompted_predictor(
    package: Package | str | os.PathLike[str], **options: Unpack[RunOptions]
) -> PromptedPredictor:
    """Make a promptable package ready to run on images with prompts.

    Args:
        package: The package or its folder.
        options: engine, precision, threads, workers, device: see `RunOptions`. There is no tile.

    Raises:
        ConfigError: The package is for another task; the engine does not compute so; a tile.
        PackageError: It is damaged.
    """
    if options.get("tile") is not None:
        raise ConfigError("--tile: a promptable package sees each image whole; leave it out")
    workers = options.get("workers") or prompted_workers([])
    predictor = PromptablePredictor(
        package,
        engine=options.get("engine"),
        precision=options.get("precision"),
        threads=options.get("threads"),
        streams=workers,
        device=options.get("device"),
    )
    return PromptedPredictor(predictor, workers)


def prompted_labels(
    predictor: PromptablePredictor,
    image: Image,
    prompts: Sequence[ObjectPrompt],
    advance: Advance = lambda share: None,
) -> NDArray[np.int32]:
    """The objects of an image that prompts ask for.

    Where two overlap, a pixel belongs to the one with the higher logit.

    Args:
        predictor: Of the package; it forgets the image that it holds.
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
        advance(1.0)
        return labels
    predictor.set_channels(image)
    advance(0.5)
    best = np.full(image.shape, THRESHOLD, np.float32)
    for number, prompt in enumerate(prompts, start=1):
        try:
            prompt.require_object()
            logits = predictor.predict(
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
    predictor.reset_image()
    return labels


def as_field(labels: NDArray[np.int32], count: int) -> Labels:
    """Labels (H, W) from 1 to ``count`` of a whole image, as measurements and files read them."""
    grid, work = _parts_of((labels.shape[0], labels.shape[1])), Work(None)
    _keep(labels, grid, work)
    return _kept(grid, work, count)


def _parts_of(shape: tuple[int, int]) -> Grid:
    """The image in parts without overlap: objects have their numbers before it is cut."""
    return Grid.of(shape, 1.0, 1, PART, halo=1, margin=0)


def _keep(labels: NDArray[np.int32], grid: Grid, work: Work) -> None:
    whole = Region(0, 0, *labels.shape)
    for part in grid.tiles:
        work.put(labels_name(part), crop(labels, whole, grid.field(part)), compress=True)


def _kept(grid: Grid, work: Work, count: int) -> Labels:
    pieces = [
        pieces_of(work.get(labels_name(part), compressed=True), grid.field(part), grid.core(part))
        for part in grid.tiles
    ]
    return Labels(grid, same_numbers(pieces, count), work)
