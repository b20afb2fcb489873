"""How a run went: its schedules, how fast it was, and how models were timed."""

from typing import Literal

from abbe.summary.part import Number, Part


class Asked(Part):
    """What the experiment file said of a stage's length and rate."""

    steps: int | None = None
    """Optimiser steps; or else:"""
    passes: float | None = None
    """How often the data are shown."""
    minimum_steps: int | None = None
    """Steps at least, where passes are given."""
    batch_size: int | None = None
    """Over all processes."""
    learning_rate: float | Literal["auto"] | None = None
    """The highest; auto: by recipe and architecture."""


class Stage(Part):
    """What a stage's schedule came to."""

    steps: int
    """Optimiser steps."""
    learning_rate: float
    """The highest."""
    batch_size: int
    """Over all processes."""
    images: int
    """Training images."""
    samples: int
    """Crops with as many pixels as these have."""
    passes: float
    """How often they were shown."""
    architecture: str
    """Of the student."""
    asked: Asked
    """What the experiment file said."""


class Speed(Part):
    """How fast the run went."""

    teach_images_per_s: Number = None
    """Images a second while the teacher answered."""
    train_images_per_s: Number = None
    """Images a second in the student's last stage."""
    train_share_waiting_for_data: Number = None
    """Share of that time spent waiting for images."""
    train_share_validating: Number = None
    """Share of the whole time of that stage spent on validation."""
    pretrain_images_per_s: Number = None
    """Images a second while the encoder was pretrained."""
    pretrain_share_waiting_for_data: Number = None
    """Share of that time spent waiting for images."""


class Timing(Part):
    """What must be known of the models' times."""

    image_size: tuple[int, int] | None = None
    """Width and height of the image that was timed, px; None where each model has its own."""
    repeats: int
    """Runs of each model, in turn."""
    runs: dict[str, int] = {}
    """Of models that had fewer runs, how many."""
    threads: int | None = None
    """Processor threads."""
    cores: int | None = None
    """Cores that the process may use."""
    load: float | None = None
    """What else wanted to compute (the load average)."""
    busy: bool = False
    """Whether that was more than there are cores."""
    whole_answers: bool = False
    """Whether each time is from the pixels in memory to the answer."""
    precision: dict[str, str] = {}
    """Number formats by model, where they differ."""
    teacher_not_timed: str = ""
    """Why the teacher has no time, where it could not be compared."""
