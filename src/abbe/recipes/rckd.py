"""RCKD: an encoder learns a teacher's response to tiles without labels, then another task.

After Kim, Kwak, Chang, Kim and Kim, "Response-Based Cross-Task Knowledge Distillation for
Pathological Image Analysis", Bioengineering 2023, 10(11), 1279. Two stages: the student predicts
what a nuclei segmenter says of unlabelled tiles; its encoder is then fine-tuned for a task of its
own. The forms of both losses are ours (docs/rckd.md). Between the stages the encoder goes from one
network into the other.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abbe import losses
from abbe.datasets.training.batches import Batch, Batches
from abbe.recipes.cmkd import maps_of
from abbe.students import Classifier, LinearProbe, ResponseNetwork, UNet
from abbe.training.stage import Metrics, Schedule, Stage, Term

Method = Literal["contrastive", "rckd", "rckd+contrastive"]
Response = Literal["soft_bce", "kl"]
TaskModel = Classifier | LinearProbe | UNet

INSTANCE_MAPS = ("foreground", "boundary")
"""What instances of a teacher are turned into."""
HV_MAPS = ("horizontal", "vertical")


class Answer(NamedTuple):
    """What a response network says of a batch: maps, and vectors of two views, where asked for."""

    maps: Tensor | None = None
    first: Tensor | None = None
    second: Tensor | None = None


def pretrain(
    network: ResponseNetwork,
    batches: Batches,
    schedule: Schedule,
    *,
    method: Method = "rckd",
    response: Response = "soft_bce",
    temperature: float = 2.0,
    target_outputs: Sequence[str] = (),
    hv: float = 0.0,
    contrastive: float = 0.1,
    contrastive_temperature: float = 0.1,
) -> Stage:
    """The first stage: no term of it looks at a label.

    Args:
        network: its maps are ``target_outputs``, and then horizontal and vertical if ``hv`` is
            above 0.
        batches: crops of tiles with targets; with a second view, for a contrastive term.
        schedule: steps and learning rate.
        method: which terms there are.
        response: soft_bce for maps that do not exclude each other, kl for classes that do.
        temperature: of kl.
        target_outputs: names of the teacher's maps; `INSTANCE_MAPS` where it gives instances.
        hv: weight of the horizontal and vertical maps, which only instances have.
        contrastive: weight of NT-Xent beside a response; alone, it has weight 1.
        contrastive_temperature: of NT-Xent.
    """
    terms: list[Term] = []
    weights: dict[str, float] = {}
    responds, contrasts = method.startswith("rckd"), method.endswith("contrastive")
    if responds:
        terms.append(response_term(len(target_outputs), response, temperature))
        weights["response"] = 1.0
        if hv:
            terms.append(hv_term(len(target_outputs)))
            weights["hv"] = hv
    if contrasts:
        terms.append(contrastive_term(contrastive_temperature))
        weights["contrastive"] = contrastive if responds else 1.0
    answers, parts = {
        (True, False): (_respond, {"unet": 1.0}),
        (False, True): (_contrast, {"unet.encoder": 1.0, "projection": 1.0}),
        (True, True): (_respond_and_contrast, {"unet": 1.0, "projection": 1.0}),
    }[responds, contrasts]
    return Stage(
        "pretrain",
        trains=network,
        batches=batches,
        terms=tuple(terms),
        weighting=lambda names: losses.FixedWeighting({name: weights[name] for name in names}),
        schedule=schedule,
        answer=answers,
        parts=parts,
    )


def fine_tune(
    model: TaskModel,
    batches: Batches,
    schedule: Schedule,
    *,
    term: Term,
    encoder_rate: float = 1.0,
    head_rate: float = 1.0,
    validate: Callable[[nn.Module], Metrics] | None = None,
    watch: str,
) -> Stage:
    """The second stage, and all that the twin gets: the task, from labels alone.

    Args:
        model: a classifier, a linear probe (whose encoder stays as it is) or a U-Net.
        batches: crops of labelled images.
        schedule: steps and learning rate.
        term: of the task: `classification_term` or `region_term`.
        encoder_rate, head_rate: what the learning rate of each part is multiplied by.
        validate: scores the model on validation images.
        watch: the validation score that picks the best weights.
    """
    return Stage(
        "task",
        trains=model,
        batches=batches,
        terms=(term,),
        weighting=lambda names: losses.FixedWeighting(dict.fromkeys(names, 1.0)),
        schedule=schedule,
        validate=validate,
        watch=watch,
        parts=parts_of(model, encoder_rate, head_rate),
    )


def parts_of(model: TaskModel, encoder_rate: float, head_rate: float) -> dict[str, float]:
    """The parts that train, by the beginning of their names, each with its rate."""
    if isinstance(model, LinearProbe):
        return {"linear.": head_rate}
    if isinstance(model, UNet):
        return {"encoder.": encoder_rate, "decoder.": head_rate, "head.": head_rate}
    rates: dict[str, float] = {}
    for name, _ in model.network.named_parameters():
        first, dot, _ = name.partition(".")
        encodes = name in model.encoder_tensors
        rates[f"network.{first}{dot}"] = encoder_rate if encodes else head_rate
    return rates


def response_term(count: int, response: Response, temperature: float) -> Term:
    """The first ``count`` maps against the teacher's, where it has spoken."""

    def loss(answer: Answer, batch: Batch) -> Tensor | None:
        valid = _taught(batch)
        if not losses.anywhere(valid):
            return None
        assert answer.maps is not None
        maps = answer.maps[:, :count]
        if response == "kl":
            return losses.temperature_kl(
                maps, losses.logits_of(batch["target"]), valid, temperature
            )
        return losses.response_bce(maps, _targets(batch), valid)

    return Term("response", loss, distils=True)


def hv_term(first: int) -> Term:
    """The two maps from number ``first`` on against those of the teacher's instances.

    They are made of the instances as they lie in the crop, so that they turn with it.
    """

    def loss(answer: Answer, batch: Batch) -> Tensor | None:
        valid = _taught(batch)
        if not losses.anywhere(valid):
            return None
        assert answer.maps is not None
        instances = batch["target_instances"]
        nuclei = losses.foreground_of(instances)
        teacher = losses.hv_maps(instances)
        return losses.hv_mse(answer.maps[:, first : first + 2], teacher, nuclei, valid)

    return Term("hv", loss, distils=True)


def contrastive_term(temperature: float) -> Term:
    """Two views of one tile are alike (NT-Xent)."""

    def loss(answer: Answer, _batch: Batch) -> Tensor:
        assert answer.first is not None
        assert answer.second is not None
        return losses.nt_xent(answer.first, answer.second, temperature)

    return Term("contrastive", loss, distils=False)


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


def region_term() -> Term:
    """Cross-entropy and Dice of the classes of the pixels; −1 does not count."""

    def loss(logits: Tensor, batch: Batch) -> Tensor | None:
        valid = batch["valid"] & (batch["label"] >= 0)
        known = losses.anywhere(valid)
        return losses.region_loss(logits, batch["label"], valid) if known else None

    return Term("regions", loss, distils=False)


def _respond(network: nn.Module, batch: Batch) -> Answer:
    assert isinstance(network, ResponseNetwork)
    return Answer(maps=network.respond(batch["image"]))


def _contrast(network: nn.Module, batch: Batch) -> Answer:
    assert isinstance(network, ResponseNetwork)
    first, second = network.project(batch["image"]), network.project(batch["second_image"])
    return Answer(first=first, second=second)


def _respond_and_contrast(network: nn.Module, batch: Batch) -> Answer:
    assert isinstance(network, ResponseNetwork)
    maps, first = network(batch["image"])
    return Answer(maps, first, network.project(batch["second_image"]))


def _taught(batch: Batch) -> Tensor:
    taught = batch["valid"] & batch["has_target"][:, None, None]
    if "target_instances" in batch:
        taught = taught & (batch["target_instances"] >= 0)
    return taught


def _targets(batch: Batch) -> Tensor:
    """The teacher's maps (B, K, H, W)."""
    if "target_instances" not in batch:
        return batch["target"]
    maps = maps_of(batch["target_instances"])
    return torch.stack([maps[name] for name in INSTANCE_MAPS], 1)
