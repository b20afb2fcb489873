"""From a network of the SAM family and few labels to a teacher of this task."""

import copy
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from abbe.datasets import Dataset, Record
from abbe.datasets.fingerprints import channel_digests, trained_on, write_digests
from abbe.datasets.pictures import Pictured, picture_records
from abbe.datasets.training.prompted import PromptedBatches, PromptKind
from abbe.errors import ConfigError, InputError
from abbe.files import parse_json, write_json
from abbe.files.locks import alone
from abbe.recipes.masks import prompt_validator, promptable
from abbe.sam import SAM, Facts, load_sam, save_sam
from abbe.summary import TRAINED_ON
from abbe.training.fit import fit
from abbe.training.log import Log, open_accelerator
from abbe.training.stage import Metrics, Schedule
from abbe.tuning.lora import adapted, add_adapters, merge_adapters, require_peft

FILE = "teacher.safetensors"
"""The tuned network, in the folder."""
ASKED = "tuning.json"
"""What was asked for, and what it came to."""
STEPS = 200
"""Steps at least, where none are given: few images are seen often."""


@dataclass(frozen=True)
class Tuning:
    """How a teacher is tuned.

    Attributes:
        rank: of the adapters; higher learns more of little data by heart.
        alpha: adapters are multiplied by it over the rank; None: twice the rank.
        steps: optimiser steps; None: 20 passes over the labelled images, at least `STEPS`.
        batch_size: pictures in a step.
        learning_rate: the highest, of adapters and mask decoder.
        side: of the square that the network sees, px, a multiple of 64; None: its own. A smaller
            one is faster and loses detail, and the teacher keeps it.
        prompts: what is asked with: boxes, points, or both by turns.
        objects: of each picture, how many are asked for.
        validate_every: steps between validations.
        seed: of adapters and batches.
        precision: number format.
    """

    rank: int = 8
    alpha: int | None = None
    steps: int | None = None
    batch_size: int = 2
    learning_rate: float = 2e-4
    side: int | None = None
    prompts: PromptKind = "mixed"
    objects: int = 4
    validate_every: int = 50
    seed: int = 0
    precision: Any = "auto"

    def __post_init__(self) -> None:
        for name in ("rank", "alpha", "steps", "batch_size", "objects", "validate_every"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ConfigError(f"{name}: must be 1 or more (it is {value})")
        if self.side is not None and (self.side < 64 or self.side % 64):
            raise ConfigError(f"side: must be a multiple of 64 px (it is {self.side})")
        if not self.learning_rate > 0:
            raise ConfigError(f"learning_rate: must be above 0 (it is {self.learning_rate})")


@dataclass(frozen=True)
class Tuned:
    """A tuned teacher, which stands for its file wherever a path is wanted.

    Attributes:
        path: of the network, as ``teacher.path`` takes it.
        before, after: mean Dice over the test images' objects by one box (``dice``) and by one
            point (``dice_point``); empty without labelled test images.
        labels: labelled images that taught it.
    """

    path: Path
    before: Mapping[str, float]
    after: Mapping[str, float]
    labels: int

    def __fspath__(self) -> str:
        return os.fspath(self.path)

    def summary(self) -> str:
        """For people: the scores before and after, and where it is."""
        names = {"dice": "by box", "dice_point": "by one point"}
        lines = [
            f"Dice on test images, {told}: {self.before[name]:.3f} before, {self.after[name]:.3f} "
            "after"
            for name, told in names.items()
            if name in self.before
        ]
        lines += [
            f"WARNING: worse than before {told}: more labels, fewer steps or a lower rank may help"
            for name, told in names.items()
            if self.after.get(name, 1) < self.before.get(name, 0)
        ]
        if not self.before:
            lines = ["no test image has a labelled object: whether it is better is not known"]
        return "\n".join([*lines, f"teacher: {self.path} (--teacher.kind sam --teacher.path …)"])


def tune(
    source: str | os.PathLike[str],
    dataset: Dataset,
    out: Path,
    tuning: Tuning,
    *,
    channels: Sequence[str] | None = None,
    resume: bool = False,
    progress: bool = True,
) -> Tuned:
    """Fit adapters in a network's image encoder, and its mask decoder, to labelled objects.

    It is asked for objects of labelled training images by boxes and points, as SAM was trained
    (Dice, cross-entropy and the error of the expected IoU). The weights are kept that score best on
    labelled validation images, by the mean Dice of boxes and points; without such images, the last.

    Args:
        source: as `abbe.sam.load_sam` takes it.
        dataset: with splits.
        out: a folder; made, or gone on with.
        tuning: how.
        channels: of the images, that the network is shown; all where None.
        resume: go on with what was begun in the folder.
        progress: show bars.

    Raises:
        ConfigError: the folder holds another tuning, or one and ``resume`` is not set.
        InputError: weights or images are missing or damaged, no training image has an object, or
            the network was trained on test images.
        MissingExtraError: peft is not installed.
    """
    require_peft()
    _require_new(out, resume=resume)
    network, facts = load_sam(source, side=tuning.side)
    adapted(network)
    known_before = trained_on(Path(source)) or frozenset()
    _require_unseen(source, known_before, dataset)
    seen = tuple(channels or dataset.channels)
    images = {split: _pictures(dataset, split, seen, network.side) for split in _SPLITS}
    if not images["train"]:
        raise InputError(
            f"data set '{dataset.name}' has no training image with a labelled object: check it "
            "with 'abbe data check'"
        )
    asked = {"source_sha256": facts.sha256, "channels": list(seen), **_plain(tuning),
             "images": [image.id for image in images["train"]]}  # fmt: skip
    with _folder(out, asked) as known:
        labels = len(images["train"])
        if "after" in known and (out / FILE).is_file():
            return Tuned(out / FILE, known["before"], known["after"], labels)
        _write_trained_on(out, dataset, known_before)
        before = _score(network, images["test"], "test images, before" if progress else "")
        _train(network, images, out, tuning, resume=resume, progress=progress)
        after = _score(network, images["test"], "test images, after" if progress else "")
        _save(out / FILE, network, facts, dataset, labels)
        write_json(out / ASKED, {**asked, "before": before, "after": after})
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    return Tuned(out / FILE, before, after, labels)


_SPLITS = ("train", "val", "test")


def _pictures(dataset: Dataset, split: Any, channels: Sequence[str], side: int) -> list[Pictured]:
    records = dataset.split(split).labelled.records
    longest = 2 * side if split == "train" else side  # parts of training images are enlarged
    found = picture_records(records, channels, longest=longest)
    return [image for image in found if image.has_objects]


def _score(network: SAM, images: Sequence[Pictured], shown: str) -> Metrics:
    if not images:
        return {}
    found = prompt_validator(images, shown=shown)(network)
    return {name: round(value, 4) for name, value in found.items()}


def _train(
    network: SAM,
    images: Mapping[str, Sequence[Pictured]],
    out: Path,
    tuning: Tuning,
    *,
    resume: bool,
    progress: bool,
) -> None:
    torch.manual_seed(tuning.seed)
    alpha = 2 * tuning.rank if tuning.alpha is None else tuning.alpha
    parts = {**add_adapters(network, tuning.rank, alpha), "mask_decoder": 1.0}
    count = len(images["train"])
    steps = tuning.steps or max(STEPS, 20 * count // tuning.batch_size)
    batches = PromptedBatches(
        images["train"], side=network.side, batch_size=tuning.batch_size, seed=tuning.seed,
        objects=tuning.objects, mask_step=4, prompts=tuning.prompts,
        gamma=(0.8, 1.25), brightness=0.1,
    )  # fmt: skip
    schedule = Schedule(
        steps, tuning.learning_rate, ema=0.0, validate_every=min(tuning.validate_every, steps)
    )
    validate = prompt_validator(images["val"]) if images["val"] else None
    (stage,) = promptable(network, batches, schedule, validate=validate, name="lora")
    stage = replace(stage, parts=parts)
    with open_accelerator(out, precision=tuning.precision) as accelerator:
        fit(
            stage,
            accelerator,
            Log(out / "log.jsonl", accelerator, "teacher"),
            out / "checkpoints" / "teacher-lora.pt",
            seed=tuning.seed,
            resume=resume,
            progress=progress,
        )
    network.to("cpu").eval()
    merge_adapters(network)


def _save(path: Path, network: SAM, facts: Facts, dataset: Dataset, labels: int) -> None:
    counted = f"{labels} labelled image{'s' * (labels != 1)} of {dataset.name}"
    save_sam(
        path,
        network,
        name=f"{facts.name}, tuned on {dataset.name}",
        trained_on=f"{counted}, with adapters (LoRA), from {facts.name}",
        weights_licence=f"begun with {facts.name}: {facts.weights_licence}; tuned by its user",
        training_data_licence=f"{facts.training_data_licence}; {dataset.name}: {dataset.licence}",
        stand_in=facts.stand_in,
    )


def _require_unseen(
    source: str | os.PathLike[str], known: frozenset[str], dataset: Dataset
) -> None:
    """Refuse test images that the network has learned from: scores on them would flatter it."""
    tests = dataset.split("test") if known else ()
    seen = [record.id for record in tests if not known.isdisjoint(_digests(record, dataset))]
    if seen:
        raise InputError(
            f"--teacher {source}: was trained or validated on {len(seen)} of the {len(tests)} test "
            f"images of data set '{dataset.name}', such as '{seen[0]}': scores on them would "
            "flatter it. Draw other splits (data.split, data.split_seed)"
        )


def _write_trained_on(out: Path, dataset: Dataset, before: frozenset[str]) -> None:
    """Digests of training and validation images, and of what the network had seen before: whoever
    is taught by it is kept from testing on them.
    """
    if (out / TRAINED_ON).exists():
        return
    used = [record for record in dataset if record.split in ("train", "val")]
    used = [_digests(record, dataset) for record in used if record.label is not None]
    write_digests(out / TRAINED_ON, [*used, *((each,) for each in before)])


def _digests(record: Record, dataset: Dataset) -> tuple[str, ...]:
    return channel_digests(record.image.open(), dataset.channels)


def _require_new(out: Path, *, resume: bool) -> None:
    if (out / ASKED).exists() and not resume:
        raise ConfigError(f"{out}: holds a tuning. Go on with --resume, or give another --out")


@contextmanager
def _folder(out: Path, asked: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The folder, for this process alone, with what was asked for; what `ASKED` says there."""
    known, before = out / ASKED, dict(asked)
    if known.exists():
        before = parse_json(known.read_text(encoding="utf-8"))
        other = [key for key, value in asked.items() if before.get(key) != value]
        if other:
            raise ConfigError(
                f"{out}: was begun with other values of {', '.join(other)}. Give these, or another "
                "--out"
            )
    out.mkdir(parents=True, exist_ok=True)
    try:
        with alone(out / ".lock"):
            if not known.exists():
                write_json(known, dict(asked))
            yield before
    except BlockingIOError as error:
        raise ConfigError(f"{out}: {error} is at work there. Wait until it has ended") from error


def _plain(tuning: Tuning) -> dict[str, Any]:
    return {name: copy.copy(value) for name, value in vars(tuning).items()}
