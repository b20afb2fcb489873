"""Objects, by a foreground map and a boundary map that parts those that touch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import nn

from abbe import config, scoring, students, summary
from abbe.datasets import Dataset, Record
from abbe.datasets.collection import Split
from abbe.datasets.training.prepare import Prepared
from abbe.errors import ConfigError, InputError
from abbe.imaging import scaling_in_words, view
from abbe.object_types import types_in
from abbe.runs import build, pixel_sizes
from abbe.summary import Thresholds
from abbe.tasks import typed
from abbe.tasks.calibration import Samples, binary, joined, logits_of, pixels_of, some
from abbe.tasks.costs import costs_of
from abbe.tasks.each import HERE, Each, Group, Here
from abbe.tasks.maps import THRESHOLD_IMAGES, Model, NetworkModel, choose_thresholds, predict
from abbe.tasks.scores import Row, Scores, compare, rows_of
from abbe.tasks.task import BySeed, Scored, Task, first_of
from abbe.teachers import Teacher
from abbe.teachers.several import drawn


class Instances(Task):
    """Instance segmentation; of the foreground alone where a student has no boundary map."""

    name = "instances"
    metrics = scoring.METRICS | scoring.TYPE_METRICS
    watch = "dice"

    def title(self, experiment: config.Experiment) -> str:
        """Whether objects are told apart."""
        apart = "boundary" in experiment.student.outputs
        told = "instance segmentation" if apart else "foreground segmentation"
        return f"{told} with types" if experiment.student.types else told

    def check(self, experiment: config.Experiment, dataset: Dataset) -> None:
        """Refuse data without a training image, or without a label to score by.

        Raises:
            InputError: so it is, the student's channels are missing, or pixel sizes forbid scoring.
            ConfigError: the twin would never see a label.
        """
        build.check_channels(dataset, experiment.student.input_channels, "the student")
        require_tests(dataset)
        train = dataset.split("train")
        if not len(train):
            raise InputError(
                f"data set '{dataset.name}' has no training image: change data.split and "
                "data.fractions"
            )
        mixed = len(train.labelled) and len(train.unlabelled)
        if "twin" in experiment.compared_with and mixed and not experiment.training.labelled_share:
            raise ConfigError(
                "training.labelled_share: 0 keeps the labels from the twin, which has nothing else "
                "to learn from. Raise it, or name other baselines"
            )
        pixel_sizes.check(dataset, self.labelled)

    def model(
        self, network: nn.Module, metadata: Mapping[str, Any], channels: tuple[str, ...]
    ) -> Model:
        """A U-Net with what it is shown."""
        assert isinstance(network, students.UNet)
        scaling = scaling_in_words(metadata.get("normalisation"), "the student's file")
        return NetworkModel(network, network.outputs, channels, scaling, metadata.get("pixel_size"))

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
        """Pixels, boundaries and objects, image by image."""
        least = evaluation.minimum_area
        thresholds = thresholds_of(models, dataset, given or {}, least)
        scores = score(
            models,
            dataset,
            thresholds,
            tolerance=evaluation.tolerance,
            minimum_area=least,
            each=each or Here(progress),
        )
        first, cuts = first_of(models), first_of(thresholds)
        costs, timing = costs_of(first, dataset, teacher)
        told = {name: costs.get(name, {}) | scores.types.get(name, {}) for name in models}
        known = {metric: self.metrics[metric] for metric in scores.metrics}
        return Scored(
            scores.rows,
            compare(scores.models, known, scores.measured),
            told,
            timing,
            thresholds,
            lambda id: outlined(first, dataset[id], cuts, least),
        )

    def sample(self, model: Model, dataset: Dataset, split: Split) -> Samples:
        """Pixels of its maps."""
        parts: dict[str, list[Any]] = {}
        for record in some(self.labelled(dataset.split(split))):
            assert record.label is not None  # only labelled ones are taken
            label = record.label.read()
            maps = predict(model, record, label)
            for name in ("foreground", "boundary"):
                values = getattr(maps, name)
                if values is not None:
                    truth = np.where(label < 0, -1, drawn(label, name))
                    logits, known = pixels_of(logits_of(values[None]), truth)
                    parts.setdefault(name, []).append((binary(logits), known))
        found = {name: joined(each) for name, each in parts.items()}
        return {name: each for name, each in found.items() if each is not None}

    def thresholds_chosen_on(self, data: summary.Data) -> str:
        """Validation images, or what must do in their place."""
        if data.validation:
            return f"{_at_most(data.validation)} validation images"
        if data.train_labelled:
            count = _at_most(data.train_labelled)
            return f"{count} labelled training images, for want of validation images"
        return "nothing: all are 0.5"


def _at_most(count: int) -> str:
    return str(count) if count <= THRESHOLD_IMAGES else f"{THRESHOLD_IMAGES} of {count}"


def require_tests(dataset: Dataset) -> None:
    """Refuse data that nothing could be scored on.

    Raises:
        InputError: no test image has a label.
    """
    if not len(dataset.split("test").labelled):
        raise InputError(
            f"data set '{dataset.name}' has no labelled test image, so nothing could be scored: "
            "label some, or change data.split and data.fractions"
        )


def thresholds_of(
    models: Mapping[str, BySeed],
    dataset: Dataset,
    given: Mapping[str, Mapping[int | None, Thresholds]],
    minimum_area: int = 16,
) -> dict[str, dict[int | None, Thresholds]]:
    """Where each model's maps are cut: as given, else what is best on other images than tests."""
    return {
        name: {
            seed: given.get(name, {}).get(seed) or choose_thresholds(model, dataset, minimum_area)
            for seed, model in by_seed.items()
        }
        for name, by_seed in models.items()
    }


def score(
    models: Mapping[str, BySeed],
    dataset: Dataset,
    thresholds: Mapping[str, Mapping[int | None, Thresholds]],
    *,
    tolerance: float = 2.0,
    minimum_area: int = 16,
    each: Each = HERE,
) -> Scores:
    """Score every model on the labelled test images that it answers for; its types, too.

    Args:
        models: by name and seed.
        dataset: with splits.
        thresholds: likewise.
        tolerance: of boundary F1 and NSD, in px.
        minimum_area: objects below this many px are dropped.
        each: has images answered and scored.

    Raises:
        InputError: no test image has a label, or its types are others than the models'.
    """
    require_tests(dataset)
    names = types_of_models(models)
    work = _Scoring(models, dataset.having(()), thresholds, names, tolerance, minimum_area)
    rows: list[Row] = []
    counts: dict[str, dict[int | None, list[scoring.TypeCounts]]] = {}
    for _, found in each(work, [[record] for record in dataset.split("test").labelled]):
        rows += found.rows
        for name, by_seed in found.types.items():
            for seed, own in by_seed.items():
                counts.setdefault(name, {}).setdefault(seed, []).append(own)
    return Scores(rows, typed.details(first_of(counts), names))


@dataclass(frozen=True)
class _ImageScores:
    """Of one image: its rows, and by model and seed what is told of its objects' types."""

    rows: list[Row]
    types: dict[str, dict[int | None, scoring.TypeCounts]]


@dataclass(frozen=True)
class _Scoring:
    """Scores an image; what must be known for it."""

    models: Mapping[str, BySeed]
    dataset: Dataset
    thresholds: Mapping[str, Mapping[int | None, Thresholds]]
    names: tuple[str, ...]
    tolerance: float
    minimum_area: int

    def __call__(self, group: Group) -> _ImageScores:
        """Ask every model of every seed that answers for it."""
        (record,) = group
        truth, names = _truth(record), self.names
        types = typed.true_types(record, self.dataset, names) if names else None
        found = _ImageScores([], {})
        for name, seed, model in (
            (name, seed, model)
            for name, each in self.models.items()
            for seed, model in each.items()
            if model.has(record)
        ):
            cut, maps = self.thresholds[name][seed], predict(model, record, truth)
            objects = maps.objects(cut, self.minimum_area)
            values = scoring.image_scores(maps.mask(cut), objects, truth, tolerance=self.tolerance)
            if names:
                own = typed.counts_of(maps, objects, truth, types, names)
                values |= typed.scores_of(own)
                if own is not None:
                    found.types.setdefault(name, {})[seed] = own
            found.rows.extend(rows_of(record, name, seed, values))
        return found


def types_of_models(models: Mapping[str, BySeed]) -> tuple[str, ...]:
    """The types that the networks tell apart; none where none does."""
    for model in first_of(models).values():
        if names := types_in(getattr(model, "outputs", ())):
            return names
    return ()


def outlined(
    models: Mapping[str, Model],
    record: Record,
    thresholds: Mapping[str, Thresholds],
    minimum_area: int,
) -> dict[str, np.ndarray]:
    """An image with its true objects and those of every model that answers it."""
    image = record.image.open()
    arrays = {
        "id": np.array(record.id),
        "image": view(image.read(), image.channels),
        "truth": _truth(record),
    }
    for name, model in models.items():
        if model.has(record):
            arrays[name] = model.predict(record).objects(thresholds[name], minimum_area)
    return arrays


def _truth(record: Record) -> np.ndarray:
    assert record.label is not None  # only labelled records are scored
    return record.label.read()


def validator(
    images: Sequence[Prepared], input_channels: Sequence[str], outputs: Sequence[str]
) -> Callable[[nn.Module], dict[str, float]] | None:
    """What a network scores on decoded validation images: mean pixel scores at one half.

    None where no image has a label.
    """
    labelled = [image for image in images if image.label is not None]
    if not labelled:
        return None
    channels = [labelled[0].channels.index(name) for name in input_channels]
    foreground = list(outputs).index("foreground")
    shapes = [image.shape for image in labelled]

    def validate(network: nn.Module) -> dict[str, float]:
        assert isinstance(network, students.UNet)
        device, scores = next(network.parameters()).device, []
        for numbers in students.together(shapes, network.divisor, device):
            images = [labelled[number] for number in numbers]
            pixels = [image.whole()[channels] for image in images]
            answers = students.predict_together(network, pixels)
            for image, maps in zip(images, answers, strict=True):
                assert image.label is not None
                scores.append(
                    scoring.pixel_scores(maps[foreground] >= 0.5, image.label > 0, image.label >= 0)
                )
        return {key: float(np.nanmean([each[key] for each in scores])) for key in scores[0]}

    return validate
