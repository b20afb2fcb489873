"""Label files of every kind that programs write: masks of any value, unknown pixels, pictures."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile
from scipy.ndimage import gaussian_filter, zoom

from abbe.errors import InputError
from abbe.imaging import Image, read_labels, write_labels
from abbe.imaging.labels.checks import doubts, equals_image
from abbe.imaging.labels.files import read_label_file


@pytest.fixture
def squares() -> np.ndarray:
    """(96, 128) int32 with four squares of 20 px, 13 % of the pixels."""
    labels = np.zeros((96, 128), np.int32)
    for number, (y, x) in enumerate([(10, 10), (10, 60), (50, 30), (60, 90)], start=1):
        labels[y : y + 20, x : x + 20] = number
    return labels


def png(path: Path, values: np.ndarray) -> Path:
    dtype = np.uint16 if values.max() > 255 else np.uint8
    path.write_bytes(imagecodecs.png_encode(np.ascontiguousarray(values, dtype)))
    return path


def same_objects(found: np.ndarray, expected: np.ndarray) -> bool:
    """Whether two labels hold the same objects, however they are numbered."""
    pairs = np.unique(np.stack([found.ravel(), expected.ravel()]), axis=1)
    return pairs.shape[1] == len(np.unique(expected)) == len(np.unique(found))


@pytest.mark.parametrize("value", [1, 2, 128, 200, 254, 255, 256, 65535])
@pytest.mark.parametrize("kind", ["png", "tif", "npy"])
def test_a_mask_of_any_one_value(
    tmp_path: Path, squares: np.ndarray, value: int, kind: str
) -> None:
    write_labels(tmp_path / f"mask.{kind}", (squares > 0) * value)
    assert same_objects(read_labels(tmp_path / f"mask.{kind}"), squares)


@pytest.mark.parametrize("kind", [".tif", ".png"])
@pytest.mark.parametrize("tag", [0, 1])
@pytest.mark.parametrize("compression", ["group4", "group3", None, "packbits"])
def test_masks_of_one_bit(
    tmp_path: Path, squares: np.ndarray, compression: str | None, tag: int, kind: str
) -> None:
    path = tmp_path / f"mask{kind}"
    picture = PIL.Image.fromarray(squares > 0)
    options: dict[str, Any] = {"compression": compression, "tiffinfo": {262: tag}}
    picture.save(path, **(options if kind == ".tif" else {}))
    assert same_objects(read_labels(path), squares)


def test_masks_of_grey_values_where_0_is_white(tmp_path: Path, squares: np.ndarray) -> None:
    stored = np.where(squares > 0, 0, 255).astype(np.uint8)
    tifffile.imwrite(tmp_path / "mask.tif", stored, photometric="miniswhite")
    read = read_label_file(tmp_path / "mask.tif")
    assert same_objects(read.labels, squares)
    assert "0 is white" in read.notes[0]
    tifffile.imwrite(tmp_path / "ids.tif", squares.astype("u1"), photometric="miniswhite")
    with pytest.raises(InputError, match=r"ids\.tif.*0 is white.*more than two values"):
        read_labels(tmp_path / "ids.tif")


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["grey.png", "palette.png", "labels.tif"])
def test_labels_are_turned_as_images_are(
    tmp_path: Path, squares: np.ndarray, kind: str, orientation: int
) -> None:
    path = tmp_path / kind
    stored = squares.astype(np.uint8)
    if kind.endswith(".tif"):
        tifffile.imwrite(path, stored, extratags=[(274, "H", 1, orientation, True)], metadata=None)
    else:
        picture = PIL.Image.fromarray(stored, "P" if "palette" in kind else "L")
        if "palette" in kind:
            picture.putpalette([0, 0, 0, 200, 0, 0, 0, 200, 0, 0, 0, 200, 9, 9, 9])
        exif = PIL.Image.Exif()
        exif[274] = orientation
        picture.save(path, exif=exif)
    seen = {1: squares, 2: squares[:, ::-1], 3: squares[::-1, ::-1], 4: squares[::-1]}
    seen |= {5: squares.T, 6: np.rot90(squares, -1), 7: squares[::-1, ::-1].T}
    seen |= {8: np.rot90(squares)}
    read = read_label_file(path)
    np.testing.assert_array_equal(read.labels, seen[orientation])
    assert any("turned upright" in note for note in read.notes) == (orientation > 1)


@pytest.mark.parametrize("white_first", [True, False])
def test_black_and_white_palettes_show_objects_in_white(
    tmp_path: Path, squares: np.ndarray, white_first: bool
) -> None:
    indices = ((squares == 0) if white_first else (squares > 0)).astype(np.uint8)
    picture = PIL.Image.fromarray(indices, "P")
    black, white = [0, 0, 0], [255, 255, 255]
    picture.putpalette(white + black if white_first else black + white)
    picture.save(tmp_path / "mask.png")
    read = read_label_file(tmp_path / "mask.png")
    assert same_objects(read.labels, squares)
    assert bool(read.notes) == white_first


def test_a_palette_with_colours_gives_numbers_whatever_0_looks_like(
    tmp_path: Path, squares: np.ndarray
) -> None:
    picture = PIL.Image.fromarray(squares.astype(np.uint8), "P")
    picture.putpalette([255, 255, 255, 200, 0, 0, 0, 200, 0, 0, 0, 200, 90, 90, 0])
    picture.save(tmp_path / "ids.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "ids.png"), squares)


@pytest.mark.parametrize("name", ["a.labels.png", "a.labels.tif", "a_cp_masks.png"])
def test_one_object_in_two_parts_stays_one_where_the_name_says_instances(
    tmp_path: Path, name: str
) -> None:
    parts = np.zeros((40, 50), np.int32)
    parts[3:9, 3:9] = parts[20:30, 20:30] = 1
    write_labels(tmp_path / name, parts)
    np.testing.assert_array_equal(read_labels(tmp_path / name), parts)
    write_labels(tmp_path / "mask.png", parts)
    assert read_labels(tmp_path / "mask.png").max() == 2
    parts[35:38, 35:38] = 2
    write_labels(tmp_path / "mask.png", parts)
    np.testing.assert_array_equal(read_labels(tmp_path / "mask.png"), parts)


def test_a_number_for_unknown_pixels(tmp_path: Path, squares: np.ndarray) -> None:
    unknown = np.arange(128) < 4
    mask = png(tmp_path / "mask.png", np.where(unknown, 255, squares > 0))
    found = read_labels(mask, ignore=255)
    assert (found[:, :4] == -1).all()
    assert same_objects(found[:, 4:], squares[:, 4:])
    ids = png(tmp_path / "ids.png", np.where(unknown, 65535, squares))
    np.testing.assert_array_equal(read_labels(ids, ignore=65535), np.where(unknown, -1, squares))
    whats = [what for what, _ in doubts(read_label_file(mask).values)]
    assert whats[0].startswith("a label's value 255 may mean 'ignore'")
    assert list(doubts(read_label_file(mask, ignore=255).values)) == []
    ((what, detail),) = doubts(read_label_file(ids).values)
    assert "value 65535" in what
    assert "3.1% of the px; if so, say --data.ignore 65535" in detail


def test_255_objects_in_a_row_raise_no_doubt() -> None:
    assert list(doubts(np.kron(np.arange(256).reshape(16, 16), np.ones((4, 4), int)))) == []


def test_doubts(squares: np.ndarray) -> None:
    ((what, detail),) = doubts((squares > 0) * 7)
    assert what == "a label of one number was taken for a mask"
    assert detail == "number 7: its 4 parts are 4 objects"
    cell = np.pad(np.ones((9, 9), int), 2)
    ((what, _),) = doubts(np.kron(np.arange(48).reshape(6, 8) % 4, cell))
    assert "as those of classes are" in what
    ((what, _),) = doubts(np.full((8, 8), 1))
    assert what == "a label has no background"
    assert list(doubts(squares)) == []
    assert list(doubts(squares * 0)) == []


def soft_masks(squares: np.ndarray) -> dict[str, np.ndarray]:
    mask = (squares > 0) * 255.0
    small = PIL.Image.fromarray(mask.astype(np.uint8)).resize((51, 37), 2)
    return {
        "resized": np.asarray(small),
        "enlarged": np.asarray(zoom(mask, 2.5, order=3)).clip(0, 255),
        "blurred": gaussian_filter(mask, 1.5),
        "blurred more": gaussian_filter(mask, 4),
        "jpeg": imagecodecs.jpeg_decode(imagecodecs.jpeg_encode(mask.astype(np.uint8), level=80)),
        "noise": np.random.default_rng(0).poisson(20, (96, 128)),
        "16 bits": gaussian_filter(mask * 257, 2),
        "image": np.random.default_rng(0).poisson(mask * 4 + 30),
    }


@pytest.mark.parametrize("kind", soft_masks(np.zeros((96, 128))))
def test_pictures_are_no_labels(tmp_path: Path, squares: np.ndarray, kind: str) -> None:
    path = png(tmp_path / "soft.png", soft_masks(squares)[kind])
    with pytest.raises(InputError, match=r"soft\.png.*(strewn over it|is background)"):
        read_labels(path)


def test_labels_with_small_and_thin_objects_are_labels(tmp_path: Path) -> None:
    spots = np.zeros((90, 90), np.int32)
    spots[::3, ::3] = np.arange(1, 901).reshape(30, 30)  # one px each
    lines = np.zeros((90, 90), np.int32)
    lines[::4] = np.arange(1, 24)[:, None]
    lines[::8, 40:44] = 0  # some in two pieces
    for number, labels in enumerate((spots, lines)):
        write_labels(tmp_path / f"{number}.tif", labels)
        np.testing.assert_array_equal(read_labels(tmp_path / f"{number}.tif"), labels)


def test_jpeg_in_tiff_is_no_label(tmp_path: Path, squares: np.ndarray) -> None:
    mask = ((squares > 0) * 255).astype(np.uint8)
    options: dict[str, Any] = {"compression": "jpeg", "photometric": "minisblack"}
    tifffile.imwrite(tmp_path / "a.tif", mask, tile=(64, 64), **options)
    with pytest.raises(InputError, match=r"a\.tif: JPEG changes the values of labels"):
        read_labels(tmp_path / "a.tif")


def test_several_numbers_and_no_background_are_refused(tmp_path: Path) -> None:
    full = np.kron([[1, 2], [3, 4]], np.ones((9, 9), int))
    write_labels(tmp_path / "a.tif", full)
    with pytest.raises(InputError, match=r"a\.tif: none of its pixels is background"):
        read_labels(tmp_path / "a.tif")
    full[0, 0] = -1
    write_labels(tmp_path / "a.tif", full)
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif"), full)
    write_labels(tmp_path / "b.tif", np.ones((9, 9), int))  # one object that fills the image
    assert read_labels(tmp_path / "b.tif").all()


def test_the_image_itself(squares: np.ndarray) -> None:
    assert equals_image(squares, Image.from_array(squares.astype(np.uint16)))
    other = squares.copy()
    other[95, 127] = 9
    assert not equals_image(squares, Image.from_array(other))
    assert not equals_image(squares > 0, Image.from_array(squares > 0))
    assert not equals_image(squares, Image.from_array(np.stack([squares] * 3)))
