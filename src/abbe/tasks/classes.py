"""What tasks share that tell classes apart, of whole images or of pixels."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import nn

from abbe import config, scoring, students
from abbe.datasets import Dataset, Record
from abbe.datasets.training.prepare import Prepared
from abbe.errors import InputError
from abbe.imaging import Scaling, scaling_in_words
from abbe.runs import build, pixel_sizes
from abbe.runtime.tiling.grid import Grid, scale_between
from abbe.runtime.tiling.rescaling import to_shape, whole
from abbe.scoring import Measured
from abbe.summary import Thresholds
from abbe.tasks.each import Each, Group
from abbe.tasks.scores import Compared, Row, compare
from abbe.tasks.task import BySeed, Scored, Task, first_of
from abbe.tasks.timing import costs_of
from abbe.teachers import Teacher
from abbe.training.stage import Term


@dataclass(frozen=True)
class ClassModel:
    """A network that tells classes apart, and how it is shown images.

    Attributes:
        network: a U-Net, a classifier or a linear probe.
        channels: the images' channels, in its order.
        scaling: how pixels become 0 to 1.
        pixel_size: µm per px that it was trained at, to which images are resampled; None for as
            they are.
    """

    network: nn.Module
    channels: tuple[str, ...]
    scaling: Scaling
    pixel_size: float | None


@dataclass
class Predictions:
    """One model's answers for the same images in the same order.

    Attributes:
        table: (N, K) probabilities of images; (N, K, K) confusions of their pixels.
        maps: of segmented images, (H, W) class numbers each.
    """

    table: NDArray[Any]
    maps: list[NDArray[np.int32]] = field(default_factory=list)

    def split(self) -> "list[Predictions]":
        """Those for each image."""
        return [
            Predictions(self.table[n : n + 1], self.maps[n : n + 1]) for n in range(len(self.table))
        ]


def joined_predictions(parts: "Sequence[Predictions]") -> Predictions:
    """What `Predictions.split` has split."""
    maps = [each for part in parts for each in part.maps]
    return Predictions(np.concatenate([part.table for part in parts]), maps)


Answers = Mapping[str, Mapping[int | None, Predictions]]
"""By model and seed."""


class ClassTask(Task):
    """A task with classes: its network is a U-Net or a classifier on the same encoders."""

    need: ClassVar[str]
    """What an image must have to be learned from."""
    by_class: ClassVar[bool] = False
    """Whether an image is of one class, so that shares of the labels are drawn by class."""

    @abstractmethod
    def build(
        self, student: config.Student, classes: Sequence[str], trains: str = "all"
    ) -> nn.Module:
        """The network with the weights that training begins with.

        Args:
            student: what it is built of.
            classes: names by number.
            trains: all of it, or 'linear' for a linear probe, where the task has one.

        Raises:
            ConfigError: its weights cannot be fetched.
            InputError: the file of weights is missing, damaged, or another network's.
        """

    @abstractmethod
    def term(self, images: Sequence[Prepared], classes: int, settings: config.FineTuning) -> Term:
        """What the network learns the task by, from labels alone."""

    @abstractmethod
    def images(
        self,
        dataset: Dataset,
        records: Iterable[Record],
        input_channels: Sequence[str],
        scaling: Scaling,
    ) -> list[Prepared]:
        """The labelled ones of the records, decoded, with their class or that of each pixel."""

    def predict(self, network: nn.Module, pixels: np.ndarray) -> NDArray[Any]:
        """The class of each of the pixels (C, H, W), or an image's probabilities (K,)."""
        return self.predict_together(network, [pixels])[0]

    @abstractmethod
    def predict_together(
        self, network: nn.Module, images: Sequence[np.ndarray]
    ) -> list[NDArray[Any]]:
        """As `answer`, of images that are of one size once they are padded."""

    def predictions_of(
        self,
        network: nn.Module,
        images: Sequence[Prepared],
        input_channels: Sequence[str],
        pixel_size: float | None,
    ) -> Iterator[tuple[int, NDArray[Any], Grid]]:
        """For each image its number, the answer and the grid that it was seen on; see `shown`."""
        for numbers, grids in self.groups_of(network, images, pixel_size):
            seen = [
                shown(images[number], input_channels, grid)
                for number, grid in zip(numbers, grids, strict=True)
            ]
            yield from zip(numbers, self.predict_together(network, seen), grids, strict=True)

    def groups_of(
        self, network: nn.Module, images: Sequence[Prepared], pixel_size: float | None
    ) -> Iterator[tuple[list[int], list[Grid]]]:
        """Numbers of images that a network answers together, and the grids it sees them on."""
        device = next(network.parameters()).device
        grids = [grid_of(image, pixel_size) for image in images]
        divisor = network.divisor if isinstance(network, students.UNet) else 1
        for numbers in students.together([grid.shape for grid in grids], divisor, device):
            yield numbers, [grids[number] for number in numbers]

    @abstractmethod
    def predictions(
        self,
        network: nn.Module,
        images: Sequence[Prepared],
        input_channels: Sequence[str],
        classes: int,
        pixel_size: float | None = None,
    ) -> Predictions:
        """Have a network answer for whole images; see `grid_of`."""

    def arrays(self, answers: Predictions, images: Sequence[Prepared]) -> dict[str, NDArray[Any]]:
        """The answers as a curve keeps them; see `abbe.curves.trainings.scores_of`."""
        return {"table": answers.table}

    @abstractmethod
    def scores(
        self, answers: Predictions, images: Sequence[Prepared], counts: NDArray[Any] | None = None
    ) -> dict[str, NDArray[np.float64]]:
        """The scores of the whole set, and with ``counts`` of its parts; see `abbe.scoring`."""

    @abstractmethod
    def rows(
        self,
        answers: Mapping[str, Mapping[int | None, Predictions]],
        images: Sequence[Prepared],
        groups: Sequence[str],
    ) -> list[Row]:
        """One row an image, model, seed and metric that an image alone has."""

    @abstractmethod
    def details(
        self, answers: Mapping[str, Predictions], images: Sequence[Prepared], dataset: Dataset
    ) -> Mapping[str, Any]:
        """Fields of `Scored` beside its figures: ``models``, ``example`` and ``predictions``."""

    def check(self, experiment: config.Experiment, dataset: Dataset) -> None:
        """Refuse data in which no image of a part that is needed is labelled.

        Raises:
            InputError: so it is, the student's channels are missing, or pixel sizes forbid scoring.
        """
        build.check_channels(dataset, experiment.student.input_channels, "the student")
        self.require_classes(dataset)
        for part in ("train", "test"):
            if not self.labelled(dataset.split(part)):
                raise InputError(
                    f"data set '{dataset.name}' has no {part} image with {self.need}: label some, "
                    "or change data.split and data.fractions"
                )
        pixel_sizes.check(dataset, self.labelled)

    @abstractmethod
    def require_classes(self, dataset: Dataset) -> None:
        """Refuse classes that cannot be learned, or groups that are split."""

    def metadata(self, experiment: config.Experiment, dataset: Dataset) -> dict[str, Any]:
        """The task and its classes, too."""
        classes = list(self.classes(dataset))
        return super().metadata(experiment, dataset) | {"task": self.name, "classes": classes}

    def model(
        self, network: nn.Module, metadata: Mapping[str, Any], channels: tuple[str, ...]
    ) -> ClassModel:
        """A network with what it is shown."""
        scaling = scaling_in_words(metadata.get("normalisation"), "the student's file")
        return ClassModel(network, channels, scaling, metadata.get("pixel_size"))

    def validator(
        self, images: Sequence[Prepared], input_channels: Sequence[str], classes: int
    ) -> Callable[[nn.Module], dict[str, float]] | None:
        """What a network scores on validation images; None where there are none."""
        if not images:
            return None

        def validate(network: nn.Module) -> dict[str, float]:
            scores = self.scores(self.predictions(network, images, input_channels, classes), images)
            return {name: float(value[0]) for name, value in scores.items()}

        return validate

    def joined(
        self, answers: Answers, images: Sequence[Prepared], dataset: Dataset
    ) -> tuple[Answers, Sequence[Prepared], list[dict[str, Any]]]:
        """What is scored: answers for whole slides where images are tiles of them.

        Args:
            answers: by model and seed.
            images: what they answered for.
            dataset: where they are of.

        Returns:
            Answers; of each whole an image with its class; and rows of slides.csv.
        """
        return answers, images, []

    @abstractmethod
    def preview(
        self, images: Sequence[Prepared], input_channels: Sequence[str], classes: Sequence[str]
    ) -> Callable[[nn.Module], NDArray[np.uint8]] | None:
        """What draws the answers to validation images while a network trains; None without any."""

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
        """Classes of all test images together; there are no thresholds."""
        beginning: dict[str, ClassModel] = first_of(models)
        first = next(iter(beginning.values()))
        images = self.images(dataset, dataset.split("test"), first.channels, first.scaling)
        if not images:
            raise InputError(f"data set '{dataset.name}' has no test image with {self.need}")
        if each is None:
            answers = self._answers(models, dataset, images)
        else:
            answers, images = self._answers_of_groups(models, dataset, images, each)
        answers, images, slides = self.joined(answers, images, dataset)
        groups = [dataset[image.id].unit for image in images]
        networks = {name: model.network for name, model in beginning.items()}
        costs, timing = costs_of(networks, self.predict, len(first.channels), images[0].shape)
        details = dict(self.details(first_of(answers), images, dataset))
        more = details.pop("models", {})
        return Scored(
            self.rows(answers, images, groups),
            self.compare(answers, images, groups),
            {name: costs[name] | more.get(name, {}) for name in models},
            timing,
            slides=slides,
            **details,
        )

    def _answers(
        self, models: Mapping[str, BySeed], dataset: Dataset, images: Sequence[Prepared]
    ) -> Answers:
        classes = len(self.classes(dataset))
        return {
            name: {
                seed: self.predictions(
                    each.network, images, each.channels, classes, each.pixel_size
                )
                for seed, each in by_seed.items()
            }
            for name, by_seed in models.items()
        }

    def _answers_of_groups(
        self,
        models: Mapping[str, BySeed],
        dataset: Dataset,
        images: Sequence[Prepared],
        each: Each,
    ) -> tuple[Answers, list[Prepared]]:
        """The same answers, had from ``each``; and the images that are not lost.

        A group is what `predictions_of` answers at once, so that nothing is rounded otherwise.
        """
        first: ClassModel = next(iter(first_of(models).values()))
        bare, classes = dataset.having(()), len(self.classes(dataset))
        found: dict[str, dict[int | None, dict[str, Predictions]]] = {}
        for name, by_seed in models.items():
            for seed, model in by_seed.items():
                groups = [
                    [dataset[images[number].id] for number in numbers]
                    for numbers, _ in self.groups_of(model.network, images, model.pixel_size)
                ]
                work = partial(self._answer_group, model, first, bare, classes)
                one = found.setdefault(name, {}).setdefault(seed, {})
                for group, answer in each(work, groups):
                    one |= dict(zip((record.id for record in group), answer.split(), strict=True))
        everywhere = [of_id for by_seed in found.values() for of_id in by_seed.values()]
        kept = [image for image in images if all(image.id in of_id for of_id in everywhere)]
        answers = {
            name: {
                seed: joined_predictions([of_id[image.id] for image in kept])
                for seed, of_id in by_seed.items()
            }
            for name, by_seed in found.items()
        }
        return answers, kept

    def _answer_group(
        self, model: ClassModel, first: ClassModel, bare: Dataset, classes: int, group: Group
    ) -> Predictions:
        part = bare.having(group)
        images = self.images(part, part, first.channels, first.scaling)
        return self.predictions(model.network, images, model.channels, classes, model.pixel_size)

    def compare(
        self,
        models: Mapping[str, Mapping[int | None, Predictions]],
        images: Sequence[Prepared],
        groups: Sequence[str],
    ) -> Compared:
        """Scores with intervals by model, and the gains over baselines.

        Args:
            models: answers by model and seed.
            images: what they answered for.
            groups: the group of each image; whole groups are left out.
        """
        counts, sizes = scoring.leave_out(groups)
        measured = {}
        for name, by_seed in models.items():
            whole = [self.scores(each, images) for each in by_seed.values()]
            parts = [self.scores(each, images, counts) for each in by_seed.values()]
            measured |= {
                (name, metric): Measured(
                    np.array([each[metric][0] for each in whole]),
                    np.stack([each[metric] for each in parts]),
                    sizes,
                )
                for metric in self.metrics
            }
        return compare(
            list(models), self.metrics, lambda metric, names: [measured[n, metric] for n in names]
        )


def shown(image: Prepared, input_channels: Sequence[str], grid: Grid) -> np.ndarray:
    """What a network is shown of an image, (C, H, W), resampled to a grid.

    Args:
        image: decoded.
        input_channels: the network's channels.
        grid: of `grid_of`.
    """
    pixels = image.whole()[[image.channels.index(name) for name in input_channels]]
    return to_shape(pixels, grid.shape)


def grid_of(image: Prepared, pixel_size: float | None) -> Grid:
    """The grid that an image is resampled to for a network.

    Args:
        image: decoded.
        pixel_size: µm per px that the network was trained at; None for as the image is.

    Raises:
        InputError: the network has a pixel size, and the image has none, or another by far.
    """
    if pixel_size is None:
        return whole(image.shape, 1.0)
    if image.pixel_size is None:
        raise InputError(
            f"{image.id}: its pixel size is not known, and the network was trained at "
            f"{pixel_size:g} µm. Give it with data.pixel_size"
        )
    return whole(image.shape, scale_between(image.pixel_size, pixel_size, image.id))
