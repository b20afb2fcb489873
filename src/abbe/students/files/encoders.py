"""A pretrained encoder as one safetensors file: timm's names of its tensors, and facts about it.

Abbe takes the file wherever it takes encoder weights. timm and segmentation_models_pytorch load it
by the same name of the network, and with `pretrained_cfg` know the mean and deviation it wants::

    file = abbe.students.pretrained_cfg("encoder.safetensors")
    network = timm.create_model(
        "resnet18", num_classes=9, pretrained=True, pretrained_cfg_overlay=file
    )
    timm.data.resolve_data_config(model=network)  # mean, std, input_size, interpolation

    segmentation_models_pytorch.Unet(
        "tu-resnet18", encoder_weights=True, pretrained_cfg_overlay=file
    )

``import abbe.students`` makes both know "csat_like", too.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor

from abbe.errors import InputError
from abbe.files.tensors import read_metadata
from abbe.students.classifier import Classifier, load_into
from abbe.students.encoders import (
    ENCODER_KEY,
    Encoder,
    adopt,
    network_of,
    read_weights,
    timm_name,
)
from abbe.students.files.described import description_in, write_described
from abbe.students.standardisation import first_convolution, standardised_in
from abbe.students.unet import UNet, encoder_name_of

FORMAT_VERSION = 2
_EARLIER = (1,)
"""Without ``pretrained_cfg``: their encoders saw images from 0 to 1 as they are."""
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
        encoder.copy_standardisation(model)
    network_of(encoder).load_state_dict(encoder_state(model))
    return encoder


def copy_encoder(model: UNet, other: UNet | Classifier) -> None:
    """Give a U-Net the encoder of another network, with what it does to images."""
    model.encoder.copy_standardisation(standardised_in(other))
    network_of(model.encoder).load_state_dict(encoder_state(other))


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
        "pretrained_cfg": _pretrained_cfg(model, name),
        "facts": dict(facts),
    }
    write_described(Path(path), encoder_state(model), ENCODER_KEY, description)


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
    path, name = Path(path), encoder_name(model)
    facts: dict[str, Any] = {}
    if path.suffix == ".safetensors":
        metadata = read_metadata(path)
        if ENCODER_KEY in metadata:
            description = _description(path, metadata)
            facts = description["facts"]
            _require_same(path, description["encoder"], name)
    pretrained = read_weights(name, path)
    if isinstance(model, UNet):
        adopt(model.encoder, name, pretrained)
    else:
        load_into(model, pretrained)
    return facts


def encoder_facts(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What a file says of itself.

    ``encoder`` and ``timm`` are its names, ``in_channels`` those of the images, ``pretrained_cfg``
    what timm calls so (missing in files of earlier versions), ``facts`` what was given.

    Raises:
        InputError: The file is missing, damaged, or was not written by `save_encoder`.
    """
    path = Path(path)
    return _description(path, read_metadata(path))


def pretrained_cfg(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What timm's ``pretrained_cfg_overlay`` takes: the file, and how its images are prepared.

    ``mean`` and ``std`` are for images in [0, 1]. Of files that earlier versions wrote they are 0
    and 1: those encoders saw images as they are.

    Raises:
        InputError: The file is missing, damaged, or was not written by `save_encoder`.
    """
    description = encoder_facts(path)
    plain = {"mean": (0.0,) * 3, "std": (1.0,) * 3}
    return {"file": str(path), **description.get("pretrained_cfg", plain)}


def _pretrained_cfg(model: UNet | Classifier, name: str) -> dict[str, Any]:
    """How timm describes the preparation of images; channels are those of the first convolution."""
    own = standardised_in(model)
    channels = first_convolution(own.timm_network())[1].in_channels
    found = timm.get_pretrained_cfg(timm_name(name))
    known = {} if found is None else {"interpolation": found.interpolation}
    size = (224, 224) if found is None else found.input_size[1:]
    numbers = own.standardisation
    repeats = channels // len(numbers.mean)
    return {
        "architecture": timm_name(name),
        "input_size": [channels, *size],
        "mean": list(numbers.mean * repeats),
        "std": list(numbers.std * repeats),
        **known,
    }


def _description(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    return description_in(
        path, metadata, ENCODER_KEY, "an encoder", FORMAT_VERSION, _FIELDS, _EARLIER
    )


def _require_same(path: Path, found: str, wanted: str) -> None:
    if timm_name(found) != timm_name(wanted):
        raise InputError(
            f"{path}: holds the encoder '{found}', but the model has '{wanted}'. "
            f"Build the model on '{found}', or give a file of '{wanted}'."
        )
