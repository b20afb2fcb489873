"""An encoder pretrained on photographs with classes, in ImageNet's layout, for other recipes."""

import os
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from abbe import config, losses, students, summary
from abbe.datasets import Dataset, first_of_classes
from abbe.datasets.imagenet import ImageNet as Folder
from abbe.datasets.imagenet import Photographs, imagenet_folder, readable_photographs
from abbe.datasets.training.batches import Batch
from abbe.datasets.training.photograph_batches import PhotographBatches, WholePhotographs
from abbe.errors import ConfigError
from abbe.recipes.recipe import Material, Plan, Recipe, Trained, require_trainable
from abbe.runs import build
from abbe.runs.lost import Lost
from abbe.runs.normalising import scaling_of
from abbe.runs.schedules import Amount
from abbe.runs.session import Session
from abbe.scoring import Metric
from abbe.students.unet import encoder_name_of
from abbe.summary import Labels, RunSummary, Score, Thresholds
from abbe.tasks.classification import classification_term
from abbe.tasks.each import Each
from abbe.tasks.scores import Compared
from abbe.tasks.task import BySeed, Scored, Task, first_of
from abbe.tasks.timing import size_of
from abbe.teachers import Teacher
from abbe.training.stage import Metrics, Stage

_AT_ONCE = 128
READERS = 4
"""Threads that look for damaged photographs; decoding lets go of Python's lock."""


class PhotographsTask(Task):
    """Classification of photographs: too many to be decoded at once, so they are read as needed."""

    name = "photographs"
    metrics: ClassVar[Mapping[str, Metric]] = {
        "accuracy": Metric("Top-1 accuracy", True),
        "top5_accuracy": Metric("Top-5 accuracy", True),
    }
    watch = "accuracy"
    doubts = (
        "The weights that scored best on the validation photographs were kept, and the scores "
        "are of the same photographs: they flatter a little.",
        "Intervals are Wilson's, of a share of independent photographs.",
    )

    def __init__(self, crop: int, workers: int) -> None:
        """Args:
        crop: side of what is shown of a photograph, px.
        workers: processes that read them.
        """
        self._crop, self._workers = crop, workers

    def listed(self, experiment: config.Experiment, given: Any, progress: bool) -> Any:
        """The folder that the experiment names."""
        return photographs_of(experiment, given, progress)

    def looked_at(self, dataset: Any, lost: Lost, progress: bool) -> Any:
        """The photographs that can be read; a line says how many."""
        photographs = readable_of(dataset, lost, progress)
        if progress and os.environ.get("RANK", "0") == "0":
            print(
                f"{len(photographs.train)} photographs of {len(photographs.classes)} classes, "
                f"{len(photographs.val)} to validate on",
                flush=True,
            )
        return photographs

    def check(self, experiment: config.Experiment, dataset: Any) -> None:
        """The folder was checked when it was listed."""

    def classes(self, dataset: Any) -> tuple[str, ...]:
        """None: they are ImageNet's, and a thousand of them."""
        return ()

    def describe(self, dataset: Any) -> summary.Data:
        """Numbers of photographs."""
        return summary.Data(
            name=dataset.name,
            simulated=False,
            train_labelled=len(dataset.train),
            validation=len(dataset.val),
            test=len(dataset.val),
        )

    def metadata(self, experiment: config.Experiment, dataset: Any) -> dict[str, Any]:
        """How photographs are scaled."""
        return {"normalisation": scaling_of(experiment.student).words}

    def model(
        self, network: nn.Module, metadata: Mapping[str, Any], channels: tuple[str, ...]
    ) -> nn.Module:
        """The network itself."""
        return network

    def score(
        self,
        models: Mapping[str, BySeed],
        dataset: Any,
        evaluation: config.Evaluation,
        *,
        given: Mapping[str, Mapping[int | None, Thresholds]] | None = None,
        teacher: Teacher | None = None,
        progress: bool = True,
        each: Each | None = None,
    ) -> Scored:
        """Top-1 and top-5 accuracy on the validation photographs."""
        scores, networks = {}, first_of(models)
        for name, network in networks.items():
            first, five, count = right_answers(network, dataset.val, self._crop, self._workers)
            scores[name] = {
                "accuracy": interval_of(first, count), "top5_accuracy": interval_of(five, count)
            }  # fmt: skip
        costs = {name: size_of(network, 3, 224) for name, network in networks.items()}
        return Scored([], Compared(scores, {}, {}, {}), costs, None)


class ImageNet(Recipe):
    """A classifier of photographs, of which the encoder is kept."""

    name = "imagenet"

    def task(self, experiment: config.Experiment) -> PhotographsTask:
        """Classification of photographs."""
        training = experiment.training
        return PhotographsTask(training.crop, build.workers(training.workers))

    def require(
        self,
        experiment: config.Experiment,
        dataset: Any,
        tiles: Dataset | None,
        *,
        trust_code: bool,
    ) -> None:
        """The classifier must be there, too."""
        super().require(experiment, dataset, tiles, trust_code=trust_code)
        require_trainable(build_student(experiment, dataset), experiment)

    def amounts(
        self, experiment: config.Experiment, dataset: Any, tiles: Dataset | None
    ) -> dict[str, Amount]:
        """A crop of each photograph is a pass."""
        count = len(dataset.train)
        return {"training": Amount(count, count)}

    def plans(
        self,
        experiment: config.Experiment,
        dataset: Any,
        material: Material,
        session: Session,
        trained: Mapping[str, Trained],
    ) -> Iterator[tuple[str, Plan]]:
        """One classifier in one stage; its own file is the encoder's."""
        training, model = experiment.training, build_student(experiment, dataset)
        chosen = first_of_classes(
            dataset.val.numbers, training.validation_images, experiment.data.split_seed
        )
        held_out = dataset.val.having(chosen)

        def validate(network: nn.Module) -> Metrics:
            return rates(right_answers(network, held_out, training.crop, session.workers))

        stage = Stage(
            "photographs",
            trains=model,
            batches=PhotographBatches(
                dataset.train,
                batch_size=training.batch_size,
                crop=training.crop,
                seed=experiment.seed,
                colour=experiment.fine_tuning.colour,
                flips=training.augmentation.flips,
                rank=session.accelerator.process_index,
                processes=session.accelerator.num_processes,
            ),
            terms=(classification_term(None, experiment.fine_tuning.label_smoothing),),
            weighting=lambda names: losses.FixedWeighting(dict.fromkeys(names, 1.0)),
            schedule=build.build_schedule(training),
            validate=validate,
            watch="accuracy",
            forward=on_photographs,
        )
        yield "student", Plan(model, [stage], None)

    def complete(
        self,
        summary: RunSummary,
        scored: Scored,
        trained: Mapping[str, Trained],
        experiment: config.Experiment,
        dataset: Any,
        material: Material,
        session: Session,
    ) -> None:
        """Write encoder.safetensors, with the scores of the classifier."""
        student = trained["student"]
        assert isinstance(student.network, students.Classifier)  # of `plans`
        scores = {key: each.mean for key, each in scored.compared.scores["student"].items()}
        steps = sum(fitted.steps for fitted in student.fitted)
        metadata = {
            **student.metadata,
            "pretraining": "classification of photographs",
            "photographs": len(dataset.train),
            "classes": len(dataset.classes),
            "passes": steps * experiment.training.batch_size / len(dataset.train),
            "seed": experiment.seed,
            **scores,
        }
        students.save_encoder(session.folder / "encoder.safetensors", student.network, metadata)
        name = experiment.title or f"{experiment.student.architecture} on {dataset.name}"
        summary.title = name
        chosen = min(len(dataset.val), experiment.training.validation_images)
        summary.models["student"].labels = Labels(
            training=len(dataset.train), choosing=chosen, weights=chosen
        )
        summary.task_title = f"classification of photographs, {len(dataset.classes)} classes"


def build_student(experiment: config.Experiment, photographs: Folder) -> students.Classifier:
    """The classifier as training begins with it: the same at every call.

    Raises:
        ConfigError: its weights cannot be fetched.
        InputError: the file of weights is missing, damaged, or another network's.
    """
    settings = experiment.student
    assert settings.encoder_weights != "choose"  # the experiment file demands a choice
    torch.manual_seed(experiment.seed)
    return students.build_classifier(
        encoder_name_of(settings.architecture),
        in_channels=3,
        classes=photographs.classes,
        encoder_weights=settings.encoder_weights,
        standardisation=build.standardisation_of(settings),
    )


def photographs_of(
    experiment: config.Experiment, dataset: Dataset | None, progress: bool
) -> Folder:
    """The photographs that the experiment names; none is read here.

    Raises:
        ConfigError: a data set comes from Python, or a key of ``data`` is given that is not read.
        InputError: the folder is not in ImageNet's layout.
    """
    data = experiment.data
    if dataset is not None or data.path is None:
        raise ConfigError("recipe 'imagenet' reads a folder: give --data.path FOLDER")
    for key, field in config.Data.model_fields.items():
        if key not in ("kind", "path") and getattr(data, key) != field.get_default(
            call_default_factory=True
        ):
            raise ConfigError(
                f"data.{key}: recipe 'imagenet' reads data.path alone, with train/CLASS/ and "
                "val/CLASS/ in it: leave the key out"
            )
    return imagenet_folder(data.path, progress=progress)


def readable_of(found: Folder, lost: Lost, progress: bool) -> Folder:
    """The photographs that can be read.

    Where some may be lost, each is read once for that. Where none may be, nothing is read here, for
    there may be a million: then the first damaged one ends the run, which goes on once it is
    mended.

    Raises:
        InputError: more are lost than allowed.
    """
    if not lost.allowed:
        return found
    train, of_train = readable_photographs(found.train, workers=READERS, progress=progress)
    val, of_val = readable_photographs(found.val, workers=READERS, progress=progress)
    lost.add(of_train | of_val)
    lost.left_out += [*of_train, *of_val]
    return Folder(found.classes, train, val)


def on_photographs(network: nn.Module, batch: Batch) -> Tensor:
    """Logits of ``image`` (B, 3, S, S) uint8, which goes in as 0 to 1 (normalisation `range`)."""
    return network(batch["image"].float() / 255)


def right_answers(
    network: nn.Module, photographs: Photographs, crop: int, workers: int
) -> tuple[int, int, int]:
    """How many photographs' class is the answer, how many among the first five, and of how many."""
    device = next(network.parameters()).device
    mode = network.training
    network.eval()
    first, five, count = 0, 0, 0
    loader = DataLoader(WholePhotographs(photographs, crop), _AT_ONCE, num_workers=workers)
    with torch.inference_mode():
        for images, truth in loader:
            logits = on_photographs(network, {"image": images.to(device)})
            ranked = logits.topk(min(5, logits.shape[1]), 1).indices.cpu()
            hits = ranked == truth[:, None]
            first += int(hits[:, 0].sum())
            five += int(hits.any(1).sum())
            count += len(truth)
    network.train(mode)
    return first, five, count


def rates(right: tuple[int, int, int]) -> Metrics:
    """Top-1 and top-5 accuracy."""
    return {"accuracy": right[0] / right[2], "top5_accuracy": right[1] / right[2]}


def interval_of(right: int, count: int) -> Score:
    """A share with its 95 % interval (Wilson 1927)."""
    from scipy.stats import binomtest

    bounds = binomtest(right, count).proportion_ci(method="wilson")
    return Score(mean=right / count, ci95=(bounds.low, bounds.high), n=count)
