"""Pictures of classes, by numbers and by colours: read, counted, and what is wrong is told."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
from commands import abbe

import abbe as python
from abbe.datasets import check, folder
from abbe.datasets.check import CheckReport
from abbe.datasets.class_pictures import class_colours
from abbe.errors import ConfigError, InputError

RED, GREEN, BLACK, WHITE = (255, 0, 0), (0, 128, 0), (0, 0, 0), (255, 255, 255)
COLOURS = ("tumor=#ff0000", "stroma=0,128,0", "unknown=white")


def picture(corner: tuple[int, int, int], side: int = 64) -> np.ndarray:
    """Black, a red quarter above, a green one below, and a corner of 4 px."""
    pixels = np.zeros((side, side, 3), np.uint8)
    pixels[: side // 2, : side // 2], pixels[side // 2 :, side // 2 :] = RED, GREEN
    pixels[:2, -2:] = corner
    return pixels


@pytest.fixture
def tissue(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for part in ("images", "labels"):
        (tmp_path / "tissue" / part).mkdir(parents=True)
    for number in range(6):
        image = rng.integers(0, 255, (64, 64, 3), np.uint8)
        PIL.Image.fromarray(image).save(tmp_path / "tissue" / "images" / f"{number}.png")
        coloured = PIL.Image.fromarray(picture(WHITE))
        if number == 1:  # a palette says colours, too
            coloured = coloured.convert("P", palette=PIL.Image.Palette.ADAPTIVE, colors=4)
        coloured.save(tmp_path / "tissue" / "labels" / f"{number}.png")
    return tmp_path / "tissue"


def test_numbers_of_classes_without_names_are_an_error(tissue):
    (tissue / "types").mkdir()
    numbers = np.repeat(np.arange(4, dtype=np.uint8), 16)[:, None].repeat(64, axis=1)
    for number in range(6):
        PIL.Image.fromarray(numbers).save(tissue / "types" / f"{number}.png")
        PIL.Image.fromarray((numbers > 0).view(np.uint8)).save(tissue / "labels" / f"{number}.png")
    report = check(folder(tissue, types="types"))
    (problem,) = (each for each in report.problems if "numbers without a name" in each.what)
    assert not report.ok
    assert "name 1 to 3 in this order with --data.classes" in str(problem.where)
    assert "0 classes" not in report.text()


def test_colours_become_numbers(tissue):
    dataset = folder(tissue, class_colours=COLOURS)
    assert dataset.classes == ("tumor", "stroma")
    for record in dataset.records[:2]:
        assert record.types is not None
        classes = record.types.read()
        assert classes.dtype == np.int32
        assert (classes[:32, :32] == 1).all()
        assert (classes[32:, 32:] == 2).all()
        assert (classes[:2, -2:] == -1).all()
        assert (classes[32:, :32] == 0).all()
        assert record.label == record.types
    beside = folder(tissue, labels=None, types="labels", class_colours=COLOURS)
    assert beside.records[0].label is None
    assert beside.records[0].types == dataset.records[0].types


def test_every_form_of_a_colour_is_read_and_others_are_refused():
    assert class_colours(["a=#f00", "b=rgb(0, 128, 0)", "c=1,2,3"]) == {
        "a": RED, "b": GREEN, "c": (1, 2, 3)
    }  # fmt: skip
    for wrong in (["a"], ["a=reddish"], ["a=1,2,300"], ["a=red", "b=#ff0000"], ["a=red", "a=blue"]):
        with pytest.raises(ConfigError, match="class_colours"):
            class_colours(wrong)


def test_classes_are_named_once(tissue):
    with pytest.raises(ConfigError, match="names the classes already"):
        folder(tissue, class_colours=COLOURS, classes=["tumor"])


def test_pixels_are_counted_by_class_in_text_and_json(tissue, capsys):
    out = "found.json"
    words = ["data", "check", "tissue", "--data.class-colours", *COLOURS, "--json", out]
    assert abbe(*words) == 0
    shown = capsys.readouterr().out
    known = 64 * 64 - 4
    assert "regions       2 classes in 6 pictures" in shown
    assert f"tumor       {1024 / known:.1%} of the known px (6,144), in 6 images" in shown
    assert f"unknown     {4 / 4096:.1%} of all px (24)" in shown
    assert "objects" not in shown  # classes are no objects
    assert "crop          64 px is recommended: the smallest image has 64 px" in shown
    found = json.loads(Path(out).read_text("utf-8"))
    assert found["regions"] == {"background": 6 * (2048 - 4), "tumor": 6144, "stroma": 6144}
    assert found["crop"] == {"side": 64, "why": "the smallest image has 64 px"}
    assert found["images"]["0"]["regions"]["pixels"]["-1"] == 4
    report = python.check({"path": tissue, "class_colours": COLOURS})
    assert report.ok
    assert report.crop == (64, "the smallest image has 64 px")
    report.contact_sheet("sheet.png")


def test_unknown_colours_are_named_with_their_pixels(tissue, capsys):
    strange = picture(WHITE)
    strange[40, :7], strange[50, :3] = (0, 0, 255), (9, 9, 9)
    PIL.Image.fromarray(strange).save(tissue / "labels" / "3.png")
    assert abbe("data", "check", "tissue", "--data.class-colours", *COLOURS) == 1
    shown = capsys.readouterr().out
    assert "picture of classes cannot be read" in shown
    assert "no class has the colours #0000ff (7 px), #090909 (3 px)" in shown
    PIL.Image.fromarray(strange).resize(
        (64, 64), PIL.Image.Resampling.BICUBIC, (1, 1, 60, 60)
    ).save(tissue / "labels" / "3.png")
    types = folder(tissue, class_colours=COLOURS).records[3].types
    assert types is not None
    with pytest.raises(InputError, match=r"more\. Soft edges"):
        types.read()
    PIL.Image.fromarray(picture(WHITE)[..., 0]).save(tissue / "labels" / "3.png")
    with pytest.raises(InputError, match="a picture in colours"):
        types.read()


def test_numbers_are_counted_and_missing_classes_told(tissue):
    (tissue / "types").mkdir()
    for number in range(6):
        classes = np.zeros((64, 64), np.uint8)
        classes[:32] = 1
        classes[40:, number > 2] = 0
        classes[40:] = 2 if number == 0 else 0
        PIL.Image.fromarray(classes).save(tissue / "types" / f"{number}.png")
    splits = ["train", "train", "train", "val", "test", "test"]
    rows = "".join(f"{number},{split}\n" for number, split in enumerate(splits))
    (tissue / "index.csv").write_text(f"id,split\n{rows}", encoding="utf-8")
    dataset = folder(tissue, labels=None, types="types", classes=("a", "b", "c"))
    told = {problem.what: problem.where for problem in check(dataset).problems}
    assert told["a class has no pixel"] == (("", "c"),)
    assert told["a class has no val pixel"] == told["a class has no test pixel"] == (("", "b"),)
    short = folder(tissue, labels=None, types="types", classes=("a",))
    (problem,) = [each for each in check(short).problems if "classes cannot be" in each.what]
    assert problem.severity == "error"
    assert problem.where[0][0] == "0"
    assert "0 to 2 are not in the list of classes" in problem.where[0][1]


@pytest.mark.parametrize("groups", [1, 2])
def test_a_set_that_cannot_be_split_is_told_at_once(tissue, capsys, groups):
    rows = "".join(f"{number},slide{number % groups}\n" for number in range(6))
    (tissue / "index.csv").write_text(f"id,group\n{rows}", encoding="utf-8")
    words = ["data", "check", "tissue", "--data.class-colours", *COLOURS]
    assert abbe(*words) == 0  # it may be there to be tested on
    shown = capsys.readouterr().out
    assert "warning the set cannot be split to train, validate and test" in shown
    assert f"takes 3 independent images or groups, and there are {groups} (slide0" in shown
    assert told_of_splits(python.check({"path": tissue, "class_colours": COLOURS}))
    assert told_of_splits(check(folder(tissue, class_colours=COLOURS)))
    # two parts are enough where nothing is validated
    halves = ["--data.fractions", "0.5", "0", "0.5"]
    assert abbe(*words, *halves) == 0
    assert ("cannot be split" in capsys.readouterr().out) is (groups == 1)


def told_of_splits(report: CheckReport) -> bool:
    return any("cannot be split" in problem.what for problem in report.problems)


def test_colours_of_another_kind_of_set_are_refused(tissue, capsys):
    words = ["data", "check", "tissue", "--data.kind", "classes"]
    assert abbe(*words, "--data.class-colours", *COLOURS) == 1
    assert "data.class_colours: is not read of a data set of kind" in capsys.readouterr().err
