import csv
import pickle
import shutil
import zipfile
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from abbe.config import Data
from abbe.datasets import assign_splits, bbbc038, check
from abbe.datasets.object_masks import MaskFolder
from abbe.datasets.public.modality import folds, modality_of, near_duplicates, thumbnail
from abbe.errors import ConfigError, InputError
from abbe.runs import build

DSB = Path(__file__).parents[3] / "shared" / "data" / "dsb2018"


def save(file: Path, pixels: np.ndarray) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(pixels).save(file)


def mask(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    pixels = np.zeros((20, 24), np.uint8)
    pixels[top:bottom, left:right] = 255
    return pixels


def write_image(subset: Path, id: str, masks: Mapping[str, np.ndarray]) -> np.ndarray:
    """An RGBA file with three equal colours, as the fluorescence images are."""
    seed = [ord(letter) for letter in id]
    grey = np.random.default_rng(seed).integers(0, 200, (20, 24)).astype(np.uint8)
    alpha = np.full_like(grey, 255)
    save(subset / id / "images" / f"{id}.png", np.stack([grey, grey, grey, alpha], -1))
    for name, pixels in masks.items():
        save(subset / id / "masks" / f"{name}.png", pixels)
    return grey


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for id in ("aa", "bbb", "cccc"):
        masks = {"y": mask(1, 1, 5, 5), "x": mask(8, 8, 12, 16)}
        write_image(tmp_path / "stage1_train", id, masks)
    write_image(tmp_path / "stage1_test", "t", {})
    return tmp_path


def test_the_original_layout(root: Path):
    dataset = bbbc038(root)
    assert dataset.ids == ("aa", "bbb", "cccc", "t")
    assert dataset.channels == ("red", "green", "blue")
    assert dataset.licence.startswith("CC0")
    assert dataset.where(subset="stage1_test").unlabelled.ids == ("t",)
    image = dataset["aa"].image.open()
    assert image.channels == dataset.channels
    assert image.read().shape == (3, 20, 24)
    label = dataset["aa"].label
    assert label is not None
    labels = label.read()
    assert labels.dtype == np.int32
    assert labels[9, 9] == 1  # file x
    assert labels[2, 2] == 2  # file y
    assert bbbc038(root / "stage1_train").ids == ("aa", "bbb", "cccc")


def test_one_grey_channel(root: Path):
    grey = write_image(root / "stage1_train", "dd", {"x": mask(0, 0, 2, 2)})
    dataset = bbbc038(root, channels=["nucleus"])
    assert dataset.channels == ("nucleus",)
    np.testing.assert_array_equal(dataset["dd"].image.open().read(), grey[None])
    with pytest.raises(InputError, match="or one channel of any name; not a, b"):
        bbbc038(root, channels=["a", "b"])


def test_drawn_splits_are_still_to_be_had(root: Path):
    dataset = assign_splits(bbbc038(root))
    assert dataset["t"].split == "train"
    assert dataset["t"].label is None


def test_where_masks_overlap_the_smaller_object_wins(tmp_path: Path):
    large, small = mask(0, 0, 10, 10), mask(4, 4, 6, 6)
    for names in (("a", "b"), ("b", "a")):
        folder = tmp_path / "-".join(names) / "masks"
        for name, pixels in zip(names, (large, small), strict=True):
            save(folder / f"{name}.png", pixels)
        save(folder / "c.png", mask(0, 0, 0, 0))
        found = MaskFolder(folder).read_masks()
        assert found.overlapping == 4
        assert found.empty == ("c.png",)
        assert np.bincount(found.labels.ravel()).tolist()[1:] == (
            [96, 4] if names == ("a", "b") else [4, 96]
        )


def test_masks_that_do_not_fit_or_cannot_be_read(tmp_path: Path):
    folder = tmp_path / "masks"
    folder.mkdir()
    with pytest.raises(InputError, match="masks holds no mask"):
        MaskFolder(folder).read()
    save(folder / "a.png", mask(0, 0, 2, 2))
    save(folder / "b.png", np.zeros((5, 5), np.uint8))
    with pytest.raises(InputError, match=r"b\.png is 5×5 px, but a\.png beside it is 20×24 px"):
        MaskFolder(folder).read()
    (folder / "b.png").write_bytes((folder / "a.png").read_bytes()[:50])
    with pytest.raises(InputError, match=r"b\.png cannot be read"):
        MaskFolder(folder).read()


def test_a_truncated_and_a_foreign_image(root: Path):
    file = root / "stage1_train" / "aa" / "images" / "aa.png"
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(InputError, match=r"aa\.png cannot be read"):
        bbbc038(root)["aa"].image.open()
    save(file, np.zeros((20, 24), np.uint16))
    with pytest.raises(InputError, match="more than 8 bits"):
        bbbc038(root)["aa"].image.open()


def test_a_folder_without_its_image_is_a_problem(root: Path):
    (root / "stage1_train" / "aa" / "images" / "aa.png").unlink()
    (root / "stage1_train" / "__MACOSX").mkdir()
    dataset = bbbc038(root)
    assert "aa" not in dataset
    assert dataset.problems == ("stage1_train/aa has no images/aa.png: left out",)


def test_wrong_folders(tmp_path: Path):
    with pytest.raises(InputError, match=r"neither stage1_train nor .* `abbe data fetch bbbc038"):
        bbbc038(tmp_path)
    (tmp_path / "stage1_train.zip").touch()
    with pytest.raises(InputError, match=r"stage1_train\.zip is damaged or no zip file"):
        bbbc038(tmp_path)
    (tmp_path / "stage1_train").mkdir()
    with pytest.raises(InputError, match="holds no image in BBBC038's layout"):
        bbbc038(tmp_path)


def zip_folder(folder: Path, top: str) -> None:
    """As the publisher's archives: no folder entries needed, and what a Mac leaves in them."""
    archive = folder.with_suffix(".zip")
    with zipfile.ZipFile(archive, "w") as opened:
        for file in sorted(folder.rglob("*.png")):
            opened.write(file, f"{top}{file.relative_to(folder).as_posix()}")
        opened.writestr("__MACOSX/aa/images/aa.png", b"junk")
        opened.writestr(f"{top}aa/images/._aa.png", b"junk")
    shutil.rmtree(folder)


def runs_of(mask: np.ndarray) -> str:
    """The run lengths of a mask, down its columns, counted from 1."""
    flat = np.concatenate([[0], (mask.T.ravel() > 0).astype(int), [0]])
    starts, ends = np.flatnonzero(np.diff(flat) == 1), np.flatnonzero(np.diff(flat) == -1)
    return " ".join(f"{s + 1} {e - s}" for s, e in zip(starts, ends, strict=True))


def write_solution(root: Path, rows: list[tuple[str, str]], name: str = "stage1_solution.csv"):
    with open(root / name, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["ImageId", "EncodedPixels", "Height", "Width", "Usage"])
        writer.writerows([(id, runs, 20, 24, "Private") for id, runs in rows])


@pytest.mark.parametrize("top", ["", "stage1_train/", "data/stage1_train/"])
def test_zip_files_are_read_as_they_come(root: Path, top: str):
    unpacked = {record.id: record for record in bbbc038(root)}
    pixels = {id: each.image.open().read() for id, each in unpacked.items()}
    labels = {id: each.label.read() for id, each in unpacked.items() if each.label}
    before = {id: dict(each.columns) for id, each in unpacked.items()}
    for subset in ("stage1_train", "stage1_test"):
        zip_folder(root / subset, top)
    dataset = pickle.loads(pickle.dumps(bbbc038(root)))  # as workers get it
    assert dataset.ids == ("aa", "bbb", "cccc", "t")
    assert {record.id: dict(record.columns) for record in dataset} == before
    for record in dataset:
        np.testing.assert_array_equal(record.image.open().read(), pixels[record.id])
        assert record.image.open().name == record.id
        if record.label is not None:
            np.testing.assert_array_equal(record.label.read(), labels[record.id])
    assert set(labels) == {record.id for record in dataset.labelled}
    assert sorted(path.name for path in root.iterdir()) == ["stage1_test.zip", "stage1_train.zip"]
    assert bbbc038(root / "stage1_train.zip").ids == ("aa", "bbb", "cccc")
    assert check(bbbc038(root)).ok


def test_a_member_of_a_zip_file_that_is_damaged_is_named(root: Path):
    zip_folder(root / "stage1_train", "")
    archive = root / "stage1_train.zip"
    with zipfile.ZipFile(archive) as opened:
        at = opened.getinfo("bbb/images/bbb.png").header_offset
    damaged = bytearray(archive.read_bytes())
    damaged[at + 60 : at + 90] = bytes(30)
    archive.write_bytes(damaged)
    dataset = bbbc038(root)
    assert dataset["bbb"].columns["modality"] == "unknown"
    with pytest.raises(InputError, match=r"stage1_train\.zip/bbb/images/bbb\.png cannot be read"):
        dataset["bbb"].image.open()
    assert dataset["aa"].image.open().shape == (20, 24)


def test_the_solution_gives_the_test_images_their_labels_and_holds_them_out(root: Path):
    first, second = mask(2, 3, 9, 8), mask(12, 1, 19, 22)
    second[14:16, 4:9] = 0  # a hole: more runs than columns
    write_solution(root, [("t", runs_of(first)), ("t", runs_of(second)), ("elsewhere", "1 4")])
    dataset = bbbc038(root)
    label = dataset["t"].label
    assert label is not None
    np.testing.assert_array_equal(label.read(), (first > 0) * 1 + (second > 0) * 2)
    assert dataset.split("test").ids == ("t",)
    assert Counter(r.split for r in dataset) == {"test": 1, "val": 1, "train": 2}
    validating = {k: bbbc038(root, fold=k).split("val").ids for k in range(3)}
    assert sorted(sum(validating.values(), ())) == ["aa", "bbb", "cccc"]
    with pytest.raises(ConfigError, match="fold 5: stage1_train has the folds 0 to 4"):
        bbbc038(root, fold=5)


def test_without_the_solution_a_fold_tests_and_the_test_images_stay_out(root: Path):
    dataset = bbbc038(root)
    assert dataset["t"].split == "test"
    assert dataset["t"].label is None
    by_fold = {record.columns.get("fold"): record.split for record in dataset}
    assert by_fold == {None: "test", "0": "test", "1": "val", "2": "train"}
    assert "stage1_solution.csv" in dataset.notes[1]
    built = build.build_dataset(Data(kind="bbbc038", path=root, fold=2))
    assert {r.columns.get("fold"): r.split for r in built}["2"] == "test"
    with pytest.raises(ConfigError, match="fold is about bbbc038"):
        Data(kind="folder", path=root, fold=2)


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ("1 2 3", "is no list of runs"),
        ("a b", "is no list of runs"),
        ("0 5", "reach beyond the 480 px"),
        ("480 2", "reach beyond the 480 px"),
        ("5 0", "reach beyond the 480 px"),
    ],
)
def test_runs_that_cannot_be(root: Path, runs: str, message: str):
    write_solution(root, [("t", runs)])
    label = bbbc038(root)["t"].label
    assert label is not None
    with pytest.raises(InputError, match=rf"stage1_solution\.csv: .*{message}"):
        label.read()


def test_a_table_stands_in_for_masks_that_are_not_there(root: Path):
    shutil.rmtree(root / "stage1_train" / "aa" / "masks")
    write_solution(root, [("aa", runs_of(mask(1, 1, 5, 5))), ("bbb", "1 1")],
                   "stage1_train_labels.csv")  # fmt: skip
    write_solution(root, [("t", "")])
    dataset = bbbc038(root)
    label, none = dataset["aa"].label, dataset["t"].label
    assert label is not None
    np.testing.assert_array_equal(label.read(), (mask(1, 1, 5, 5) > 0) * 1)
    assert dataset["bbb"].label == MaskFolder(root / "stage1_train" / "bbb" / "masks")
    assert none is not None
    assert not none.read().any()
    (root / "stage1_solution.csv").write_text("id,runs\n")
    with pytest.raises(
        InputError, match=r"must name the columns ImageId and EncodedPixels, not id"
    ):
        bbbc038(root)


def painted(background: tuple[int, int, int], nuclei: tuple[int, int, int]) -> np.ndarray:
    pixels = np.zeros((64, 64, 3), np.uint8) + np.array(background, np.uint8)
    pixels[10:30, 10:30] = nuclei
    return pixels


@pytest.mark.parametrize(
    ("pixels", "kind"),
    [
        (painted((5, 5, 5), (120, 120, 120)), "fluorescence"),
        (painted((225, 225, 225), (140, 140, 140)), "brightfield"),
        (painted((225, 160, 205), (120, 60, 140)), "he"),
        (painted((215, 215, 208), (100, 30, 140)), "purple_on_white"),
        (painted((235, 222, 170), (100, 30, 140)), "purple_on_white"),
        (painted((185, 165, 205), (70, 40, 170)), "purple_on_white"),
    ],
)
def test_the_modality_is_told_from_the_pixels(root: Path, pixels: np.ndarray, kind: str):
    assert modality_of(pixels) == kind
    save(root / "stage1_train" / "zz" / "images" / "zz.png", pixels)
    save(root / "stage1_train" / "zz" / "masks" / "a.png", np.full((64, 64), 255, np.uint8))
    data = Data(kind="bbbc038", path=root, where={"modality": kind, "subset": "stage1_train"})
    assert "zz" in build.collect(data)
    others = Data(kind="bbbc038", path=root, where={"modality": "fluorescence"})
    assert set(build.collect(others).ids) - {"zz"} == {"aa", "bbb", "cccc", "t"}
    (absent, *_) = {"he", "purple_on_white", "brightfield"} - {kind}
    both = Data(kind="bbbc038", path=root, where={"modality": f"fluorescence,{absent}"})
    with pytest.raises(InputError, match=f"no image with modality = {absent}"):
        build.collect(both)


@pytest.mark.skipif(not DSB.is_dir(), reason="needs ../shared/data/dsb2018")
def test_the_modality_of_real_images():
    """All 433 fluorescence, 86 colour and 13 bright-field images, as counted in docs/cmkd.md."""
    with open(DSB / "index.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    found = Counter()
    for row in rows:
        with PIL.Image.open(DSB / "images" / f"{row['id']}.png") as picture:
            found[row["kind"], modality_of(np.asarray(picture.convert("RGB")))] += 1
    assert found == {
        ("fluo", "fluorescence"): 433,
        ("colour", "purple_on_white"): 82,
        ("colour", "he"): 4,
        ("grey_bright", "brightfield"): 13,
    }


def test_near_duplicates_share_a_fold_and_modalities_are_spread_evenly():
    random = np.random.default_rng(0)
    base = PIL.Image.fromarray(random.integers(0, 255, (32, 32, 3), np.uint8))
    noisy = PIL.Image.fromarray(
        (np.asarray(base) * 0.8 + random.integers(0, 9, (32, 32, 3))).astype(np.uint8)
    )
    other = PIL.Image.fromarray(random.integers(0, 255, (32, 32, 3), np.uint8))
    same_but_larger = base.resize((64, 64))
    pictures = {"a": base, "b": other, "c": noisy, "d": same_but_larger}
    shapes = [(each.height, each.width) for each in pictures.values()]
    groups = near_duplicates(list(pictures), shapes, [thumbnail(p) for p in pictures.values()])
    assert groups == {"a": "a", "b": "b", "c": "a", "d": "d"}
    kinds = {f"{n:03}": "he" if n % 4 == 0 else "fluorescence" for n in range(100)}
    alone = {id: id for id in kinds} | {"001": "000", "002": "000"}
    dealt = folds(alone, kinds)
    assert dealt["000"] == dealt["001"] == dealt["002"]
    assert Counter(dealt[id] for id, kind in kinds.items() if kind == "he") == dict.fromkeys(
        range(5), 5
    )
    assert max(Counter(dealt.values()).values()) - min(Counter(dealt.values()).values()) <= 2
    assert dealt == folds(dict(reversed(alone.items())), kinds)


def test_near_duplicates_are_one_group_of_the_data_set(root: Path):
    twin = root / "stage1_train" / "aa" / "images" / "aa.png"
    save(root / "stage1_train" / "twin" / "images" / "twin.png", np.asarray(PIL.Image.open(twin)))
    dataset = bbbc038(root)
    assert dataset["aa"].group == dataset["twin"].group == "aa"
    assert dataset["bbb"].group is None
    assert dataset["aa"].columns["fold"] == dataset["twin"].columns["fold"]
