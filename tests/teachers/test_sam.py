"""SAM's family as teachers. The network here is tiny and random: its masks mean nothing."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from abbe import datasets, teachers
from abbe.errors import ConfigError, InputError
from abbe.imaging import Image, outlines
from abbe.sam import Frame, Layout, Prompts, build_sam
from abbe.targets import TargetStore
from abbe.teachers.prompts import boxes_of
from abbe.teachers.sam import Tile, prompts_at_once, soft_masks, window_of
from abbe.teachers.tiles import windows

TINY = Layout("vit", image_size=64, width=32, depth=2, heads=2, global_layers=(1,))
CHANNELS = ("nucleus", "membrane")
TISSUE = datasets.simulated_tissue(2, size=64, seed=3, channels=CHANNELS)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """A random network that answers with sharp masks and trusts them."""
    network = build_sam(TINY, seed=1)
    for head in network.mask_decoder.output_hypernetworks_mlps:
        head.layers[2].weight.data *= 300  # pyright: ignore
    network.mask_decoder.iou_prediction_head.layers[2].bias.data[:] = 0.9  # pyright: ignore
    path = tmp_path_factory.mktemp("sam") / "tiny_random.safetensors"
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path)
    return path


def image():
    return TISSUE.records[0].image.open()


def build(weights, **options):
    options = {"prompts": "oracle_box", "labels": TISSUE, **options}
    return teachers.sam(weights, CHANNELS, device="cpu", precision="fp32", **options)


def test_oracle_boxes_are_said_to_see_the_labels(weights):
    source = build(weights).provenance
    assert source.sees_labels
    assert source.prompt_mode == "oracle_box"
    assert "ground truth" in " ".join(source.notes)
    assert source.weights_sha256 is not None
    assert source.weights_licence == "not stated"
    assert not build(weights, prompts="amg").provenance.sees_labels


def test_the_foreground_is_the_union_of_the_soft_masks_that_one_gets_alone(weights):
    teacher = build(weights, minimum_iou=0.0, minimum_area=1)
    answer = teacher.predict(image(), TISSUE.ids[0])
    foreground, boundary = answer.maps["probability"]
    instances = answer.maps["instances"]
    label = TISSUE.records[0].label
    assert label is not None
    boxes = boxes_of(label.read())
    expected = np.zeros((64, 64), np.float32)
    frame = Frame.of((64, 64), 64)
    from abbe.imaging import three_channels

    picture = three_channels(image().read(channels=CHANNELS), "fill_last")
    with torch.inference_mode():
        embedding = teacher.network.encode(frame.image(picture)[None])
        for box in boxes:
            logits, _ = teacher.network.decode(
                embedding, Prompts(boxes=frame.boxes(box[None])), multimask=False
            )
            top, left, bottom, right = window_of(box, (64, 64))
            window = np.s_[top:bottom, left:right]
            soft = frame.masks(logits)[0, 0].sigmoid().numpy()[window]
            np.maximum(expected[window], soft, out=expected[window])
    assert np.allclose(foreground, expected, atol=1e-5)
    assert np.array_equal(instances > 0, foreground >= 0.5)
    assert np.array_equal(boundary, outlines(instances))
    assert answer.empty == (not instances.any())


def test_masks_that_the_network_rates_low_are_dropped_and_nothing_is_empty(weights):
    answer = build(weights, minimum_iou=2.0).predict(image(), TISSUE.ids[0])
    assert answer.empty
    assert not answer.maps["probability"].any()


def test_the_memory_does_not_change_the_answer(weights):
    full = build(weights, minimum_iou=0.0).predict(image(), TISSUE.ids[0])
    little = build(weights, minimum_iou=0.0, memory_gb=1e-6).predict(image(), TISSUE.ids[0])
    assert np.allclose(full.maps["probability"], little.maps["probability"], atol=1e-5)
    embedding = torch.zeros(1, 256, 4, 4)
    assert prompts_at_once(embedding, 1) == 1


@pytest.mark.parametrize("prompts", ["amg", "centroid", "box", "point"])
def test_every_kind_of_prompt_teaches_a_store(weights, prompts, tmp_path):
    table = tmp_path / "prompts.csv"
    columns = "id,x,y" if prompts == "point" else "id,x0,y0,x1,y1"
    values = "10,12" if prompts == "point" else "5,5,30,40"
    table.write_text("\n".join([columns, *(f"{id},{values}" for id in TISSUE.ids)]))
    teacher = build(
        weights,
        prompts=prompts,
        prompt_file=table if prompts in ("box", "point") else None,
        grid_minimum_iou=0.0,
        grid_minimum_stability=0.0,
        largest=1.0,
        points_per_side=3,
    )
    report = teachers.teach(teacher, TISSUE, tmp_path / "targets.zarr", progress=False)
    assert report.done == 2
    store = TargetStore(tmp_path / "targets.zarr")
    assert store.kinds(TISSUE.ids[0]) == {"probability", "instances"}
    assert store.provenance.prompt_mode == prompts
    assert store.provenance.sees_labels == (prompts == "centroid")
    assert store.provenance.simulated


def test_an_embedding_is_what_the_encoder_gives(weights):
    answer = build(weights, prompts="amg", gives="embedding").predict(image(), "any")
    assert set(answer.maps) == {"embedding"}
    assert answer.maps["embedding"].shape == (256, 4, 4)
    assert not answer.empty


def test_a_large_image_is_seen_by_tiles_and_every_object_once(weights):
    large = Image.from_array(np.tile(image().read(), (1, 2, 3)), CHANNELS, None, "large")
    label = np.zeros((128, 192), np.int32)
    for number, (row, column) in enumerate(np.ndindex(6, 9), start=1):
        label[20 * row + 4 : 20 * row + 14, 20 * column + 4 : 20 * column + 14] = number
    boxes = boxes_of(label)
    seen = []
    for top, *rows in windows(128, 64, 16):
        for left, *columns in windows(192, 64, 16):
            tile = Tile(top, left, top + 64, left + 64, (rows[0], columns[0], rows[1], columns[1]))
            owned = boxes[tile.owns((boxes[:, :2] + boxes[:, 2:]) / 2)]
            seen += owned.tolist()
            assert (owned[:, :2] >= [left, top]).all()
            assert (owned[:, 2:] <= [left + 64, top + 64]).all()
    assert sorted(seen) == sorted(boxes.tolist())
    teacher = build(weights, prompts="amg", tile=64, halo=16, points_per_side=2)
    answer = teacher.predict(large, "large")
    assert answer.maps["probability"].shape == (2, 128, 192)
    assert teacher.provenance.thresholds["tile"] == 64


def test_a_soft_mask_is_cut_to_its_box_and_a_fifth_more():
    assert window_of(np.array([10.0, 20, 30, 40]), (50, 60)) == (18, 8, 42, 32)
    assert window_of(np.array([0.0, 0, 60, 50]), (50, 60)) == (0, 0, 50, 60)
    assert window_of(None, (50, 60)) == (0, 0, 50, 60)


@pytest.mark.parametrize("boxes", [None, np.array([[5.0, 30, 31, 70], [0, 0, 90, 100]])])
def test_a_part_of_a_mask_is_that_part_of_the_whole(boxes):
    frame, logits = Frame.of((120, 90), 64), torch.randn(2, 16, 16)
    whole = frame.masks(logits[:, None])[:, 0].sigmoid().numpy()
    for index, (soft, top, left) in enumerate(soft_masks(logits, frame, boxes)):
        window = whole[index, top : top + soft.shape[0], left : left + soft.shape[1]]
        assert np.allclose(soft, window, atol=1e-5)
        assert soft.shape == (120, 90) or boxes is not None


def test_what_does_not_fit_is_refused(weights, tmp_path):
    with pytest.raises(ConfigError, match="at most three channels"):
        teachers.sam(weights, ("a", "b", "c", "d"))
    with pytest.raises(ConfigError, match="leave tile out"):
        build(weights, gives="embedding", tile=64)
    with pytest.raises(ConfigError, match="gives: choose from probability"):
        build(weights, gives="masks")
    with pytest.raises(InputError, match=r"none\.pth"):
        build(tmp_path / "none.pth")
    split = datasets.assign_splits(TISSUE, fractions={"train": 1.0, "val": 0.0, "test": 0.0})
    bare = datasets.choose_labelled(split, 1, seed=0)
    unlabelled = next(record for record in bare if record.label is None)
    teacher = build(weights, labels=bare)
    with pytest.raises(InputError, match="has no label"):
        teacher.predict(image(), unlabelled.id)
