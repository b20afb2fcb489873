"""Other people's programs as teachers: finding them, and running them where they are installed."""

from __future__ import annotations

import importlib
import pickle
import zipfile
from collections.abc import Collection, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError, InputError, MissingPackageError

if TYPE_CHECKING:
    from torch import nn

KINDS = ("probability", "instances")


def imported(module: str, *, install: str, kind: str) -> ModuleType:
    """A module of another program.

    Args:
        module: such as ``cellpose.models``.
        install: what pip is to install.
        kind: of teacher, as ``--teacher.kind`` names it.

    Raises:
        MissingPackageError: the program, or something it needs, is not installed here.
    """
    try:
        return importlib.import_module(module)
    except ImportError as error:
        absent = getattr(error, "name", None) or module
        raise MissingPackageError(
            f"a teacher of kind '{kind}' needs the package '{absent}', which is not installed "
            f"here or cannot be imported ({error}). Install it with: pip install {install}\n"
            "If it does not get on with what is installed here, give it an environment of its "
            f"own: make one, pip install abbe {install} there, and run the same 'abbe teach "
            f"--teacher.kind {kind} --out targets.zarr' in it. Then train here with "
            "--teacher.kind store --teacher.path targets.zarr."
        ) from error


def kinds_named(gives: str | tuple[str, ...] | list[str], allowed: tuple[str, ...]) -> set[str]:
    """Which kinds of map to store; a list or names separated by commas.

    Raises:
        ConfigError: there is none, or one that the teacher does not give.
    """
    split = gives.split(",") if isinstance(gives, str) else gives
    names = {name.strip() for name in split}
    if not names or not names <= set(allowed):
        raise ConfigError(f"gives: choose from {', '.join(allowed)}, not {gives!r}")
    return names


def settings_of(kinds: Collection[str], tile: int, halo: int, **others: str) -> dict[str, str]:
    """What a store must know of how a program is run, so that no other answers get into it."""
    gives = ", ".join(kind for kind in KINDS if kind in kinds)
    return {"gives": gives, **others, "tile": str(tile), "halo": str(halo)}


def channels_last(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(C, h, w) as (h, w, C), contiguous."""
    return np.ascontiguousarray(pixels.transpose(1, 2, 0))


def tensors_of(file: Path) -> dict[str, Any]:
    """What a file of torch holds by name; no pickled code is run.

    Asked before a program is given the file, whatever that program allows pickles to do. Tensors
    stay on the disk until they are looked at.

    Raises:
        InputError: the file is damaged, or holds something else.
    """
    import torch

    try:
        mapped = zipfile.is_zipfile(file)  # older files of torch cannot be mapped
        found = torch.load(file, map_location="cpu", weights_only=True, mmap=mapped)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
        raise InputError(f"{file}: damaged, or no file of named tensors ({error})") from error
    if not isinstance(found, dict):
        raise InputError(f"{file}: holds no named tensors, but {type(found).__name__}")
    return found


def require_all_weights(
    file: Path, found: Mapping[str, Any], network: nn.Module, besides: Collection[str] = ()
) -> None:
    """Refuse a file that leaves part of a network as it was drawn at random.

    Both programs load whatever fits and pass over what is missing. Only torch is needed for this,
    as it may be all that there is in another program's environment.

    Args:
        file: for the message.
        found: what it holds, by the network's names.
        network: what it was loaded into.
        besides: names that may be missing.

    Raises:
        InputError: tensors are missing, or have other shapes.
    """
    wrong = [
        key
        for key, value in network.state_dict().items()
        if key not in besides and getattr(found.get(key), "shape", None) != value.shape
    ]
    if wrong:
        raise InputError(
            f"{file}: not the weights of this network; {len(wrong)} of its tensors are missing or "
            f"have another shape, such as {', '.join(wrong[:3])}"
        )
