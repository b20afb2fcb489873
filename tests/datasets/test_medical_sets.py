"""Kvasir-SEG, ISIC 2017, HC18 and BUSI, from tiny files in their original layouts."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from abbe.datasets import (
    Dataset,
    Record,
    assign_splits,
    busi,
    check,
    fetch,
    hc18,
    isic2017,
    kvasir,
    require_whole_groups,
)
from abbe.datasets.public.known import Source
from abbe.datasets.public.photographs import FilledEllipse, PartsOfMask, WholeMasks
from abbe.errors import InputError

SIZE = (40, 60)


def picture(path: Path, seed: int = 0, mode: str = "RGB") -> Path:
    values = np.random.default_rng(seed).integers(0, 255, (*SIZE, 3), np.uint8)
    return save(path, PIL.Image.fromarray(values).convert(mode))


def save(path: Path, image: PIL.Image.Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image.save(path, quality=90)  # of JPEG; PNG has none
    return path


def mask(path: Path, *boxes: Sequence[int], mode: str = "L") -> Path:
    """White rectangles (top, left, bottom, right) on black."""
    values = np.zeros(SIZE, np.uint8)
    for top, left, bottom, right in boxes:
        values[top:bottom, left:right] = 255
    return save(path, PIL.Image.fromarray(values).convert(mode))


def label_of(record: Record) -> np.ndarray:
    assert record.label is not None
    label = record.label.read()
    assert label.dtype == np.int32
    assert label.shape == record.image.open().shape
    return label


def numbers(label: np.ndarray) -> list[int]:
    return np.unique(label).tolist()


# Kvasir-SEG


@pytest.fixture
def polyps(tmp_path: Path) -> Path:
    root = tmp_path / "Kvasir-SEG"
    picture(root / "images" / "cju0.jpg")
    mask(root / "masks" / "cju0.jpg", (4, 4, 20, 24), (28, 40, 36, 56), mode="RGB")
    picture(root / "images" / "cju1.jpg", 1)
    mask(root / "masks" / "cju1.jpg", (8, 8, 30, 30))
    (root / "kavsir_bboxes.json").write_text("{}")
    return root


def test_kvasirs_masks_are_cleaned_of_what_jpeg_adds(polyps: Path):
    found = kvasir(polyps)
    assert found.ids == ("cju0", "cju1")
    assert found.channels == ("red", "green", "blue")
    assert found["cju0"].image.open().shape == SIZE
    stored = np.asarray(PIL.Image.open(polyps / "masks" / "cju0.jpg").convert("L"))
    assert len(np.unique(stored)) > 2  # JPEG's noise is there
    label = label_of(found["cju0"])
    assert numbers(label) == [0, 1, 2]
    assert (label > 0).sum() == pytest.approx(16 * 20 + 8 * 16, abs=12)
    assert "research and education only" in found.licence
    assert "not published" in found.notes[0]
    assert found.problems == ()
    assert kvasir(polyps.parent).ids == found.ids
    assert check(found).ok


def test_kvasirs_losses_are_told(polyps: Path):
    (polyps / "masks" / "cju1.jpg").unlink()
    mask(polyps / "masks" / "cju9.jpg", (1, 1, 9, 9))
    found = kvasir(polyps)
    assert found["cju1"].label is None
    assert found.problems == (
        "cju1.jpg has no mask in masks",
        "cju9.jpg in masks has no image: left out",
    )


def test_what_is_not_kvasir(tmp_path: Path, polyps: Path):
    with pytest.raises(InputError, match=r"no folder images/.*abbe data fetch kvasir"):
        kvasir(tmp_path / "elsewhere")
    for file in (polyps / "images").iterdir():
        file.unlink()
    with pytest.raises(InputError, match="holds no image"):
        kvasir(polyps)
    (polyps / "masks" / "cju0.jpg").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(InputError, match=r"cju0\.jpg cannot be read"):
        PartsOfMask(polyps / "masks" / "cju0.jpg").read()


# ISIC 2017


@pytest.fixture
def lesions(tmp_path: Path) -> Path:
    for place, name in enumerate(("Training", "Validation", "Test_v2")):
        data = tmp_path / f"ISIC-2017_{name}_Data"
        truth = tmp_path / f"ISIC-2017_{name}_Part1_GroundTruth"
        for number in (2 * place, 2 * place + 1):
            stem = f"ISIC_{number:07d}"
            picture(data / f"{stem}.jpg", number)
            picture(data / f"{stem}_superpixels.png", number)
            mask(truth / f"{stem}_segmentation.png", (4, 4, 20, 24), (30, 30, 32, 32))
        (data / f"ISIC-2017_{name}_Data_metadata.csv").write_text("image_id,age,sex\n")
    return tmp_path


def test_isic_has_its_official_splits_and_one_lesion_an_image(lesions: Path):
    found = isic2017(lesions)
    assert [record.split for record in found] == ["train", "train", "val", "val", "test", "test"]
    assert found.split("test").ids == ("ISIC_0000004", "ISIC_0000005")
    label = label_of(found["ISIC_0000003"])
    assert numbers(label) == [0, 1]
    assert (label == 1).sum() == 16 * 20 + 4
    assert found.licence.startswith("CC0")
    assert found.problems == ()
    assert check(found).ok


def test_isic_with_other_letters_and_missing_files(lesions: Path):
    truth = lesions / "ISIC-2017_Test_v2_Part1_GroundTruth"
    old = truth / "ISIC_0000004_segmentation.png"
    old.rename(truth / "ISIC_0000004_Segmentation.png")
    (truth / "ISIC_0000005_segmentation.png").unlink()
    found = isic2017(lesions)
    assert found["ISIC_0000004"].label is not None
    assert found["ISIC_0000005"].label is None
    assert found.problems == (
        "ISIC_0000005.jpg has no mask in ISIC-2017_Test_v2_Part1_GroundTruth",
    )


def test_what_is_not_isic(lesions: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"holds none of ISIC-2017_Training_Data.*isic-archive"):
        isic2017(tmp_path / "elsewhere")
    for file in (lesions / "ISIC-2017_Validation_Data").glob("*.jpg"):
        file.unlink()
    with pytest.raises(InputError, match="ISIC-2017_Validation_Data holds no image"):
        isic2017(lesions)
    truth = lesions / "ISIC-2017_Training_Part1_GroundTruth"
    truth.rename(truth.with_name("other"))
    with pytest.raises(InputError, match=r"unpack ISIC-2017_Training_Part1_GroundTruth\.zip"):
        isic2017(lesions)


# HC18


def ellipse(
    centre: tuple[float, float], angle: float, scale: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """Inside, and a line 1 px wide along the edge of it that lies in the image."""
    axes = (12 * scale, 18 * scale)
    shape = (scale * SIZE[0], scale * SIZE[1])
    rows, columns = np.indices(shape) - scale * np.reshape(centre, (2, 1, 1))
    along = rows * np.cos(angle) + columns * np.sin(angle)
    across = columns * np.cos(angle) - rows * np.sin(angle)
    inside = (along / axes[0]) ** 2 + (across / axes[1]) ** 2 <= 1
    wide = np.pad(inside, 1, mode="edge")
    inner = wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:]
    return inside, inside & ~inner


def annotate(path: Path, centre: tuple[float, float], angle: float = 0.5) -> np.ndarray:
    inside, line = ellipse(centre, angle)
    save(path, PIL.Image.fromarray((255 * line).astype(np.uint8)))
    return inside


@pytest.fixture
def heads(tmp_path: Path) -> Path:
    for name in ("000_HC", "010_HC", "010_2HC"):
        picture(tmp_path / "training_set" / f"{name}.png", mode="L")
        annotate(tmp_path / "training_set" / f"{name}_Annotation.png", (20, 30))
    picture(tmp_path / "test_set" / "000_HC.png", mode="L")
    (tmp_path / "training_set_pixel_size_and_HC.csv").write_text(
        "filename,pixel size(mm),head circumference (mm)\n"
        "000_HC.png,0.0691358041432,44.3\n010_HC.png,0.12,61\n010_2HC.png,0.125,62\n"
    )
    (tmp_path / "test_set_pixel_size.csv").write_text("filename,pixel size(mm)\n000_HC.png,0.2\n")
    return tmp_path


def test_heads_have_sizes_groups_and_no_labels_in_the_test_set(heads: Path):
    found = hc18(heads)
    assert found.ids == ("training-000_HC", "training-010_2HC", "training-010_HC", "test-000_HC")
    assert [record.group for record in found] == [
        "training-000", "training-010", "training-010", "test-000",
    ]  # fmt: skip
    assert found["test-000_HC"].label is None
    assert found["training-010_HC"].columns == {
        "subset": "training",
        "head circumference (mm)": "61",
    }
    image = found["training-000_HC"].image.open()
    assert image.channels == ("grey",)
    assert image.pixel_size == pytest.approx(69.1358041432)  # µm
    assert found["test-000_HC"].image.open().pixel_size == pytest.approx(200)
    assert found.problems == ()
    split = assign_splits(found, fractions={"train": 0.5, "val": 0.5}, seed=1)
    require_whole_groups(split)


@pytest.mark.parametrize("angle", [0, 0.4, 1.2])
@pytest.mark.parametrize("centre", [(20, 30), (3, 30), (20, 4), (36, 55), (6, 6)])
def test_ellipses_are_filled_even_where_the_image_cuts_them(tmp_path: Path, angle, centre):
    inside, line = ellipse(centre, angle, scale=10)
    file = save(tmp_path / "a.png", PIL.Image.fromarray((255 * line).astype(np.uint8)))
    label = FilledEllipse(file).read()
    assert label[line].all()
    assert ((label == 1) != inside).sum() <= 0.02 * inside.sum()


def test_a_line_with_gaps_is_filled(tmp_path: Path):
    inside, line = ellipse((20, 30), 0.3)
    line[:, 29:31] = False
    file = save(tmp_path / "a.png", PIL.Image.fromarray((255 * line).astype(np.uint8)))
    assert ((FilledEllipse(file).read() == 1) != inside).sum() <= 0.02 * inside.sum()


@pytest.mark.parametrize(
    "boxes",
    [
        [],
        [(5, 5, 6, 30)],
        [(5, 5, 7, 7)],
        [(5, 5, 35, 55)],  # filled already, and no ellipse
        [(k, k, k + 1, k + 1) for k in range(5, 35)],  # a straight line
        [(5, 5, 6, 55), (34, 5, 35, 55), (5, 5, 35, 6), (5, 54, 35, 55)],  # a frame
    ],
)
def test_what_is_no_line_of_an_ellipse_is_refused(tmp_path: Path, boxes):
    with pytest.raises(InputError, match=r"a\.png holds no line"):
        FilledEllipse(mask(tmp_path / "a.png", *boxes)).read()


def test_hc18s_losses_are_told(heads: Path):
    (heads / "training_set" / "000_HC_Annotation.png").unlink()
    picture(heads / "training_set" / "extra_HC.png")
    picture(heads / "training_set" / "011_HC.png")
    annotate(heads / "training_set" / "011_HC_Annotation.png", (20, 30))
    (heads / "test_set_pixel_size.csv").unlink()
    found = hc18(heads)
    assert found["test-000_HC"].image.open().pixel_size is None
    assert found.problems == (
        "training_set/000_HC.png has no 000_HC_Annotation.png",
        "training_set_pixel_size_and_HC.csv says nothing of 011_HC.png",
        "training_set/extra_HC.png is not named as HC18's images: left out",
        "test_set_pixel_size.csv is not there: pixel sizes of test_set are unknown",
    )


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ("name,size\na,1\n", "must have the columns 'filename' and 'pixel size"),
        ("", "must have the columns"),
        ("filename,pixel size(mm)\n000_HC.png,wide\n", "of 000_HC.png is 'wide'"),
        ("filename,pixel size(mm)\n000_HC.png,0\n", "of 000_HC.png is '0'"),
        ("filename,pixel size(mm)\n000_HC.png,69.1\n", "of 000_HC.png is '69.1'"),
        ("filename,pixel size(mm)\n000_HC.png\n", "of 000_HC.png is None"),
    ],
)
def test_tables_that_hold_no_sizes(heads: Path, table, words):
    (heads / "test_set_pixel_size.csv").write_text(table)
    with pytest.raises(InputError, match=r"test_set_pixel_size\.csv") as caught:
        hc18(heads)
    assert words in str(caught.value)


def test_what_is_not_hc18(tmp_path: Path, heads: Path):
    with pytest.raises(InputError, match="holds neither training_set/ nor test_set/"):
        hc18(tmp_path / "elsewhere")
    (heads / "test_set_pixel_size.csv").write_bytes(b"\xff\xfe\x00\xff")
    with pytest.raises(InputError, match=r"test_set_pixel_size\.csv cannot be read"):
        hc18(heads)


# BUSI


@pytest.fixture
def breasts(tmp_path: Path) -> Path:
    root = tmp_path / "Dataset_BUSI_with_GT"
    picture(root / "benign" / "benign (1).png")
    mask(root / "benign" / "benign (1)_mask.png", (2, 2, 30, 30))
    mask(root / "benign" / "benign (1)_mask_1.png", (10, 10, 20, 20), mode="1")
    picture(root / "malignant" / "malignant (7).png", 1, mode="L")
    mask(root / "malignant" / "malignant (7)_mask.png", (2, 2, 9, 9), (20, 20, 30, 30), mode="RGBA")
    picture(root / "normal" / "normal (3).png", 2, mode="RGBA")
    mask(root / "normal" / "normal (3)_mask.png")
    return root


def test_busis_masks_are_lesions_and_normals_have_none(breasts: Path):
    found = busi(breasts)
    assert found.ids == ("benign (1)", "malignant (7)", "normal (3)")
    assert [record.columns["class"] for record in found] == ["benign", "malignant", "normal"]
    assert {record.group for record in found} == {None}
    first = label_of(found["benign (1)"])
    assert (first == 2).sum() == 100  # the smaller one lies inside the larger one and is kept
    assert (first == 1).sum() == 28 * 28 - 100
    assert numbers(label_of(found["malignant (7)"])) == [0, 1]  # one file is one lesion
    assert numbers(label_of(found["normal (3)"])) == [0]
    assert {record.image.open().channels for record in found} == {("red", "green", "blue")}
    assert "patient" in found.notes[0]
    assert "more than once" in found.notes[1]
    assert found.where(**{"class": "malignant"}).ids == ("malignant (7)",)
    assert busi(breasts.parent).ids == found.ids
    assert check(found).ok


def test_copies_across_classes_are_found(breasts: Path):
    original = breasts / "benign" / "benign (1).png"
    (breasts / "malignant" / "malignant (8).png").write_bytes(original.read_bytes())
    mask(breasts / "malignant" / "malignant (8)_mask.png", (2, 2, 9, 9))
    problems = check(busi(breasts)).problems
    where = [str(problem.where) for problem in problems if "the same image" in problem.what]
    assert len(where) == 1
    assert "benign (1)" in where[0]
    assert "malignant (8)" in where[0]


def test_busis_losses_are_told(breasts: Path):
    (breasts / "normal" / "normal (3)_mask.png").unlink()
    (breasts / "benign" / "benign (1).png").unlink()
    found = busi(breasts)
    assert found["normal (3)"].label is None
    assert found.problems == (
        "benign/benign (1)_mask.png has no image: left out",
        "normal/normal (3).png has no mask",
    )


def test_what_is_not_busi(tmp_path: Path, breasts: Path):
    with pytest.raises(InputError, match=r"holds no image in benign/.*abbe data fetch busi"):
        busi(tmp_path / "elsewhere")
    save(
        breasts / "benign" / "benign (1)_mask_1.png",
        PIL.Image.fromarray(np.zeros((5, 5), np.uint8)),
    )
    with pytest.raises(InputError, match=r"_mask_1\.png is 5×5 px, .* is 40×60 px"):
        label_of(busi(breasts)["benign (1)"])


def test_a_mask_of_16_bits_is_refused(tmp_path: Path):
    file = save(tmp_path / "a.png", PIL.Image.fromarray(np.zeros((4, 4), np.uint16)))
    with pytest.raises(InputError, match="more than 8 bits"):
        WholeMasks((file,)).read()


# All of them


def test_an_image_that_is_no_image_is_told_when_it_is_opened(breasts: Path):
    (breasts / "normal" / "normal (3).png").write_bytes(b"no image")
    found: Dataset = busi(breasts)
    with pytest.raises(InputError, match=r"normal \(3\)\.png cannot be read"):
        found["normal (3)"].image.open()


def test_a_source_that_is_no_archive_is_kept_as_it_is(tmp_path: Path, monkeypatch):
    (tmp_path / "sizes.csv").write_text("filename\n")
    fetch("hc18", tmp_path, sources=[Source("https://nowhere/sizes.csv", None)], progress=False)
    assert (tmp_path / "sizes.csv").read_text() == "filename\n"
    assert (tmp_path / "sizes.csv.sha256").is_file()
    assert not any(child.is_dir() for child in tmp_path.iterdir())
