"""A student as one safetensors file: its weights, and in the metadata how to rebuild it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from abbe.errors import InputError
from abbe.files.tensors import differences, read_metadata
from abbe.students.begun_from import STUDENT_KEY
from abbe.students.csat import earlier_layout
from abbe.students.encoders import DEPTH
from abbe.students.files import classifiers, promptable
from abbe.students.files.described import read_described, write_described
from abbe.students.standardisation import described, restore_standardisation
from abbe.students.unet import ARCHITECTURES, UNet, build, is_architecture

FORMAT_VERSION = 1
MOST_WIDTH = 4096
"""Channels of a decoder's block; no file may ask for more."""
KEY = STUDENT_KEY
"""Of the description in the file\'s metadata."""
_FIELDS: dict[str, type] = {
    "architecture": str,
    "in_channels": int,
    "outputs": list,
    "facts": dict,
}


def save(path: str | os.PathLike[str], model: UNet, facts: Mapping[str, Any]) -> None:
    """Write a student, atomically.

    Args:
        path: The file, ending in .safetensors.
        model: The student, on any device.
        facts: What else should travel with it (channels, pixel size, thresholds, …), as JSON can
            hold it.

    Raises:
        ValueError: ``path`` does not end in .safetensors, or ``facts`` holds NaN.
        TypeError: ``facts`` holds what JSON cannot.
    """
    description = {
        "format_version": FORMAT_VERSION,
        "architecture": model.architecture,
        "in_channels": model.in_channels,
        "outputs": list(model.outputs),
        "depth": model.depth,
        "decoder_widths": list(model.decoder_widths),
        "standardised": described(model),
        "facts": dict(facts),
    }
    write_described(Path(path), model.state_dict(), KEY, description)


def load(path: str | os.PathLike[str]) -> tuple[UNet, dict[str, Any]]:
    """Read a student that `save` wrote.

    Returns:
        The student on the CPU in evaluation mode, and its facts.

    Raises:
        InputError: The file is missing, damaged, no student's, or of a format, architecture or
            layout that this version does not know.
    """
    path = Path(path)
    tensors, description = read_described(path, KEY, "a student", FORMAT_VERSION, _FIELDS)
    if not is_architecture(description["architecture"]):
        raise InputError(
            f"{path}: architecture '{description['architecture']}' is unknown; this version knows "
            f"{', '.join(ARCHITECTURES)} and networks of timm"
        )
    with torch.random.fork_rng(devices=[]):  # loading must not shift the caller's random numbers
        model = build(
            description["architecture"],
            in_channels=description["in_channels"],
            outputs=description["outputs"],
            encoder_weights="random",
            **_layout(path, description),
        )
    restore_standardisation(model, tensors)
    if problems := differences(model.state_dict(), tensors):
        hint = earlier_layout(tensors) or " Export or train it again with this version."
        raise InputError(
            f"{path}: its tensors are not those of {model.architecture}. {problems}{hint}"
        )
    model.load_state_dict(tensors)
    return model.eval(), description["facts"]


def _layout(path: Path, description: Mapping[str, Any]) -> dict[str, Any]:
    """Depth and widths; files of earlier versions have the usual ones.

    Raises:
        InputError: They are none that a student can have.
    """
    found = {key: description[key] for key in ("depth", "decoder_widths") if key in description}
    widths = found.get("decoder_widths", [])
    numbers = [found.get("depth", DEPTH), *(widths if isinstance(widths, list) else [None])]
    if not all(isinstance(number, int) and 0 < number <= MOST_WIDTH for number in numbers):
        raise InputError(f"{path}: depth and decoder_widths {found} are none of a student's")
    return found


READERS = {
    KEY: load,
    classifiers.KEY: classifiers.load_classifier,
    promptable.KEY: promptable.load_promptable,
}
"""By the key of the description in the file's metadata."""


def load_any(path: str | os.PathLike[str]) -> tuple[nn.Module, dict[str, Any]]:
    """Read a student that Abbe wrote: a U-Net, a classifier, a linear probe, a promptable network.

    Returns:
        The network on the CPU in evaluation mode, and what was saved beside its weights.

    Raises:
        InputError: The file is missing, damaged, or none of these.
    """
    path = Path(path)
    metadata = read_metadata(path)
    for key, read in READERS.items():
        if key in metadata:
            return read(path)
    raise InputError(f"{path}: not a student saved by Abbe (its metadata says nothing of one)")
