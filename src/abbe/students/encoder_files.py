"""A pretrained encoder as one safetensors file: timm's names of its tensors, and facts about it.

Abbe takes the file wherever it takes encoder weights. timm and segmentation_models_pytorch load it
by the same name of the network::

    file = {"file": "encoder.safetensors"}
    timm.create_model("resnet18", num_classes=9, pretrained=True, pretrained_cfg_overlay=file)

    segmentation_models_pytorch.Unet(
        "tu-resnet18", encoder_weights=True, pretrained_cfg_overlay=file
    )

``import abbe.students`` makes both know "csat_like", too.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from abbe.errors import InputError
from abbe.students.classifier import Classifier, load_into
from abbe.students.described import description_in, write_described
from abbe.students.encoders import Encoder, fill, network_of, timm_name
from abbe.students.unet import UNet, encoder_name_of
from abbe.tensors import read_safetensors, read_tensors

FORMAT_VERSION = 1
_KEY = "abbe-encoder"
_FIELDS: dict[str, type] = {"encoder": str, "timm": str, "in_channels": int, "facts": dict}


def encoder_state(model: UNet | Classifier) -> dict[str, Tensor]:
    """The encoder's tensors by timm's names, the same ones from a U-Net and from a classifier."""
    if isinstance(model, UNet):
        return network_of(model.encoder).state_dict()
    state = model.network.state_dict()
    return {name: state[name] for name in state if name in model.encoder_tensors}


def encoder_name(model: UNet | Classifier) -> str:
    """Abbe's name of the encoder, such as "csat-like"."""
    if isinstance(model, UNet):
        return encoder_name_of(model.architecture)
    return model.architecture


def encoder_of(model: Classifier) -> Encoder:
    """The encoder of a classifier as a network of its own, with copies of the weights."""
    device = next(model.parameters()).device
    with torch.random.fork_rng(devices=[]), device:
        encoder = Encoder(model.architecture, model.in_channels)
    network_of(encoder).load_state_dict(encoder_state(model))
    return encoder


def save_encoder(
    path: str | os.PathLike[str], model: UNet | Classifier, facts: Mapping[str, Any]
) -> None:
    """Write a model's encoder, atomically.

    Args:
        path: The file, ending in .safetensors.
        model: A U-Net or a classifier, on any device.
        facts: What should travel with it (what it was pretrained on, normalisation, pixel size,
            licence …), as JSON can hold it.

    Raises:
        ValueError: ``path`` does not end in .safetensors, or ``facts`` holds NaN.
        TypeError: ``facts`` holds what JSON cannot.
    """
    name = encoder_name(model)
    description = {
        "format_version": FORMAT_VERSION,
        "encoder": name,
        "timm": timm_name(name),
        "in_channels": model.in_channels,
        "facts": dict(facts),
    }
    write_described(Path(path), encoder_state(model), _KEY, description)


def load_encoder(model: UNet | Classifier, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Give a model the encoder of a file; its decoder or linear layer stay as they are.

    Args:
        model: A U-Net or a classifier on the encoder that the file holds.
        path: A file of `save_encoder`, or any other in timm's layout of the network
            (.safetensors, .pt, .pth).

    Returns:
        The facts that the file carries; empty for a file that Abbe has not written.

    Raises:
        InputError: The file is missing or damaged, or holds another network.
    """
    path = Path(path)
    facts: dict[str, Any] = {}
    if path.suffix == ".safetensors":
        state, metadata = read_safetensors(path)
        if _KEY in metadata:
            description = _description(path, metadata)
            facts = description["facts"]
            _require_same(path, description["encoder"], encoder_name(model))
    else:
        state = read_tensors(path)
    if isinstance(model, UNet):
        fill(network_of(model.encoder), encoder_name(model), str(path), state)
    else:
        load_into(model, str(path), state)
    return facts


def encoder_facts(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file says of itself: ``encoder``, ``timm`` (its names), ``in_channels``, ``facts``.

    Raises:
        InputError: The file is missing, damaged, or was not written by `save_encoder`.
    """
    path = Path(path)
    _, metadata = read_safetensors(path)
    return _description(path, metadata)


def _description(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    return description_in(path, metadata, _KEY, "an encoder", FORMAT_VERSION, _FIELDS)


def _require_same(path: Path, found: str, wanted: str) -> None:
    if timm_name(found) != timm_name(wanted):
        raise InputError(
            f"{path}: holds the encoder '{found}', but the model has '{wanted}'. "
            f"Build the model on '{found}', or give a file of '{wanted}'."
        )
