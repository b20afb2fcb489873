"""Image: channels, regions, pixel size, hashing, pickling, forking; opening by content."""

import hashlib
import multiprocessing
import os
import pickle
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr

from abbe.errors import InputError
from abbe.imaging import Image, Region, bounds, open_image
from abbe.imaging import image as image_module


def write_png(folder: Path, pixels: np.ndarray) -> Path:
    path = folder / "image.png"
    samples = pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0)
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(samples)))
    return path


def write_tiled_tiff(folder: Path, pixels: np.ndarray) -> Path:
    path = folder / "tiled.tif"
    tifffile.imwrite(path, pixels, tile=(32, 48), compression="zlib", photometric="minisblack")
    return path


def write_plain_tiff(folder: Path, pixels: np.ndarray) -> Path:
    path = folder / "plain.tif"
    tifffile.imwrite(path, pixels, photometric="minisblack")
    return path


def write_npy(folder: Path, pixels: np.ndarray) -> Path:
    path = folder / "image.npy"
    np.save(path, pixels)
    return path


def write_npz(folder: Path, pixels: np.ndarray) -> Path:
    path = folder / "image.npz"
    np.savez_compressed(path, pixels)
    return path


def write_ome_zarr(folder: Path, pixels: np.ndarray) -> Path:
    path = folder / "image.zarr"
    group = zarr.create_group(path, zarr_format=3)
    group.create_array("0", data=pixels, chunks=(1, 40, 40))
    axes = [
        {"name": "c", "type": "channel"},
        {"name": "y", "type": "space", "unit": "micrometer"},
        {"name": "x", "type": "space", "unit": "micrometer"},
    ]
    scale = [{"type": "scale", "scale": [1, 0.5, 0.5]}]
    datasets = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["ome"] = {"version": "0.5", "multiscales": [{"axes": axes, "datasets": datasets}]}
    return path


WRITERS = [
    write_png,
    write_tiled_tiff,
    write_plain_tiff,
    write_npy,
    write_npz,
    write_ome_zarr,
]


@pytest.fixture(params=WRITERS, ids=lambda writer: writer.__name__)
def written(request: pytest.FixtureRequest, tmp_path: Path, rng: np.random.Generator):
    pixels = rng.integers(0, 65536, (3, 101, 87), np.uint16)
    return request.param(tmp_path, pixels), pixels


def test_reads_what_was_written(written: tuple[Path, np.ndarray]) -> None:
    path, pixels = written
    opened = open_image(path)
    assert opened.shape == (101, 87)
    assert opened.dtype == np.uint16
    assert opened.name == path.name
    np.testing.assert_array_equal(opened.read(), pixels)


@pytest.mark.parametrize(
    "region", [(0, 0, 1, 1), (5, 7, 70, 87), (33, 48, 65, 49), (100, 0, 101, 87)]
)
def test_regions_and_channels(
    written: tuple[Path, np.ndarray], region: tuple[int, int, int, int]
) -> None:
    path, pixels = written
    opened = open_image(path, channels=("a", "b", "c"))
    top, left, bottom, right = region
    read = opened.read(Region(*region), ["c", "a"])
    np.testing.assert_array_equal(read, pixels[[2, 0], top:bottom, left:right])
    assert read.dtype == np.uint16


def test_pickles_before_and_after_reading(written: tuple[Path, np.ndarray]) -> None:
    path, pixels = written
    opened = open_image(path)
    fresh = pickle.loads(pickle.dumps(opened))
    opened.read()
    used = pickle.dumps(opened)
    assert len(used) < 5_000  # the path, not the pixels
    for copy in (fresh, pickle.loads(used)):
        np.testing.assert_array_equal(copy.read(), pixels)


def _digest_in_child(opened: Image, queue: "multiprocessing.Queue[str]") -> None:
    queue.put(opened.sha256())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_reads_after_a_fork(written: tuple[Path, np.ndarray]) -> None:
    path, _ = written
    opened = open_image(path)
    expected = opened.sha256()  # opened in the parent first
    context = multiprocessing.get_context("fork")
    queue = context.Queue()
    child = context.Process(target=_digest_in_child, args=(opened, queue))
    child.start()
    assert queue.get(timeout=30) == expected
    child.join(30)
    assert child.exitcode == 0


def test_the_same_pixels_have_the_same_hash_in_every_format(
    tmp_path: Path, rng: np.random.Generator
) -> None:
    pixels = rng.integers(0, 65536, (3, 40, 30), np.uint16)
    expected = hashlib.sha256(b"uint16 (3, 40, 30)" + pixels.astype("<u2").tobytes()).hexdigest()
    for writer in WRITERS:
        assert open_image(writer(tmp_path, pixels)).sha256() == expected
    swapped = Image.from_array(pixels, ("a", "b", "c"))
    assert swapped.sha256(["b", "a", "c"]) != expected
    assert Image.from_array(pixels.astype(np.int16)).sha256() != expected
    assert Image.from_array(pixels.astype(">u2")).sha256() == expected


def test_hashing_in_bands_gives_the_same_hash(
    monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator
) -> None:
    opened = Image.from_array(rng.random((2, 50, 20)))
    whole = opened.sha256()
    monkeypatch.setattr(image_module, "_HASH_BAND", 20 * 8 * 7)
    assert opened.sha256() == whole


def test_missing_channel_names_those_that_exist() -> None:
    opened = Image.from_array(np.zeros((2, 4, 4)), ("nucleus", "membrane"), name="tissue.tif")
    with pytest.raises(InputError, match=r"tissue.tif: no channel 'dapi'.*nucleus, membrane"):
        opened.read(channels=["dapi"])


def test_asking_for_one_or_for_no_channel() -> None:
    opened = Image.from_array(np.ones((2, 4, 4)), ("nucleus", "membrane"), name="tissue.tif")
    assert opened.read(channels="nucleus").shape == (1, 4, 4)
    with pytest.raises(InputError, match=r"tissue.tif: no channel was asked for"):
        opened.read(channels=[])


def test_wrong_number_of_channel_names(tmp_path: Path) -> None:
    path = write_npy(tmp_path, np.zeros((3, 8, 8), np.uint8))
    with pytest.raises(
        InputError, match=r"image.npy: it has 3 channels.*2 names were given \(a, b\)"
    ):
        open_image(path, channels=("a", "b"))
    with pytest.raises(InputError, match="must differ"):
        open_image(path, channels=("a", "b", "a"))


def test_of_many_channels_the_first_are_named() -> None:
    pixels = np.zeros((30, 8, 8), np.uint8)
    told = r"has 30 channels \(channel-0, .*channel-19 and 10 more\), but 1 name was given \(a\)"
    with pytest.raises(InputError, match=told):
        Image.from_array(pixels, ("a",))
    with pytest.raises(InputError, match="channel-19 and 10 more"):
        Image.from_array(pixels).read(channels=["a"])


def test_default_channel_names(tmp_path: Path) -> None:
    assert Image.from_array(np.zeros((4, 4))).channels == ("grey",)
    assert Image.from_array(np.zeros((2, 4, 4))).channels == ("channel-0", "channel-1")
    path = write_png(tmp_path, np.zeros((3, 4, 4), np.uint8))
    assert open_image(path).channels == ("red", "green", "blue")


def test_pixel_size_is_asked_for(tmp_path: Path) -> None:
    path = write_npy(tmp_path, np.zeros((8, 8), np.uint8))
    with pytest.raises(InputError, match=r"image.npy.*--pixel-size"):
        open_image(path).require_pixel_size()
    assert open_image(path, pixel_size=0.25).require_pixel_size() == 0.25
    for wrong in (0.0, -1.0, float("nan")):
        with pytest.raises(InputError, match=r"image.npy: no pixel is .* µm wide"):
            open_image(path, pixel_size=wrong)


def test_a_given_pixel_size_fills_gaps_and_overrides_only_on_request(tmp_path: Path) -> None:
    path = write_ome_zarr(tmp_path, np.ones((1, 8, 8), np.uint8))
    assert (open_image(path).pixel_size, open_image(path).notes) == (0.5, ())
    filled = open_image(path, pixel_size=0.3)
    assert filled.pixel_size == 0.5
    assert filled.notes == (
        "The file says 0.5 µm per pixel, you said 0.3: the file's is taken, unless you give "
        "--override-pixel-size.",
    )
    overridden = open_image(path, override_pixel_size=0.3)
    assert overridden.pixel_size == 0.3
    assert overridden.notes == ("The file says 0.5 µm per pixel, you said 0.3: yours is taken.",)
    for alike in (open_image(path, pixel_size=0.502), open_image(path, override_pixel_size=0.5)):
        assert (alike.pixel_size, alike.notes) == (0.5, ())
    with pytest.raises(InputError, match="two pixel sizes were given"):
        open_image(path, pixel_size=0.5, override_pixel_size=0.5)


def test_channels_are_renamed_one_by_one(tmp_path: Path) -> None:
    path = write_png(tmp_path, np.arange(3 * 16, dtype=np.uint8).reshape(3, 4, 4))
    opened = open_image(path, channels=["membrane=green"])
    assert opened.channels == ("red", "membrane", "blue")
    np.testing.assert_array_equal(opened.read(channels=["membrane"]), open_image(path).read()[1:2])
    assert open_image(path, channels=("green=red", "red=green")).channels[:2] == ("green", "red")
    for wrong, why in {
        ("nucleus=DAPI",): "no channel 'DAPI' to be called 'nucleus'. Its channels are: red, green",
        ("nucleus=red", "other"): "all in order",
        ("=red",): "all in order",
        ("a=red", "a=green"): "no name twice",
        ("blue=red",): "two channels would have one: blue, green, blue",
    }.items():
        with pytest.raises(InputError, match=why):
            open_image(path, channels=wrong)


@pytest.mark.parametrize("region", [(0, 0, 9, 8), (-1, 0, 4, 4), (4, 4, 4, 8), (5, 0, 2, 8)])
def test_region_outside(region: tuple[int, int, int, int]) -> None:
    with pytest.raises(InputError, match=r"cells: the region.*8 × 8 px"):
        Image.from_array(np.zeros((8, 8)), name="cells").read(Region(*region))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_nan_and_infinite_name_the_channel(value: float) -> None:
    pixels = np.zeros((2, 8, 8), np.float32)
    pixels[1, 3, 3] = value
    opened = Image.from_array(pixels, ("a", "b"), name="x.npy")
    with pytest.raises(InputError, match=r"x.npy: channel 'b' is NaN or infinite in 1 pixel\."):
        opened.read()
    opened.read(channels=["a"])


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_no_data_is_no_value(dtype: str) -> None:
    pixels = np.zeros((2, 8, 8), dtype)
    pixels[0, 3, 3] = 1e30
    pixels[1, 3, 3:5] = np.finfo(np.float32).min
    opened = Image.from_array(pixels, ("a", "b"), name="x.tif")
    with pytest.raises(InputError, match=r"x.tif: channel 'b' is ±3\.4e38 \(no data\) in 2 pixels"):
        opened.read()
    opened.read(channels=["a"])


def test_too_much_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "LARGEST_READ", 1000)
    opened = Image.from_array(np.zeros((100, 100), np.uint8), name="slide.tif")
    with pytest.raises(InputError, match=r"slide.tif.*by region"):
        opened.read()
    assert opened.read(Region(0, 0, 20, 20)).shape == (1, 20, 20)


def test_booleans_become_zeros_and_ones() -> None:
    read = Image.from_array(np.eye(4, dtype=bool)).read()
    assert read.dtype == np.uint8
    np.testing.assert_array_equal(read[0], np.eye(4))


@pytest.mark.parametrize("array", [np.zeros(4), np.zeros((1, 2, 3, 4)), np.zeros((0, 4))])
def test_from_array_of_another_shape(array: np.ndarray) -> None:
    with pytest.raises(InputError, match="shape"):
        Image.from_array(array)


def test_complex_pixels_are_refused() -> None:
    with pytest.raises(InputError, match=r"array: pixels of type complex128"):
        Image.from_array(np.zeros((4, 4), complex))


def test_missing_empty_and_foreign_files(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone.png: there is no such file"):
        open_image(tmp_path / "gone.png")
    empty = tmp_path / "empty.tif"
    empty.touch()
    with pytest.raises(InputError, match=r"empty.tif: the file is empty"):
        open_image(empty)
    text = tmp_path / "notes.png"
    text.write_text("not an image")
    with pytest.raises(InputError, match=r"notes.png.*not supported.*PNG, JPEG, TIFF.*OME-Zarr"):
        open_image(text)
    with pytest.raises(InputError, match=r"this is a folder.*Supported are"):
        open_image(tmp_path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_file(tmp_path: Path) -> None:
    path = write_npy(tmp_path, np.zeros((4, 4)))
    path.chmod(0)
    with pytest.raises(InputError, match=r"image.npy: it cannot be read"):
        open_image(path)


def test_a_file_that_goes_away_after_opening(tmp_path: Path) -> None:
    path = write_png(tmp_path, np.zeros((1, 4, 4), np.uint8))
    opened = open_image(path)
    path.unlink()
    with pytest.raises(InputError, match=r"image.png: there is no such file any more"):
        opened.read()


def test_kind_comes_from_the_content_not_the_name(tmp_path: Path) -> None:
    path = write_png(tmp_path, np.ones((1, 4, 4), np.uint8)).rename(tmp_path / "image.tif")
    assert open_image(str(path)).read().sum() == 16


def test_repr_says_what_one_wants_to_know() -> None:
    text = repr(Image.from_array(np.zeros((2, 4, 6), np.uint8), ("a", "b"), 0.5, "x"))
    assert text == "Image('x', 4 × 6 px, uint8, channels: a, b; pixel size: 0.5 µm)"


def test_too_many_channels_are_a_damaged_header() -> None:
    array = np.broadcast_to(np.uint8(1), (1 << 20, 2, 2))
    with pytest.raises(InputError, match=r"cells: it should have 1,048,576 channels"):
        Image.from_array(array, name="cells")
