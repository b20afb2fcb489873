"""The class of each pixel; or its foreground, where a data set has no classes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from abbe import config, datasets, losses, scoring, students
from abbe.datasets import Dataset, Record
from abbe.datasets.collection import Split
from abbe.datasets.training.batches import Batch
from abbe.datasets.training.prepare import Prepared, prepare
from abbe.errors import InputError
from abbe.imaging import Scaling, view
from abbe.runs import build
from abbe.tasks.calibration import CLASSES, Samples, joined, pixels_of, some
from abbe.tasks.classes import ClassModel, ClassTask, Predictions, grid_of, shown
from abbe.tasks.previews import RegionPreview
from abbe.tasks.scores import Row
from abbe.training.stage import Term

BACKGROUND = "background"
FOREGROUND = "foreground"


class Semantic(ClassTask):
    """Semantic segmentation."""

    name = "semantic"
    metrics = scoring.REGION_METRICS
    watch = "mean_iou"
    need = "a label"

    def labelled(self, records: Iterable[Record]) -> list[Record]:
        """Those whose pixels have types, which become the label; else those with a label."""
        records = list(records)
        if any(record.types is not None for record in records):
            return [replace(r, label=r.types) for r in records if r.types is not None]
        return super().labelled(records)

    def classes(self, dataset: Dataset) -> tuple[str, ...]:
        """The background, which is number 0, and the set's classes or else the foreground."""
        typed = any(record.types is not None for record in dataset)
        return (BACKGROUND, *(dataset.classes if typed else (FOREGROUND,)))

    def adopt(self, dataset: Dataset, classes: Sequence[str]) -> Dataset:
        """Refuse pixels whose numbers mean other classes."""
        found = self.classes(dataset)
        if found != tuple(classes):
            raise InputError(
                f"data set '{dataset.name}': its pixels are of the classes {', '.join(found)}, "
                f"those of the run are {', '.join(classes)}. Name and number them alike"
            )
        return dataset

    def require_classes(self, dataset: Dataset) -> None:
        """Refuse groups that are split."""
        datasets.require_whole_groups(dataset)

    def build(
        self, student: config.Student, classes: Sequence[str], trains: str = "all"
    ) -> students.UNet:
        """A U-Net with a map for each class."""
        assert student.encoder_weights != "choose"  # the experiment file demands a choice
        return students.build(
            student.architecture,
            in_channels=len(student.input_channels),
            outputs=classes,
            encoder_weights=student.encoder_weights,
            standardisation=build.standardisation_of(student),
        )

    def term(self, images: Sequence[Prepared], classes: int, settings: config.FineTuning) -> Term:
        """Cross-entropy and Dice."""
        return region_term()

    def images(
        self,
        dataset: Dataset,
        records: Iterable[Record],
        input_channels: Sequence[str],
        scaling: Scaling,
    ) -> list[Prepared]:
        """Decoded, with class numbers; what is labelled is 1 where there are no classes."""
        images = prepare(self.labelled(records), input_channels, scaling=scaling)
        if self.classes(dataset)[-1] != FOREGROUND:
            return images
        one = []
        for image in images:
            assert image.label is not None  # only labelled ones were prepared
            one.append(replace(image, label=np.minimum(image.label, 1)))
        return one

    def preview(
        self, images: Sequence[Prepared], input_channels: Sequence[str], classes: Sequence[str]
    ) -> RegionPreview | None:
        """The classes of the pixels in colour."""
        return RegionPreview(images, input_channels) if images else None

    def predict_together(
        self, network: nn.Module, images: Sequence[np.ndarray]
    ) -> list[NDArray[np.int32]]:
        """The class of each pixel, that of the largest logit."""
        assert isinstance(network, students.UNet)
        answers = students.predict_together(network, images, logits=True)
        return [maps.argmax(0).astype(np.int32) for maps in answers]

    def predictions(
        self,
        network: nn.Module,
        images: Sequence[Prepared],
        input_channels: Sequence[str],
        classes: int,
        pixel_size: float | None = None,
    ) -> Predictions:
        """Maps at the images' own size, and their confusions."""
        tables: dict[int, np.ndarray] = {}
        maps: dict[int, NDArray[np.int32]] = {}
        for number, answer, grid in self.predictions_of(
            network, images, input_channels, pixel_size
        ):
            label = images[number].label
            assert label is not None  # only labelled ones were prepared
            rows, columns = grid.sources
            maps[number] = answer[rows[:, None], columns]
            tables[number] = scoring.confusion(maps[number], label, classes)
        order = range(len(images))
        return Predictions(np.stack([tables[n] for n in order]), [maps[n] for n in order])

    def sample(self, model: ClassModel, dataset: Dataset, split: Split) -> Samples:
        """Pixels of its maps, on the grid that the network sees."""
        records = some(self.labelled(dataset.split(split)))
        images = self.images(dataset, records, model.channels, model.scaling)
        assert isinstance(model.network, students.UNet)
        parts = []
        for image in images:
            assert image.label is not None  # only labelled ones are taken
            grid = grid_of(image, model.pixel_size)
            pixels = shown(image, model.channels, grid)
            maps = students.predict(model.network, pixels, logits=True)
            rows, columns = grid.sources
            parts.append(pixels_of(maps[:, rows[:, None], columns], image.label))
        found = joined(parts)
        return {} if found is None else {CLASSES: found}

    def scores(
        self, answers: Predictions, images: Sequence[Prepared], counts: NDArray[Any] | None = None
    ) -> dict[str, NDArray[np.float64]]:
        """All pixels taken together."""
        return scoring.region_scores(answers.table, counts)

    def rows(
        self,
        answers: Mapping[str, Mapping[int | None, Predictions]],
        images: Sequence[Prepared],
        groups: Sequence[str],
    ) -> list[Row]:
        """The same metrics of each image."""
        alone = np.eye(len(images))
        return [
            {
                "image": image.id,
                "group": group,
                "model": name,
                "seed": seed,
                "metric": metric,
                "value": value,
            }
            for name, by_seed in answers.items()
            for seed, each in by_seed.items()
            for metric, column in self.scores(each, images, alone).items()
            for image, group, value in zip(images, groups, column.tolist(), strict=True)
        ]

    def details(
        self, answers: Mapping[str, Predictions], images: Sequence[Prepared], dataset: Dataset
    ) -> dict[str, Any]:
        """Pictures of the answers, and how often classes are mixed."""
        number = {image.id: index for index, image in enumerate(images)}

        def example(id: str) -> dict[str, np.ndarray]:
            image = images[number[id]]
            assert image.label is not None  # only labelled images are scored
            whole = dataset[id].image.open()
            arrays = {
                "id": np.array(id),
                "image": view(whole.read(), whole.channels),
                "truth": image.label.astype(np.int32),
            }
            return arrays | {name: each.maps[number[id]] for name, each in answers.items()}

        models = {
            name: {"pixel_confusion": each.table.sum(0).tolist()} for name, each in answers.items()
        }
        return {"example": example, "models": models}


def region_term() -> Term:
    """Cross-entropy and Dice of the classes of the pixels; −1 does not count."""

    def loss(logits: Tensor, batch: Batch) -> Tensor | None:
        valid = batch["valid"] & (batch["label"] >= 0)
        known = losses.anywhere(valid)
        return losses.region_loss(logits, batch["label"], valid) if known else None

    return Term("regions", loss, distils=False)
