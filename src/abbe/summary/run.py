"""What a run, or its evaluation on other data, came to."""

from typing import Self

from pydantic import model_validator

from abbe.summary.common import Summary
from abbe.summary.course import Speed, Timing
from abbe.summary.part import Bounds, Number, Part
from abbe.summary.scores import Calibration, Gain, Model, Thresholds
from abbe.summary.sources import Trust

BASELINES = ("supervised", "twin", "self-training")
"""What a student is held against: networks that no teacher taught."""

SHAPE = "shape alone"
"""What promptable networks are held against beside them: answers from the prompt alone."""


class Probes(Part):
    """Linear probes of the encoders that a run compares, by what they began with."""

    models: dict[str, Model]
    """Scores by initialisation."""
    gain: dict[str, Gain] = {}
    """The student's initialisation minus the baselines', by metric."""


class Evidence(Part):
    """What the student is held against, and over how many seeds."""

    level: str = ""
    """quick, standard or full; named, where seeds or baselines were named one by one."""
    seeds: list[int] = []
    """Of the trainings; the student of the first one is handed over."""
    baselines: list[str] = []
    """Networks that no teacher taught, from the same initial weights."""
    differs: dict[str, str] = {}
    """By baseline, in what it differs from the student."""
    against: str = ""
    """The one of them that ``gain`` is over."""
    chosen_on: str = ""
    """validation, where it was the best of several there; empty where there was no choice."""
    validation: dict[str, list[Number]] = {}
    """By model and seed, the validation score that its weights were chosen by."""
    complete: bool = True
    """Whether nothing is left to train."""


class RunSummary(Summary):
    """What a run, or its evaluation on other data, came to."""

    evaluation_of: str | None = None
    """Folder of the run that was evaluated; None for a run."""
    pretraining: str | None = None
    """How the encoder was pretrained (recipe rckd)."""
    initialisations: dict[str, str] = {}
    """What each model began with: random, given, or how it was pretrained (recipe rckd)."""
    normalisation: str | None = None
    """How the student's images become 0 to 1."""
    models: dict[str, Model] = {}
    """By name: teacher, student, baselines, and others."""
    gain: dict[str, Gain] = {}
    """Student minus the best baseline, by metric."""
    gains: dict[str, dict[str, Gain]] = {}
    """Student minus each baseline, by metric."""
    evidence: Evidence = Evidence()
    """What the student is held against, and over how many seeds."""
    retention: dict[str, Number] = {}
    """Student over teacher, by metric."""
    retention_ci95: dict[str, Bounds] = {}
    """95 % intervals of it."""
    trust: Trust | None = None
    """How much the teacher's answers counted; None where the recipe does not ask."""
    speed: Speed = Speed()
    """How fast the run went."""
    timing: Timing | None = None
    """How the models were timed."""
    thresholds: dict[str, Thresholds] = {}
    """By model, where its maps are cut."""
    thresholds_chosen_on: str | None = None
    """In words, where thresholds come from."""
    validation_score: str = ""
    """In words, what weights were chosen by, where the name of the score would not say it."""
    calibration: dict[str, dict[str, Calibration]] = {}
    """By model of the first seed, then by map, or ``classes`` where these exclude each other."""
    linear_probe: Probes | None = None
    """Linear probes of the encoders (recipe rckd)."""
    seed: int | None = None
    """Of the run: the first one, whose student is handed over."""
    weights_sha256: dict[str, str] = {}
    """Of each network's tensors, by its file in the run's folder; runs of earlier versions did not
    say."""

    @model_validator(mode="after")
    def _gains_of_earlier_versions(self) -> Self:
        """They had one seed, and the twin alone."""
        if self.gain and not self.gains:
            self.gains = {"twin": self.gain}
        baselines = [name for name in self.gains if name in BASELINES]
        if baselines and not self.evidence.baselines:
            seeds = [] if self.seed is None else [self.seed]
            self.evidence = Evidence(seeds=seeds, baselines=baselines, against="twin")
        return self

    @property
    def is_claim(self) -> bool:
        """Whether a gain may be claimed, which takes two seeds."""
        return len(self.evidence.seeds) > 1
