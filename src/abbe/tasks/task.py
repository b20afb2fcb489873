"""What a network is asked for: the form of a task, which every driver of runs goes by."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from torch import nn

from abbe import config, datasets, students, summary
from abbe.datasets import Dataset, Record
from abbe.datasets.collection import Split
from abbe.runs import build
from abbe.runs.lost import Lost, readable
from abbe.runs.normalising import scaling_of
from abbe.runs.pixel_sizes import student_pixel_size
from abbe.scoring import Metric
from abbe.summary import Thresholds, Timing
from abbe.tasks.calibration import Samples
from abbe.tasks.each import Each
from abbe.tasks.scores import Compared, Row
from abbe.teachers import Teacher

Example = Callable[[str], dict[str, np.ndarray]]
"""From an image's id to the image and what each model drew on it."""


BySeed = Mapping[int | None, Any]
"""One way to make a network, by the seed that it was trained with; None of what comes as it is."""


def first_of(models: Mapping[str, BySeed]) -> dict[str, Any]:
    """Each model as its first seed made it: what is timed, drawn and handed over."""
    return {name: next(iter(by_seed.values())) for name, by_seed in models.items()}


@dataclass
class Scored:
    """What scoring came to.

    Attributes:
        rows: one an image, model, seed and metric.
        compared: scores with intervals by model, gains and retention.
        models: by name, whatever else the task knows of a model: its costs, its confusions.
        timing: how the models were timed.
        thresholds: by model and seed, where its maps were cut.
        example: draws an image; None where there is nothing to draw.
        ranking: of the images by how well the student answered, where no metric says it.
        predictions: one row an image and model: the answers themselves, where they are few.
        slides: one row a slide and model, where images are tiles of slides.
    """

    rows: list[Row]
    compared: Compared
    models: dict[str, dict[str, Any]]
    timing: Timing | None
    thresholds: dict[str, dict[int | None, Thresholds]] = field(default_factory=dict)
    example: Example | None = None
    ranking: dict[str, float] = field(default_factory=dict)
    predictions: list[dict[str, Any]] = field(default_factory=list)
    slides: list[dict[str, Any]] = field(default_factory=list)


class Task(ABC):
    """What a network is asked for, what it learns that from, and how its answers are scored.

    Everything that differs between tasks is here: drivers of runs, evaluations, curves and exports
    ask a task, never for its name.
    """

    name: ClassVar[str]
    metrics: ClassVar[Mapping[str, Metric]]
    """What it is scored by; the most important first."""
    watch: ClassVar[str]
    """The validation score that picks the best weights."""
    validation_score: ClassVar[str] = ""
    """In words, what weights are chosen by, where the name of the score would not say it."""
    doubts: ClassVar[tuple[str, ...]] = ()
    """What a reader of its scores should know, whatever they are."""
    scales_images: ClassVar[bool] = True
    """Whether images are scaled to 0 to 1 by the student's normalisation."""

    def title(self, experiment: config.Experiment) -> str:
        """The task in words."""
        return summary.TITLES.get(self.name, self.name)

    def collect(self, data: config.Data) -> Dataset:
        """The data set with its splits, and labels on the chosen training images only."""
        return build.build_dataset(data)

    def listed(
        self, experiment: config.Experiment, given: Dataset | None, progress: bool
    ) -> Dataset:
        """The data of a run, given from Python or named by the experiment; no image is read yet.

        Raises:
            InputError: the files are not laid out as they should be, or the student's channels are
                missing.
        """
        dataset = self.collect(experiment.data) if given is None else given
        channels = build.channels_of(experiment.student, dataset)
        advice = "say what is seen with --student.input-channels"
        return build.seen_by(dataset, channels, "the student", advice)

    def looked_at(self, dataset: Dataset, lost: Lost, progress: bool) -> Dataset:
        """The images that can be read, of those that are `listed`.

        Raises:
            InputError: more images are lost than allowed.
        """
        dataset = readable(dataset, lost, progress=progress)
        build.tell_problems(dataset)
        return dataset

    def labelled(self, records: Iterable[Record]) -> list[Record]:
        """The records that can be learned from, or be scored on."""
        return [record for record in records if record.label is not None]

    def classes(self, dataset: Dataset) -> tuple[str, ...]:
        """Names of the classes by number; none where there are none to tell apart."""
        return ()

    def adopt(self, dataset: Dataset, classes: Sequence[str]) -> Dataset:
        """Another data set for networks that know these classes.

        Raises:
            InputError: its classes are others.
        """
        return dataset

    @abstractmethod
    def check(self, experiment: config.Experiment, dataset: Dataset) -> None:
        """Refuse what cannot end well before any work starts.

        Raises:
            InputError: something is missing in the data.
        """

    def describe(self, dataset: Dataset) -> summary.Data:
        """Counts of the data set by split, and what was noted of its images and labels."""
        train, tests = dataset.split("train"), self.labelled(dataset.split("test"))
        known = len(self.labelled(train))
        grouped = bool(tests) and all(record.group is not None for record in tests)
        return summary.Data(
            name=dataset.name,
            licence=dataset.licence,
            simulated=dataset.simulated,
            channels=list(dataset.channels),
            train_labelled=known,
            train_unlabelled=len(train) - known,
            validation=len(self.labelled(dataset.split("val"))),
            test=len(tests),
            image_notes=datasets.image_notes(dataset),
            label_notes=datasets.label_notes(dataset),
            grouped=grouped,
            test_groups=len({record.unit for record in tests}),
        )

    def metadata(self, experiment: config.Experiment, dataset: Dataset) -> dict[str, Any]:
        """What must be known beside a network's weights to ask it for this task."""
        return {
            "normalisation": scaling_of(experiment.student).words,
            "pixel_size": student_pixel_size(dataset),
        }

    def save(self, path: Path, network: Any, metadata: Mapping[str, Any]) -> None:
        """Write a network's file, which `load` reads."""
        students.save(path, network, metadata)

    def load(self, path: Path) -> tuple[nn.Module, dict[str, Any]]:
        """A network that `save` wrote, and its metadata, of which ``channels`` is always one.

        Raises:
            InputError: the file is missing, damaged, or another program's.
        """
        return students.load_any(path)

    @abstractmethod
    def model(
        self, network: nn.Module, metadata: Mapping[str, Any], channels: tuple[str, ...]
    ) -> Any:
        """A network as it is scored: with all that must be known to ask it.

        Args:
            network: what the file of weights holds.
            metadata: of the file.
            channels: the images' channels that it is shown, in its order.
        """

    def sample(self, model: Any, dataset: Dataset, split: Split) -> Samples:
        """What a network says where the truth is known; nothing where it gives no probabilities.

        Args:
            model: from `model`.
            dataset: with splits.
            split: val or test.
        """
        return {}

    @abstractmethod
    def score(
        self,
        models: Mapping[str, BySeed],
        dataset: Dataset,
        evaluation: config.Evaluation,
        *,
        given: Mapping[str, Mapping[int | None, Thresholds]] | None = None,
        teacher: Teacher | None = None,
        progress: bool = True,
        each: Each | None = None,
    ) -> Scored:
        """Score models on the labelled test images.

        Args:
            models: by name and seed, from `model`; the teacher beside them where it does the same.
            dataset: with splits.
            evaluation: how images are scored.
            given: thresholds of models that were chosen before, on other data, likewise.
            teacher: what gave ``models["teacher"]`` its answers, where it runs here, to be timed.
            progress: show a bar.
            each: has images answered and scored; this process where None.

        Raises:
            InputError: there is nothing to score on.
        """

    def thresholds_chosen_on(self, data: summary.Data) -> str:
        """In words, where thresholds come from."""
        return "nothing: the answer is the most probable class"
