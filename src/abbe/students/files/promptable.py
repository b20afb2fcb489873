"""A promptable student as one safetensors file: its weights, and how to rebuild it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from abbe.errors import ConfigError, InputError
from abbe.files.tensors import differences, read_metadata
from abbe.sam import SAM
from abbe.students.files.described import read_described, write_described
from abbe.students.promptable import architecture_of, build_promptable
from abbe.students.standardisation import restore_standardisation

FORMAT_VERSION = 1
KEY = "abbe-promptable"
"""Of the description in the file\'s metadata."""
_FIELDS: dict[str, type] = {"architecture": str, "side": int, "neck": str, "facts": dict}


def save_promptable(path: str | os.PathLike[str], model: SAM, facts: Mapping[str, Any]) -> None:
    """Write a promptable student whole, atomically.

    Args:
        path: The file, ending in .safetensors.
        model: What `build_promptable` builds, on any device; or MobileSAM.
        facts: What should travel with it (the teacher, data sets, licences …), as JSON can hold it.

    Raises:
        InputError: The network is a SAM with a vision transformer.
        ValueError: ``path`` does not end in .safetensors, or ``facts`` holds NaN.
        TypeError: ``facts`` holds what JSON cannot.
    """
    architecture, neck = architecture_of(model)
    description = {
        "format_version": FORMAT_VERSION,
        "architecture": architecture,
        "side": model.side,
        "neck": neck,
        "facts": dict(facts),
    }
    write_described(Path(path), model.state_dict(), KEY, description)


def is_promptable_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file is one that `save_promptable` wrote.

    Raises:
        InputError: It ends in .safetensors and is damaged.
    """
    path = Path(path)
    if path.suffix != ".safetensors" or not path.is_file():
        return False
    return KEY in read_metadata(path)


def load_promptable(path: str | os.PathLike[str]) -> tuple[SAM, dict[str, Any]]:
    """Read a promptable student that `save_promptable` wrote.

    Returns:
        The student on the CPU in evaluation mode, and its facts.

    Raises:
        InputError: The file is missing, damaged, no promptable student's, or of a format,
            architecture or layout that this version does not know.
    """
    path = Path(path)
    tensors, description = read_described(
        path, KEY, "a promptable student", FORMAT_VERSION, _FIELDS
    )
    try:
        with torch.random.fork_rng(devices=[]):  # loading must not shift the caller's numbers
            model = build_promptable(
                description["architecture"],
                side=description["side"],
                neck=description["neck"],
                encoder_weights="random",
            )
    except ConfigError as error:
        raise InputError(f"{path}: its metadata names what is not known here: {error}") from error
    restore_standardisation(model, tensors)
    if problems := differences(model.state_dict(), tensors):
        raise InputError(
            f"{path}: its tensors are not those of {description['architecture']}. {problems} "
            "Train it again with this version."
        )
    model.load_state_dict(tensors)
    return model.eval(), description["facts"]
