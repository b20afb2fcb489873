"""What the page reads of a file is what Python reads of it, without a browser."""

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from twins import PAGE, node

from abbe.errors import AbbeError
from abbe.imaging import open_image

PART = {"top": 3, "left": 5, "bottom": 20, "right": 31}
SHAPE = 48, 64


def colours() -> np.ndarray:
    """(H, W, 3) uint8: slopes with noise, so that no two orientations are alike."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    planes = np.stack([40 + 2 * y + x, 200 - 2 * x, 3 * y + 60], -1)
    return (planes + np.random.default_rng(4).integers(0, 20, planes.shape)).astype(np.uint8)


def smooth() -> np.ndarray:
    """The same without noise: how colours between are filled in does not matter then."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.stack([90 + 2 * y + x // 2, 150 - x // 2, y + 110], -1).astype(np.uint8)


def turned(path: Path, orientation: int) -> None:
    tags = [(274, "H", 1, orientation, True)]
    tifffile.imwrite(path, colours(), photometric="rgb", tile=(16, 16), extratags=tags)


def png(path: Path, orientation: int) -> None:
    exif = PIL.Image.Exif()
    exif[274] = orientation
    PIL.Image.fromarray(colours()).save(path.with_suffix(".png"), exif=exif)


def thumbnail_first(path: Path) -> None:
    with tifffile.TiffWriter(path) as file:
        file.write(colours()[::4, ::4], photometric="rgb", metadata=None)
        file.write(colours(), photometric="rgb", metadata=None)


def two_of_ome(path: Path) -> None:
    """One channel, and then a larger image of two."""
    with tifffile.TiffWriter(path.with_suffix(".ome.tif"), ome=True) as file:
        file.write(colours()[:20, :30, 0], metadata={"axes": "YX", "PhysicalSizeX": 9})
        facts = {"axes": "CYX", "Channel": {"Name": ["actin", "nucleus"]}}
        sizes = {"PhysicalSizeX": 0.3, "PhysicalSizeY": 0.3}
        file.write(np.moveaxis(colours()[..., :2], -1, 0), metadata=facts | sizes)


def ycbcr(path: Path, image: np.ndarray, **options: Any) -> None:
    tifffile.imwrite(path, image, photometric="ycbcr", tile=(16, 16), **options)


def video(path: Path) -> None:
    """YCbCr by other equations, from 16 to 235."""
    ycbcr(path, colours(), extratags=[(529, "2I", 3, (2126, 10**4, 7152, 10**4, 722, 10**4), True)])
    with tifffile.TiffFile(path, mode="r+") as file:
        limits = np.array([16, 235, 128, 240, 128, 240])
        file.pages.first.tags[532].overwrite(
            np.stack([limits, np.ones(6, int)], 1).ravel().tolist()
        )


def grey(path: Path, image: np.ndarray, **options: Any) -> None:
    tifffile.imwrite(path, image, photometric="miniswhite", **options)


PALETTE = np.zeros((3, 256), np.uint16)
# What is written, and by how much a value may differ: two decoders of JPEG do.
FILES: dict[str, tuple[Callable[[Path], object], int]] = {
    **{f"tiff turned {n}": (lambda path, n=n: turned(path, n), 0) for n in range(1, 9)},
    **{f"png turned {n}": (lambda path, n=n: png(path, n), 0) for n in (1, 3, 6, 8)},
    "thumbnail first": (thumbnail_first, 0),
    "two images of ome": (two_of_ome, 0),
    "micrometres of svs": (
        lambda path: tifffile.imwrite(
            path, colours(), photometric="rgb", tile=(16, 16), metadata=None,
            description="Aperio Image Library v1\r\n64x48|AppMag = 20|MPP = 0.504",
        ), 0,
    ),
    "nearly square": (
        lambda path: tifffile.imwrite(
            path, colours(), photometric="rgb", resolution=(20000, 20100),
            resolutionunit="CENTIMETER",
        ), 0,
    ),
    "four channels, colours first": (
        lambda path: tifffile.imwrite(
            path, np.dstack([colours(), colours()[..., :1]]), photometric="rgb",
            extrasamples=["unspecified"],
        ), 0,
    ),
    "three channels that are no colours": (
        lambda path: tifffile.imwrite(
            path, np.moveaxis(colours(), -1, 0), photometric="minisblack"
        ), 0,
    ),
    "ycbcr": (lambda path: ycbcr(path, colours()), 0),
    "jpeg, ycbcr": (lambda path: ycbcr(path, smooth(), compression="jpeg", subsampling=(1, 1)), 4),
    "jpeg, half the colours": (
        lambda path: ycbcr(path, smooth(), compression="jpeg", subsampling=(2, 2)), 6,
    ),
    "jpeg, rgb": (
        lambda path: tifffile.imwrite(
            path, smooth(), photometric="rgb", tile=(16, 16), compression="jpeg",
            compressionargs={"outcolorspace": "rgb"},
        ), 4,
    ),
    "white is 0": (lambda path: grey(path, colours()[..., 0]), 0),
    "white is 0, 32 bits": (lambda path: grey(path, colours()[..., 0].astype("u4") << 20), 0),
    "white is 0, float": (lambda path: grey(path, colours()[..., 0].astype("f4")), 0),
    "inverting table of imagej": (lambda path: grey(path, colours()[..., 0], imagej=True), 0),
    "palette of imagej": (
        lambda path: tifffile.imwrite(
            path, colours()[..., 0], imagej=True, photometric="palette", colormap=PALETTE
        ), 0,
    ),
    "grey and opacity": (
        lambda path: tifffile.imwrite(
            path, colours()[..., :2], photometric="minisblack", planarconfig="contig",
            extrasamples=["unassalpha"],
        ), 0,
    ),
    "colours and opacity": (
        lambda path: tifffile.imwrite(
            path, np.dstack([colours(), colours()[..., :1]]), photometric="rgb",
            extrasamples=["unassalpha"],
        ), 0,
    ),
}  # fmt: skip
REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "palette": (
        lambda path: tifffile.imwrite(
            path, colours()[..., 0], photometric="palette", colormap=PALETTE
        ), "tiffPalette",
    ),
    "inks": (
        lambda path: tifffile.imwrite(
            path, np.dstack([colours(), colours()[..., :1]]), photometric="separated",
            planarconfig="contig",
        ), "tiffInks",
    ),
    "stack of tifffile": (
        lambda path: tifffile.imwrite(
            path, np.moveaxis(colours(), -1, 0), photometric="minisblack",
            metadata={"axes": "ZYX"},
        ), "tiffStack",
    ),
    "ycbcr of 16 bits": (lambda path: ycbcr(path, colours().astype("u2") << 8), "tiffYcbcr"),
}  # fmt: skip


@pytest.fixture
def read(tmp_path, runtime) -> Callable[[list[Path]], Any]:
    """Has the page read files; what it tells of each."""
    site = tmp_path / "site"
    shutil.copytree(PAGE, site)
    (site / "lib").mkdir()
    shutil.copyfile(runtime / "geotiff" / "dist-browser" / "geotiff.js", site / "lib/geotiff.js")

    def facts(files: list[Path]) -> Any:
        asked = {"files": list(map(str, files)), "part": PART}
        (tmp_path / "files.json").write_text(json.dumps(asked))
        script = Path(__file__).with_name("reading.mjs")
        command = [node(), "--no-warnings", str(script), str(site), str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return facts


def written(folder: Path, kinds: dict[str, Any]) -> list[Path]:
    found = []
    for number, (write, _) in enumerate(kinds.values()):
        write(folder / f"image{number}.tif")
        found += folder.glob(f"image{number}.*")
    return found


def test_pixels_are_those_that_python_reads(tmp_path, read):
    files = written(tmp_path, FILES)
    told = read(files)
    for number, ((name, (_, most)), file, facts) in enumerate(
        zip(FILES.items(), files, told, strict=True)
    ):
        image = open_image(file)
        pixels = np.asarray(image.read(), np.float64)
        shape = facts.get("height"), facts.get("width")
        assert shape == image.shape, (name, facts)
        assert tuple(facts["channels"]) == tuple(image.channels), name
        assert facts["pixelSize"] == pytest.approx(image.pixel_size), name
        noted = [each for each in image.notes if "the first is read" not in each]
        assert len(facts["notes"]) == len(noted), (name, noted)
        seen = np.frombuffer((tmp_path / f"{number}.out").read_bytes()).reshape(pixels.shape)
        assert np.abs(seen - pixels).max() <= most, name
        if file.suffix == ".tif":
            part = np.frombuffer((tmp_path / f"{number}.part").read_bytes())
            top, left, bottom, right = PART.values()
            np.testing.assert_array_equal(part, seen[:, top:bottom, left:right].ravel(), name)


def test_what_python_refuses_is_refused(tmp_path, read):
    files = written(tmp_path, REFUSED)
    for file in files:
        with pytest.raises(AbbeError):
            open_image(file).read()
    video(tmp_path / "video.tif")  # Python reads these, but not the page, which says so
    told = read([*files, tmp_path / "video.tif"])
    assert [each["problem"] for each in told] == [
        *(key for _, key in REFUSED.values()),
        "tiffYcbcr",
    ]


def test_a_size_of_pixels_that_are_not_square_is_not_taken(tmp_path, read):
    tiff, ome, png = (tmp_path / name for name in ("sides.tif", "sides.ome.tif", "sides.png"))
    tifffile.imwrite(tiff, colours(), resolution=(2e4, 1e4), resolutionunit="CENTIMETER")
    sizes = {"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeY": 0.25}
    tifffile.imwrite(ome, colours()[..., 0], metadata=sizes)
    PIL.Image.fromarray(colours()).save(png, dpi=(50800, 25400))
    for facts in read([tiff, ome, png]):
        assert (facts["pixelSize"], facts["notes"]) == (None, ["notSquare"])
