"""OME-Zarr as another library writes it, and what is not an OME-Zarr image."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from ome_zarr.format import FormatV04, FormatV05
from ome_zarr.writer import write_image

from abbe.errors import InputError
from abbe.imaging import Region, open_image, read_labels
from abbe.imaging.layout import check_2d

FORMATS = [FormatV04(), FormatV05()]
UNITS = {"micrometer": 0.5, "nanometer": 500.0, "millimeter": 0.0005}


@pytest.fixture
def pixels(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 65536, (3, 101, 87), np.uint16)


def write(
    path: Path,
    array: np.ndarray,
    axes: str,
    fmt: Any,
    *,
    scale: float = 0.5,
    unit: str | None = "micrometer",
    labels: tuple[str, ...] = (),
) -> Path:
    spatial = [axis for axis in axes if axis in "zyx"]
    options: dict[str, Any] = {
        "scale_factors": None,
        "axes": list(axes),
        "scale": dict.fromkeys(spatial, scale),
        "storage_options": {"chunks": tuple(min(40, side) for side in array.shape)},
    }
    if unit:
        options["axes_units"] = dict.fromkeys(spatial, unit)
    if labels:
        options["omero"] = {"channels": [_channel(label) for label in labels]}
    group = zarr.create_group(path, zarr_format=fmt.zarr_format)
    write_image(array, group, fmt=fmt, **options)
    return path


def _channel(label: str) -> dict[str, Any]:
    window = {"start": 0, "end": 255, "min": 0, "max": 65535}
    return {"label": label, "color": "FFFFFF", "active": True, "window": window}


@pytest.mark.parametrize("fmt", FORMATS, ids=["0.4", "0.5"])
@pytest.mark.parametrize("axes", ["cyx", "tczyx", "czyx"])
def test_reads_what_ome_zarr_writes(
    tmp_path: Path, pixels: np.ndarray, fmt: Any, axes: str
) -> None:
    array = pixels.reshape([{"c": 3, "y": 101, "x": 87}.get(a, 1) for a in axes])
    path = write(tmp_path / "a.zarr", array, axes, fmt, labels=("DAPI", "CD3", "CD8"))
    opened = open_image(path)
    assert opened.channels == ("DAPI", "CD3", "CD8")
    assert opened.shape == (101, 87)
    assert opened.pixel_size == pytest.approx(0.5)
    np.testing.assert_array_equal(opened.read(), pixels)
    part = opened.read(Region(30, 35, 90, 87), ["CD8"])
    np.testing.assert_array_equal(part, pixels[2:, 30:90, 35:87])


@pytest.mark.parametrize("fmt", FORMATS, ids=["0.4", "0.5"])
def test_one_plane(tmp_path: Path, pixels: np.ndarray, fmt: Any) -> None:
    opened = open_image(write(tmp_path / "a.zarr", pixels[0], "yx", fmt))
    assert opened.channels == ("grey",)
    np.testing.assert_array_equal(opened.read(), pixels[:1])


def test_labels(tmp_path: Path, pixels: np.ndarray) -> None:
    labels = np.zeros(pixels[0].shape, np.int32)
    labels[1:4, 2:5], labels[5:7, 1:6] = 7, 300
    path = write(tmp_path / "labels.zarr", labels, "yx", FORMATS[1])
    np.testing.assert_array_equal(read_labels(path), labels)


@pytest.mark.parametrize(("unit", "scale"), UNITS.items())
def test_units(tmp_path: Path, pixels: np.ndarray, unit: str, scale: float) -> None:
    path = write(tmp_path / "a.zarr", pixels, "cyx", FORMATS[1], unit=unit, scale=scale)
    assert open_image(path).pixel_size == pytest.approx(0.5)


def test_a_scale_without_a_unit_is_not_a_pixel_size(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path / "a.zarr", pixels, "cyx", FORMATS[1], unit=None)
    assert open_image(path).pixel_size is None


def test_scale_of_the_whole_multiscale_counts(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path / "a.zarr", pixels, "cyx", FORMATS[1])
    group = zarr.open_group(path, mode="a")
    ome: Any = group.attrs["ome"]
    whole = [{"type": "scale", "scale": [1, 2, 2]}]
    ome["multiscales"][0]["coordinateTransformations"] = whole
    group.attrs["ome"] = ome
    assert open_image(path).pixel_size == pytest.approx(1.0)


@pytest.mark.parametrize(("axes", "word"), [("zyx", "3-D stack"), ("tyx", "time series")])
def test_stacks(tmp_path: Path, pixels: np.ndarray, axes: str, word: str) -> None:
    path = write(tmp_path / "a.zarr", pixels, axes, FORMATS[0])
    with pytest.raises(InputError, match=rf"a\.zarr: it holds a {word} \(3"):
        open_image(path)


def test_bioformats2raw_container(tmp_path: Path, pixels: np.ndarray) -> None:
    path = tmp_path / "a.zarr"
    zarr.create_group(path, zarr_format=2, attributes={"bioformats2raw.layout": 3})
    write(path / "0", pixels, "cyx", FORMATS[0])
    np.testing.assert_array_equal(open_image(path).read(), pixels)
    write(path / "1", pixels, "cyx", FORMATS[0])
    with pytest.raises(InputError, match=r"a\.zarr: it holds 2 images: 0, 1"):
        open_image(path)


def test_what_is_not_an_image(tmp_path: Path, pixels: np.ndarray) -> None:
    zarr.create_group(tmp_path / "group.zarr")
    with pytest.raises(InputError, match=r"group\.zarr.*without 'multiscales'"):
        open_image(tmp_path / "group.zarr")
    zarr.create_array(tmp_path / "array.zarr", data=pixels)
    with pytest.raises(InputError, match=r"array\.zarr: it is a plain zarr array"):
        open_image(tmp_path / "array.zarr")
    zarr.create_group(tmp_path / "plate.zarr", attributes={"ome": {"plate": {}}})
    with pytest.raises(InputError, match=r"plate\.zarr: it is a plate"):
        open_image(tmp_path / "plate.zarr")
    old = {"multiscales": [{"version": "0.2", "axes": ["y", "x"], "datasets": [{"path": "0"}]}]}
    zarr.create_group(tmp_path / "old.zarr", zarr_format=2, attributes=old)
    with pytest.raises(InputError, match=r"old\.zarr: OME-Zarr version 0\.2 is not supported"):
        open_image(tmp_path / "old.zarr")


def test_missing_level(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path / "a.zarr", pixels, "cyx", FORMATS[1])
    for level in ("0", "s0"):
        if (path / level).exists():
            (path / level).rename(path / "elsewhere")
    with pytest.raises(InputError, match=r"a\.zarr"):
        open_image(path)


@pytest.mark.parametrize("fmt", FORMATS, ids=["0.4", "0.5"])
def test_truncated_chunk(tmp_path: Path, pixels: np.ndarray, fmt: Any) -> None:
    path = write(tmp_path / "a.zarr", pixels, "cyx", fmt)
    chunk = max((p for p in path.rglob("*") if p.is_file()), key=lambda p: p.stat().st_size)
    chunk.write_bytes(chunk.read_bytes()[:500])
    with pytest.raises(InputError, match=r"a\.zarr: the file is damaged"):
        open_image(path).read()


@pytest.mark.parametrize("fmt", FORMATS, ids=["0.4", "0.5"])
def test_an_image_of_which_nothing_is_stored_has_nothing_in_it_and_says_so(
    tmp_path: Path, pixels: np.ndarray, fmt: Any
) -> None:
    path = write(tmp_path / "a.zarr", np.zeros_like(pixels), "cyx", fmt)
    assert not [file for file in path.rglob("*") if file.is_file() and "." not in file.name]
    opened = open_image(path)
    assert (opened.shape, opened.channels) == ((101, 87), ("channel-0", "channel-1", "channel-2"))
    assert opened.notes == (
        "None of its pixels is stored, which says that all are 0: there is nothing in the image, "
        "or it was never written.",
    )
    assert not opened.read().any()
    labels = write(tmp_path / "b.zarr", np.zeros_like(pixels[0], np.int32), "yx", fmt)
    assert not read_labels(labels).any()  # an image without objects has such labels


@pytest.mark.parametrize("fmt", FORMATS, ids=["0.4", "0.5"])
def test_chunks_under_other_names_are_not_taken_for_zeros(
    tmp_path: Path, pixels: np.ndarray, fmt: Any
) -> None:
    path = write(tmp_path / "a.zarr", pixels, "cyx", fmt)
    words = {2: ('"dimension_separator": "/"', '"dimension_separator": "."')}
    words[3] = ('"separator": "/"', '"separator": "."')
    before, after = words[fmt.zarr_format]
    level = next(folder for folder in sorted(path.iterdir()) if folder.is_dir())
    file = level / (".zarray" if fmt.zarr_format == 2 else "zarr.json")
    text = file.read_text()
    assert before in text
    file.write_text(text.replace(before, after))
    with pytest.raises(InputError, match=r"a\.zarr: .* '.*': all pixels would be read as 0"):
        open_image(path)


def change(path: Path, **keys: Any) -> None:
    """Set keys of a version 0.4 image's multiscale; None takes them out."""
    group = zarr.open_group(path, mode="a")
    multiscales: Any = group.attrs["multiscales"]
    changed = {key: value for key, value in (multiscales[0] | keys).items() if value is not None}
    group.attrs["multiscales"] = [changed]


def test_metadata_that_lack_something_are_read_or_named(tmp_path: Path, pixels: np.ndarray) -> None:
    path = write(tmp_path / "a.zarr", pixels, "cyx", FORMATS[0])
    change(path, version=None)  # 0.4 only recommends it
    assert open_image(path).pixel_size == pytest.approx(0.5)
    change(path, axes=["c", "y", "x"])  # bare names, as before 0.4: no units
    opened = open_image(path)
    assert (opened.pixel_size, len(opened.channels)) == (None, 3)
    np.testing.assert_array_equal(opened.read(), pixels)
    change(path, datasets=[{"file": "0"}])
    with pytest.raises(InputError, match=r"a\.zarr: its metadata has no 'datasets' that name"):
        open_image(path)
    change(path, datasets=None)
    with pytest.raises(InputError, match=r"a\.zarr: its metadata has no 'datasets'"):
        open_image(path)
    change(path, axes=None)
    with pytest.raises(InputError, match=r"a\.zarr: its metadata has no 'axes', so that it is not"):
        open_image(path)
    new = write(tmp_path / "b.zarr", pixels, "cyx", FORMATS[1])
    group = zarr.open_group(new, mode="a")
    ome: Any = group.attrs["ome"]
    del ome["version"]
    group.attrs["ome"] = ome
    with pytest.raises(InputError, match=r"b\.zarr: OME-Zarr without a version is not supported"):
        open_image(new)


def test_axes_without_a_plane_are_refused_with_the_remedy():
    with pytest.raises(InputError, match=r"a\.zarr: axes X are .*Y and X once each\. Mend"):
        check_2d("X", (9,), "a.zarr")
