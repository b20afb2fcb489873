"""Which files are slides, which of them hold colours, and what is said of the others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
import zarr

from abbe.datasets.slides.brightfield import CHANNELS, find_slides, open_brightfield
from abbe.datasets.slides.tile_index import TileRules
from abbe.datasets.slides.tiles import slide_tiles
from abbe.errors import InputError

SIDE = 256


@pytest.fixture
def stained(rng: np.random.Generator) -> np.ndarray:
    """(3, 256, 256) uint8: stained noise above, bright glass below."""
    pixels = np.full((SIDE, SIDE, 3), 242, np.uint8)
    stains = np.array([[205, 140, 180], [110, 70, 140]], np.uint8)
    pixels[: SIDE // 2] = rng.choice(stains, (SIDE // 2, SIDE))
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def write_ome_zarr(path: Path, pixels: np.ndarray, labels: list[str], version: str) -> Path:
    group = zarr.open_group(path, mode="w", zarr_format=2 if version == "0.4" else 3)
    array = group.create_array("0", shape=pixels.shape, chunks=(1, 128, 128), dtype=pixels.dtype)
    array[:] = pixels
    axes: list[dict[str, str]] = [{"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "yx"]
    scale = [{"type": "scale", "scale": [1, 0.5, 0.5]}]
    multiscale: dict[str, Any] = {
        "version": version,
        "axes": axes,
        "datasets": [{"path": "0", "coordinateTransformations": scale}],
    }
    metadata: dict[str, Any] = {"multiscales": [multiscale]}
    if labels:
        metadata["omero"] = {"channels": [{"label": label} for label in labels]}
    group.attrs.update(metadata if version == "0.4" else {"ome": {"version": version, **metadata}})
    return path


def write_ome_tiff(path: Path, pixels: np.ndarray, names: list[str]) -> Path:
    metadata: dict[str, Any] = {"axes": "CYX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.5}
    if names:
        metadata["Channel"] = {"Name": names}
    tifffile.imwrite(path, pixels, photometric="minisblack", metadata=metadata, ome=True)
    return path


def assert_gives_colours(path: Path, stained: np.ndarray, **options: Any) -> None:
    dataset = slide_tiles(path, TileRules(tile=128), **options)
    assert dataset.channels == CHANNELS
    assert len(dataset) == 2
    image = dataset.records[1].image.open()
    assert image.channels == CHANNELS
    np.testing.assert_array_equal(image.read(), stained[:, :128, 128:])


@pytest.mark.parametrize("version", ["0.4", "0.5"])
@pytest.mark.parametrize(
    "labels",
    [["Red", "Green", "Blue"], ["R", "G", "B"], ["Channel 0", "Channel 1", "Channel 2"], []],
    ids="-".join,
)
def test_ome_zarr_of_colours_is_a_slide(tmp_path, stained, labels, version):
    path = write_ome_zarr(tmp_path / "slide.ome.zarr", stained, labels, version)
    assert_gives_colours(path, stained)


@pytest.mark.parametrize("names", [["RED", "GREEN", "BLUE"], []], ids="-".join)
def test_planar_ome_tiff_of_colours_is_a_slide(tmp_path, stained, names):
    assert_gives_colours(write_ome_tiff(tmp_path / "slide.ome.tif", stained, names), stained)


@pytest.mark.parametrize("names", [["DAPI", "FITC", "Cy5"], ["405", "488", "561"]], ids="-".join)
def test_other_names_are_refused_unless_the_user_says_colours(tmp_path, stained, names):
    path = write_ome_tiff(tmp_path / "slide.ome.tif", stained, names)
    with pytest.raises(
        InputError, match=rf"this has {', '.join(names)} in uint8.*--data.channels red green blue"
    ):
        slide_tiles(path, TileRules(tile=128))
    assert_gives_colours(path, stained, channels=["red", "green", "blue"])


@pytest.mark.parametrize(("count", "dtype"), [(3, np.uint16), (2, np.uint8), (4, np.uint8)])
def test_unnamed_channels_of_another_number_or_depth_are_no_colours(tmp_path, count, dtype):
    pixels = np.full((count, 64, 64), 200, dtype)
    path = write_ome_tiff(tmp_path / "slide.ome.tif", pixels, [])
    with pytest.raises(InputError, match=r"colour images of 8 bits.*Cut it into tiles yourself"):
        open_brightfield(path)


def test_a_pixel_size_that_was_given_is_told_only_where_it_was_needed(tmp_path, stained):
    known = write_ome_tiff(tmp_path / "known.ome.tif", stained, [])
    slide, used = open_brightfield(known, pixel_size=0.25)
    assert (slide.pixel_size, used) == (0.5, None)
    tifffile.imwrite(tmp_path / "unknown.tif", stained.transpose(1, 2, 0), photometric="rgb")
    slide, used = open_brightfield(tmp_path / "unknown.tif", pixel_size=0.25)
    assert (slide.pixel_size, used) == (0.25, 0.25)


def test_big_tiff_and_qptiff_are_slides_and_fluorescence_is_named(tmp_path, stained):
    resolution: dict[str, Any] = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}
    rgb = stained.transpose(1, 2, 0)
    tifffile.imwrite(tmp_path / "large.BTF", rgb, photometric="rgb", bigtiff=True, **resolution)
    tifffile.imwrite(tmp_path / "dyes.qptiff", stained.astype(np.uint16), photometric="minisblack",
                     metadata=None, **resolution)  # fmt: skip
    assert [file.name for file in find_slides(tmp_path)] == ["dyes.qptiff", "large.BTF"]
    dataset = slide_tiles(tmp_path, TileRules(tile=128))
    assert {record.group for record in dataset} == {"large"}
    [reason] = dataset.left_out.values()
    assert "dyes.qptiff: tissue is looked for in colour images of 8 bits" in reason


def test_files_of_kinds_that_are_not_read_are_said(tmp_path: Path, stained: np.ndarray) -> None:
    write_ome_tiff(tmp_path / "a.ome.tif", stained, [])
    (tmp_path / "b.dcm").write_bytes(b"x")
    unread = "1 image file of kinds that Abbe does not read is left out (1 .dcm"
    problems = slide_tiles(tmp_path, TileRules(tile=128)).problems
    assert any(unread in problem for problem in problems)
    (tmp_path / "a.ome.tif").unlink()
    with pytest.raises(InputError, match=r"kinds that Abbe does not read.*\n.*holds no slide"):
        find_slides(tmp_path)
