"""Files of named tensors: reading them safely, and saying how they differ from a network's."""

import pickle
import zipfile
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from abbe.errors import InputError
from abbe.near import meant_beside


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a .safetensors, .pt, .pth or .bin file of tensors to the CPU; no pickled code is run.

    A dictionary wrapped once as ``{"state_dict": …}``, ``{"model": …}`` or, as torch-em and
    micro-sam do it, ``{"model_state": …}`` is unwrapped; what else the file holds is left out.
    Tensors that are not of .safetensors files may be mapped from the file: change copies, not them.

    Raises:
        InputError: The file is missing, damaged, or holds anything but named tensors.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file.{meant_beside(path)}")
    if path.suffix == ".safetensors":
        return read_safetensors(path)[0]
    if path.suffix in (".pt", ".pth", ".bin"):
        return _read_torch(path)
    raise InputError(
        f"{path}: must end in .safetensors, .pt or .pth (or .bin) to be read as weights"
    )


def read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a safetensors file's tensors and metadata.

    Raises:
        InputError: The file is missing or damaged.
    """
    with _opened(path) as file:
        return {key: file.get_tensor(key) for key in file.keys()}, file.metadata() or {}  # noqa: SIM118


def read_metadata(path: Path) -> dict[str, str]:
    """Read a safetensors file's metadata alone.

    Raises:
        InputError: The file is missing or damaged.
    """
    with _opened(path) as file:
        return file.metadata() or {}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except FileNotFoundError:
        raise InputError(f"{path}: no such file.{meant_beside(path)}") from None
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: damaged or not a safetensors file ({error}). Copy or fetch it again."
        ) from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        mapped = zipfile.is_zipfile(path)  # older files of torch cannot be mapped
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: damaged, or holds more than tensors, which is not read because unpickling "
            "can run code. Save the network's state_dict() alone, best as .safetensors."
        ) from error
    except (RuntimeError, EOFError, OSError, ValueError) as error:
        raise InputError(f"{path}: damaged ({error}). Copy or fetch it again.") from error
    for wrapper in ("state_dict", "model", "model_state"):
        if isinstance(state, Mapping) and isinstance(state.get(wrapper), Mapping):
            state = state[wrapper]
    if not isinstance(state, Mapping) or not all(isinstance(v, Tensor) for v in state.values()):
        raise InputError(f"{path}: holds no dictionary of named tensors (a state_dict)")
    return dict(state)


def differences(
    expected: Mapping[str, Tensor],
    found: Mapping[str, Tensor],
    also_allowed: Collection[str] = (),
) -> str:
    """Say in sentences how ``found`` differs from ``expected`` in names and shapes.

    Returns:
        The empty string where every expected tensor is there in its shape, and nothing else is but
        ``also_allowed``. Batch norm's counters may be missing: files of early torch lack them.
    """
    missing = [
        key for key in expected if key not in found and not key.endswith("num_batches_tracked")
    ]
    surplus = [key for key in found if key not in expected and key not in also_allowed]
    shapes = [
        f"{key} {tuple(found[key].shape)} instead of {tuple(tensor.shape)}"
        for key, tensor in expected.items()
        if key in found and found[key].shape != tensor.shape
    ]
    findings = (("Missing", missing), ("Not expected", surplus), ("Other shape", shapes))
    return " ".join(f"{what}: {_listed(names)}." for what, names in findings if names)


def _listed(names: list[str], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
