"""What a schedule comes to: steps from passes over the data, a learning rate by architecture.

A pass shows as many pixels as the training images have, in crops: an image larger than a crop
counts several, one that is smaller counts one. `amounts_of` says what that means for each recipe.

Both are fixed before training starts, shown, and kept in the run's ``schedule.json``, where a
resumed run finds them again even if images were added since.
"""

import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from abbe import config
from abbe.datasets import Record
from abbe.errors import InputError
from abbe.files import parse_json, write_json
from abbe.reporting.facts import schedule_sentence
from abbe.summary import Asked, Stage

FILE = "schedule.json"


@dataclass(frozen=True)
class Rates:
    """Learning rates of a family of encoders.

    Attributes:
        maps: of U-Nets that learn labels, probabilities or a teacher's response.
        tuning: of a pretrained encoder; new layers learn at ``fine_tuning.head_rate`` times it.
        embeddings: of promptable students that learn a teacher's embedding.
    """

    maps: float
    tuning: float
    embeddings: float


CONVOLUTIONS = Rates(maps=1e-3, tuning=2e-4, embeddings=3e-4)
"""CNNs with batch norm, csat-like among them: most of it is convolutions."""
ATTENTION = Rates(maps=1e-4, tuning=1e-4, embeddings=1e-4)
"""Transformers, and ConvNeXt, which has their layer norm and is trained as they are."""

ATTENTION_NAMES = (
    "beit", "caformer", "cait", "coat", "convformer", "convnext", "crossvit", "davit", "deit",
    "edgenext", "efficientformer", "efficientvit", "eva", "fastvit", "flexivit", "focalnet",
    "gcvit", "hiera", "inception_next", "levit", "mambaout", "maxvit", "maxxvit", "mobilevit",
    "mvit", "nest", "nextvit", "pit", "poolformer", "pvt", "samvit", "sam2", "sequencer",
    "swiftformer", "swin", "tiny_vit", "twins", "vit", "volo", "xcit",
)  # fmt: skip
"""How timm's names of such networks begin. All others are held to be CNNs."""

OTHER_NAMES = {"swin-tiny": "swin", "mobilesam": "tiny_vit", "tiny-vit-5m": "tiny_vit"}
"""Our names of encoders that are not timm's: what timm's begin with."""


def rates_of(architecture: str) -> Rates:
    """The learning rates of a student, by the beginning of its encoder's name."""
    _, _, encoder = architecture.partition("-")
    name = OTHER_NAMES.get(encoder, encoder.removeprefix("timm-"))
    return ATTENTION if name.startswith(ATTENTION_NAMES) else CONVOLUTIONS


@dataclass(frozen=True)
class Amount:
    """How much there is to train on: images, and the samples that one pass over them takes."""

    images: int
    samples: int


def crops_of(records: Iterable[Record], side: int) -> Amount:
    """Images, and the crops with as many pixels as they have; at least one an image."""
    shapes = [record.image.open().shape for record in records]
    crops = [max(1, round(height * width / side**2)) for height, width in shapes]
    return Amount(len(shapes), sum(crops))


def resolve(
    experiment: config.Experiment,
    amounts: Mapping[str, Amount],
    folder: Path,
    rates: Mapping[str, str] | None = None,
    *,
    resume: bool = False,
    shown: bool = True,
) -> config.Experiment:
    """The experiment with numbers for its lengths and learning rates; they are shown and kept.

    Args:
        experiment: as it was given.
        amounts: by stage (training, pretraining, decoder), what it is trained on.
        folder: of the run; ``schedule.json`` there gets the stages, and keeps those of others.
        rates: by stage, which of `Rates` is meant by auto; maps where none is named.
        resume: take what an interrupted run of the same request came to.
        shown: print a line a stage.

    Raises:
        InputError: ``schedule.json`` is damaged.
    """
    kept = read_schedule(folder) if resume else {}
    found = {
        name: _stage(experiment, name, amount, (rates or {}).get(name, "maps"))
        for name, amount in amounts.items()
    }
    for name, stage in found.items():
        if name in kept and kept[name].asked == stage.asked:
            found[name] = kept[name]
    if os.environ.get("RANK", "0") == "0":
        stages = {name: stage.model_dump() for name, stage in (kept | found).items()}
        write_json(folder / FILE, stages)
        if shown:
            for name, stage in found.items():
                print(f"{name}: {schedule_sentence(stage)}", flush=True)
    return _with_numbers(experiment, found)


def read_schedule(folder: Path) -> dict[str, Stage]:
    """What the stages of a run came to; empty where nothing was resolved, as in earlier runs.

    Raises:
        InputError: the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return {}
    try:
        stages = parse_json(path.read_text(encoding="utf-8"))
        return {name: Stage.model_validate(stage) for name, stage in stages.items()}
    except (OSError, ValueError, AttributeError) as error:
        reason = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise InputError(
            f"{path}: damaged ({reason}). Delete it, and it is made again from the images"
        ) from error


def _stage(experiment: config.Experiment, name: str, amount: Amount, rates: str) -> Stage:
    """Steps and rate of a stage, from what was asked and what there is."""
    asked = _asked(experiment, name)
    steps, batch, rate = asked.steps, asked.batch_size or 1, asked.learning_rate
    if steps is None:
        assert asked.passes is not None  # the experiment file demands one of both
        needed = math.ceil(asked.passes * amount.samples / batch - 1e-9)
        steps = max(asked.minimum_steps or 1, needed)
    if rate == "auto" or rate is None:
        rate = getattr(rates_of(experiment.student.architecture), rates)
    return Stage(
        steps=steps,
        learning_rate=rate,
        batch_size=batch,
        images=amount.images,
        samples=amount.samples,
        passes=steps * batch / max(1, amount.samples),
        architecture=experiment.student.architecture,
        asked=asked,
    )


def _asked(experiment: config.Experiment, name: str) -> Asked:
    """What the experiment file says of a stage."""
    training, decoder = experiment.training, experiment.promptable
    if name == "decoder":
        return Asked(
            steps=decoder.decoder_steps,
            passes=decoder.decoder_passes,
            minimum_steps=training.minimum_steps,
            batch_size=training.batch_size,
            learning_rate=decoder.decoder_learning_rate,
        )
    stage = experiment.pretraining if name == "pretraining" else training
    return Asked(
        steps=stage.steps,
        passes=stage.passes,
        minimum_steps=stage.minimum_steps,
        batch_size=stage.batch_size,
        learning_rate=stage.learning_rate,
    )


def _with_numbers(experiment: config.Experiment, stages: Mapping[str, Stage]) -> config.Experiment:
    changed: dict[str, Any] = {}
    for name in ("training", "pretraining"):
        if name in stages:
            numbers = stages[name].model_dump(include={"steps", "learning_rate"})
            changed[name] = getattr(experiment, name).model_copy(update={**numbers, "passes": None})
    if "decoder" in stages:
        numbers = {"decoder_steps": stages["decoder"].steps, "decoder_passes": None}
        changed["promptable"] = experiment.promptable.model_copy(update=numbers)
    return experiment.model_copy(update=changed)
