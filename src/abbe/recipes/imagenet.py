"""An encoder pretrained on photographs with classes, in ImageNet's layout, for other recipes."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

import abbe
from abbe import config, losses, report, students
from abbe.datasets import Dataset
from abbe.datasets.imagenet import (
    ImageNet,
    Photographs,
    imagenet_folder,
    readable_photographs,
)
from abbe.datasets.training.batches import Batch
from abbe.datasets.training.photograph_batches import PhotographBatches, WholePhotographs
from abbe.errors import ConfigError
from abbe.files import write_json
from abbe.recipes.distill_rckd import Session
from abbe.recipes.rckd import classification_term
from abbe.runs import build, results, schedules
from abbe.runs import folder as run_folder
from abbe.runs.folder import Run
from abbe.runs.lost import Lost
from abbe.runs.normalising import scaling_of
from abbe.students import Classifier
from abbe.students.unet import encoder_name_of
from abbe.training.fit import Fitted, fit
from abbe.training.log import Log
from abbe.training.stage import Metrics, Stage

METRIC_NAMES = {"accuracy": "Top-1 accuracy", "top5_accuracy": "Top-5 accuracy"}
_AT_ONCE = 128
READERS = 4
"""Threads that look for damaged photographs; decoding lets go of Python's lock."""


def photographs_of(
    experiment: config.Experiment, dataset: Dataset | None, lost: Lost, progress: bool
) -> ImageNet:
    """The photographs that the experiment names, without those that cannot be read.

    Where some may be lost, each is read once for that. Where none may be, nothing is read here, for
    there may be a million: then the first damaged one ends the run, which goes on once it is
    mended.

    Raises:
        ConfigError: a data set comes from Python, or a key of ``data`` is given that is not read.
        InputError: the folder is not in ImageNet's layout, or more are lost than allowed.
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
    found = imagenet_folder(data.path, progress=progress)
    if not lost.allowed:
        return found
    train, of_train = readable_photographs(found.train, workers=READERS, progress=progress)
    val, of_val = readable_photographs(found.val, workers=READERS, progress=progress)
    lost.add(of_train | of_val)
    lost.left_out += [*of_train, *of_val]
    return ImageNet(found.classes, train, val)


def pretrain_on_photographs(
    experiment: config.Experiment, photographs: ImageNet, session: Session
) -> Run:
    """Train a classifier of the photographs; what it leaves is its encoder, encoder.safetensors."""
    count = len(photographs.train)
    if session.progress and session.accelerator.is_main_process:
        print(
            f"{count} photographs of {len(photographs.classes)} classes, {len(photographs.val)} to "
            "validate on",
            flush=True,
        )
    amounts = {"training": schedules.Amount(count, count)}  # a crop of each is a pass
    experiment = schedules.resolve(experiment, amounts, session.folder, resume=session.resume)
    settings, training = experiment.student, experiment.training
    accelerator, workers = session.accelerator, build.workers(training.workers)
    assert settings.encoder_weights != "choose"  # the experiment file demands a choice
    torch.manual_seed(experiment.seed)
    model = students.build_classifier(
        encoder_name_of(settings.architecture),
        in_channels=3,
        classes=photographs.classes,
        encoder_weights=settings.encoder_weights,
        standardisation=build.standardisation_of(settings),
    )

    def validate(network: nn.Module) -> Metrics:
        return rates(right_answers(network, photographs.val, training.crop, workers))

    stage = Stage(
        "photographs",
        trains=model,
        batches=PhotographBatches(
            photographs.train,
            batch_size=training.batch_size,
            crop=training.crop,
            seed=experiment.seed,
            colour=experiment.fine_tuning.colour,
            flips=training.augmentation.flips,
            rank=accelerator.process_index,
            processes=accelerator.num_processes,
        ),
        terms=(classification_term(None, experiment.fine_tuning.label_smoothing),),
        weighting=lambda names: losses.FixedWeighting(dict.fromkeys(names, 1.0)),
        schedule=build.build_schedule(training),
        validate=validate,
        watch="accuracy",
        answer=on_photographs,
    )
    fitted = fit(
        stage,
        accelerator,
        Log(session.folder / "log.jsonl", accelerator, "student"),
        session.folder / "checkpoints" / "student-photographs.pt",
        seed=experiment.seed,
        workers=workers,
        resume=session.resume,
        progress=session.progress,
    )
    if accelerator.is_main_process:
        right = right_answers(model, photographs.val, training.crop, workers)
        model.to("cpu").eval()
        facts = encoder_facts(experiment, photographs, fitted, rates(right))
        students.save_encoder(session.folder / "encoder.safetensors", model, facts)
        write_results(experiment, photographs, model, fitted, right, session)
    accelerator.wait_for_everyone()
    return run_folder.open_run(session.folder)


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


def encoder_facts(
    experiment: config.Experiment, photographs: ImageNet, fitted: Fitted, scores: Metrics
) -> dict[str, Any]:
    """What must be known to use the encoder."""
    return {
        "channels": list(experiment.student.sees),
        "normalisation": scaling_of(experiment.student).words,
        "pretraining": "classification of photographs",
        "photographs": len(photographs.train),
        "classes": len(photographs.classes),
        "trained_on": str(photographs.train.folder.parent.resolve().name),
        "passes": fitted.steps * experiment.training.batch_size / len(photographs.train),
        "encoder_weights": str(experiment.student.encoder_weights),
        "seed": experiment.seed,
        **scores,
    }


def write_results(
    experiment: config.Experiment,
    photographs: ImageNet,
    model: Classifier,
    fitted: Fitted,
    right: tuple[int, int, int],
    session: Session,
) -> None:
    """Write summary.json and the report."""
    name = photographs.train.folder.parent.resolve().name
    metrics = {
        metric: interval_of(count, right[2])
        for metric, count in zip(METRIC_NAMES, right[:2], strict=True)
    }
    summary: dict[str, Any] = {
        "abbe": abbe.__version__,
        "recipe": experiment.recipe,
        "title": experiment.title or f"{experiment.student.architecture} on {name}",
        "task": f"classification of photographs, {len(photographs.classes)} classes",
        "data": {
            "name": name,
            "simulated": False,
            "train_labelled": len(photographs.train),
            "validation": len(photographs.val),
            "test": len(photographs.val),
        },
        "student_sees": list(experiment.student.sees),
        "normalisation": scaling_of(experiment.student).words,
        "encoder_weights": str(experiment.student.encoder_weights),
        **results.describe_teacher(None, ()),
        "lost": session.lost.ids,
        "left_out": session.lost.left_out,
        "models": {
            "student": {
                "metrics": metrics,
                **students.count(model, 3, 224)._asdict(),
                "macs_image_size": 224,
            }
        },
        "gain": {},
        "retention": {},
        "retention_ci95": {},
        "metric_names": METRIC_NAMES,
        "speed": results.training_speed({"student": (model, [fitted])}),
        "schedule": schedules.read_schedule(session.folder),
        "seed": experiment.seed,
        "thresholds": {},
        "thresholds_chosen_on": "nothing: the answer is the most probable class",
        "warnings": [
            "The weights that scored best on the validation photographs were kept, and the scores "
            "are of the same photographs: they flatter a little.",
            "Intervals are Wilson's, of a share of independent photographs.",
        ],
    }
    summary["warnings"] += results.missing_answers(summary)
    write_json(session.folder / "summary.json", summary)
    report.write_report(session.folder)


def interval_of(right: int, count: int) -> Mapping[str, Any]:
    """A share with its 95 % interval (Wilson 1927)."""
    from scipy.stats import binomtest

    bounds = binomtest(right, count).proportion_ci(method="wilson")
    return {"mean": right / count, "ci95": [bounds.low, bounds.high], "n": count}
