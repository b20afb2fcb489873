"""On a slide, predict leaves out glass, ink and blur; by the rules of training."""

import csv
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import tifffile
from commands import abbe
from made_packages import (
    LEVELS,
    REGIONS,
    make_class_package,
    make_package,
    make_region_package,
    one_convolution,
)
from PIL import Image as Picture
from scipy import ndimage

from abbe.datasets import TileRules, index_tiles
from abbe.imaging import open_image, read_labels
from abbe.runtime.predictors.predict import predict
from abbe.runtime.tiling.cutting import may_be_slide
from abbe.runtime.tiling.executors import Inline
from abbe.runtime.tiling.tissue import VERDICTS, squares_of

RGB = ("red", "green", "blue")
SIDE = 2304
TISSUE, GLASS = np.s_[:1024], np.s_[1100:-5, 5:-5]
INK, BLUR = np.s_[:512, 1024:1536], np.s_[512:1024, 1024:1536]


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def slide(tmp_path_factory) -> Path:
    """Stained noise above, glass below; in the tissue a field of green ink and a blurred one."""
    random = np.random.default_rng(0)
    pixels = np.full((SIDE, SIDE, 3), 242, np.uint8)
    stains = np.array([[215, 140, 190], [110, 70, 140]], np.uint8)
    noise = ndimage.gaussian_filter(random.standard_normal((1024, SIDE)), 3) > 0
    pixels[TISSUE] = stains[noise.astype(int)]
    pixels[INK] = (20, 150, 70)
    pixels[BLUR] = ndimage.gaussian_filter(pixels[BLUR].astype(float), (12, 12, 0))
    path = tmp_path_factory.mktemp("slides") / "slide.tif"
    write_slide(path, pixels)
    return path


def colours() -> onnx.ModelProto:
    """The class of each pixel is the level that its red is nearest to."""
    weight = np.zeros((3, 3, 5, 5))
    weight[:, 0] = 1 / 25 * (120 * LEVELS)[:, None, None]
    return one_convolution(weight, -60 * LEVELS**2, pool=False)


def class_package(folder: Path) -> Path:
    """A package that tells dark tiles from bright ones by their red."""
    weight = np.zeros((2, 3, 1, 1))
    weight[:, 0, 0, 0] = -30, 30
    network = one_convolution(weight, np.array([18.0, -18.0]), pool=True)
    return make_class_package(folder, channels=RGB, network=network, tile=256, pixel_size=0.5)


def write_slide(path: Path, pixels: np.ndarray, pixel_size: float | None = 0.5) -> None:
    size = {} if pixel_size is None else {
        "resolution": (1e4 / pixel_size,) * 2, "resolutionunit": "CENTIMETER",
    }  # fmt: skip
    tifffile.imwrite(path, pixels, photometric="rgb", tile=(256, 256), **size)


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_slides_class_is_the_mean_over_its_tissue(tmp_path, slide, capsys):
    package = class_package(tmp_path / "package")
    shown = "--results", "table", "geojson", "overview"
    assert abbe("predict", package, slide, "--out", tmp_path / "first", *shown) == 0
    told = capsys.readouterr().out
    # 4 rows of 9 tiles are tissue, of which 2 x 2 are ink and 2 x 2 are blurred.
    assert "28 of 81 places of the slide have tissue" in told
    assert "45 of glass, 4 of ink, 4 blurred" in told
    tiles = rows_of(tmp_path / "first" / "slide.csv")
    taken = {
        (tile.region.left, tile.region.top)
        for tile in index_tiles(slide, TileRules(tile=256, pixel_size=0.5)).taken
    }
    assert {(int(row["x"]), int(row["y"])) for row in tiles} == taken
    assert len(tiles) == 28
    (whole,) = rows_of(tmp_path / "first" / "classes.csv")
    assert whole["tiles"] == "28"
    for name in ("probability_mostly dark", "probability_mostly bright"):
        assert float(whole[name]) == pytest.approx(
            np.mean([float(r[name]) for r in tiles]), rel=1e-4
        )
    features = json.loads((tmp_path / "first" / "slide.geojson").read_text("utf-8"))["features"]
    assert len(features) == 28
    assert {int(f["properties"]["name"]) for f in features} == {int(r["tile"]) for r in tiles}

    assert abbe("predict", package, slide, "--out", tmp_path / "all", *shown, "--all-tiles") == 0
    (everything,) = rows_of(tmp_path / "all" / "classes.csv")
    assert everything["tiles"] == "81"
    assert len(rows_of(tmp_path / "all" / "slide.csv")) == 81
    answers = predict(package, slide), predict(package, slide, all_tiles=True)
    for answer, row in zip(answers, (whole, everything), strict=True):
        assert answer[1] == pytest.approx(float(row["probability_mostly bright"]), abs=1e-4)


def test_objects_are_looked_for_in_tissue_alone_however_it_is_cut(tmp_path, slide):
    package = make_package(tmp_path / "package", channels=RGB, pixel_size=0.5)
    taken = squares_of(open_image(slide), Inline(), 2)
    assert taken is not None
    inside = np.kron(taken.taken, np.ones((256, 256), bool))
    everything = predict(package, slide, precision="fp32", all_tiles=True)
    found = [predict(package, slide, precision="fp32", tile=tile) for tile in (256, 1024)]
    # What is cut at a border may leave a part of it below the least area.
    assert np.mean((found[0] > 0) != (found[1] > 0)) < 1e-5
    assert everything[1100:].any()  # bright glass, to this network
    assert not found[0][~inside].any()
    assert np.mean((found[0][inside] > 0) != (everything[inside] > 0)) < 1e-4
    assert found[0].max() > 100


def test_the_overview_shows_what_was_left_out(tmp_path, slide):
    package = make_package(tmp_path / "package", channels=RGB, pixel_size=0.5)
    words = "--results", "overview", "labels", "--out", tmp_path
    assert abbe("predict", package, slide, *words) == 0
    shown = np.asarray(Picture.open(tmp_path / "slide.overview.png")).astype(int)
    step = -(-SIDE // 2048)
    glass, ink = shown[1500 // step, 1000 // step], shown[200 // step, 1200 // step]
    assert glass.tolist() == [pytest.approx(0.6 * 242 + 0.4 * 210, abs=1)] * 3
    np.testing.assert_allclose(ink, 0.6 * np.array([20, 150, 70]) + [88, 0, 0], atol=1)
    assert shown.shape[0] > SIDE // step  # a legend below
    labels = read_labels(tmp_path / "slide.labels.tif")
    assert not labels[INK].any()
    assert not labels[BLUR].any()


def test_what_is_left_out_of_a_slide_is_background(tmp_path, slide):
    package = make_region_package(
        tmp_path / "package", channels=RGB, network=colours(), pixel_size=0.5
    )
    classes = predict(package, slide)
    assert (classes[1100:] == 0).all()
    assert (classes[INK] == 0).all()
    assert (classes[TISSUE] > 0).any()
    assert (predict(package, slide, all_tiles=True)[GLASS] == REGIONS.index("bright")).all()
    other = make_region_package(
        tmp_path / "other", channels=RGB, network=colours(), pixel_size=0.5,
        classes=("dark", "grey", "bright"),
    )  # fmt: skip
    assert (predict(other, slide)[GLASS] == 2).all()  # there is nothing that glass could be


def test_a_slide_that_was_done_whole_is_done_again(tmp_path, slide, capsys):
    package = class_package(tmp_path / "package")
    base = "predict", package, slide, "--out", tmp_path / "out"
    assert abbe(*base, "--all-tiles") == 0
    assert abbe(*base) == 0
    assert "results were there already" not in capsys.readouterr().out
    assert abbe(*base) == 0
    assert "results were there already: 1 image" in capsys.readouterr().out


def test_a_slide_without_tissue_says_so_and_the_others_go_on(tmp_path, slide, capsys):
    folder = tmp_path / "slides"
    folder.mkdir()
    write_slide(folder / "empty.tif", np.full((SIDE, SIDE, 3), 242, np.uint8))
    (folder / "good.tif").symlink_to(slide)
    package = class_package(tmp_path / "package")
    assert abbe("predict", package, folder, "--out", tmp_path / "out") == 1
    told = capsys.readouterr().out
    assert "empty.tif: no tissue is seen on this slide: 0 of 81 places" in told
    assert "--all-tiles computes all of it" in told
    assert [row["image"] for row in rows_of(tmp_path / "out" / "classes.csv")] == ["good.tif"]


@pytest.mark.parametrize(
    ("shape", "dtype", "pixel_size"),
    [((1990, 2304, 3), np.uint8, 0.5), ((2304, 2304), np.uint8, 0.5),
     ((2304, 2304, 3), np.uint16, 0.5), ((2304, 2304, 3), np.uint8, None)],
    ids=["small", "grey", "16 bits", "no pixel size"],
)  # fmt: skip
def test_other_images_are_computed_whole(tmp_path, shape, dtype, pixel_size):
    photometric = "rgb" if len(shape) == 3 else "minisblack"
    size = {} if pixel_size is None else {
        "resolution": (1e4 / pixel_size,) * 2, "resolutionunit": "CENTIMETER",
    }  # fmt: skip
    tifffile.imwrite(tmp_path / "a.tif", np.zeros(shape, dtype), photometric=photometric, **size)
    image = open_image(tmp_path / "a.tif")
    assert not may_be_slide(image)
    assert squares_of(image, Inline(), 2) is None


def test_a_dark_slide_is_fluorescence(tmp_path):
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[::7, ::7, 2] = 200
    write_slide(tmp_path / "a.tif", pixels)
    image = open_image(tmp_path / "a.tif")
    assert may_be_slide(image)
    assert squares_of(image, Inline(), 2) is None


def test_a_coarse_slide_is_not_held_to_be_blurred(tmp_path, slide):
    coarse = open_image(slide).read().transpose(1, 2, 0)[::2, ::2]
    write_slide(tmp_path / "a.tif", np.ascontiguousarray(coarse), 1.0)
    taken = squares_of(open_image(tmp_path / "a.tif"), Inline(), 2)
    assert taken is not None
    assert VERDICTS.index("blurred") not in taken.verdicts
    assert VERDICTS.index("pen") in taken.verdicts
