"""Networks of segment-anything with the weights of ours."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from segment_anything.modeling import (
    ImageEncoderViT,
    MaskDecoder,
    PromptEncoder,
    Sam,
    TwoWayTransformer,
)
from torch import Tensor, nn

from abbe.sam import SAM, Layout, Prompts, build_sam

SMALL = Layout("vit", image_size=256, width=96, depth=3, heads=3, global_layers=(1,), window=7)


@pytest.fixture(scope="session")
def small() -> Layout:
    """A reduced network whose windows do not divide its grid of 16."""
    return SMALL


@pytest.fixture(scope="session")
def lively() -> Callable[[Layout, int], SAM]:
    """Our network, in which every parameter matters: nothing is left at 0 or 1."""
    return _lively


def _lively(layout: Layout, seed: int) -> SAM:
    sam = build_sam(layout, seed).eval()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in sam.state_dict().items():
            noise = torch.randn(tensor.shape, generator=generator)
            if "rel_pos" in name:
                tensor += 0.25 * noise
            elif "attention_biases" in name:
                tensor += noise
            elif name.endswith("qkv.weight"):  # attention neither flat nor at one place only
                tensor *= 0.8 / (0.02 * tensor.shape[1] ** 0.5)
            elif tensor.ndim == 1 and "running_var" not in name:
                tensor += 0.1 * noise  # biases, norms, means
    return sam


@pytest.fixture(scope="session")
def oracle_of() -> Callable[[SAM], Sam]:
    """segment-anything's network with our weights: both have the same keys and shapes."""
    return _oracle


def _oracle(sam: SAM) -> Sam:
    layout = sam.layout
    assert layout is not None
    encoder_of: Any = ImageEncoderViT  # its norm_layer is typed as a class, and given a partial
    encoder = encoder_of(
        img_size=layout.image_size,
        embed_dim=layout.width,
        depth=layout.depth,
        num_heads=layout.heads,
        out_chans=256,
        norm_layer=partial(nn.LayerNorm, eps=1e-6),
        use_rel_pos=True,
        window_size=layout.window,
        global_attn_indexes=layout.global_layers,
    )
    oracle = Sam(encoder, *oracle_decoders(layout)).eval()
    oracle.load_state_dict(sam.state_dict())
    return oracle


def oracle_decoders(layout: Layout) -> tuple[PromptEncoder, MaskDecoder]:
    """segment-anything's other two parts."""
    prompts = PromptEncoder(
        embed_dim=256,
        image_embedding_size=(layout.grid, layout.grid),
        input_image_size=(layout.image_size, layout.image_size),
        mask_in_chans=16,
    )
    transformer = TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8)
    return prompts, MaskDecoder(transformer_dim=256, transformer=transformer)


@pytest.fixture(scope="session")
def decoded_by() -> Callable[[Sam, Tensor, Prompts, bool], tuple[Tensor, Tensor]]:
    """What segment-anything's decoder says of prompts."""
    return _decoded


def _decoded(
    oracle: Sam, embedding: Tensor, prompts: Prompts, multimask: bool
) -> tuple[Tensor, Tensor]:
    points = None if prompts.points is None else (prompts.points, prompts.point_labels)
    sparse, dense = oracle.prompt_encoder(points=points, boxes=prompts.boxes, masks=prompts.masks)
    places = oracle.prompt_encoder.get_dense_pe()
    return oracle.mask_decoder(embedding, places, sparse, dense, multimask)


@pytest.fixture(scope="session")
def some_prompts() -> Callable[[Layout, int], dict[str, Prompts]]:
    """Prompts of every kind and of kinds together, ``count`` of each."""
    return _some_prompts


def _some_prompts(layout: Layout, count: int) -> dict[str, Prompts]:
    generator = torch.Generator().manual_seed(7)
    side = layout.image_size
    points = torch.rand(count, 3, 2, generator=generator) * side
    labels = torch.randint(-1, 2, (count, 3), generator=generator)
    corners = (torch.rand(count, 2, 2, generator=generator) * side).sort(dim=1).values
    boxes = corners.flatten(1)
    masks = torch.randn(count, 1, side // 4, side // 4, generator=generator)
    return {
        "points": Prompts(points, labels),
        "boxes": Prompts(boxes=boxes),
        "points and boxes": Prompts(points, labels, boxes),
        "masks": Prompts(masks=masks),
        "all": Prompts(points, labels, boxes, masks),
    }


@pytest.fixture(scope="session")
def relative_error() -> Callable[[Tensor, Tensor], float]:
    """The largest difference, as a part of the largest value."""
    return lambda ours, theirs: float((ours - theirs).abs().max() / theirs.abs().max())
