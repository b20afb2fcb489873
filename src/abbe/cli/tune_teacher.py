"""``abbe tune-teacher``: fit a teacher of SAM's family to a task with few labels."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from abbe import config
from abbe.cli.shared.arguments import Computing, parse, say
from abbe.cli.shared.experiment import SOME_DATA
from abbe.in_words import counted


@dataclass(frozen=True)
class TuneArguments(Computing):
    """Arguments of ``abbe tune-teacher``."""

    out: Path
    """The folder to make: teacher.safetensors, log and scores."""
    teacher: str
    """The network to begin with: a file of SAM, MedSAM, micro-sam or MobileSAM, a folder of
    transformers, or a Hugging Face id."""
    data: config.Data = SOME_DATA
    channels: tuple[str, ...] | None = None
    """Channels of the images that it is shown, one to three; all where left out."""
    rank: int = 8
    """Of the adapters."""
    alpha: int | None = None
    """Adapters are multiplied by it over the rank; twice the rank where left out."""
    steps: int | None = None
    """Optimiser steps; 20 passes over the labelled images, and at least 200, where left out."""
    batch_size: int = 2
    """Pictures in a step."""
    learning_rate: float = 2e-4
    """The highest, of adapters and mask decoder."""
    side: int | None = None
    """Side of the square that the network sees, px, a multiple of 64: 512 takes a quarter of the
    time of 1024 and loses detail. The tuned teacher keeps it. Its own where left out."""
    prompts: Literal["mixed", "box", "point"] = "mixed"
    """What it is asked with: boxes, points, or both by turns."""
    objects: int = 4
    """Of each picture, how many objects are asked for in a step."""
    validate_every: int = 50
    """Steps between validations, which choose the weights."""
    seed: int = 0
    """Of adapters and batches."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format."""
    resume: bool = False
    """Go on with a tuning that was interrupted."""


def run(words: list[str]) -> int:
    """``abbe tune-teacher``."""
    description = """Fit a teacher of SAM's family to a task with few labels, before it teaches.

Its image encoder gets low-rank adapters (LoRA) in all attention, and its mask decoder is trained
with them, on labelled training images asked for by boxes and points. What scores best on labelled
validation images is kept, and merged into the network: teacher.safetensors in --out has the layers
and names of the network it began with, and goes wherever that does. Dice on test images, by a box
and by one point, is told before and after. Needs pip install 'abbe[lora]'.

examples:
  abbe tune-teacher --teacher mobile_sam.pt --data.path ultrasound/ --data.labelled 20 --out tuned/
  abbe tune-teacher --teacher facebook/sam-vit-base --side 512 --data.path polyps/ --out tuned/
  abbe distill kdsam --teacher.path tuned/teacher.safetensors --data.path ultrasound/ …"""
    arguments = parse(TuneArguments, "tune-teacher", words, description)
    from abbe.runs import build
    from abbe.tuning.tune import Tuning, tune

    dataset = build.build_dataset(arguments.data)
    build.tell_problems(dataset)
    names = Tuning.__dataclass_fields__
    tuning = Tuning(**{name: getattr(arguments, name) for name in names})
    found = tune(
        arguments.teacher, dataset, arguments.out, tuning,
        channels=arguments.channels, resume=arguments.resume,
    )  # fmt: skip
    say(f"{counted(found.labels, 'labelled image')} taught it\n{found.summary()}")
    return 0
