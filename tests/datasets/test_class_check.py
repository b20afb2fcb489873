"""Checking images with a class each: counts by split, and what would stop a classification."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from commands import abbe
from helpers_of_datasets import dataset_of, forbid, record

from abbe.datasets import CheckReport, check, class_folder
from abbe.errors import InputError


@pytest.fixture
def tiles(tmp_path: Path):
    """Writes random tiles: ``tiles(train={"a": 3}, test={"a": 1})``; ``all`` for no split."""
    random = np.random.default_rng(0)

    def write(**parts: dict[str, int]) -> Path:
        for split, counts in parts.items():
            for label, count in counts.items():
                folder = tmp_path / "tiles" / (label if split == "all" else f"{split}/{label}")
                folder.mkdir(parents=True)
                for number in range(count):
                    pixels = random.integers(0, 255, (8, 8, 3), np.uint8)
                    PIL.Image.fromarray(pixels).save(folder / f"{number}.png")
        return tmp_path / "tiles"

    return write


def said(report: CheckReport) -> dict[str, tuple[str, list[tuple[str, str]]]]:
    return {it.what: (it.severity, list(it.where)) for it in report.problems}


def test_classes_are_listed_with_counts_by_split(tiles, tmp_path, capsys):
    root = tiles(train={"a": 3, "b": 2}, val={"a": 1, "b": 1}, test={"a": 10, "b": 11})
    found = tmp_path / "found.json"
    assert abbe("data", "check", root, "--data.kind", "classes", "--crop", 8, "--json", found) == 0
    shown = capsys.readouterr().out
    assert "train 5 (5 with a class), val 2 (2 with a class), test 21 (21 with a class)" in shown
    assert "    a           train 3, val 1, test 10\n" in shown
    assert "    b           train 2, val 1, test 11\n" in shown
    assert "labelled" not in shown
    assert "no problem found" in shown
    facts = json.loads(found.read_text())
    assert facts["splits"]["test"] == {"images": 21, "labelled": 0, "classes": {"a": 10, "b": 11}}


def test_a_folder_data_set_has_no_classes_called_images_and_labels(tmp_path):
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
        PIL.Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / part / "a.png")
    with pytest.raises(InputError, match=r"images, labels are no classes.*--data.kind folder"):
        class_folder(tmp_path)


def test_one_class_only_ends_with_one(tiles, capsys):
    root = tiles(train={"a": 3}, val={"a": 2}, test={"a": 12})
    assert abbe("data", "check", root, "--data.kind", "classes", "--crop", 8) == 1
    shown = capsys.readouterr().out
    assert "ERROR   there are images of one class only" in shown
    assert shown.count("ERROR") == 1


def test_what_splits_lack_is_named(tiles):
    root = tiles(train={"a": 3, "b": 1}, val={"a": 2}, test={"a": 12})
    problems = said(check(class_folder(root)))
    training = problems["a class has fewer than 2 training images: no classifier can be trained"]
    assert training == ("error", [("b", "1 image")])
    assert problems["validation images are of one class only"][0] == "error"
    assert problems["test images are of one class only"][0] == "warning"
    rare = problems["a class has fewer than 10 test images, which say little about it"]
    assert rare == ("warning", [("b", "0 images")])


def test_without_test_images_nothing_can_be_scored(tiles):
    problems = said(check(class_folder(tiles(train={"a": 3, "b": 3}))))
    assert problems["no test image has a class"][0] == "error"
    assert not any("has a label" in what for what in problems)


def test_where_no_split_is_given_a_class_must_suffice_for_a_drawn_one(tiles):
    report = check(class_folder(tiles(all={"a": 9, "b": 3, "c": 1}), classes=("a", "b", "c", "d")))
    assert not report.ok
    assert said(report) == {
        "a class has fewer than 2 images: no classifier can be trained": (
            "error", [("c", "1 image")]
        ),
        "a class has fewer than 4 images: not every split can have some": (
            "warning", [("b", "3 images")]
        ),
        "a class has no image": ("warning", [("", "d")]),
    }  # fmt: skip
    assert "no split 13 (13 with a class)" in report.text()


def test_a_file_that_is_left_out_is_an_error():
    whole = dataset_of(record("a"), record("b"), record("c"))
    assert check(whole).ok
    report = check(
        replace(
            whole, left_out={"one.svs": "one.svs: damaged", "two.svs": "two.svs: all background"}
        )
    )
    assert not report.ok
    assert "ERROR   a file cannot be used and is left out (2)\n          one.svs" in report.text()


@pytest.mark.parametrize("name", ["valid", "Validation", "Val"])
def test_a_split_by_another_name_is_not_passed_over(tiles, name):
    root = tiles(train={"a": 2, "b": 2}, test={"a": 1, "b": 1}, **{name: {"a": 1, "b": 1}})
    with pytest.raises(InputError, match=rf"{name}: is it the split val\? Call the folder so"):
        class_folder(root)


def test_images_that_lie_elsewhere_are_said(tiles):
    root = tiles(train={"a": 2, "a/patient7": 1}, test={"a": 1}, extra={"a": 1}, __MACOSX={"a": 1})
    found = class_folder(root)
    assert found.ids == ("train/a/0", "train/a/1", "test/a/0")
    (said,) = found.problems
    assert said.endswith(
        "lie at SPLIT/CLASS/IMAGE are left out: extra/a/0.png, train/a/patient7/0.png"
    )
    alone = tiles(alone={"a/patient7": 1}) / "alone"
    with pytest.raises(InputError, match=r"no images in folders.*; there is a/patient7/0\.png\."):
        class_folder(alone)


def test_images_that_differ_in_their_endings_alone_are_refused(tiles):
    root = tiles(all={"a": 2, "b": 2})
    (root / "a" / "1.png").rename(root / "a" / "1.jpg")
    PIL.Image.new("RGB", (8, 8)).save(root / "a" / "1.png")
    with pytest.raises(InputError, match=r"1\.jpg and 1\.png in .*a: names without extension"):
        class_folder(root)


def test_image_files_that_are_not_read_are_said(tiles):
    root = tiles(all={"a": 2, "b": 2})
    (root / "a" / "x.dcm").write_bytes(b"x")
    (root / "b" / "y.czi").write_bytes(b"x")
    (unread,) = class_folder(root).problems
    assert "2 image files of kinds that Abbe does not read" in unread
    for file in root.rglob("*.png"):
        file.unlink()
    with pytest.raises(
        InputError, match=r"2 image files of kinds .*\n.*holds no images in folders"
    ):
        class_folder(root)


def test_a_class_whose_folder_may_not_be_read_is_named(tiles, capsys, monkeypatch):
    root = tiles(all={"a": 2, "b": 2, "c": 2})
    closed = root / "b"
    forbid(closed, monkeypatch)
    assert abbe("data", "check", root, "--data.kind", "classes") == 1
    told = capsys.readouterr()
    assert f"{closed}: the folder cannot be read (Permission denied)" in told.out + told.err
    assert "Traceback" not in told.err
