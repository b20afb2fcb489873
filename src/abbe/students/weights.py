"""A student as one safetensors file: its weights, and in the metadata how to rebuild it."""

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file

from abbe.errors import InputError
from abbe.files import atomic_path
from abbe.students.unet import ARCHITECTURES, UNet, build, is_architecture
from abbe.tensors import differences, read_safetensors

FORMAT_VERSION = 1
_KEY = "abbe"
_FIELDS: dict[str, type] = {
    "format_version": int,
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
    path = Path(path)
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: a student's file ends in .safetensors")
    description = {
        "format_version": FORMAT_VERSION,
        "architecture": model.architecture,
        "in_channels": model.in_channels,
        "outputs": list(model.outputs),
        "facts": dict(facts),
    }
    metadata = {_KEY: json.dumps(description, ensure_ascii=False, allow_nan=False)}
    tensors = {key: value.detach().cpu().contiguous() for key, value in model.state_dict().items()}
    with atomic_path(path) as temporary:
        save_file(tensors, temporary, metadata)


def load(path: str | os.PathLike[str]) -> tuple[UNet, dict[str, Any]]:
    """Read a student that `save` wrote.

    Returns:
        The student on the CPU in evaluation mode, and its facts.

    Raises:
        InputError: The file is missing, damaged, no student's, or of a format, architecture or
            layout that this version does not know.
    """
    path = Path(path)
    tensors, metadata = read_safetensors(path)
    description = _description(path, metadata)
    with torch.random.fork_rng(devices=[]):  # loading must not shift the caller's random numbers
        model = build(
            description["architecture"],
            in_channels=description["in_channels"],
            outputs=description["outputs"],
            encoder_weights="random",
        )
    if problems := differences(model.state_dict(), tensors):
        raise InputError(
            f"{path}: its tensors are not those of {model.architecture}. {problems} "
            "Export or train it again with this version."
        )
    model.load_state_dict(tensors)
    return model.eval(), description["facts"]


def _description(path: Path, metadata: Mapping[str, str]) -> dict[str, Any]:
    if _KEY not in metadata:
        raise InputError(f"{path}: not a student saved by Abbe (no '{_KEY}' in its metadata)")
    try:
        description = json.loads(metadata[_KEY])
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: its '{_KEY}' metadata is damaged ({error})") from error
    if not isinstance(description, dict):
        raise InputError(f"{path}: its '{_KEY}' metadata is no table of fields")
    version = description.get("format_version")
    if version != FORMAT_VERSION:
        raise InputError(
            f"{path}: format_version {version}; this version of Abbe reads {FORMAT_VERSION}. "
            "Use the version of Abbe that wrote it."
        )
    for field, kind in _FIELDS.items():
        if not isinstance(description.get(field), kind):
            raise InputError(f"{path}: its metadata lacks a proper '{field}'")
    if not is_architecture(description["architecture"]):
        raise InputError(
            f"{path}: architecture '{description['architecture']}' is unknown; this version knows "
            f"{', '.join(ARCHITECTURES)} and networks of timm"
        )
    return description
