"""Encoders out of students: files of a run, and packages by folder or name."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from abbe.errors import InputError, PackageError
from abbe.files import parse_json
from abbe.files.tensors import read_safetensors
from abbe.runtime.package import DESCRIPTION, located, read_package, repository_of
from abbe.students.files.unchanged import require_unchanged

STUDENT_KEY = "abbe"
"""Of a U-Net's description in the metadata of its file."""
_ENCODER, _STANDARDISE = "encoder.features.model.", "encoder.standardise."


class StudentEncoder(NamedTuple):
    """The encoder of a U-Net: its architecture, depth and tensors by timm's names."""

    architecture: str
    depth: int
    state: dict[str, Tensor]
    mean: tuple[float, ...]
    std: tuple[float, ...]


def weights_file(place: Path) -> Path:
    """The file of encoder weights: itself, or the weights in a package, by folder or name.

    Raises:
        InputError: The package holds no weights for torch.
        PackageError: It is damaged or cannot be fetched.
    """
    if place.is_file():
        return place
    if repository_of(place) is None and not (located(place) / DESCRIPTION).is_file():
        return place  # what is not there is said by whoever reads it
    package = read_package(place)
    try:
        return package.file("weights")
    except PackageError as error:
        raise InputError(
            f"{package.folder}: an encoder cannot begin from this package: {error}"
        ) from error


def student_encoder(path: Path, metadata: Mapping[str, str]) -> StudentEncoder | None:
    """The encoder of a U-Net's file; None where the file is another's.

    Args:
        path: A .safetensors file.
        metadata: Of the file.

    Raises:
        InputError: It is damaged.
    """
    if STUDENT_KEY not in metadata:
        return None
    try:
        described = parse_json(metadata[STUDENT_KEY])
        architecture, depth = str(described["architecture"]), int(described.get("depth", 5))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(f"{path}: its metadata is damaged ({error})") from error
    tensors, _ = read_safetensors(path)
    require_unchanged(path, tensors)
    state = {
        name.removeprefix(_ENCODER): tensor
        for name, tensor in tensors.items()
        if name.startswith(_ENCODER)
    }
    mean, std = (
        _numbers(tensors.get(f"{_STANDARDISE}{key}"), usual)
        for key, usual in (("mean", 0.0), ("std", 1.0))
    )
    return StudentEncoder(architecture, depth, state, mean, std)


def _numbers(tensor: Tensor | None, usual: float) -> tuple[float, ...]:
    if tensor is None:
        return (usual,)
    return tuple(float(str(value)) for value in tensor.float().flatten().numpy())
