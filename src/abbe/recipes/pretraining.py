"""RCKD's first stage: an encoder learns a teacher's response to tiles without labels.

The forms of both losses are ours (docs/rckd.md).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from abbe import config, losses, students
from abbe.datasets import Dataset
from abbe.datasets.training.batches import Batch, Batches
from abbe.datasets.training.demands import require_colours, require_even_shares
from abbe.datasets.training.prepare import Prepared, prepare
from abbe.errors import ConfigError, InputError
from abbe.progress import track
from abbe.recipes.recipe import weights_metadata
from abbe.recipes.terms import maps_of
from abbe.runs import build
from abbe.runs.normalising import scaling_of
from abbe.runs.session import Session
from abbe.students import Classifier, LinearProbe, ResponseNetwork, UNet
from abbe.targets import TargetStore
from abbe.teachers import AGREEMENT
from abbe.training.fit import Fitted
from abbe.training.stage import Schedule, Stage, Term
from abbe.training.trying import require_varied

Method = Literal["contrastive", "rckd", "rckd+contrastive"]
Response = Literal["soft_bce", "kl"]
TaskModel = Classifier | LinearProbe | UNet

INSTANCE_MAPS = ("foreground", "boundary")
"""What instances of a teacher are turned into."""
HV_MAPS = ("horizontal", "vertical")
LOOKED_AT = 16
"""Answers that are asked whether their maps add up to 1."""
AWAY_FROM_ONE = 0.05
"""By how much a tile's sums may differ from 1 in the mean; maps are stored in 8 bits."""


@dataclass(frozen=True)
class Pretrained:
    """What pretraining left: the encoder's file, and the decoder if it learned a response."""

    encoder: Path
    unet: UNet
    fitted: Fitted
    responds: bool


class ResponseOutput(NamedTuple):
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
        forward=answers,
        parts=parts,
    )


def response_term(count: int, response: Response, temperature: float) -> Term:
    """The first ``count`` maps against the teacher's, where it has spoken."""

    def loss(answer: ResponseOutput, batch: Batch) -> Tensor | None:
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

    def loss(answer: ResponseOutput, batch: Batch) -> Tensor | None:
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

    def loss(answer: ResponseOutput, _batch: Batch) -> Tensor:
        assert answer.first is not None
        assert answer.second is not None
        return losses.nt_xent(answer.first, answer.second, temperature)

    return Term("contrastive", loss, distils=False)


def pretrain_encoder(
    experiment: config.Experiment,
    tiles: Dataset,
    store: TargetStore | None,
    model: TaskModel,
    session: Session,
    name: str = "student",
) -> Pretrained:
    """Train the encoder that ``model`` begins with on the tiles, and write encoder.safetensors.

    ``name`` is what the log and the progress bar call it.

    Raises:
        InputError: the store has nothing for the tiles.
        ConfigError: what it has does not go with the response that was asked for.
    """
    settings = experiment.pretraining
    input_channels, method = experiment.student.input_channels, settings.method
    assert method != "none"  # the caller asks for pretraining
    reading = track(tiles, "reading", shown=session.progress)
    scaling = scaling_of(experiment.student)
    images = prepare(reading, input_channels, scaling=scaling, targets=store)
    outputs, hv = ("foreground",), 0.0
    if store is not None:
        images = [image for image in images if image.has_target]
        outputs, hv = _response_of(settings, images, store)
    torch.manual_seed(experiment.seed)
    unet = students.build(
        experiment.student.architecture,
        in_channels=len(input_channels),
        outputs=(*outputs, *(HV_MAPS if hv else ())),
        encoder_weights="random",
    )
    students.copy_encoder(unet, _base(model))
    network = ResponseNetwork(unet)
    stage = pretrain(
        network,
        _crops(experiment, images, session),
        _schedule(experiment),
        method=method,
        response=settings.response,
        temperature=settings.temperature,
        target_outputs=outputs,
        hv=hv,
        contrastive=settings.contrastive,
        contrastive_temperature=settings.contrastive_temperature,
    )
    fitted = session.fit(stage, name)
    network.to("cpu").eval()
    path = session.folder / "encoder.safetensors"
    if session.is_main:
        metadata = encoder_metadata(experiment, tiles, store, len(images))
        students.save_encoder(path, unet, metadata)
    session.accelerator.wait_for_everyone()
    return Pretrained(path, unet, fitted, responds=store is not None)


def _crops(experiment: config.Experiment, images: Sequence[Prepared], session: Session) -> Batches:
    settings = experiment.pretraining
    return build.build_batches(
        images,
        experiment.training,
        input_channels=experiment.student.input_channels,
        seed=experiment.seed,
        rank=session.accelerator.process_index,
        processes=session.accelerator.num_processes,
        batch_size=settings.batch_size,
        crop=settings.crop,
        labelled_share=0.5,
        stain=settings.stain,
        colour=settings.colour,
        second_view="contrastive" in settings.method,
    )


def _schedule(experiment: config.Experiment) -> Schedule:
    settings = experiment.pretraining
    assert settings.steps is not None  # the schedule is resolved
    assert settings.learning_rate != "auto"
    return replace(
        build.build_schedule(experiment.training),
        steps=settings.steps,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        patience=None,
    )


def take_over(model: TaskModel, pretrained: Pretrained) -> None:
    """Give the network of the task the pretrained encoder, and to a U-Net the decoder, too."""
    students.load_encoder(_base(model), pretrained.encoder)
    if isinstance(model, UNet) and pretrained.responds:
        model.decoder.load_state_dict(pretrained.unet.decoder.state_dict())


def encoder_metadata(
    experiment: config.Experiment, tiles: Dataset, store: TargetStore | None, count: int
) -> dict[str, Any]:
    """What must be known to use the encoder."""
    provenance = None if store is None else store.provenance
    return weights_metadata(
        experiment,
        tiles,
        normalisation=scaling_of(experiment.student).words,
        pretraining=experiment.pretraining.method,
        tiles=count,
        teacher=None if provenance is None else provenance.teacher,
        teacher_weights_licence=None if provenance is None else provenance.weights_licence,
        teacher_stand_in=provenance is not None and provenance.stand_in,
        seed=experiment.seed,
    )


def _response_of(
    settings: config.Pretraining, images: Sequence[Prepared], store: TargetStore
) -> tuple[tuple[str, ...], float]:
    """Names of the maps to learn, and the weight of the horizontal and vertical ones."""
    if not images:
        raise InputError(
            f"{store.path}: holds no usable target for any tile, so there is nothing to learn. "
            "Compare its ids with those of 'abbe data check'"
        )
    instances = images[0].instances is not None
    outputs = INSTANCE_MAPS if instances else store.provenance.outputs
    require_response(settings, outputs, str(store.path))
    if settings.response == "kl":
        require_exclusive(images, str(store.path))
    return tuple(outputs), settings.hv if instances else 0.0


def require_response(settings: config.Pretraining, outputs: Sequence[str], source: str) -> None:
    """Refuse a teacher whose maps cannot be learned so.

    Args:
        settings: say how its response is learned.
        outputs: names of its maps.
        source: where it is, for the message.

    Raises:
        ConfigError: it is several teachers, or has no classes that exclude each other for 'kl'.
    """
    if AGREEMENT in outputs:
        raise ConfigError(
            f"{source}: is the mean of several teachers, which recipe cmkd learns from. Recipe "
            "rckd learns from one: name its own store"
        )
    overlap = set(outputs) >= set(INSTANCE_MAPS)  # a boundary is foreground, too
    if settings.response == "kl" and (overlap or len(outputs) < 2):
        raise ConfigError(
            "pretraining.response: 'kl' needs a teacher of two or more classes that exclude each "
            f"other; this one gives {', '.join(outputs)}. Take soft_bce"
        )


def require_exclusive(images: Sequence[Prepared], source: str) -> None:
    """Refuse maps that leave something out, which 'kl' would share out among the others.

    Args:
        images: with the teacher's probability maps; some are looked at.
        source: where it is, for the message.

    Raises:
        ConfigError: the maps of an image do not add up to 1.
    """
    for image in images[:: -(-len(images) // LOOKED_AT)]:
        assert image.probability is not None  # instances are refused before
        sums = np.asarray(image.probability[:]).sum(0, dtype=np.int64) / 255
        if np.abs(sums - 1).mean() > AWAY_FROM_ONE:
            raise ConfigError(
                f"pretraining.response: 'kl' needs classes that exclude each other and leave "
                f"nothing out, but the maps of '{image.id}' in {source} add up to "
                f"{sums.mean():.2f} in the mean, not to 1. Store the background, too (name it in "
                "teacher.options: outputs), or take soft_bce"
            )


def require_pretrainable(experiment: config.Experiment) -> None:
    """Refuse what pretraining can never work with, whatever the tiles are.

    Raises:
        ConfigError: the network's batch norm would see one value a channel.
        InputError: the batch cannot be shared out evenly, or there are no colours to change.
    """
    settings, student = experiment.pretraining, experiment.student
    processes, count = build.processes(), len(student.input_channels)
    require_colours(student.input_channels, settings.stain, settings.colour, "pretraining")
    require_even_shares(settings.batch_size, processes, "pretraining")
    unet = students.build(
        student.architecture, in_channels=count, outputs=("foreground",), encoder_weights="random"
    )
    require_varied(
        ResponseNetwork(unet) if "contrastive" in settings.method else unet,
        count,
        settings.crop,
        settings.batch_size,
        processes=processes,
        synchronised=experiment.training.sync_batch_norm,
        section="pretraining",
    )


def _base(model: TaskModel) -> UNet | students.Classifier:
    return model.classifier if isinstance(model, LinearProbe) else model


def _respond(network: nn.Module, batch: Batch) -> ResponseOutput:
    assert isinstance(network, ResponseNetwork)
    return ResponseOutput(maps=network.respond(batch["image"]))


def _contrast(network: nn.Module, batch: Batch) -> ResponseOutput:
    assert isinstance(network, ResponseNetwork)
    first, second = network.project(batch["image"]), network.project(batch["second_image"])
    return ResponseOutput(first=first, second=second)


def _respond_and_contrast(network: nn.Module, batch: Batch) -> ResponseOutput:
    assert isinstance(network, ResponseNetwork)
    maps, first = network(batch["image"])
    return ResponseOutput(maps, first, network.project(batch["second_image"]))


def _taught(batch: Batch) -> Tensor:
    taught = batch["valid"] & batch["has_target"][:, None, None]
    if "target_instances" in batch:
        taught = taught & (batch["target_instances"] >= 0)
    return taught


def _targets(batch: Batch) -> Tensor:
    """The teacher's maps (B, K, H, W)."""
    if "target_instances" not in batch:
        return batch["target"]
    maps = maps_of(batch["target_instances"], INSTANCE_MAPS)
    return torch.stack([maps[name] for name in INSTANCE_MAPS], 1)
