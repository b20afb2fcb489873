"""What a label-efficiency curve came to."""

from typing import Literal

from abbe.summary.common import Summary
from abbe.summary.part import Part
from abbe.summary.scores import Gain, Score


class LevelScores(Part):
    """Scores, or differences, at one share of the labels."""

    labelled: int
    """Labelled training images."""
    metrics: dict[str, Score]
    """By key."""


class LevelGains(Part):
    """Differences at one share of the labels."""

    labelled: int
    """Labelled training images."""
    metrics: dict[str, Gain]
    """By key."""


class Differences(Part):
    """What is compared, minus the reference."""

    levels: list[LevelGains]
    """By share of the labels."""
    all: dict[str, Gain]
    """Mean over all shares, by metric."""


class Level(Part):
    """A share of the labels."""

    fraction: float
    """In (0, 1]."""
    labelled: int
    """Training images that keep their labels."""
    merged: list[float] = []
    """Smaller shares that keep the same images."""


class Pretraining(Part):
    """A pretraining that trainings of a curve begin with."""

    steps: int
    """Optimiser steps."""
    seconds: float
    """Of training."""
    images_per_second: float
    """While it trained."""
    tiles: int
    """Images that it learned from."""
    without_answer: int = 0
    """Of these, those that the teacher gave no answer for."""


class CurveBlock(Part):
    """Scores by what is compared, and differences to the reference."""

    scores: dict[str, list[LevelScores]]
    """By what is compared, then by share of the labels."""
    differences: dict[str, Differences] = {}
    """By what is compared; the reference has none."""


class CurveSummary(Summary, CurveBlock):
    """What a label-efficiency curve came to."""

    kind: Literal["curve"] = "curve"
    """Tells a curve from a run."""
    compared: list[str]
    """Initialisations, or student and baselines."""
    compared_as: str
    """What these are: initialisation or model."""
    metric: str
    """The one that counts most."""
    reference: str
    """What differences are taken to."""
    levels: list[Level]
    """Shares of the labels, ascending."""
    seeds: list[int]
    """Those of which every training is done."""
    planned: int
    """Trainings that there will be."""
    finished: int
    """Trainings that are done."""
    architecture: str = ""
    """Of the student."""
    steps: int | None = None
    """Of each training, at most."""
    grouped: bool = False
    """Whether it is known which test images belong together."""
    test_groups: int | None = None
    """Groups of test images."""
    seconds: dict[str, float] = {}
    """Time that trainings took, by what is compared."""
    pretraining: dict[str, Pretraining] = {}
    """By name."""
    pretrain_per_seed: bool = False
    """Whether each seed has its own pretraining."""
    linear_probe: CurveBlock | None = None
    """The same of linear probes."""
    teacher_scores: dict[str, Score] = {}
    """The teacher's own, where its task is the same."""

    @property
    def is_claim(self) -> bool:
        """Whether a difference may be claimed, which takes two seeds."""
        return len(self.seeds) > 1
