"""A classifier as one safetensors file: its weights, and in the metadata how to rebuild it."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from abbe.errors import InputError
from abbe.files.tensors import differences
from abbe.students.classifier import Classifier
from abbe.students.csat import earlier_layout
from abbe.students.encoders import is_encoder
from abbe.students.files.described import read_described, write_described
from abbe.students.probe import LinearProbe
from abbe.students.standardisation import described, restore_standardisation

FORMAT_VERSION = 1
KEY = "abbe-classifier"
"""Of the description in the file\'s metadata."""
_FIELDS: dict[str, type] = {
    "architecture": str,
    "in_channels": int,
    "classes": list,
    "probe": bool,
    "facts": dict,
}


def save_classifier(
    path: str | os.PathLike[str], model: Classifier | LinearProbe, facts: Mapping[str, Any]
) -> None:
    """Write a classifier or a linear probe, atomically.

    Args:
        path: The file, ending in .safetensors.
        model: On any device.
        facts: What else should travel with it, as JSON can hold it.

    Raises:
        ValueError: ``path`` does not end in .safetensors, or ``facts`` holds NaN.
        TypeError: ``facts`` holds what JSON cannot.
    """
    classifier = model.classifier if isinstance(model, LinearProbe) else model
    description = {
        "format_version": FORMAT_VERSION,
        "architecture": classifier.architecture,
        "in_channels": classifier.in_channels,
        "classes": list(classifier.classes),
        "probe": isinstance(model, LinearProbe),
        "standardised": described(model),
        "facts": dict(facts),
    }
    write_described(Path(path), model.state_dict(), KEY, description)


def load_classifier(
    path: str | os.PathLike[str],
) -> tuple[Classifier | LinearProbe, dict[str, Any]]:
    """Read what `save_classifier` wrote.

    Returns:
        The network on the CPU in evaluation mode, and its facts.

    Raises:
        InputError: The file is missing, damaged, no classifier's, or of an architecture or layout
            that this version does not know.
    """
    path = Path(path)
    tensors, description = read_described(path, KEY, "a classifier", FORMAT_VERSION, _FIELDS)
    architecture = description["architecture"]
    if not is_encoder(architecture):
        raise InputError(f"{path}: architecture '{architecture}' is unknown to this version")
    with torch.random.fork_rng(devices=[]):  # loading must not shift the caller's random numbers
        model: Classifier | LinearProbe = Classifier(
            architecture, description["in_channels"], description["classes"]
        )
        if description["probe"]:
            model = LinearProbe(model)
            # Probes of earlier versions took features as they are.
            tensors = {
                "feature_mean": model.feature_mean,
                "feature_std": model.feature_std,
                **tensors,
            }
    restore_standardisation(model, tensors)
    if problems := differences(model.state_dict(), tensors):
        problems += earlier_layout(tensors)
        raise InputError(f"{path}: its tensors are not those of {architecture}. {problems}")
    model.load_state_dict(tensors)
    return model.eval(), description["facts"]
