"""What a run of KD SAM leaves behind: scores by kind of prompt, summary, examples, report."""

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
import torch

import abbe
from abbe import config, scoring
from abbe.datasets import Dataset, Record
from abbe.errors import InputError
from abbe.imaging import ThreeChannelRule, choose_rule, three_channels
from abbe.runs import results, schedules
from abbe.runs.lost import Lost
from abbe.sam import SAM, Prompts, size_of
from abbe.targets import TargetStore
from abbe.tasks import timing
from abbe.tasks.prompted import PromptedModel, objects_of, score_prompted
from abbe.tasks.scores import save_examples, save_scores, summarise
from abbe.teachers.introduction import as_asked
from abbe.teachers.sam.teacher import SamTeacher
from abbe.training.fit import Fitted

AFTER_FIRST = "student after stage 1"
ZERO_SHOT = "baseline zero-shot"

Trained: TypeAlias = dict[str, tuple[SAM, list[Fitted]]]
"""Networks by name, each with what its stages came to; none for one that is scored as it is."""


def write_results(
    experiment: config.Experiment,
    dataset: Dataset,
    folder: Path,
    teacher: SamTeacher,
    trained: Trained,
    speed: dict[str, float],
    lost: Lost,
    progress: bool,
) -> None:
    """Score all networks by kind of prompt; write what the report needs."""
    sees = experiment.student.sees
    inputs = cast(ThreeChannelRule, experiment.teacher.options.get("inputs", "auto"))
    teaching = PromptedModel(teacher.network.to("cpu"), teacher.provenance.channels, inputs)
    models = {"teacher": teaching} | {
        name: PromptedModel(network, tuple(sees)) for name, (network, _) in trained.items()
    }
    tests = list(dataset.split("test").labelled)
    scores = score_prompted(
        models, tests, tolerance=experiment.evaluation.tolerance, progress=progress
    )
    if not scores.rows:
        raise InputError(f"data set '{dataset.name}': no test image has an object to ask for")
    save_scores(scores, folder / "scores.parquet")
    save_examples(scores, folder / "examples", lambda id: outlined(models, dataset[id]))
    store = folder / "targets.zarr"
    provenance = results.describe_provenance(as_asked(teacher.provenance))
    taught = TargetStore(store) if store.exists() else None
    stored = results.describe_teacher(taught, dataset.split("train"))
    summary: dict[str, Any] = {
        "abbe": abbe.__version__,
        "recipe": experiment.recipe,
        "title": experiment.title or f"{experiment.recipe} on {dataset.name}",
        "task": "promptable segmentation",
        "data": results.describe_data(dataset),
        "student_sees": list(sees),
        "encoder_weights": str(experiment.student.encoder_weights),
        "teacher": provenance,
        "teacher_sees": list(teacher.provenance.channels),
        "targets": stored["targets"],
        "lost": lost.ids,
        "left_out": lost.left_out,
        "stand_in": [provenance["teacher"]] if provenance["stand_in"] else [],
        **summarise(scores, experiment.evaluation.resamples, scoring.PROMPTED_METRICS),
        "metric_names": {
            metric: scoring.PROMPTED_METRICS[metric].name for metric in scores.metrics
        },
        "speed": {**speed, **results.training_speed(trained)},
        "schedule": schedules.read_schedule(folder),
        "smallest_gain": experiment.evaluation.smallest_gain,
        "seed": experiment.seed,
        "thresholds": {},
        "thresholds_chosen_on": "nothing: a mask is where the logit is above 0",
    }
    for name, model in models.items():
        summary["models"][name] |= describe_network(model)
        if name in (about := about_models(experiment)):
            summary["models"][name]["about"] = about[name]
    add_times(summary, models)
    summary["warnings"] = warnings(summary, experiment)
    results.finish(folder, summary)


def about_models(experiment: config.Experiment) -> dict[str, str]:
    """What the networks are that a name does not explain, by name."""
    baseline = experiment.promptable.baseline
    file = baseline.name if baseline is not None else ""
    return {
        AFTER_FIRST: "the student's encoder with the teacher's own decoder, before any label was "
        "used: what matching the embeddings came to",
        ZERO_SHOT: f"{file} as it comes, before anything here trained it",
        "baseline": f"{file} after the same second stage as the student's",
    }


def describe_network(model: PromptedModel) -> dict[str, Any]:
    """Parameters, and MACs of one image's encoding."""
    return size_of(model.network)._asdict()


def add_times(summary: dict[str, Any], models: Mapping[str, PromptedModel]) -> None:
    """Time what each model takes to encode a picture and to answer a prompt, in turn."""
    networks = {name: model.network for name, model in models.items()}
    first = timing.first_alike(networks)
    calls: dict[str, Callable[[], object]] = {}
    for name in dict.fromkeys(first.values()):
        network = networks[name]
        picture = torch.rand(1, 3, network.side, network.side)
        point = Prompts(
            points=torch.full((1, 1, 2), network.side / 2),
            point_labels=torch.ones(1, 1, dtype=torch.int64),
        )
        with torch.inference_mode():
            embedding = network.encode(picture)
        calls[f"image {name}"] = partial(_encode, network, picture)
        calls[f"prompt {name}"] = partial(_decode, network, embedding, point)
    timed = timing.time_in_turn(calls)
    for name, alike in first.items():
        summary["models"][name]["ms_per_image"] = timed[f"image {alike}"].milliseconds
        summary["models"][name]["ms_per_prompt"] = timed[f"prompt {alike}"].milliseconds
    # Every picture is brought to the network's own size first.
    runs = {name: timed[f"image {alike}"].runs for name, alike in first.items()}
    summary["timing"] = timing.circumstances(None, runs)


@torch.inference_mode()
def _encode(network: SAM, picture: torch.Tensor) -> torch.Tensor:
    return network.encode(picture)


@torch.inference_mode()
def _decode(network: SAM, embedding: torch.Tensor, prompts: Prompts) -> torch.Tensor:
    return network.decode(embedding, prompts, multimask=False)[0]


def warnings(summary: dict[str, Any], experiment: config.Experiment) -> list[str]:
    """What a reader should doubt."""
    said = [
        "Objects are asked for with prompts made from the labels, as is usual for promptable "
        "networks: scores say how well a shown object is outlined, not whether it is found."
    ]
    settings = experiment.promptable
    seen = settings.perceptual and settings.perceptual_mode != "decoder"
    if seen and settings.vgg_weights == "random":
        said.append("The perceptual loss saw through a network with random weights.")
    return said + results.warnings(summary)


def outlined(models: Mapping[str, PromptedModel], record: Record) -> dict[str, np.ndarray]:
    """An image with its true objects and what teacher, student and twin answer to boxes."""
    assert record.label is not None  # only labelled images are scored
    label = record.label.read()
    image = record.image.open()
    channels = models["student"].channels
    picture = three_channels(image.read(channels=channels), choose_rule("auto", len(channels)))
    arrays = {"id": np.array(record.id), "image": picture, "truth": label}
    for name, model in models.items():
        if name in ("teacher", "student", "twin"):
            arrays[name] = model.masks(record, objects_of(label))["box"].astype(np.int32)
    return arrays
