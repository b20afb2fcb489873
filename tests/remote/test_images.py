"""Images behind a URL are those of the folder, read in parts where the format allows."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import tifffile
import zarr
from ome_zarr.format import FormatV04, FormatV05
from ome_zarr.writer import write_image
from remote_bucket import Bucket

from abbe.errors import InputError, RemoteError
from abbe.imaging import Region, open_image, open_slide, read_labels
from abbe.imaging.labels.files import write_labels


@pytest.fixture
def pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 4000, (1536, 1280), dtype=np.uint16)


def test_a_region_of_a_tiled_tiff_costs_its_tiles(
    bucket: Bucket, tmp_path: Path, pixels: np.ndarray
) -> None:
    file = tmp_path / "slide.tif"
    with tifffile.TiffWriter(file) as tif:
        tif.write(pixels, tile=(128, 128), subifds=1, compression="zlib")
        tif.write(pixels[::2, ::2], tile=(128, 128), subfiletype=1, compression="zlib")
    url = bucket.put("a/slide.tif", file)

    image = open_image(url)
    assert (image.name, image.shape, image.source) == ("slide.tif", pixels.shape, url)
    bucket.door.requests.clear()
    region = Region(700, 600, 780, 700)
    assert np.array_equal(image.read(region)[0], pixels[700:780, 600:700])
    sent = sum(each.sent for each in bucket.door.requests)
    # 4 tiles of 32 KB and the tables, of a file of 4 MB
    assert sent < 260_000 < file.stat().st_size / 10
    assert all(each.range for each in bucket.door.gets("slide.tif"))
    assert np.array_equal(open_slide(url).levels[1].read()[0], pixels[::2, ::2])
    assert not list((tmp_path / "cache").rglob("*.tif"))  # no copy


@pytest.mark.parametrize(("layout", "web"), [(FormatV04(), False), (FormatV05(), True)],
                         ids=["0.4 by s3", "0.5 by http"])  # fmt: skip
def test_a_region_of_ome_zarr_costs_its_chunks(
    bucket: Bucket, tmp_path: Path, pixels: np.ndarray, layout: Any, web: bool
) -> None:
    folder = tmp_path / "image.ome.zarr"
    group = zarr.create_group(folder, zarr_format=layout.zarr_format)
    pixels = pixels[:768, :640]
    write_image(pixels, group, fmt=layout, axes=["y", "x"], scale_factors=[2],
                storage_options={"chunks": (128, 128)})  # fmt: skip
    bucket.put("image.ome.zarr", folder)
    key = "/5/4"
    url = f"{bucket.address}/lab/image.ome.zarr" if web else "s3://lab/image.ome.zarr"
    image = pickle.loads(pickle.dumps(open_image(url)))
    assert image.shape == pixels.shape
    bucket.door.requests.clear()
    assert np.array_equal(image.read(Region(650, 520, 690, 600))[0], pixels[650:690, 520:600])
    chunks = [each for each in bucket.door.gets("image.ome.zarr") if each.path[-1].isdigit()]
    assert [each.path[-len(key) :] for each in chunks] == [key]
    assert sum(each.sent for each in bucket.door.requests) < 60_000  # a chunk has 32 KB
    assert open_slide(url).levels[1].shape == (384, 320)


def test_an_uncompressed_tiff_is_read_in_parts_too(
    bucket: Bucket, tmp_path: Path, pixels: np.ndarray
) -> None:
    tifffile.imwrite(tmp_path / "plain.tif", pixels, rowsperstrip=16)
    image = open_image(bucket.put("plain.tif", tmp_path / "plain.tif"))
    bucket.door.requests.clear()
    assert np.array_equal(image.read(Region(30, 0, 40, 1280))[0], pixels[30:40])
    assert sum(each.sent for each in bucket.door.requests) < 400_000  # of 4 MB


@pytest.mark.parametrize("name", ["a.png", "a.npy", "a.tif"])
def test_labels_and_whole_files_are_those_of_the_folder(
    bucket: Bucket, tmp_path: Path, name: str
) -> None:
    labels = np.zeros((40, 50), np.int32)
    labels[3:9, 4:12], labels[20:30, 5:9] = 1, 2
    write_labels(tmp_path / name, labels)
    url = bucket.put(f"labels/{name}", tmp_path / name)
    assert np.array_equal(read_labels(url), labels)
    web = f"{bucket.address}/lab/labels/{name}"
    assert np.array_equal(open_image(web).read()[0], labels)


def test_an_object_that_changes_is_fetched_again_and_others_are_not(
    bucket: Bucket, tmp_path: Path
) -> None:
    for value in (7, 9):
        np.save(tmp_path / "a.npy", np.full((4, 5), value, np.uint8))
        url = bucket.put("a.npy", tmp_path / "a.npy")
        for _ in range(2):
            assert open_image(url).read().max() == value
    whole = [each for each in bucket.door.gets("a.npy") if each.sent > 140 and not each.range]
    assert len(whole) == 2


def test_copies_used_longest_ago_go_first(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ABBE_CACHE_SIZE", "0.00025")  # GB
    monkeypatch.setattr("abbe.remote.cache._IN_USE_SECONDS", 0.0)
    urls = []
    for name in ("a", "b", "c"):
        np.save(tmp_path / f"{name}.npy", np.zeros((100, 1000), np.uint8))
        urls.append(bucket.put(f"{name}.npy", tmp_path / f"{name}.npy"))
    a, b, c = urls
    for url in (a, b, a, c):
        open_image(url).read()
    copies = {file.name for file in (tmp_path / "cache").rglob("*.npy")}
    assert copies == {"a.npy", "c.npy"}
    monkeypatch.setenv("ABBE_CACHE_SIZE", "0.00005")
    with pytest.raises(RemoteError, match=r"s3://lab/b\.npy: .* Set ABBE_CACHE_SIZE to more GB"):
        open_image(b)


def test_a_slide_that_openslide_reads_is_copied_with_its_folder(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What OpenSlide is given; the slide itself is a stand-in."""
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "Data0000.dat").write_bytes(b"1")
    (tmp_path / "s.mrxs").write_bytes(b"\xff\xd8\xff a picture")
    bucket.put("s", tmp_path / "s")
    url = bucket.put("s.mrxs", tmp_path / "s.mrxs")
    given: list[Path] = []

    def refused(path: Path) -> None:
        given.append(Path(path))
        raise openslide.OpenSlideError("stand-in")

    monkeypatch.setattr(openslide, "OpenSlide", refused)
    with pytest.raises(InputError, match=r"s3://lab/s\.mrxs: OpenSlide cannot read it \(stand-in"):
        open_image(url)
    assert (given[0].with_suffix("") / "Data0000.dat").read_bytes() == b"1"
