"""Labels: round trips, masks, unknown pixels, and everything that is not a label."""

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import PIL.Image
import pytest
import tifffile
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from skimage.measure import label
from skimage.segmentation import find_boundaries

from abbe.errors import InputError
from abbe.imaging import outlines, read_labels, write_labels

SUFFIXES = [".png", ".tif", ".tiff", ".npy"]


@pytest.fixture
def instances(rng: np.random.Generator) -> np.ndarray:
    numbers = rng.integers(0, 500, (9, 7))
    numbers[0, 2] = 0
    return np.kron(numbers, np.ones((6, 5), int)).astype(np.int32)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize("dtype", ["i4", "u2", "i8", "u8", "f4"])
def test_round_trip(tmp_path: Path, instances: np.ndarray, suffix: str, dtype: str) -> None:
    path = tmp_path / f"labels{suffix}"
    write_labels(path, instances.astype(dtype))
    read = read_labels(path)
    assert read.dtype == np.int32
    np.testing.assert_array_equal(read, instances)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".tif", ".npy"])
def test_unknown_pixels_survive(tmp_path: Path, instances: np.ndarray, suffix: str) -> None:
    instances[:10, :4] = -1
    path = tmp_path / f"labels{suffix}"
    write_labels(path, instances)
    np.testing.assert_array_equal(read_labels(path), instances)


@pytest.mark.parametrize(
    ("highest", "lowest", "dtype"),
    [(10, 0, "u2"), (65535, 0, "u2"), (65536, 0, "u4"), (2**31 - 1, 0, "u4"), (10, -1, "i4")],
)
def test_tiff_uses_the_smallest_type(tmp_path: Path, highest: int, lowest: int, dtype: str) -> None:
    labels = np.array([[lowest, 3], [4, highest]])
    path = tmp_path / "labels.tif"
    write_labels(path, labels)
    stored = tifffile.imread(path)
    assert stored.dtype == np.dtype(dtype)
    np.testing.assert_array_equal(stored, labels)
    np.testing.assert_array_equal(read_labels(path), labels)


def test_other_programs_read_the_png(tmp_path: Path, instances: np.ndarray) -> None:
    write_labels(tmp_path / "labels.png", instances)
    with PIL.Image.open(tmp_path / "labels.png") as image:
        np.testing.assert_array_equal(np.asarray(image), instances)


def test_what_a_format_cannot_hold(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a\.png: a PNG holds labels 0 to 65,535, not 70,000"):
        write_labels(tmp_path / "a.png", np.array([[70_000]]))
    with pytest.raises(InputError, match=r"a\.png: .*not −1 \(unknown\)\. Write a \.tif"):
        write_labels(tmp_path / "a.png", np.array([[-1, 1]]))
    with pytest.raises(InputError, match=r"a\.jpg: labels are written as \.png, \.tif"):
        write_labels(tmp_path / "a.jpg", np.array([[1]]))
    assert not list(tmp_path.iterdir())


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, instances: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "labels.npy"
    write_labels(path, instances)

    def full(*_: Any, **__: Any) -> None:
        raise OSError("No space left on device")

    monkeypatch.setattr(np, "save", full)
    with pytest.raises(OSError, match="No space left"):
        write_labels(path, instances * 0)
    np.testing.assert_array_equal(read_labels(path), instances)
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("high", [1, 255])
@pytest.mark.parametrize("suffix", [".png", ".tif", ".npy"])
def test_masks_become_components(
    tmp_path: Path, rng: np.random.Generator, high: int, suffix: str
) -> None:
    mask = rng.random((40, 50)) > 0.7
    write_labels(tmp_path / f"mask{suffix}", mask * high)
    read = read_labels(tmp_path / f"mask{suffix}")
    expected = np.asarray(label(mask, connectivity=2))
    assert read.dtype == np.int32
    assert read.max() == expected.max()
    # the same components, however they are numbered
    assert len(np.unique(np.stack([read, expected]).reshape(2, -1), axis=1).T) == read.max() + 1


def test_bilevel_png_and_boolean_npy(tmp_path: Path) -> None:
    mask = np.zeros((8, 8), bool)
    mask[1:3, 1:3] = mask[5:7, 5:7] = True
    PIL.Image.fromarray(mask).save(tmp_path / "mask.png")
    np.save(tmp_path / "mask.npy", mask)
    for name in ("mask.png", "mask.npy"):
        assert read_labels(tmp_path / name).max() == 2


def test_masks_with_unknown_pixels(tmp_path: Path) -> None:
    labels = np.array([[1, 0, 1, -1]], np.int16)
    np.save(tmp_path / "mask.npy", labels)
    assert read_labels(tmp_path / "mask.npy").tolist() == [[1, 0, 2, -1]]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_label_without_objects_is_all_background(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"labels{suffix}"
    write_labels(path, np.zeros((6, 9), np.uint8))
    assert read_labels(path).shape == (6, 9)
    assert not read_labels(path).any()


def test_palette_png_gives_indices(tmp_path: Path, rng: np.random.Generator) -> None:
    indices = np.kron(np.arange(6).reshape(2, 3) % 5, np.ones((4, 3), int)).astype(np.uint8)
    image = PIL.Image.fromarray(indices).convert("P")
    image.putpalette(rng.integers(0, 256, 768).tolist())
    image.putdata(indices.ravel().tolist())
    image.save(tmp_path / "voc.png")
    np.testing.assert_array_equal(read_labels(tmp_path / "voc.png"), indices)


def test_truncated_palette_png(tmp_path: Path, rng: np.random.Generator) -> None:
    image = PIL.Image.fromarray(rng.integers(0, 255, (90, 90), np.uint8)).convert("P")
    path = tmp_path / "cut.png"
    image.save(path)
    for part in (0.2, 0.6, 0.9, 0.999):
        image.save(path)
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * part)])
        with pytest.raises(InputError, match=r"cut\.png"):
            read_labels(path)


def test_npz_labels(tmp_path: Path, instances: np.ndarray) -> None:
    path = tmp_path / "both.npz"
    np.savez(path, image=np.zeros((54, 35)), labels=instances)
    np.testing.assert_array_equal(read_labels(path), instances)
    np.savez(path, image=np.zeros((54, 35)), truth=instances)
    with pytest.raises(InputError, match=r"both\.npz.*image, truth.*'labels'"):
        read_labels(path)


def bad_labels() -> list[tuple[np.ndarray, str]]:
    return [
        (np.array([[0, -2]]), r"−1 \(unknown\), but -2 occurs"),
        (np.array([[0.0, 0.5]]), r"whole numbers, and are not in 1 pixel \(such as 0\.5\)"),
        (np.array([[0.0, np.nan]]), "NaN"),
        (np.array([[0, 2**31]]), r"label 2147483648 is above"),
        (np.zeros((5, 20, 30), int), "5 channels"),
        (np.zeros((20, 30, 3), np.uint8), "3 channels"),
        (np.zeros((4, 5, 20, 30), int), "one 2-D image"),
    ]


@pytest.mark.parametrize(("values", "words"), bad_labels())
def test_what_is_not_a_label(tmp_path: Path, values: np.ndarray, words: str) -> None:
    path = tmp_path / "labels.npy"
    np.save(path, values)
    with pytest.raises(InputError, match=rf"labels\.npy.*{words}"):
        read_labels(path)


@pytest.mark.parametrize(
    "values", [np.zeros((2, 3, 4), int), np.array([[-5]]), np.array([[0.5]]), np.array([["a"]])]
)
def test_what_is_not_written(tmp_path: Path, values: np.ndarray) -> None:
    with pytest.raises(InputError, match=r"labels\.tif: label"):
        write_labels(tmp_path / "labels.tif", values)


def test_colour_png_and_jpeg_are_not_labels(tmp_path: Path, rng: np.random.Generator) -> None:
    colours = rng.integers(0, 256, (20, 30, 3), np.uint8)
    (tmp_path / "rgb.png").write_bytes(imagecodecs.png_encode(colours))
    with pytest.raises(InputError, match=r"rgb\.png: labels are one plane.*3 channels"):
        read_labels(tmp_path / "rgb.png")
    PIL.Image.fromarray(colours[..., 0]).save(tmp_path / "grey.jpg")
    with pytest.raises(InputError, match=r"grey\.jpg: JPEG changes the values of labels"):
        read_labels(tmp_path / "grey.jpg")


@given(
    arrays.arrays(
        np.int32, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.integers(0, 3)
    )
)
def test_outlines_agree_with_scikit_image(labels: np.ndarray) -> None:
    expected = find_boundaries(labels, connectivity=1, mode="inner")
    np.testing.assert_array_equal(outlines(labels), expected)


def test_unknown_pixels_have_no_outline() -> None:
    assert outlines(np.array([[-1, -1, 0, 2, 2, 2, 3]])).tolist() == [
        [False, False, False, True, False, True, True]
    ]
