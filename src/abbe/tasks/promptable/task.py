"""Masks that answer prompts: promptable networks, scored by kind of prompt."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from abbe import config, scoring, students, summary
from abbe.datasets import Dataset, Record
from abbe.datasets.training.eval_prompts import Asked, objects_of
from abbe.errors import InputError
from abbe.imaging import Image, ThreeChannelRule, choose_rule, three_channels
from abbe.runs import build
from abbe.sam import SAM, Letterbox, Prompts, size_of
from abbe.summary import SHAPE, Thresholds, Timing
from abbe.targets import TargetStore
from abbe.tasks import timing
from abbe.tasks.each import HERE, Each, Group, Here
from abbe.tasks.instances import require_tests
from abbe.tasks.promptable import shapes
from abbe.tasks.scores import Row, Scores, compare, rows_of
from abbe.tasks.task import BySeed, Scored, Task, first_of
from abbe.teachers import Teacher


class Promptable(Task):
    """Promptable segmentation of objects."""

    name = "promptable"
    metrics = scoring.PROMPTED_METRICS
    watch = "dice"
    validation_score = (
        "the mean of Dice by box and by one point, or that of the one kind of prompt that is taught"
    )
    doubts = (
        "Objects are asked for with prompts made from the labels, as is usual for promptable "
        "networks: scores say how well a shown object is outlined, not whether it is found.",
    )
    scales_images = False

    def check(self, experiment: config.Experiment, dataset: Dataset) -> None:
        """Refuse data without a training image, or without a label to score by.

        Pixel sizes do not matter: every image is seen at one size in px.
        """
        build.check_channels(dataset, experiment.student.input_channels, "the student")
        require_tests(dataset)
        if not len(dataset.split("train")):
            raise InputError(
                f"data set '{dataset.name}' has no training image: change data.split and "
                "data.fractions"
            )

    def metadata(self, experiment: config.Experiment, dataset: Dataset) -> dict[str, Any]:
        """How channels become a colour picture."""
        return {"inputs": choose_rule("auto", len(experiment.student.input_channels))}

    def save(self, path: Path, network: Any, metadata: Mapping[str, Any]) -> None:
        """Write a promptable student whole."""
        students.save_promptable(path, network, metadata)

    def model(
        self, network: nn.Module, metadata: Mapping[str, Any], channels: tuple[str, ...]
    ) -> "PromptedModel":
        """A network with the channels that it sees."""
        assert isinstance(network, SAM)
        return PromptedModel(network, channels)

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
        """Ask every model for every labelled object; a mask is where the logit is above 0.

        What the prompts say without any network is scored beside them, as `abbe.summary.SHAPE`.
        """
        tests, shape = dataset.split("test").labelled.records, shapes.chosen_on(dataset)
        asked = {**models, SHAPE: {None: shape}}
        scores = score_prompted(
            asked, tests, tolerance=evaluation.tolerance, each=each or Here(progress)
        )
        if not scores.rows:
            raise InputError(f"data set '{dataset.name}': no test image has an object to ask for")
        first = first_of(models)
        costs, circumstances = costs_of({name: each.network for name, each in first.items()})
        costs[SHAPE] = {"about": shape.in_words}
        compared = compare(list(models), self.metrics, scores.measured)
        shapes.add(compared, shape, self.metrics, scores.measured)
        return Scored(
            scores.rows,
            compared,
            costs,
            circumstances,
            example=lambda id: outlined(first, dataset[id]),
        )

    def thresholds_chosen_on(self, data: summary.Data) -> str:
        """There are none to choose."""
        return "nothing: a mask is where the logit is above 0"


@dataclass(frozen=True)
class PromptedModel:
    """A network and what it sees.

    Attributes:
        network: Encoder and decoder.
        channels: The image's channels that it sees.
        inputs: How they become a colour picture; see `abbe.imaging.three_channels.RULES`.
        embeddings: Its own of some images, which need not be computed again.
    """

    network: SAM
    channels: tuple[str, ...]
    inputs: ThreeChannelRule = "auto"
    embeddings: TargetStore | None = None

    @torch.inference_mode()
    def masks(self, record: Record, objects: Sequence[Asked]) -> dict[str, np.ndarray]:
        """By kind of prompt, the union of the answers for all objects, (H, W) bool.

        Args:
            record: the image.
            objects: what is asked for.
        """
        image = record.image.open()
        letterbox = Letterbox.of(image.shape, self.network.side)
        device = next(self.network.parameters()).device
        embedding = self._embedding(record.id, image, letterbox).to(device)
        union = {kind: np.zeros(image.shape, bool) for kind in scoring.PROMPT_KINDS}
        for kind in scoring.PROMPT_KINDS:
            for each in objects:
                prompts = prompts_for(each, kind, letterbox).to(device)
                logits, _ = self.network.decode(embedding, prompts, multimask=False)
                union[kind] |= (letterbox.masks(logits.float())[0, 0] > 0).cpu().numpy()
        return union

    def _embedding(self, id: str, image: Image, letterbox: Letterbox) -> torch.Tensor:
        """Of an image, (1, 256, h, w)."""
        if self.embeddings is not None and id in self.embeddings.ids:
            return torch.from_numpy(self.embeddings.read(id, "embedding"))[None].float()
        rule = choose_rule(self.inputs, len(self.channels))
        picture = letterbox.image(three_channels(image.read(channels=self.channels), rule))
        device = next(self.network.parameters()).device
        return self.network.encode(picture[None].to(device))


def prompts_for(asked: Asked, kind: str, letterbox: Letterbox) -> Prompts:
    """The prompt of one kind for one object, the same at every call."""
    if kind == "box":
        return Prompts(boxes=letterbox.boxes(asked.box[None]))
    points = asked.points(int(kind[0]))
    return Prompts(
        points=letterbox.points(points)[None],
        point_labels=torch.ones(1, len(points), dtype=torch.int64),
    )


def score_prompted(
    models: Mapping[str, BySeed],
    records: Sequence[Record],
    *,
    tolerance: float = 2.0,
    each: Each = HERE,
) -> Scores:
    """Score every model on labelled images with objects; the others cannot be asked about."""
    work = partial(_score_image, models, tolerance)
    found = each(work, [[record] for record in records])
    return Scores([row for _, rows in found for row in rows])


def _score_image(models: Mapping[str, BySeed], tolerance: float, group: Group) -> list[Row]:
    (record,) = group
    assert record.label is not None  # only labelled records are given
    label = record.label.read()
    objects = objects_of(label)
    if not objects:
        return []
    rows: list[Row] = []
    for name, seed, model in (
        (name, seed, model) for name, each in models.items() for seed, model in each.items()
    ):
        for kind, mask in model.masks(record, objects).items():
            values = scores_of(mask, label, tolerance)
            named = {scoring.prompted_key(m, kind): values[m] for m in scoring.MEASURED}
            rows += rows_of(record, name, seed, named)
    return rows


def scores_of(mask: np.ndarray, label: np.ndarray, tolerance: float) -> dict[str, float]:
    """Dice, IoU, HD95 and boundary F1 of a mask with the union of the labelled objects."""
    truth, valid = label > 0, label >= 0
    pixel = scoring.pixel_scores(mask, truth, valid)
    boundary = scoring.boundary_scores(mask, truth, valid, tolerance=tolerance)
    return {metric: float((pixel | boundary)[metric]) for metric in scoring.MEASURED}


def costs_of(networks: Mapping[str, SAM]) -> tuple[dict[str, dict[str, Any]], Timing]:
    """Sizes, and what each network takes to encode a picture and to answer a prompt, in turn."""
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
    sizes = {name: size_of(networks[name])._asdict() for name in dict.fromkeys(first.values())}
    costs = {
        name: sizes[alike]
        | {
            "ms_per_image": timed[f"image {alike}"].milliseconds,
            "ms_per_prompt": timed[f"prompt {alike}"].milliseconds,
        }
        for name, alike in first.items()
    }
    runs = {name: timed[f"image {alike}"].runs for name, alike in first.items()}
    # Every picture is brought to the network's own square first.
    sides = {network.side for network in networks.values()}
    side = sides.pop() if len(sides) == 1 else None
    return costs, timing.circumstances(None if side is None else (side, side), runs)


@torch.inference_mode()
def _encode(network: SAM, picture: torch.Tensor) -> torch.Tensor:
    return network.encode(picture)


@torch.inference_mode()
def _decode(network: SAM, embedding: torch.Tensor, prompts: Prompts) -> torch.Tensor:
    return network.decode(embedding, prompts, multimask=False)[0]


def outlined(models: Mapping[str, PromptedModel], record: Record) -> dict[str, np.ndarray]:
    """An image with its true objects and what teacher, student and baselines answer to boxes."""
    assert record.label is not None  # only labelled images are scored
    label = record.label.read()
    image = record.image.open()
    channels = models["student"].channels
    picture = three_channels(image.read(channels=channels), choose_rule("auto", len(channels)))
    arrays = {"id": np.array(record.id), "image": picture, "truth": label}
    for name, model in models.items():
        if name in ("teacher", "student", *summary.BASELINES):
            arrays[name] = model.masks(record, objects_of(label))["box"].astype(np.int32)
    return arrays
