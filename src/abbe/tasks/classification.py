"""The class of a whole image."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from abbe import config, datasets, losses, scoring, students, summary
from abbe.datasets import Dataset, Record
from abbe.datasets.collection import SPLITS, Split
from abbe.datasets.training.batches import Batch
from abbe.datasets.training.prepare import Prepared, prepare
from abbe.errors import InputError
from abbe.imaging import Scaling, view
from abbe.runs import build
from abbe.students.unet import encoder_name_of
from abbe.tasks import slides
from abbe.tasks.calibration import CLASSES, Sample, Samples
from abbe.tasks.classes import Answers, ClassModel, ClassTask, Predictions
from abbe.tasks.previews import ClassPreview
from abbe.tasks.scores import Row
from abbe.training.stage import Term


class Classification(ClassTask):
    """Classification of images, by their column class."""

    name = "classification"
    metrics = scoring.CLASSIFICATION_METRICS
    watch = "balanced_accuracy"
    need = "a class"
    by_class = True

    def collect(self, data: config.Data) -> Dataset:
        """With splits that share out each class; each class keeps its share of the labels."""
        dataset = build.split(build.collect(data), data, by_class=True)
        dataset = datasets.choose_validated(
            dataset, data.validation_labels, seed=data.split_seed, by_class=True
        )
        return datasets.keep_labels(dataset, data.labelled, data.split_seed)

    def labelled(self, records: Iterable[Record]) -> list[Record]:
        """Those with a class."""
        return [record for record in records if record.columns.get("class")]

    def classes(self, dataset: Dataset) -> tuple[str, ...]:
        """The set's."""
        return dataset.classes

    def adopt(self, dataset: Dataset, classes: Sequence[str]) -> Dataset:
        """Find the classes by name; some may be missing."""
        named = {record.columns["class"] for record in self.labelled(dataset)}
        unknown = sorted(named - set(classes))
        if unknown:
            raise InputError(
                f"data set '{dataset.name}': has images of {', '.join(unknown)}, which the run "
                f"does not know; its classes are {', '.join(classes)}. Rename them, or leave them "
                "out"
            )
        return replace(dataset, classes=tuple(classes))

    def require_classes(self, dataset: Dataset) -> None:
        """Refuse classes that cannot be learned; see `abbe.datasets.require_classes`."""
        datasets.require_classes(dataset)

    def describe(self, dataset: Dataset) -> summary.Data:
        """Counted by class, too; test slides as often as they are scored, once."""
        tests = dataset.split("test")
        tests = replace(tests, records=slides.one_each(tests))
        parts = {part: dataset.split(part) for part in SPLITS} | {"test": tests}
        changes = {
            "class_counts": {part: datasets.class_counts(each) for part, each in parts.items()},
            "test": len(self.labelled(tests)),
        }
        return super().describe(dataset).model_copy(update=changes)

    def build(
        self, student: config.Student, classes: Sequence[str], trains: str = "all"
    ) -> students.Classifier | students.LinearProbe:
        """A classifier on the encoder, or a linear probe of it."""
        assert student.encoder_weights != "choose"  # the experiment file demands a choice
        classifier = students.build_classifier(
            encoder_name_of(student.architecture),
            in_channels=len(student.input_channels),
            classes=classes,
            encoder_weights=student.encoder_weights,
            standardisation=build.standardisation_of(student),
        )
        return students.LinearProbe(classifier) if trains == "linear" else classifier

    def save(self, path: Path, network: Any, metadata: Mapping[str, Any]) -> None:
        """Write a classifier or a linear probe."""
        students.save_classifier(path, network, metadata)

    def term(self, images: Sequence[Prepared], classes: int, settings: config.FineTuning) -> Term:
        """Cross-entropy, rare classes weighted and labels smoothed as the experiment says."""
        balanced = settings.class_weights == "balanced"
        weights = class_weights(images, classes) if balanced else None
        return classification_term(weights, settings.label_smoothing)

    def images(
        self,
        dataset: Dataset,
        records: Iterable[Record],
        input_channels: Sequence[str],
        scaling: Scaling,
    ) -> list[Prepared]:
        """Decoded, with the number of their class."""
        numbers = datasets.class_numbers(dataset)
        images = prepare(self.labelled(records), input_channels, scaling=scaling)
        return [replace(image, category=numbers[image.id]) for image in images]

    def joined(
        self, answers: Answers, images: Sequence[Prepared], dataset: Dataset
    ) -> tuple[Answers, Sequence[Prepared], list[dict[str, Any]]]:
        """A slide's class is that of the mean over its tiles; its first tile stands for it."""
        members = slides.members_of(images, dataset)
        if not members:
            return answers, images, []
        whole = {
            name: {
                seed: Predictions(slides.mean_over_tiles(each.table, members))
                for seed, each in by_seed.items()
            }
            for name, by_seed in answers.items()
        }
        tables = {name: next(iter(by_seed.values())).table for name, by_seed in answers.items()}
        rows = slides.rows_of(tables, members, images, dataset)
        return whole, [images[int(places[0])] for places in members], rows

    def preview(
        self, images: Sequence[Prepared], input_channels: Sequence[str], classes: Sequence[str]
    ) -> ClassPreview | None:
        """Images with the class that they have, and the one that they are taken for."""
        return ClassPreview(images, input_channels, classes, self.predict) if images else None

    def predict_together(
        self, network: nn.Module, images: Sequence[np.ndarray]
    ) -> list[NDArray[np.float64]]:
        """The probability of each class."""
        device = next(network.parameters()).device
        training = {module: module.training for module in network.modules()}
        network.eval()
        with torch.inference_mode():
            logits = network(torch.from_numpy(np.stack(images)).float().to(device))
        for module, mode in training.items():
            module.training = mode
        return list(logits.double().softmax(1).cpu().numpy())

    def predictions(
        self,
        network: nn.Module,
        images: Sequence[Prepared],
        input_channels: Sequence[str],
        classes: int,
        pixel_size: float | None = None,
    ) -> Predictions:
        """A row of probabilities for each image."""
        found = {
            n: answer
            for n, answer, _ in self.predictions_of(network, images, input_channels, pixel_size)
        }
        return Predictions(np.stack([found[number] for number in range(len(images))]))

    def sample(self, model: ClassModel, dataset: Dataset, split: Split) -> Samples:
        """The probabilities of its images."""
        records = self.labelled(dataset.split(split))
        images = self.images(dataset, records, model.channels, model.scaling)
        if not images:
            return {}
        found = self.predictions(
            model.network, images, model.channels, len(self.classes(dataset)), model.pixel_size
        )
        logits = np.log(found.table.clip(1e-12))
        return {CLASSES: Sample(logits, truth_of(images).astype(np.int64), len(images))}

    def arrays(self, answers: Predictions, images: Sequence[Prepared]) -> dict[str, NDArray[Any]]:
        """The probabilities, and the images' classes."""
        return {"table": answers.table, "truth": truth_of(images)}

    def scores(
        self, answers: Predictions, images: Sequence[Prepared], counts: NDArray[Any] | None = None
    ) -> dict[str, NDArray[np.float64]]:
        """All images taken together."""
        return scoring.classification_scores(truth_of(images), answers.table, counts)

    def rows(
        self,
        answers: Mapping[str, Mapping[int | None, Predictions]],
        images: Sequence[Prepared],
        groups: Sequence[str],
    ) -> list[Row]:
        """Whether each answer is right."""
        truth = truth_of(images)
        return [
            {
                "image": image.id,
                "group": group,
                "model": name,
                "seed": seed,
                "metric": "accuracy",
                "value": right,
            }
            for name, by_seed in answers.items()
            for seed, each in by_seed.items()
            for image, group, right in zip(
                images, groups, (each.table.argmax(1) == truth).astype(float).tolist(), strict=True
            )
        ]

    def details(
        self, answers: Mapping[str, Predictions], images: Sequence[Prepared], dataset: Dataset
    ) -> dict[str, Any]:
        """How often classes are mixed, every probability, and pictures with the answers."""
        truth = truth_of(images)
        models = {
            name: {"confusion": scoring.class_confusion(truth, each.table).tolist()}
            for name, each in answers.items()
        }
        number = {image.id: index for index, image in enumerate(images)}
        by = answers.get("student") or next(iter(answers.values()))

        def example(id: str) -> dict[str, np.ndarray]:
            index, whole = number[id], dataset[id].image.open()
            said = {"truth": dataset.classes[truth[index]]}
            for name, each in answers.items():
                best = int(each.table[index].argmax())
                said[name] = f"{dataset.classes[best]} {each.table[index, best]:.2f}"
            arrays = {"id": np.array(id), "image": view(whole.read(), whole.channels)}
            return arrays | {f"said:{name}": np.array(text) for name, text in said.items()}

        return {
            "models": models,
            "predictions": predictions(dataset, answers, images),
            "example": example,
            "ranking": {id: float(by.table[index, truth[index]]) for id, index in number.items()},
        }


def truth_of(images: Sequence[Prepared]) -> NDArray[np.integer]:
    """(N,) numbers of the images' classes."""
    return np.array([image.category for image in images])


def predictions(
    dataset: Dataset, answers: Mapping[str, Predictions], images: Sequence[Prepared]
) -> list[dict[str, Any]]:
    """A row an image and model, with the probability of each class.

    Args:
        dataset: says the classes, and the group of each image; None where it stands alone.
        answers: by model.
        images: what they answered for, with the number of their class.
    """
    classes = dataset.classes
    return [
        {
            "image": image.id,
            "group": dataset[image.id].group,
            "model": model,
            "class": classes[image.category],
            "predicted": classes[int(probabilities.argmax())],
            **{
                f"probability_{name}": value
                for name, value in zip(classes, probabilities.tolist(), strict=True)
            },
        }
        for model, each in answers.items()
        for image, probabilities in zip(images, each.table, strict=True)
    ]


def classification_term(
    class_weights: Sequence[float] | None = None, smoothing: float = 0.0
) -> Term:
    """Cross-entropy to the images' classes, rare ones weighted as told, labels smoothed."""
    weights = None if class_weights is None else torch.tensor(class_weights)

    def loss(logits: Tensor, batch: Batch) -> Tensor:
        scale = (torch.ones(logits.shape[1]) if weights is None else weights).to(logits.device)
        truth = batch["category"]
        summed = F.cross_entropy(
            logits.float(), truth, weight=scale, label_smoothing=smoothing, reduction="sum"
        )
        return summed / losses.average_count(scale[truth])

    return Term("class", loss, distils=False)


def class_weights(images: Sequence[Prepared], classes: int) -> list[float]:
    """N / (K Nₖ): each class counts as much as any other; a class without images counts 1."""
    counts = np.bincount([image.category for image in images], minlength=classes)
    return [len(images) / (classes * count) if count else 1.0 for count in counts.tolist()]
