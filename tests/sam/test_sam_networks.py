"""Ours against segment-anything with the same weights, and against itself in another order."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from segment_anything import sam_model_registry

from abbe.errors import ConfigError, InputError
from abbe.sam import LAYOUTS, Layout, Prompts, build_sam, named_layout, network

KINDS = ("points", "boxes", "points and boxes", "masks", "all")


@pytest.fixture(scope="module")
def pair(small, lively, oracle_of):
    sam = lively(small, 1)
    return sam, oracle_of(sam)


@pytest.fixture(scope="module")
def embedding(pair):
    with torch.no_grad():
        return pair[0].encode(torch.randn(1, 3, 256, 256, generator=torch.manual_seed(2)))


@pytest.mark.parametrize(
    "layout",
    [
        Layout("vit", image_size=256, width=96, depth=3, heads=3, global_layers=(1,), window=7),
        Layout("vit", image_size=128, width=64, depth=2, heads=2, global_layers=(1,)),  # padded
        Layout("vit", image_size=224, width=64, depth=2, heads=1, global_layers=()),  # fitting
    ],
)
@torch.no_grad()
def test_embeddings_are_those_of_segment_anything(layout, lively, oracle_of, relative_error):
    sam = lively(layout, 3)
    images = torch.randn(2, 3, layout.image_size, layout.image_size)
    theirs = oracle_of(sam).image_encoder(images)
    assert relative_error(sam.encode(images), theirs) <= 1e-4
    for block in sam.image_encoder.blocks:  # what the comparison would not see, it did not test
        block.attn.rel_pos_w.zero_()
    assert relative_error(sam.encode(images), theirs) > 1e-2


@torch.no_grad()
def test_attention_in_groups_of_heads_is_the_same(small, lively, monkeypatch, relative_error):
    sam, images = lively(small, 1), torch.randn(2, 3, 256, 256)
    whole = sam.encode(images)
    monkeypatch.setattr("abbe.sam.vit.BIAS_ELEMENTS", 2 * 16**4 * 2)  # two of three heads
    assert relative_error(sam.encode(images), whole) <= 1e-5


@pytest.mark.parametrize("multimask", [True, False])
@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_masks_are_those_of_segment_anything(
    kind, multimask, pair, embedding, small, some_prompts, decoded_by, relative_error
):
    sam, oracle = pair
    prompts = some_prompts(small, 5)[kind]
    logits, iou = sam.decode(embedding, prompts, multimask=multimask)
    theirs, their_iou = decoded_by(oracle, embedding, prompts, multimask)
    assert logits.shape == (5, 3 if multimask else 1, 64, 64)
    assert relative_error(logits, theirs) <= 1e-4
    assert relative_error(iou, their_iou) <= 1e-4
    differing = (logits > 0) != (theirs > 0)
    assert (theirs[differing].abs() <= 1e-3).all()
    assert 0 < (theirs > 0).float().mean() < 1  # there is an outline to agree on


@torch.no_grad()
def test_in_double_precision_only_rounding_remains(pair):
    ours, theirs = (deepcopy(network.mask_decoder).double() for network in pair)
    embedding = torch.randn(1, 256, 16, 16, dtype=torch.float64)
    places, sparse = (torch.randn(*shape, 256).double() for shape in ((256,), (3, 2)))
    attended = ours.attend(ours.prepare(embedding, places), sparse, (16, 16))
    logits, iou = theirs.predict_masks(
        embedding, places.T.reshape(1, 256, 16, 16), sparse, torch.zeros(1).double()
    )
    assert (attended.iou - iou).abs().max() <= 1e-12
    assert (ours.decode_masks(attended, True) - logits[:, 1:]).abs().max() <= 1e-12


@torch.no_grad()
def test_a_batch_of_images_is_decoded_like_each_alone(pair, small, some_prompts, relative_error):
    sam, _ = pair
    embeddings = torch.randn(2, 256, 16, 16)
    for prompts in some_prompts(small, 6).values():
        together, iou = sam.decode_each(embeddings, prompts, multimask=True)
        for image, rows in enumerate((slice(0, 3), slice(3, 6))):
            one = embeddings[image : image + 1]
            alone, alone_iou = sam.decode(one, prompts[rows], multimask=True)
            assert relative_error(together[rows], alone) <= 1e-5
            assert relative_error(iou[rows], alone_iou) <= 1e-5


@torch.no_grad()
def test_only_the_rows_asked_for_are_drawn(pair, embedding, small, some_prompts):
    sam, _ = pair
    prompts = some_prompts(small, 5)["points"]
    everything, iou = sam.decode(embedding, prompts, multimask=True)
    attended = sam.attend(sam.prepare(embedding), prompts)
    assert torch.equal(attended.scores(True), iou)
    some = sam.decode_masks(attended, torch.tensor([4, 1]), multimask=True)
    torch.testing.assert_close(some, everything[[4, 1]])
    assert (
        sam.decode_masks(attended, torch.tensor([], dtype=torch.long), multimask=False).shape[0]
        == 0
    )


def test_training_reaches_every_parameter_that_takes_part(small):
    sam = build_sam(small, 0).train()
    points = Prompts(torch.rand(2, 3, 2) * 256, torch.tensor([[1, 0, -1], [0, 1, 1]]))
    logits, iou = sam.decode_each(sam.encode(torch.randn(2, 3, 256, 256)), points, multimask=True)
    (logits.square().mean() + iou.square().mean()).backward()
    without = {name for name, each in sam.named_parameters() if each.grad is None}
    aside = ("prompt_encoder.mask_downscaling", "mask_decoder.output_hypernetworks_mlps.0.")
    assert without == {name for name, _ in sam.named_parameters() if name.startswith(aside)}


@torch.no_grad()
def test_half_precision_moves_masks_little(pair, small, some_prompts):
    sam, _ = pair
    images, prompts = torch.randn(1, 3, 256, 256), some_prompts(small, 8)["boxes"]
    full, rated = sam.decode(sam.encode(images), prompts, multimask=False)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        half, nearly = sam.decode(sam.encode(images), prompts, multimask=False)
        tokens = sam.attend(sam.prepare(sam.encode(images)), prompts).masks[:, 0]
        head = sam.mask_decoder.iou_prediction_head
        assert head(tokens).dtype == torch.bfloat16
    both, either = ((full > 0) & (half > 0)).sum(), ((full > 0) | (half > 0)).sum()
    assert half.dtype == torch.bfloat16
    assert both / either >= 0.97
    # Masks are kept by their ratings, which bf16 would round to 1/256.
    assert nearly.dtype == torch.float32
    torch.testing.assert_close(nearly, rated, atol=0.03, rtol=0)


def test_random_weights_depend_on_the_seed_alone(small):
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    first, again, other = (build_sam(small, seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.rand(1), expected)  # torch's own generator was not touched
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["image_encoder.pos_embed"], other["image_encoder.pos_embed"])


@pytest.mark.parametrize("name", ["vit_b", "vit_l", "vit_h"])
def test_published_layouts_have_the_published_keys_and_shapes(name):
    with torch.device("meta"):
        ours, theirs = network(LAYOUTS[name]), sam_model_registry[name]()
    shapes = {key: tensor.shape for key, tensor in ours.state_dict().items()}
    assert shapes == {key: tensor.shape for key, tensor in theirs.state_dict().items()}
    billions = {"vit_b": 0.094, "vit_l": 0.312, "vit_h": 0.641}[name]
    assert sum(each.numel() for each in ours.parameters()) / 1e9 == pytest.approx(
        billions, abs=1e-3
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    "layout",
    [
        replace(LAYOUTS["vit_b"], image_size=512),  # whole, of a quarter of its pixels
        replace(LAYOUTS["vit_h"], image_size=256, depth=8, global_layers=(7,)),  # by its width
    ],
    ids=["vit_b", "vit_h"],
)
@torch.no_grad()
def test_full_layouts_agree_with_segment_anything(
    layout, lively, oracle_of, some_prompts, decoded_by, relative_error
):
    sam = lively(layout, 0)
    oracle = oracle_of(sam)
    images = torch.randn(1, 3, layout.image_size, layout.image_size)
    embedding = sam.encode(images)
    theirs = oracle.image_encoder(images)
    assert relative_error(embedding, theirs) <= 1e-4
    for kind in ("points", "boxes", "masks"):
        prompts = some_prompts(layout, 1)[kind]
        logits, _ = sam.decode(embedding, prompts, multimask=True)
        expected, _ = decoded_by(oracle, theirs, prompts, True)
        assert relative_error(logits, expected) <= 1e-4
        assert (expected[(logits > 0) != (expected > 0)].abs() <= 1e-3).all()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            {"encoder": "vit", "image_size": 250, "width": 8, "depth": 1, "heads": 1},
            "multiple of 16",
        ),
        ({"encoder": "vit"}, "a vit needs a width"),
        ({"encoder": "vit", "width": 64, "depth": 2, "heads": 3}, "3 heads do not divide"),
        (
            {"encoder": "vit", "width": 64, "depth": 2, "heads": 2, "global_layers": (2,)},
            r"\[2\]; the blocks are 0 to 1",
        ),
        ({"encoder": "tiny_vit", "depth": 3}, "tiny_vit has one size"),
        ({"encoder": "swin"}, "must be 'vit' or 'tiny_vit'"),
    ],
)
def test_impossible_layouts_are_refused(arguments, says):
    with pytest.raises(ConfigError, match=says):
        Layout(**arguments)


def test_layouts_have_names():
    assert named_layout("vit_b") is LAYOUTS["vit_b"]
    with pytest.raises(ConfigError, match="no layout is named 'vit_x'; there are vit_h"):
        named_layout("vit_x")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({}, "no prompt was given"),
        ({"boxes": torch.zeros(0, 4)}, "no prompt was given"),
        ({"points": torch.zeros(1, 1, 2)}, "points and point_labels must be given together"),
        ({"points": torch.zeros(1, 2), "point_labels": torch.ones(1, 2)}, "points has the shape"),
        ({"points": torch.zeros(1, 2, 2), "point_labels": torch.ones(1, 3)}, "differ in their"),
        ({"boxes": torch.zeros(2, 4), "masks": torch.zeros(3, 1, 64, 64)}, "2 boxes, 3 masks"),
    ],
)
def test_impossible_prompts_are_refused(arguments, says):
    with pytest.raises(InputError, match=says):
        Prompts(**arguments)


def test_sizes_that_do_not_fit_are_refused(pair, embedding):
    sam, _ = pair
    box = Prompts(boxes=torch.tensor([[0.0, 0, 9, 9]]))
    with pytest.raises(InputError, match=r"takes \(B, 3, 256, 256\)"):
        sam.encode(torch.zeros(1, 3, 128, 128))
    with pytest.raises(InputError, match=r"this network's are \(B, 256, 16, 16\)"):
        sam.decode(torch.zeros(1, 256, 64, 64), box, multimask=True)
    with pytest.raises(InputError, match="2 embeddings where one is needed"):
        sam.decode(embedding.repeat(2, 1, 1, 1), box, multimask=True)
    with pytest.raises(InputError, match="1 prompts cannot be shared out equally to 2 images"):
        sam.decode_each(embedding.repeat(2, 1, 1, 1), box, multimask=True)
    with pytest.raises(InputError, match=r"need \(a multiple, 1, 64, 64\)"):
        sam.decode(embedding, Prompts(masks=torch.zeros(1, 1, 32, 32)), multimask=True)
