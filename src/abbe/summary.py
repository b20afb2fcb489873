"""``summary.json``: what a run, or a label-efficiency curve, came to. Written and read here alone.

Every field of the file has a type and a meaning (docs/summary.md lists them). Files of earlier
versions are read, too: they are brought to this version's form first.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    ValidationError,
    model_validator,
)

from abbe.errors import InputError
from abbe.files import parse_json, write_json
from abbe.near import meant_beside

FORMAT = 2
"""Of the files that are written. 1: those of versions that did not say, and were not checked."""
FILE = "summary.json"
TRAINED_ON = "training-images.txt"
"""In the folder of a run, a package or a target store: digests of what a network was trained on."""
SEEDS = "seeds"
"""The folder, in a run's, of all trainings but those of the first seed."""
PREVIEWS = "previews"
"""The folder, in a run's or a seed's, of pictures drawn on the way: NETWORK-STAGE-STEP.png."""
TITLES = {
    "instances": "instance segmentation",
    "semantic": "semantic segmentation",
    "classification": "classification",
    "promptable": "promptable segmentation",
    "photographs": "classification of photographs",
}
"""Tasks for people, where a file does not say it."""

BASELINES = ("supervised", "twin", "self-training")
"""What a student is held against: networks that no teacher taught."""

Number = Annotated[
    float | None,
    BeforeValidator(lambda value: None if value is None or not math.isfinite(value) else value),
]
"""A finite number; None where it is not defined."""
Bounds = tuple[Number, Number]


class Part(BaseModel):
    """A part of the file. What this version does not know of it is passed over."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="ignore")


OBJECTS = "objects"
"""Says of thresholds that there is none to choose: a model's objects are as it gave them."""


class Labels(Part):
    """Labelled images that a model has used."""

    training: int | None = None
    """Those that taught it; None where nobody knows, as of a teacher."""
    choosing: int = 0
    """Further ones that chose its weights or its thresholds."""
    weights: int = 0
    """Those that chose its weights: validation images."""
    thresholds: int = 0
    """Those that chose its thresholds; they may be the same, or training images."""


class Score(Part):
    """A metric of one model over the test images."""

    mean: Number = None
    """Mean over the images where it is defined, or the score of all images taken together."""
    ci95: Bounds | None = None
    """95 % interval over images or whole groups of them; see docs/statistics.md."""
    n: int | None = None
    """Images that it rests on."""
    by_seed: list[Number] = []
    """Of each seed, where there are several."""


class Gain(Score):
    """A difference of scores."""

    p: Number = None
    """Two-sided, that the difference is 0."""


class Thresholds(Part):
    """Where a model's maps are cut."""

    mask: float = 0.5
    """Least foreground probability of a mask's pixel."""
    foreground: float = 0.5
    """The same for instances."""
    boundary: float = 0.5
    """Boundary probability that parts instances."""
    chosen_on: str = "default"
    """validation or training images; default: nothing; objects: there is none to choose, for the
    model gives objects outright."""


class TypeScore(Part):
    """How one type of objects was found, over all test images together."""

    objects: int
    """True objects of the type."""
    found: int
    """Of them, those that were found with their type (IoU above 0.5)."""
    extra: int
    """Answers of the type that are no object of it."""
    pq: Number = None
    """Panoptic quality of the type."""
    f1: Number = None
    """F1 of the type."""


class Model(Part):
    """One network, or the teacher: its scores and its costs."""

    metrics: dict[str, Score] = {}
    """By key of the metric."""
    about: str = ""
    """What it is, where its name does not explain it."""
    labels: Labels | None = None
    """Labelled images that it has used."""
    parameters: int | None = None
    """Numbers in its weights."""
    macs: int | None = None
    """Multiplications and additions for one image."""
    macs_image_size: int | None = None
    """Side of that image, px."""
    encoder_parameters: int | None = None
    """Of them, those of its encoder."""
    encoder_macs: int | None = None
    """Likewise."""
    ms_per_image: Number = None
    """Median milliseconds for one image."""
    ms_per_prompt: Number = None
    """Median milliseconds for one prompt (promptable networks)."""
    confusion: list[list[int]] | None = None
    """Images by true class (rows) and answered class (columns)."""
    pixel_confusion: list[list[int]] | None = None
    """Pixels of all test images likewise (semantic segmentation)."""
    types: dict[str, TypeScore] = {}
    """Of objects, by their type, where types are told apart."""
    type_confusion: list[list[int]] | None = None
    """Objects that were found, by true type (rows) and answered type (columns), as in ``types``."""
    strength: float | None = None
    """Of a linear probe: scikit-learn's C."""


class Data(Part):
    """The data set, counted by split, for the task."""

    name: str = ""
    """Of the data set."""
    licence: str | None = None
    """As its owner writes it."""
    simulated: bool = False
    """Whether a simulator made the images."""
    channels: list[str] = []
    """Of the images."""
    train_labelled: int | None = None
    """Training images with a label."""
    train_unlabelled: int | None = None
    """Training images without one."""
    validation: int | None = None
    """Labelled validation images."""
    test: int | None = None
    """Labelled test images; slides, where these are scored whole."""
    grouped: bool | None = None
    """Whether it is known which test images belong together (of a patient, a slide)."""
    test_groups: int | None = None
    """Groups of test images; each image is one where groups are unknown."""
    class_counts: dict[str, dict[str, int]] | None = None
    """Images by split and class."""
    image_notes: dict[str, list[str]] = {}
    """What was noted when images were read, and of which."""
    label_notes: dict[str, list[str]] = {}
    """What was noted when their labels were read, and of which."""


class Teacher(Part):
    """Where the targets came from."""

    teacher: str = ""
    """Name of the model, or of the people who drew the masks."""
    weights_sha256: str | None = None
    """Of its file of weights."""
    weights_licence: str | None = None
    """Licence of its weights."""
    training_data_licence: str | None = None
    """Licence of what it was trained on."""
    channels: list[str] = []
    """Channels that it saw."""
    normalisation: str | None = None
    """What was done to the pixels."""
    outputs: list[str] = []
    """Names of its maps."""
    prompt_mode: str | None = None
    """How a promptable teacher was prompted."""
    thresholds: dict[str, float] = {}
    """Those that it applied."""
    settings: dict[str, str] = {}
    """What else its answers depend on."""
    sees_labels: bool = False
    """Whether it was shown the true labels."""
    stand_in: bool = False
    """Whether it takes the place of a model that could not be had."""
    simulated: bool = False
    """Whether its images were simulated."""
    notes: list[str] = []
    """Remarks."""
    parts: "list[Teacher]" = []
    """Of the mean of several teachers, each of them."""


class Trust(Part):
    """How much the teacher's maps counted, and what that rests on (recipe cmkd)."""

    asked: float | Literal["auto"] = 1.0
    """``teacher.trust`` of the experiment."""
    outputs: dict[str, float] = {}
    """By map of the student, how much the teacher's counted: 1 in full, 0 not at all."""
    measured_on: str = ""
    """validation or training: images whose labels the teacher was held against; empty: none."""
    images: int = 0
    """How many."""
    teacher: dict[str, dict[str, Number]] = {}
    """By map and metric, what the teacher scored there; cut at one half."""
    alone: dict[str, dict[str, Number]] = {}
    """The same of the network that labels alone taught, of the first seed; with auto."""
    agreement: tuple[float, float, float] | None = None
    """Least, median and highest agreement of the teacher with that network, or with a label, on a
    training image. Its square is what the image counts."""

    @property
    def heard(self) -> bool:
        """Whether the student has learned from the teacher at all."""
        return any(self.outputs.values())


class Curve(Part):
    """A reliability curve: bins of answers by their confidence, ascending."""

    confidence: list[float] = []
    """Mean of the highest probability in the bin."""
    right: list[float] = []
    """Share of its answers that are right."""


class Calibration(Part):
    """Whether a network's probabilities mean what they say, without and with a temperature."""

    temperature: float
    """By which logits are divided; above 1, the network was too sure of itself."""
    images: int
    """Labelled validation images that it was fitted on."""
    error_before: float
    """Expected calibration error on test images as the network answers, from 0 to 1."""
    error_after: float
    """The same with the temperature."""
    before: Curve = Curve()
    """Reliability on test images as the network answers."""
    after: Curve = Curve()
    """The same with the temperature."""


class Targets(Part):
    """The teacher's answers."""

    images: int
    """Images that have one."""
    empty: int = 0
    """Of these, how many are empty: the teacher found nothing."""
    missing: int = 0
    """Images that should have one and do not."""


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


class Overlap(Part):
    """What was trained before and has seen test images, or may have."""

    source: str
    """Key of the experiment file that names it, such as ``teacher.path``; or ``the run`` itself."""
    images: int | None = None
    """Test images that it was trained or validated on; None: that is not known."""
    example: str = ""
    """Id of one of them."""


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


class Summary(Part):
    """What the summaries of runs and of curves share."""

    format: int = FORMAT
    """Version of this file's form."""
    abbe: str = ""
    """Version of Abbe that wrote it."""
    recipe: str = ""
    """How the student was taught."""
    title: str = ""
    """For people."""
    task: str = ""
    """What the student is for: instances, semantic, classification, promptable."""
    task_title: str = ""
    """The task in words."""
    classes: list[str] = []
    """Names of the classes by number; of pixels, 0 is the background."""
    data: Data = Data()
    """The data set."""
    student_channels: list[str] = []
    """Channels that the student reads."""
    encoder_weights: str = ""
    """What the student's encoder began with: random, imagenet or a file."""
    teacher: Teacher | None = None
    """Where targets came from; None without a teacher."""
    teacher_channels: list[str] = []
    """Channels that the teacher reads."""
    teacher_saw_labels: bool = False
    """Whether the teacher of the student was shown true labels, as with ``oracle_box`` prompts."""
    targets: Targets | None = None
    """The teacher's answers; None where none are stored."""
    overlaps: list[Overlap] = []
    """What was trained before and has seen test images, as was allowed, or may have."""
    lost: list[str] = []
    """Images that could not be used, as was allowed."""
    left_out: list[str] = []
    """Of these, those that could not be read."""
    metric_names: dict[str, str] = {}
    """Full names of the metrics, the most important first."""
    schedule: dict[str, Stage] = {}
    """By stage, how long and how fast it learned."""
    smallest_gain: float = 0.0
    """A smaller difference of scores in [0, 1] is called none that matters."""
    warnings: list[str] = []
    """What a reader should doubt that no figure of this file says."""

    @property
    def is_claim(self) -> bool:
        """Whether a difference may be claimed: that of a single seed may be luck."""
        return True

    @model_validator(mode="after")
    def _named(self) -> Self:
        if self.task and not self.task_title:
            self.task_title = TITLES.get(self.task, self.task)
        if self.teacher is not None and self.teacher.sees_labels:
            self.teacher_saw_labels = True
        return self

    def write(self, folder: Path) -> None:
        """Write ``summary.json`` into a folder, atomically: what was given, and the format."""
        values = {"format": FORMAT} | self.model_dump(mode="json", exclude_unset=True)
        write_json(folder / FILE, values)


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
        if self.gains and not self.evidence.baselines:
            seeds = [] if self.seed is None else [self.seed]
            self.evidence = Evidence(seeds=seeds, baselines=list(self.gains), against="twin")
        return self

    @property
    def is_claim(self) -> bool:
        """Whether a gain may be claimed, which takes two seeds."""
        return len(self.evidence.seeds) > 1


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


def read_summary(folder: Path) -> RunSummary | CurveSummary:
    """Read what a run or a curve left in its folder.

    Raises:
        InputError: there is no summary, or it is damaged, or of a later version.
    """
    path = folder / FILE
    if not folder.is_dir():
        raise InputError(_no_folder(folder))
    if not path.is_file():
        raise InputError(
            f"{folder}: there is no {FILE} in this folder, so it is not a finished run. Give the "
            "folder of one, or finish it with 'abbe distill FOLDER --resume'"
        )
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
        if not isinstance(values, dict):
            raise ValueError(f"expected a JSON object, found {type(values).__name__}")
        kind = CurveSummary if values.get("kind") == "curve" else RunSummary
        found = kind.model_validate(_of_this_version(values))
        if isinstance(found, RunSummary) and not (found.models or found.linear_probe):
            raise ValueError("it tells of no model")
        if isinstance(found, CurveSummary) and not (found.compared and found.levels):
            raise ValueError("it compares nothing")
        return found
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"])) or FILE
        raise InputError(
            f"{path}: {key}: {first['msg'].removeprefix('Value error, ')}. Restore the file, or "
            "score the run again with abbe evaluate"
        ) from error
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: this file is damaged ({error}). Restore it, or score the run again with "
            "abbe evaluate"
        ) from error


def _no_folder(folder: Path) -> str:
    """What to say where there is none; perhaps it was mistyped."""
    if folder.exists():
        return f"{folder}: this is a file. Give the folder of a finished run"
    meant = meant_beside(folder)
    return f"{folder}: there is no such folder. Give the folder of a finished run.{meant}"


_EARLIER_TASKS = {
    "instance segmentation": "instances",
    "foreground segmentation": "instances",
    "segmentation": "semantic",
    "promptable segmentation": "promptable",
}
_RENAMED = {"student_sees": "student_channels", "teacher_sees": "teacher_channels"}
_SAID_BY_FIGURES = (
    "No validation image ",
    "The teacher gave no answer for ",
)
"""Warnings of earlier versions that are drawn from the figures now."""


def _of_this_version(values: Mapping[str, Any]) -> Mapping[str, Any]:
    """Fields by today's names; words for the task became one, what figures say is not repeated."""
    written = values.get("format", 1)
    if written > FORMAT:
        raise ValueError(f"it has format {written}, and this version of Abbe reads up to {FORMAT}")
    values = {_RENAMED.get(name, name): value for name, value in values.items()}
    if written == FORMAT:
        return values
    task = values.get("task") or ""
    name = "photographs" if task.startswith("classification of") else _EARLIER_TASKS.get(task, task)
    warnings = [
        text for text in values.get("warnings") or [] if not str(text).startswith(_SAID_BY_FIGURES)
    ]
    kept = {key: value for key, value in values.items() if value is not None}
    return kept | {"task": name, "task_title": task, "warnings": warnings}
