"""Files that claim, or inflate to, more than they hold are refused before memory is taken."""

import json
import subprocess
import sys
from pathlib import Path

import imagecodecs
import numpy as np
import oversized
import pytest
import tifffile
import zarr

from abbe.errors import InputError
from abbe.imaging import Region, bounds, open_image
from abbe.imaging.formats import tiff

MEASURED = """
import json, resource, sys, time
from pathlib import Path
import numpy as np
from abbe.errors import InputError
from abbe.imaging import open_image
import abbe.imaging.formats.ome_zarr, abbe.imaging.formats.tiff, abbe.imaging.formats.raster

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

before, found = peak(), {}
for path in sorted(Path(sys.argv[1]).iterdir()):
    started = time.process_time()
    try:
        image = open_image(path)
        said = f"READ {image.shape} {int(image.read().sum())}"
    except InputError as error:
        said = str(error)
    found[path.name] = said, time.process_time() - started, peak() - before
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[str, float, int]]:
    """What is said of each, seconds of processor time, and by how much memory grew till then."""
    folder = tmp_path_factory.mktemp("oversized")
    oversized.write(folder)
    command = [sys.executable, "-c", MEASURED, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stderr == ""  # what libraries warn of is told by the refusals, in words
    return json.loads(done.stdout)


@pytest.mark.parametrize("name", oversized.CLAIMS)
def test_it_is_refused_at_once(measured: dict[str, tuple[str, float, int]], name: str) -> None:
    said, seconds, grown = measured[name]
    assert name in said
    assert oversized.CLAIMS[name][1] in said
    assert not said.startswith("READ")
    assert seconds < 2
    assert grown < 100 << 20


def multiscale(path: Path) -> zarr.Group:
    """OME-Zarr 0.4 of one level, whose array is still to be made."""
    group = zarr.open_group(path, mode="w", zarr_format=2)
    axes = [{"name": name, "type": "space"} for name in "yx"]
    scale = [{"type": "scale", "scale": [1, 1]}]
    levels = [{"path": "0", "coordinateTransformations": scale}]
    group.attrs["multiscales"] = [{"axes": axes, "datasets": levels, "version": "0.4"}]
    return group


def test_what_is_honest_and_grows_much_is_read(tmp_path: Path) -> None:
    """Masks and empty corners shrink to a hundredth: only beyond 256 MiB that is doubted."""
    mask = np.zeros((5000, 5000), np.uint8)
    mask[100:200, 100:300] = 1
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(mask, level=9))
    tifffile.imwrite(tmp_path / "a.tif", mask, compression="zlib", rowsperstrip=5000)
    np.savez_compressed(tmp_path / "a.npz", mask)
    multiscale(tmp_path / "a.zarr").create_array("0", data=mask, chunks=mask.shape)
    for path in sorted(tmp_path.iterdir()):
        np.testing.assert_array_equal(open_image(path).read()[0], mask, err_msg=path.name)


def test_a_chunk_that_would_grow_too_much_is_refused_by_the_name_of_its_image(
    tmp_path: Path,
) -> None:
    side = 1 << 15
    group = multiscale(tmp_path / "cells.zarr")
    group.create_array("0", shape=(side, side), chunks=(side, side), dtype="u1")
    (tmp_path / "cells.zarr" / "0" / "0.0").write_bytes(imagecodecs.zstd_encode(bytes(4000)))
    image = open_image(tmp_path / "cells.zarr")
    with pytest.raises(InputError, match=r"cells\.zarr: .*a chunk: .* more than 200 times as much"):
        image.read(Region(0, 0, 10, 10))


def test_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds.check_growth(256 << 20, 1, "a.png")
    bounds.check_growth(200 * (2 << 20), 2 << 20, "a.png")
    with pytest.raises(InputError, match=r"a\.png: 2,097,151 bytes .* more than 200 times as much"):
        bounds.check_growth(200 * (2 << 20), (2 << 20) - 1, "a.png")
    bounds.check_shape((1 << 20, 1 << 20), "a.tif")
    bounds.check_shape((1, 1 << 24), "a.tif")
    for shape in ((1 << 20, (1 << 20) + 1), ((1 << 24) + 1, 1), (-1, 5)):
        with pytest.raises(InputError, match=r"a\.tif: it should have .* px, which no image has"):
            bounds.check_shape(shape, "a.tif")
    monkeypatch.setattr(bounds, "free_memory", lambda: 3 << 30)
    bounds.check_size(3 << 30, "a.npz")
    with pytest.raises(InputError, match=r"a\.npz: 3\.5 GiB .*, and 3\.0 GiB of memory are free\."):
        bounds.check_size(7 << 29, "a.npz")


def test_free_memory_is_that_of_the_container(tmp_path: Path) -> None:
    (tmp_path / "memory.current").write_text("900\n")
    (tmp_path / "memory.stat").write_text("anon 300\ninactive_file 200\nactive_file 5\n")
    (tmp_path / "memory.max").write_text("1000\n")
    assert bounds._of_container(tmp_path) == 300
    (tmp_path / "memory.max").write_text("max\n")
    assert bounds._of_container(tmp_path) is None
    assert bounds._of_container(tmp_path / "none") is None
    assert (bounds.free_memory() or 1) > 0


@pytest.mark.parametrize("planar", ["contig", "separate"])
def test_large_strips_are_decoded_once(
    planar: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tiff, "_LARGE_SEGMENT", 1000)
    pixels = np.random.default_rng(0).integers(0, 255, (90, 70, 3), np.uint8)
    stored = pixels if planar == "contig" else pixels.transpose(2, 0, 1)
    path = tmp_path / "a.tif"
    tifffile.imwrite(
        path, stored, photometric="rgb", planarconfig=planar, compression="zlib", rowsperstrip=40
    )
    image = open_image(path)
    image.read(part := Region(10, 20, 60, 65), ["blue"])
    path.write_bytes(b"")  # it is in memory
    np.testing.assert_array_equal(
        image.read(part, ["green", "red"]),
        pixels[10:60, 20:65, [1, 0]].transpose(2, 0, 1),
    )


@pytest.mark.parametrize("codec", ["gzip", "zstd", "blosc", "sharded"])
def test_arrays_of_zarr_read_as_zarr_reads_them(codec: str, tmp_path: Path) -> None:
    from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec

    from abbe.imaging.formats.zarr_bounds import open_node

    pixels = np.random.default_rng(1).integers(0, 9, (90, 70), np.uint16)
    codecs = {"gzip": GzipCodec(), "zstd": ZstdCodec(), "blosc": BloscCodec()}
    zarr.create_array(
        tmp_path / "a.zarr",
        data=pixels,
        chunks=(16, 16),
        shards=(32, 32) if codec == "sharded" else None,
        compressors=[codecs.get(codec, codecs["zstd"])],
        overwrite=True,
    )
    array = open_node(tmp_path / "a.zarr")
    assert isinstance(array, zarr.Array)
    np.testing.assert_array_equal(array[5:80, 3:66], pixels[5:80, 3:66])


def test_a_member_of_gzip_may_follow_another(tmp_path: Path) -> None:
    half = oversized.GREY.tobytes()[:2048], oversized.GREY.tobytes()[2048:]
    stored = b"".join(imagecodecs.gzip_encode(part) for part in half)
    oversized.of_v2({"id": "gzip", "level": 1}, stored)(tmp_path / "a.zarr")
    np.testing.assert_array_equal(open_image(tmp_path / "a.zarr").read()[0], oversized.GREY)


def test_lines_of_tifffile_are_told_of_files_that_are_read_alone(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A tag that nobody needs lies beyond the end: the image is whole, and the line stays."""
    path = tmp_path / "a.tif"
    tifffile.imwrite(path, np.full((8, 8), 7, np.uint8), software="x" * 20, compression="zlib")
    with tifffile.TiffFile(path) as file:
        entry = file.pages.first.tags["Software"].offset  # pyright: ignore
    content = bytearray(path.read_bytes())
    content[entry + 8 : entry + 12] = b"\xff\xff\xff\x7f"
    path.write_bytes(content)
    assert open_image(path).read().min() == 7
    assert any("invalid value offset" in line for line in caplog.messages)
    caplog.clear()
    content[4:8] = bytes(4)  # no first page any more
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"a\.tif"):
        open_image(path)
    assert caplog.messages == []
