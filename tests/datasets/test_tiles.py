"""Tiles of slides: which are taken, what a record gives, and what is said of unusable slides."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import scipy.ndimage
import tifffile

from abbe.datasets.slides.tile_index import TileIndex, TileRules, index_tiles
from abbe.datasets.slides.tile_picture import draw_tiles
from abbe.datasets.slides.tiles import slide_tiles
from abbe.datasets.splits import assign_splits
from abbe.datasets.training.prepare import prepare
from abbe.errors import InputError
from abbe.imaging import Region, open_slide
from abbe.imaging.tissue import pen_mask, sharpness, tissue_mask

SIDE = 1024
TILE = 128
SMALL = TileRules(tile=TILE)
WHITE, PINK, VIOLET = (242, 241, 243), (205, 140, 180), (110, 70, 140)


@pytest.fixture(scope="session")
def glass() -> np.ndarray:
    """(1024, 1024, 3) at 0.5 µm: sharp tissue left, blurred right, ink below, else background."""
    rng = np.random.default_rng(0)
    pixels = np.full((SIDE, SIDE, 3), WHITE, np.float32)
    tissue = np.full((512, SIDE, 3), PINK, np.float32)
    nuclei = scipy.ndimage.gaussian_filter(rng.standard_normal((512, SIDE)), 3) > 0.1
    tissue[nuclei] = VIOLET
    tissue[:, 512:] = scipy.ndimage.gaussian_filter(tissue[:, 512:], (4, 4, 0))
    pixels[:512] = tissue
    pixels[256:512, 256:512] = (30, 150, 90)  # a green pen over the tissue
    pixels += rng.normal(0, 1.5, pixels.shape)
    return pixels.clip(0, 255).astype(np.uint8)


def write_slide(path: Path, pixels: np.ndarray, pixel_size: float | None = 0.5) -> Path:
    options: dict[str, Any] = {"tile": (128, 128), "photometric": "rgb", "compression": "zlib"}
    first = dict(options)
    if pixel_size is not None:
        first |= {"resolution": (1e4 / pixel_size,) * 2, "resolutionunit": "CENTIMETER"}
    with tifffile.TiffWriter(path) as writer:
        writer.write(pixels, subifds=1, **first)
        writer.write(pixels[::4, ::4], subfiletype=1, **options)
    return path


@pytest.fixture
def slide(tmp_path: Path, glass: np.ndarray) -> Path:
    (tmp_path / "slides").mkdir()
    return write_slide(tmp_path / "slides" / "one.tif", glass)


def verdicts(index: TileIndex) -> list[list[str]]:
    columns = SIDE // TILE
    names = [tile.verdict[0] for tile in index.tiles]
    return ["".join(names[i : i + columns]) for i in range(0, len(names), columns)]  # pyright: ignore[reportReturnType]


def test_each_rule_leaves_out_what_it_is_for(slide):
    assert verdicts(index_tiles(slide, SMALL)) == [
        "ttttbbbb",
        "ttttbbbb",
        "ttppbbbb",
        "ttppbbbb",
        *["e" * 8] * 4,
    ]


def test_rules_can_be_loosened(slide):
    blurred = index_tiles(slide, TileRules(tile=TILE, minimum_sharpness=0))
    assert sum(tile.verdict == "taken" for tile in blurred.tiles) == 28
    assert all(tile.sharpness is None for tile in blurred.tiles)
    everything = index_tiles(
        slide, TileRules(tile=TILE, minimum_sharpness=0, minimum_tissue=0, maximum_pen=1)
    )
    assert len(everything.taken) == 64


def test_records_are_lazy_views_of_the_slide(slide, glass):
    dataset = slide_tiles(slide, SMALL)
    assert len(dataset) == 12
    assert dataset.channels == ("red", "green", "blue")
    record = dataset["one-x128-y256"]
    assert (record.group, record.label, record.columns["slide"]) == ("one", None, "one.tif")
    image = record.image.open()
    assert (image.shape, image.pixel_size) == ((TILE, TILE), 0.5)
    expected = glass[256:384, 128:256].transpose(2, 0, 1)
    np.testing.assert_array_equal(image.read(), expected)
    part = image.read(Region(3, 5, 20, 40), ["green"])
    np.testing.assert_array_equal(part[0], expected[1, 3:20, 5:40])
    again = pickle.loads(pickle.dumps(record))
    np.testing.assert_array_equal(again.image.open().read(), expected)
    [prepared] = prepare([record], dataset.channels)
    assert prepared.shape == (TILE, TILE)


def test_another_pixel_size_and_overlapping_tiles(slide):
    dataset = slide_tiles(slide, TileRules(tile=64, pixel_size=1.0, stride=32, minimum_sharpness=0))
    image = dataset["one-x32-y64"].image.open()
    whole = open_slide(slide).at(1.0).read()
    np.testing.assert_array_equal(image.read(), whole[:, 64:128, 32:96])
    assert image.pixel_size == 1.0


def test_a_changed_file_is_read_anew(slide, glass):
    record = slide_tiles(slide, SMALL).records[0]
    before = record.image.open().read()
    write_slide(slide, glass[:, ::-1])
    assert not np.array_equal(record.image.open().read(), before)


def test_a_folder_of_slides_keeps_each_in_one_split(slide, glass):
    for name in ("two", "three"):
        write_slide(slide.with_name(f"{name}.tif"), glass)
    (slide.parent / "notes.txt").write_text("not a slide")
    seen: list[tuple[int, int]] = []
    dataset = slide_tiles(slide.parent, SMALL, progress=lambda *at: seen.append(at))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    assert {record.group for record in dataset} == {"one", "two", "three"}
    assert dataset.left_out == {}
    assert "one.tif: 12 taken, 32 empty, 4 pen, 16 blurred" in dataset.notes
    divided = assign_splits(dataset, fractions={"train": 0.67, "test": 0.33})
    assert len({record.group for record in divided.split("test")}) == 1


def test_unusable_slides_of_a_folder_are_left_out_and_named(slide, glass):
    write_slide(slide.with_name("a-unknown.tif"), glass, pixel_size=None)
    write_slide(slide.with_name("b-empty.tif"), np.full_like(glass, 240))
    slide.with_name("c-damaged.tif").write_bytes(slide.read_bytes()[:5000])
    dataset = slide_tiles(slide.parent, SMALL)
    assert len(dataset) == 12
    messages = "\n".join(dataset.left_out.values())
    assert "a-unknown.tif: its pixel size is not known" in messages
    assert "b-empty.tif: no tile of it is taken" in messages
    assert "c-damaged.tif" in messages
    assert list(dataset.left_out) == ["a-unknown.tif", "b-empty.tif", "c-damaged.tif"]


def test_where_no_slide_is_usable_every_reason_is_told(slide, glass):
    slide.with_name("a-damaged.tif").write_bytes(slide.read_bytes()[:5000])
    write_slide(slide, glass, pixel_size=None)
    with pytest.raises(InputError) as caught:
        slide_tiles(slide.parent, SMALL)
    first, *reasons = str(caught.value).splitlines()
    assert first.endswith("slides: none of its 2 slides can be used:")
    assert [reason.split(":")[0].rsplit("/", 1)[1] for reason in reasons] == [
        "a-damaged.tif", "one.tif"
    ]  # fmt: skip
    for number in range(5):
        slide.with_name(f"b{number}.tif").write_bytes(b"II*\0 no slide")
    with pytest.raises(InputError, match=r"b3\.tif") as caught:
        slide_tiles(slide.parent, SMALL)
    assert "b4.tif" not in str(caught.value)
    assert str(caught.value).endswith("… and 2 more")


def test_a_slide_that_is_all_background_says_so(tmp_path, rng):
    noise = rng.normal(243, 2, (512, 512, 3)).clip(0, 255).astype(np.uint8)
    path = write_slide(tmp_path / "empty.tif", noise)
    with pytest.raises(InputError, match=r"no tile of it is taken: of 16, 0 taken, 16 empty"):
        slide_tiles(path, SMALL)


def test_a_slide_without_pixel_size_takes_the_given_one(tmp_path, glass):
    path = write_slide(tmp_path / "unknown.tif", glass, pixel_size=None)
    with pytest.raises(InputError, match="--pixel-size"):
        slide_tiles(path, SMALL)
    dataset = slide_tiles(path, SMALL, slide_pixel_size=0.5)
    assert dataset.records[0].image.open().pixel_size == 0.5


def test_a_given_pixel_size_fills_gaps_only(slide, glass):
    write_slide(slide.with_name("unknown.tif"), glass, pixel_size=None)
    rules = TileRules(
        tile=TILE, pixel_size=1.0, minimum_tissue=0, maximum_pen=1, minimum_sharpness=0
    )
    dataset = slide_tiles(slide.parent, rules, slide_pixel_size=0.25)
    known = [record for record in dataset if record.group == "one"]
    assert len(known) == 16  # 1024 px of 0.5 µm are 512 of 1 µm: four tiles a side
    assert len(dataset) - len(known) == 4  # the other one is half as wide
    expected = open_slide(slide).at(1.0).read()[:, :TILE, :TILE]
    np.testing.assert_array_equal(known[0].image.open().read(), expected)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixel_size": 0.25}, "0.25 µm were asked for"),
        ({"tile": 2048}, "smaller than a tile of 2048 px"),
        ({"stride": 0}, "stride 0 px must be above 0"),
    ],
)
def test_impossible_wishes_are_refused(change, message, slide):
    with pytest.raises(InputError, match=message):
        slide_tiles(slide, TileRules(**{"tile": TILE, **change}))


def test_channels_that_are_no_colours_are_refused(slide):
    with pytest.raises(InputError, match="channels of slides are red, green, blue"):
        slide_tiles(slide, SMALL, channels=("nucleus", "membrane", "x"))


def test_what_is_no_brightfield_slide_is_refused(tmp_path, rng):
    path = tmp_path / "fluorescence.tif"
    tifffile.imwrite(path, rng.integers(0, 9999, (2, 300, 300), dtype=np.uint16))
    with pytest.raises(
        InputError, match=r"colour images of 8 bits.*channel-0, channel-1 in uint16"
    ):
        slide_tiles(path, slide_pixel_size=0.5)


def test_a_path_without_slides_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such slide or folder"):
        slide_tiles(tmp_path / "none.svs")
    with pytest.raises(InputError, match="holds no slide"):
        slide_tiles(tmp_path)


def test_the_picture_frames_what_was_taken(slide, tmp_path):
    path = draw_tiles([index_tiles(slide, SMALL)], tmp_path / "tiles.png")
    colours = {tuple(int(v) for v in c) for c in np.asarray(PIL.Image.open(path)).reshape(-1, 3)}
    assert {(0, 150, 60), (220, 0, 0), (0, 80, 230)} <= colours
    slide_tiles(slide, SMALL, picture=tmp_path / "again.png")
    assert (tmp_path / "again.png").read_bytes() == path.read_bytes()


def test_the_picture_is_there_even_if_nothing_was_taken(slide, tmp_path):
    path = tmp_path / "tiles.png"
    with pytest.raises(InputError, match="no tile of it is taken"):
        slide_tiles(slide, TileRules(tile=TILE, minimum_sharpness=1e9), picture=path)
    colours = {tuple(int(v) for v in c) for c in np.asarray(PIL.Image.open(path)).reshape(-1, 3)}
    assert (0, 80, 230) in colours
    assert (0, 150, 60) not in colours


def test_many_slides_share_a_sheet_of_bounded_size(slide, tmp_path, monkeypatch):
    monkeypatch.setattr("abbe.datasets.slides.tile_picture.LARGEST_SHEET", 120 * 120)
    index = index_tiles(slide, SMALL)
    with PIL.Image.open(draw_tiles([index] * 4, tmp_path / "tiles.png")) as sheet:
        assert max(sheet.size) < 400


def test_a_slide_is_judged_once_as_long_as_it_is_the_same(slide, glass):
    first = index_tiles(slide, SMALL)
    assert index_tiles(slide, SMALL).tiles is first.tiles
    assert index_tiles(slide, TileRules(tile=TILE, maximum_pen=1)).tiles is not first.tiles
    write_slide(slide, glass[::-1])
    assert verdicts(index_tiles(slide, SMALL))[-1] == "ttttbbbb"


def plain(colour: tuple[int, int, int]) -> np.ndarray:
    return np.tile(np.array(colour, np.uint8)[:, None, None], (1, 32, 32))


@pytest.mark.parametrize(
    "ink", [(30, 150, 90), (20, 60, 170), (0, 130, 150), (200, 20, 30), (20, 20, 22)]
)
def test_ink_is_told(ink):
    assert pen_mask(plain(ink)).all()
    assert not tissue_mask(plain(ink)).any()


@pytest.mark.parametrize(
    "stain", [WHITE, PINK, VIOLET, (90, 60, 130), (190, 70, 90), (230, 190, 210)]
)
def test_stains_are_no_ink(stain):
    assert not pen_mask(plain(stain)).any()


def test_tissue_without_any_background_is_tissue(glass):
    rgb = np.ascontiguousarray(glass[:256, :256].transpose(2, 0, 1))
    assert tissue_mask(rgb).mean() > 0.95
    grey = np.repeat(rgb.mean(0, keepdims=True), 3, axis=0).astype(np.uint8)
    assert not tissue_mask(grey).any()  # dense, but without colour


def test_specks_are_no_tissue():
    rgb = plain(WHITE)
    rgb[:, 4:7, 4:7] = np.array(VIOLET)[:, None, None]
    assert not tissue_mask(rgb).any()
    rgb[:, 10:24, 10:24] = np.array(VIOLET)[:, None, None]
    assert tissue_mask(rgb).sum() >= 14 * 14


def test_sharpness_is_the_variance_of_the_laplacian():
    rgb = np.zeros((3, 5, 5), np.uint8)
    rgb[:, 2, 2] = 30
    laplacian = np.zeros((5, 5))
    laplacian[2, 2] = -120
    laplacian[[1, 3, 2, 2], [2, 2, 1, 3]] = 30
    assert sharpness(rgb) == pytest.approx(laplacian.var())


@pytest.mark.real
def test_the_real_slide_gives_its_tissue(data_root: Path):
    dataset = slide_tiles(data_root / "wsi" / "cmu-1-small-region.svs")
    assert 25 <= len(dataset) <= 45
    values = [float(record.columns["sharpness"]) for record in dataset]
    assert min(values) > 300
