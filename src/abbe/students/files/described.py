"""Networks as safetensors files that say in their metadata how to rebuild them."""

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from abbe.errors import InputError
from abbe.files import atomic_path, parse_json
from abbe.files.tensors import read_safetensors
from abbe.students.files.unchanged import require_unchanged


def write_described(
    path: Path, tensors: Mapping[str, Tensor], key: str, description: Mapping[str, Any]
) -> None:
    """Write tensors and their description, atomically.

    Args:
        path: The file, ending in .safetensors.
        tensors: On any device, in any memory format.
        key: Of the description in the file's metadata.
        description: What JSON can hold.

    Raises:
        ValueError: ``path`` does not end in .safetensors, or the description holds NaN.
        TypeError: The description holds what JSON cannot.
    """
    if path.suffix != ".safetensors":
        raise ValueError(f"{path}: a file of weights ends in .safetensors")
    metadata = {key: json.dumps(description, ensure_ascii=False, allow_nan=False)}
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with atomic_path(path) as temporary:
        save_file(plain, temporary, metadata)


def read_described(
    path: Path, key: str, what: str, version: int, fields: Mapping[str, type]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_described` wrote.

    Args:
        path: The file.
        key: Of the description in the file's metadata.
        what: The file should hold, for messages: "a student".
        version: The ``format_version`` that is understood.
        fields: Further fields of the description and their types.

    Returns:
        The tensors and the description.

    Raises:
        InputError: The file is missing or damaged, its description is not of this form, or its
            tensors are not those that its run trained.
    """
    tensors, metadata = read_safetensors(path)
    require_unchanged(path, tensors)
    return tensors, description_in(path, metadata, key, what, version, fields)


def description_in(
    path: Path,
    metadata: Mapping[str, str],
    key: str,
    what: str,
    version: int,
    fields: Mapping[str, type],
    earlier: Collection[int] = (),
) -> dict[str, Any]:
    """The description in a file's metadata; see `read_described`.

    Versions ``earlier`` than ``version`` are read, too.
    """
    if key not in metadata:
        others = [other for other in metadata if other.startswith("abbe")]
        found = f"; it holds '{', '.join(others)}'" if others else ""
        raise InputError(f"{path}: not {what} saved by Abbe (no '{key}' in its metadata{found})")
    try:
        description = parse_json(metadata[key])
    except ValueError as error:
        raise InputError(f"{path}: its '{key}' metadata is damaged ({error})") from error
    if not isinstance(description, dict):
        raise InputError(f"{path}: its '{key}' metadata is no table of fields")
    stated = description.get("format_version")
    if stated != version and stated not in earlier:
        raise InputError(
            f"{path}: format_version {stated}; this version of Abbe reads {version}. "
            "Use the version of Abbe that wrote it."
        )
    for field, kind in fields.items():
        if not isinstance(description.get(field), kind):
            raise InputError(f"{path}: its metadata lacks a proper '{field}'")
    return description
