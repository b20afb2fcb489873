"""SAM's family as teachers. The network here is tiny and random: its masks mean nothing."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from abbe import datasets, teachers
from abbe.errors import ConfigError, InputError, StoreError
from abbe.imaging import Image
from abbe.losses import boundary_of
from abbe.sam import Layout, Letterbox, Prompts, build_sam
from abbe.targets import TargetStore
from abbe.teachers.sam.masks import prompts_at_once, soft_masks, window_of
from abbe.teachers.sam.prompts import boxes_of
from abbe.teachers.sam.tiles import tiles_of

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
    letterbox = Letterbox.of((64, 64), 64)
    from abbe.imaging import three_channels

    picture = three_channels(image().read(channels=CHANNELS), "fill_last")
    with torch.inference_mode():
        embedding = teacher.network.encode(letterbox.image(picture)[None])
        for box in boxes:
            logits, _ = teacher.network.decode(
                embedding, Prompts(boxes=letterbox.boxes(box[None])), multimask=False
            )
            top, left, bottom, right = window_of(box, (64, 64))
            window = np.s_[top:bottom, left:right]
            soft = letterbox.masks(logits)[0, 0].sigmoid().numpy()[window]
            np.maximum(expected[window], soft, out=expected[window])
    assert np.allclose(foreground, expected, atol=1e-5)
    assert np.array_equal(instances > 0, foreground >= 0.5)
    learned = boundary_of(torch.from_numpy(instances.astype(np.int64))[None])[0].numpy()
    assert np.array_equal(boundary, learned)  # what labels teach
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


def test_a_network_sees_another_square_where_wished_and_its_store_knows(weights, tmp_path):
    teacher = build(weights, prompts="amg", gives="embedding", side=96)
    assert teacher.predict(image(), "any").maps["embedding"].shape == (256, 6, 6)
    assert teachers.teach(teacher, TISSUE, tmp_path / "t.zarr", progress=False).done == 2
    own = build(weights, prompts="amg", gives="embedding")
    with pytest.raises(StoreError, match=r"'side': '96 px'.* here"):
        teachers.teach(own, TISSUE, tmp_path / "t.zarr", progress=False)
    for side, complaint in ((100, r"side: must be a multiple of 16 px \(it is 100\)"),
                            ("wide", "side"), (0, "side")):  # fmt: skip
        with pytest.raises(ConfigError, match=complaint):
            build(weights, side=side)


def test_a_large_image_is_seen_by_tiles_and_every_object_once(weights):
    large = Image.from_array(np.tile(image().read(), (1, 2, 3)), CHANNELS, None, "large")
    label = np.zeros((128, 192), np.int32)
    for number, (row, column) in enumerate(np.ndindex(6, 9), start=1):
        label[20 * row + 4 : 20 * row + 14, 20 * column + 4 : 20 * column + 14] = number
    boxes = boxes_of(label)
    seen = []
    for tile in tiles_of((128, 192), 64, 16):
        owned = boxes[tile.owns((boxes[:, :2] + boxes[:, 2:]) / 2)]
        seen += owned.tolist()
        assert not tile.cuts(owned).any()
        assert tile.cuts(owned + np.array([0, 0, 64, 0])).all()
    assert sorted(seen) == sorted(boxes.tolist())
    teacher = build(weights, prompts="amg", tile=64, halo=16, points_per_side=2)
    answer = teacher.predict(large, "large")
    assert answer.maps["probability"].shape == (2, 128, 192)
    assert teacher.provenance.thresholds["tile"] == 64


def test_a_soft_mask_is_cut_to_its_box_and_a_fifth_more():
    assert window_of(np.array([10.0, 20, 30, 40]), (50, 60)) == (18, 8, 42, 32)
    assert window_of(np.array([0.0, 0, 60, 50]), (50, 60)) == (0, 0, 50, 60)


@pytest.mark.parametrize("boxes", [None, np.array([[5.0, 30, 31, 70], [0, 0, 90, 100]])])
def test_a_part_of_a_mask_is_that_part_of_the_whole(boxes):
    letterbox, logits = Letterbox.of((120, 90), 64), torch.randn(2, 16, 16)
    whole = letterbox.masks(logits[:, None])[:, 0].sigmoid().numpy()
    for index, (soft, top, left) in enumerate(soft_masks(logits, letterbox, boxes)):
        window = whole[index, top : top + soft.shape[0], left : left + soft.shape[1]]
        assert np.allclose(soft, window, atol=1e-5)
        if boxes is None:
            assert (soft >= 0.5).sum() == (whole[index] >= 0.5).sum() > 0


def test_without_a_box_a_mask_is_drawn_within_its_own_and_not_at_all_if_empty():
    letterbox, logits = Letterbox.of((640, 480), 64), torch.full((3, 16, 16), -4.0)
    logits[1, 5:7, 4:8] = 4
    logits[2, :, 15] = 4  # in the padding right of the image
    whole = letterbox.masks(logits[:, None])[1, 0].sigmoid().numpy()
    ((soft, top, left),) = soft_masks(logits, letterbox, None)
    assert soft.size < 0.2 * whole.size
    window = np.s_[top : top + soft.shape[0], left : left + soft.shape[1]]
    assert np.allclose(soft, whole[window], atol=1e-5)
    whole[window] = 0
    assert whole.max() < 0.5


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


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("image_encoder.neck.0.weight", "embeddings"),
        ("mask_decoder.iou_prediction_head.layers.2.bias", "expected IoUs"),
        ("mask_decoder.output_upscaling.3.bias", "masks"),
    ],
)
@pytest.mark.parametrize("prompts", ["oracle_box", "amg"])
def test_a_network_that_gives_nan_fails_and_finds_nothing_never(
    weights, tmp_path, part, what, prompts
):
    teacher = build(weights, prompts=prompts, points_per_side=2, grid_minimum_iou=0.0)
    teacher.network.get_parameter(part).data.fill_(float("nan"))
    report = teachers.teach(teacher, TISSUE, tmp_path / "targets.zarr", progress=False)
    assert report.done == 0
    assert set(report.failed) == set(TISSUE.ids)
    message = report.failed[TISSUE.ids[0]]
    assert f"the network's {what} hold NaN" in message
    assert "precision fp32" in message


def test_a_store_is_not_continued_with_other_settings(weights, tmp_path):
    table, store = tmp_path / "prompts.csv", tmp_path / "targets.zarr"
    table.write_text("\n".join(["id,x,y", *(f"{id},10,12" for id in TISSUE.ids)]))

    def teach(**options):
        teacher = build(weights, prompts="point", prompt_file=table, **options)
        return teachers.teach(teacher, TISSUE, store, progress=False)

    assert teach().done == 2
    assert teach().skipped == 2
    with pytest.raises(StoreError, match=r"'gives': 'probability, instances', .* here.*embedding"):
        teach(gives="embedding")
    other = teachers.sam(weights, CHANNELS, prompts="point", prompt_file=table, precision="bf16")
    with pytest.raises(StoreError, match=r"{'precision': 'fp32'} here, {'precision': 'bf16'} now"):
        teachers.teach(other, TISSUE, store, progress=False)
    table.write_text(table.read_text().replace("10,12", "10,13"))
    with pytest.raises(StoreError, match=r"'prompt_file': 'sha256 .* here, .* now"):
        teach()


def test_a_point_outside_belongs_to_its_object(weights, tmp_path):
    table = tmp_path / "prompts.csv"
    table.write_text("id,x,y,object,positive\na,20,20,one,1\na,50,50,one,0\n")
    options = {"prompts": "point", "prompt_file": table, "labels": None}
    teacher = build(weights, minimum_iou=0.0, minimum_area=1, **options)
    picture = Image.from_array(image().read(), CHANNELS, None, "a")
    found = teacher.predict(picture, "a").maps["probability"][0]
    letterbox = Letterbox.of((64, 64), 64)
    from abbe.imaging import three_channels

    seen = teacher.embedding(three_channels(image().read(channels=CHANNELS), "fill_last"))
    asked = Prompts(
        points=letterbox.points([[[20.0, 20], [50, 50]]]), point_labels=torch.tensor([[1, 0]])
    )
    with torch.inference_mode():
        logits, _ = teacher.network.decode(seen, asked, multimask=False)
    whole = letterbox.masks(logits)[0, 0].sigmoid().numpy()
    assert np.array_equal(found >= 0.5, whole >= 0.5)
    assert (found >= 0.5).any()


def test_a_prompt_larger_than_its_tile_is_refused_with_one_that_would_do(weights, tmp_path):
    table = tmp_path / "prompts.csv"
    table.write_text("id,x0,y0,x1,y1\nlarge,20,30,121,60\nlarge,4,4,9,9\n")
    large = Image.from_array(np.tile(image().read(), (1, 3, 4)), CHANNELS, None, "large")
    options = {"prompts": "box", "prompt_file": table, "labels": None}
    with pytest.raises(
        InputError, match=r"1 of 2 prompts .* 101 x 30 px at x 20, y 30.* halo 51 .* 204"
    ):
        build(weights, tile=64, halo=16, **options).predict(large, "large")
    for tile in (103, 204):
        maps = build(weights, tile=tile, halo=51, **options).predict(large, "large").maps
        assert maps["instances"].shape == (192, 256)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"points_per_side": 0}, "points_per_side 0: a whole number of at least 1"),
        ({"points_per_side": -4}, "points_per_side -4"),
        ({"points_per_side": 2.5}, r"points_per_side 2\.5"),
        ({"minimum_area": -1}, "minimum_area -1"),
        ({"tile": 0, "halo": 0}, "tile 0"),
        ({"halo": -5}, "halo -5"),
        ({"tile": 64, "halo": 32}, "halo 32: .* a halo below 32, or a tile above 64"),
        ({"memory_gb": -1}, "memory_gb -1"),
        ({"memory_gb": float("nan")}, "memory_gb nan"),
        ({"precision": "fp17"}, "precision 'fp17'"),
        ({"device": "cudaa"}, "device 'cudaa' cannot be used here"),
        ({"device": "cuda:99"}, "device 'cuda:99' cannot be used here"),
    ],
)
def test_an_impossible_option_is_named_before_weights_are_read(tmp_path, options, complaint):
    options = {"device": "cpu", **options}
    with pytest.raises(ConfigError, match=complaint):
        teachers.sam(tmp_path / "none.pth", CHANNELS, **options)
