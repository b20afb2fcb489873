"""MobileSAM's layout, key by key, shape by shape and number by number, against its own code."""

import importlib
from math import prod
from pathlib import Path

import pytest
import timm.models.registry
import torch

from abbe.sam import LAYOUTS, Layout, load_sam, network

LIST = Path(__file__).parents[2] / "docs" / "mobile_sam_parameters.txt"


@pytest.fixture(scope="module")
def mobile_sam():
    """MobileSAM's package, kept from putting its networks in the place of timm's own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timm.models.registry, "register_model", lambda function: function)
        return importlib.import_module("mobile_sam")


def shapes_of(module):
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def published_list():
    lines = [line for line in LIST.read_text("utf-8").splitlines() if not line.startswith("#")]
    rows = (line.split(maxsplit=1) for line in lines)
    return {name: tuple(map(int, shape.replace("×", " ").split())) for name, shape in rows}


def test_the_published_list_is_ours_and_theirs(mobile_sam):
    listed = published_list()
    listed = {name: () if shape == (0,) else shape for name, shape in listed.items()}  # counters
    with torch.device("meta"):
        ours = network(LAYOUTS["mobile"])
    assert shapes_of(ours) == listed
    assert list(shapes_of(ours)) == list(listed)
    assert shapes_of(mobile_sam.sam_model_registry["vit_t"]()) == listed
    assert len(listed) == 439
    counted = dict(ours.named_parameters())
    assert sum(prod(listed[name]) for name in counted) == 10_130_092


@torch.no_grad()
def test_a_reduced_image_is_embedded_as_by_its_own_blocks(mobile_sam, lively, relative_error):
    """Its ``forward`` knows images of 1024 px alone; its blocks know any."""
    ours = lively(Layout("tiny_vit", image_size=256), 1).image_encoder
    theirs = mobile_sam.modeling.TinyViT(
        img_size=256,
        embed_dims=[64, 128, 160, 320],
        depths=[2, 2, 6, 2],
        num_heads=[2, 4, 5, 10],
        window_sizes=[7, 7, 14, 7],
    )
    theirs.load_state_dict(ours.state_dict())
    theirs.eval()  # after the weights: it keeps the biases of the attention in a second place
    images = torch.randn(2, 3, 256, 256)
    x = theirs.patch_embed(images)
    for layer in theirs.layers:
        x = layer(x)
    x = theirs.neck(x.view(2, 16, 16, -1).permute(0, 3, 1, 2))
    assert relative_error(ours(images), x) <= 1e-4
    for layer in ours.layers[1:]:
        layer.blocks[0].attn.attention_biases.zero_()
    assert relative_error(ours(images), x) > 1e-2


@pytest.mark.slow
@torch.no_grad()
def test_the_whole_network_agrees_at_its_own_size(
    mobile_sam, lively, decoded_by, some_prompts, relative_error, tmp_path
):
    layout = LAYOUTS["mobile"]
    torch.save(lively(layout, 2).state_dict(), tmp_path / "mobile_sam.pt")
    sam, facts = load_sam(tmp_path / "mobile_sam.pt")
    assert facts.layout == layout
    theirs = mobile_sam.sam_model_registry["vit_t"](checkpoint=tmp_path / "mobile_sam.pt").eval()
    images = torch.randn(1, 3, 1024, 1024)
    expected = theirs.image_encoder(images)
    assert relative_error(sam.encode(images), expected) <= 1e-4
    for prompts in some_prompts(layout, 2).values():
        masks, _ = sam.decode(expected, prompts, multimask=True)
        their_masks, _ = decoded_by(theirs, expected, prompts, True)
        assert relative_error(masks, their_masks) <= 1e-4
        assert (their_masks[(masks > 0) != (their_masks > 0)].abs() <= 1e-3).all()
