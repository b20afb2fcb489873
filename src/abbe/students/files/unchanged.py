"""Whether a network's weights are still those that its run trained."""

import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from abbe.errors import InputError
from abbe.files.tensors import read_safetensors
from abbe.summary import FILE, SEEDS, RunSummary, read_summary


def sha256_of_tensors(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values, as 64 hexadecimal digits.

    What else a file says of its network does not count: thresholds are added to it later.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def weights_of_run(folder: Path) -> dict[str, str]:
    """SHA-256 of the tensors of each network in a run's folder, by its file there."""
    files = [*folder.glob("*.safetensors"), *folder.glob(f"{SEEDS}/*/*.safetensors")]
    return {
        path.relative_to(folder).as_posix(): sha256_of_tensors(read_safetensors(path)[0])
        for path in sorted(files)
    }


def require_unchanged(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Refuse the tensors of a run's file that are not those its summary tells of.

    Files of no run, and of runs that did not say, are taken as they are.

    Raises:
        InputError: they differ, or the run's summary is damaged.
    """
    path = path.absolute()
    seeds = path.parent.parent
    places = [path.parent, *([seeds.parent] if seeds.name == SEEDS else [])]
    folder = next((place for place in places if (place / FILE).is_file()), None)
    if folder is None:
        return
    summary = read_summary(folder)
    known = summary.weights_sha256 if isinstance(summary, RunSummary) else {}
    expected = known.get(path.relative_to(folder).as_posix())
    if expected is not None and sha256_of_tensors(tensors) != expected:
        raise InputError(
            f"{path}: its weights are not those that the run trained: their sha256 is not that in "
            f"{folder / FILE}. The file was damaged or changed. Restore it from a copy, or have "
            f"the run write it again with 'abbe distill {folder} --resume'"
        )
