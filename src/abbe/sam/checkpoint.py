"""Named tensors as other programs store them, brought to the names and sizes of a layout."""

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor
from torch.nn import functional as F

from abbe.errors import InputError
from abbe.imaging.promptable.letterbox import DEVIATION, MEAN
from abbe.sam.layout import LAYOUTS, Layout

_WRAPPERS = ("module.", "sam.")
"""Put before every name by data-parallel training and by micro-sam's training, in this order."""

_TRANSFORMERS = [
    (r"^vision_encoder\.", "image_encoder."),
    (r"^shared_image_embedding\.positional_embedding$", "prompt_encoder.shared"),
    (r"^prompt_encoder\.shared_embedding\.positional_embedding$", "prompt_encoder.shared"),
    (r"^prompt_encoder\.shared$", "prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
    (r"patch_embed\.projection\.", "patch_embed.proj."),
    (r"^image_encoder\.layers\.", "image_encoder.blocks."),
    (r"neck\.conv1\.", "neck.0."),
    (r"neck\.layer_norm1\.", "neck.1."),
    (r"neck\.conv2\.", "neck.2."),
    (r"neck\.layer_norm2\.", "neck.3."),
    (r"mask_embed\.conv1\.", "mask_downscaling.0."),
    (r"mask_embed\.layer_norm1\.", "mask_downscaling.1."),
    (r"mask_embed\.conv2\.", "mask_downscaling.3."),
    (r"mask_embed\.layer_norm2\.", "mask_downscaling.4."),
    (r"mask_embed\.conv3\.", "mask_downscaling.6."),
    (r"\.point_embed\.", ".point_embeddings."),
    (r"\.upscale_conv1\.", ".output_upscaling.0."),
    (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
    (r"\.upscale_conv2\.", ".output_upscaling.3."),
    (r"(mlps\.\d|iou_prediction_head)\.layers\.0\.", r"\1.layers.1."),
    (r"(mlps\.\d|iou_prediction_head)\.proj_in\.", r"\1.layers.0."),
    (r"(mlps\.\d|iou_prediction_head)\.proj_out\.", r"\1.layers.2."),
    (r"\.layer_norm(\d|_final_attn)\.", r".norm\1."),
]
"""From the names of transformers' SamModel, one after the other."""


def original_names(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring tensors to the names of SAM's own checkpoints.

    Wrappers before the names are taken off, transformers' names are translated, and the mean and
    the deviation of the pixels, which some files hold, are left out if they are SAM's.
    """
    for wrapper in _WRAPPERS:
        tensors = {name.removeprefix(wrapper): tensor for name, tensor in tensors.items()}
    if any(name.startswith("vision_encoder.") for name in tensors):
        tensors = {_translated(name): tensor for name, tensor in tensors.items()}
    usual = {"pixel_mean": MEAN, "pixel_std": DEVIATION}
    return {
        name: tensor
        for name, tensor in tensors.items()
        if name not in usual or tuple(tensor.flatten().tolist()) != _single(usual[name])
    }


def _translated(name: str) -> str:
    for pattern, replacement in _TRANSFORMERS:
        name = re.sub(pattern, replacement, name)
    return name


def _single(values: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(torch.tensor(values).tolist())


def layout_of(tensors: Mapping[str, Tensor]) -> Layout:
    """Tell the layout from names and shapes.

    A width of a published network means that network: a file of it that lacks blocks is then
    found out, instead of passing as a shallower one.

    Args:
        tensors: under the names of SAM's checkpoints.

    Raises:
        InputError: The tensors are not of this family.
    """
    if "image_encoder.patch_embed.seq.0.c.weight" in tensors:
        return LAYOUTS["mobile"]
    positions = tensors.get("image_encoder.pos_embed")
    tables = _relative_tables(tensors)
    if positions is None or positions.ndim != 4 or not tables:
        raise InputError(
            "these are not the weights of a SAM or a MobileSAM: image_encoder.pos_embed is missing "
            "or has not four axes, or image_encoder.blocks.*.attn.rel_pos_h is missing"
        )
    _, grid, _, width = positions.shape
    for published in LAYOUTS.values():
        if published.width == width:
            return replace(published, image_size=16 * grid)
    lengths = {block: len(table) for block, table in tables.items()}
    across = 2 * grid - 1  # the places one token can be from another in the whole image
    windows = Counter((each + 1) // 2 for each in lengths.values() if each != across)
    return Layout(
        "vit",
        image_size=16 * grid,
        width=width,
        depth=max(lengths) + 1,
        heads=max(1, width // next(iter(tables.values())).shape[-1]),
        global_layers=tuple(sorted(block for block, each in lengths.items() if each == across)),
        window=windows.most_common(1)[0][0] if windows else grid,
    )


def _relative_tables(tensors: Mapping[str, Tensor]) -> dict[int, Tensor]:
    pattern = re.compile(r"image_encoder\.blocks\.(\d+)\.attn\.rel_pos_h")
    matches = {pattern.fullmatch(name): tensor for name, tensor in tensors.items()}
    return {int(match[1]): tensor for match, tensor in matches.items() if match}


def resized(tensors: Mapping[str, Tensor], layout: Layout) -> tuple[dict[str, Tensor], list[str]]:
    """Fit a ViT's positions to another image size.

    Absolute positions are resized bilinearly over the grid, relative positions of global blocks
    linearly, as SAM's own code does when a table is too short.

    Returns:
        All tensors, and what was done to some, in words for the user.
    """
    positions = tensors.get("image_encoder.pos_embed")
    if layout.encoder != "vit" or positions is None or positions.ndim != 4:
        return dict(tensors), []
    grid = positions.shape[1]
    if grid == layout.grid:
        return dict(tensors), []
    fitted = dict(tensors)
    size = (layout.grid, layout.grid)
    moved = F.interpolate(positions.float().permute(0, 3, 1, 2), size, mode="bilinear")
    fitted["image_encoder.pos_embed"] = moved.permute(0, 2, 3, 1)
    for block in layout.global_layers:
        for axis in "hw":
            name = f"image_encoder.blocks.{block}.attn.rel_pos_{axis}"
            if name in fitted:
                table = fitted[name].float().T[None]
                fitted[name] = F.interpolate(table, 2 * layout.grid - 1, mode="linear")[0].T
    return fitted, [
        f"positions were resized from images of {16 * grid} px, which the weights were trained on, "
        f"to {layout.image_size} px"
    ]
