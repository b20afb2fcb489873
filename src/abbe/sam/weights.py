"""Weights of the SAM family from files, folders and the Hugging Face hub."""

import hashlib
import json
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from abbe.errors import ConfigError, InputError
from abbe.files import atomic_path, parse_json, sha256_of_file
from abbe.files.tensors import differences, read_safetensors, read_tensors
from abbe.sam.checkpoint import layout_of, original_names, resized
from abbe.sam.layout import PATCH, Layout, named_layout
from abbe.sam.model import SAM, network

NOT_STATED = "not stated"
_SA1B = "SA-1B Dataset Research License"
_PUBLISHED = {
    "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e": "SAM ViT-H",
    "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622": "SAM ViT-L",
    "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912": "SAM ViT-B",
    "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f": "MobileSAM",
}
"""SHA-256 of the files that SAM's and MobileSAM's authors published, under Apache-2.0."""
_ON_THE_HUB = ("facebook/sam-vit-huge", "facebook/sam-vit-large", "facebook/sam-vit-base")
_FILES = ("model.safetensors", "model-*-of-*.safetensors", "pytorch_model.bin")
"""Weights in a folder of transformers: whole, in parts, and as they were stored once."""


@dataclass(frozen=True)
class Facts:
    """Where weights come from.

    Args:
        name: of the published network, the hub's id, or the file's name.
        sha256: of the file; of the parts' digests, one after the other, where there are several.
        layout: of the network; None for an image encoder of another kind.
        weights_licence: "not stated" where it is not known.
        training_data_licence: "not stated" where it is not known.
        notes: what was changed or left out on the way, in sentences for the user.
        stand_in: the network takes the place of a published one that could not be had.
    """

    name: str
    sha256: str
    layout: Layout | None
    weights_licence: str = NOT_STATED
    training_data_licence: str = NOT_STATED
    notes: tuple[str, ...] = ()
    stand_in: bool = False


STATED = "abbe-sam"
"""The key in a .safetensors file's metadata under which Abbe says in JSON what it holds."""


def load_sam(
    source: str | os.PathLike[str],
    *,
    layout: Layout | str | None = None,
    side: int | None = None,
) -> tuple[SAM, Facts]:
    """Load a network of the SAM family. No pickled code is run.

    Known are SAM's own files (``sam_vit_h_4b8939.pth``, …), which MedSAM and micro-sam share,
    micro-sam's and torch-em's training checkpoints, MobileSAM's ``mobile_sam.pt``, and the form of
    transformers' ``SamModel``.

    Args:
        source: a .pth, .pt, .bin or .safetensors file; a folder of transformers; or an id on the
            Hugging Face hub, such as "facebook/sam-vit-base".
        layout: told from the weights where None. Needed for a reduced network with the width of a
            published one, and for MobileSAM's weights of another image size, which they do not
            tell.
        side: of the square that the network is to see, px, a multiple of 16; its own where None.

    Returns:
        The network on the CPU, in float32 and evaluation mode, and where it comes from.

    Raises:
        InputError: The source is missing, damaged or of another network, or cannot be fetched.
        ConfigError: No layout has the name given, or no network sees such a square.
    """
    paths, name = _located(os.fspath(source))
    tensors: dict[str, Tensor] = {}
    for path in paths:
        tensors |= read_tensors(path)
    tensors = original_names(tensors)
    stated = _stated(paths)
    try:
        wanted = named_layout(layout) if isinstance(layout, str) else layout or layout_of(tensors)
    except InputError as error:
        raise InputError(f"{source}: {error}. {_sample(tensors)}") from None
    if layout is None and "image_size" in stated:  # MobileSAM's weights do not tell it
        wanted = replace(wanted, image_size=stated["image_size"])
    if side is not None and side % PATCH:
        raise ConfigError(f"side: must be a multiple of {PATCH} px (it is {side})")
    if side is not None:
        wanted = replace(wanted, image_size=side)
    tensors, notes = resized(tensors, wanted)
    sam = _filled(wanted, tensors, os.fspath(source))
    sha256 = _digest(paths)
    known = sha256 in _PUBLISHED or name in _ON_THE_HUB
    licence = "Apache-2.0" if known else _licence_of_card(paths[0].parent)
    if "trained_on" in stated:
        notes = [*notes, f"trained by Abbe on {stated['trained_on']}"]
    facts = Facts(
        name=stated.get("name", _PUBLISHED.get(sha256, name)),
        sha256=sha256,
        layout=wanted,
        weights_licence=stated.get("weights_licence", licence),
        training_data_licence=_SA1B if known else stated.get("training_data_licence", NOT_STATED),
        notes=tuple(notes),
        stand_in=stated.get("stand_in", False),
    )
    return sam, facts


def save_sam(
    path: str | os.PathLike[str],
    sam: SAM,
    *,
    name: str,
    trained_on: str,
    weights_licence: str,
    training_data_licence: str,
    stand_in: bool,
) -> None:
    """Write a network that was trained here, with what must be said of it wherever it is used.

    Args:
        path: the file, ending in .safetensors.
        sam: a network of the family.
        name: what to call it.
        trained_on: the data sets.
        weights_licence: of the weights.
        training_data_licence: of what they were trained on.
        stand_in: whether it takes the place of a published network.
    """
    stated = {
        "name": name,
        "trained_on": trained_on,
        "weights_licence": weights_licence,
        "training_data_licence": training_data_licence,
        "stand_in": stand_in,
        "image_size": sam.side,
    }
    tensors = {key: tensor.contiguous() for key, tensor in sam.state_dict().items()}
    with atomic_path(Path(path)) as temporary:
        save_file(tensors, temporary, metadata={STATED: json.dumps(stated)})


def _stated(paths: list[Path]) -> dict[str, Any]:
    """What `save_sam` says of a file; nothing of files by others."""
    if len(paths) != 1 or paths[0].suffix != ".safetensors":
        return {}
    text = read_safetensors(paths[0])[1].get(STATED)
    if text is None:
        return {}
    try:
        stated = parse_json(text)
        kinds = {"name": str, "trained_on": str, "weights_licence": str}
        kinds |= {"training_data_licence": str, "stand_in": bool, "image_size": int}
        if not all(type(stated[key]) is kind for key, kind in kinds.items()):
            raise ValueError("a value has another type")
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{paths[0]}: its metadata '{STATED}' is damaged ({error})") from error
    return stated


def _filled(layout: Layout, tensors: dict[str, Tensor], source: str) -> SAM:
    with torch.device("meta"):
        sam = network(layout)
    expected = sam.state_dict()
    if problems := differences(expected, tensors):
        raise InputError(
            f"{source}: these are not the weights of the layout {layout}. {problems} The file is "
            "incomplete or of another network; for a reduced network, give its layout"
        )
    filled = {}
    for name, empty in expected.items():
        # Batch norm's counters may be missing. A copy, as tensors may be mapped from the file.
        tensor = tensors.get(name, torch.zeros(empty.shape))
        filled[name] = tensor.to(empty.dtype, copy=True).contiguous()
    sam.load_state_dict(filled, assign=True)
    return sam.eval()


def _located(source: str) -> tuple[list[Path], str]:
    """The files to read, and what to call them."""
    path = Path(source)
    if path.is_dir():
        return _in_folder(path), path.resolve().name
    is_id = re.fullmatch(r"[\w.-]+/[\w.-]+", source) and path.suffix not in (
        ".pth", ".pt", ".bin", ".safetensors"
    )  # fmt: skip
    if is_id and not path.exists():
        return _in_folder(_fetched(source)), source
    return [path], path.stem


def _in_folder(folder: Path) -> list[Path]:
    config = folder / "config.json"
    if config.is_file():
        try:
            kind = parse_json(config.read_text("utf-8")).get("model_type")
        except (ValueError, AttributeError) as error:
            raise InputError(f"{config}: damaged ({error}). Copy or fetch it again.") from error
        if kind != "sam":
            raise InputError(f"{folder}: config.json says model_type {kind!r}; 'sam' is needed")
    for pattern in _FILES:
        if found := sorted(folder.glob(pattern)):
            return found
    raise InputError(f"{folder}: holds no weights; looked for {', '.join(_FILES)}")


def _fetched(identifier: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    described = ["config.json", "README.md"]
    try:
        folder = Path(snapshot_download(identifier, allow_patterns=[*described, *_FILES[:2]]))
        if not any(folder.glob("model*.safetensors")):
            folder = Path(snapshot_download(identifier, allow_patterns=[*described, _FILES[2]]))
    except (OSError, HfHubHTTPError, HFValidationError) as error:
        raise InputError(
            f"'{identifier}' is no file or folder here, and could not be fetched from the Hugging "
            f"Face hub: {error}\nFetch it on a machine with a network and give the path of its "
            "folder, or give the path of an original .pth file."
        ) from error
    return folder


def _digest(paths: list[Path]) -> str:
    digests = [sha256_of_file(path) for path in paths]
    return (
        digests[0] if len(digests) == 1 else hashlib.sha256("".join(digests).encode()).hexdigest()
    )


def _licence_of_card(folder: Path) -> str:
    """The licence that a model card on the hub names in its header."""
    card = folder / "README.md"
    if not card.is_file() or not (folder / "config.json").is_file():
        return NOT_STATED
    header = re.match(r"---\n(.*?)\n---", card.read_text("utf-8", errors="replace"), re.DOTALL)
    named = re.search(r"^license: *(\S+)", header[1], re.MULTILINE) if header else None
    return named[1] if named else NOT_STATED


def _sample(tensors: dict[str, Tensor], most: int = 3) -> str:
    shown = ", ".join(list(tensors)[:most])
    return f"It holds {len(tensors)} tensors: {shown}{', …' if len(tensors) > most else ''}"
