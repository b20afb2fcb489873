"""Text of strangers in terminals, tables and pages."""

import csv
import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
from commands import abbe
from PIL import Image as Picture

sys.path.insert(0, str(Path(__file__).parent / "runtime"))
from made_packages import make_package  # pyright: ignore[reportMissingImports]

from abbe import config
from abbe.config.files import read_values
from abbe.curves.curve import _begin
from abbe.curves.label_subsets import Level
from abbe.curves.plan import Plan
from abbe.curves.results import write_table as write_curve
from abbe.curves.trainings import Outcome, Trainer, Training
from abbe.datasets import Record
from abbe.errors import ConfigError
from abbe.files.tables import read_csv
from abbe.foreign_text import cell_text, cells, markdown_text, shown
from abbe.imaging import Image
from abbe.runtime.package import places
from abbe.runtime.predictors.prompt_files import read_table
from abbe.runtime.writing.class_results import write_images
from abbe.runtime.writing.region_results import write_areas_by_class
from abbe.runtime.writing.table import write_table

FORMULAS = [
    "=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "＝1", "'=1", "''=1",
]  # fmt: skip
PLAIN = ["a.png", "", "'quoted'", "a=b", "1-2", "d'=1", "’=1"]
NUMBERS = ["-1", "+2.5e-3", "-.5", "-inf", "nan", "12"]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_become_text_and_are_read_back(text: str):
    (cell,) = cells([text])
    assert cell == f"'{text}"
    assert cell_text(cell) == text


@pytest.mark.parametrize("text", [*PLAIN, *NUMBERS])
def test_other_text_and_numbers_stay_as_they_are(text: str):
    assert cells([text]) == [text]
    assert cell_text(text) == text
    assert cells([-1, -0.5, None]) == [-1, -0.5, None]


def test_a_table_of_classes_calculates_nothing_and_is_read_back(tmp_path: Path):
    names = ("=HYPERLINK(A1)", "-tumour")
    answers = {"@evil.png": {"probabilities": [0.25, 0.75], "tiles": 1}}
    write_images(tmp_path / "classes.csv", answers, names)
    with open(tmp_path / "classes.csv", newline="", encoding="utf-8") as file:
        header, row = csv.reader(file)
    assert not any(cell.startswith(("=", "+", "-", "@")) for cell in (*header, *row))
    assert row == ["'@evil.png", "'-tumour", "1", "0.25", "0.75"]
    _, rows = read_csv(tmp_path / "classes.csv")
    assert (rows[0]["image"], rows[0]["class"]) == ("@evil.png", "-tumour")


EVIL = ("=HYPERLINK(A1)", "-tumour", "@SUM(A1)", "+1+cmd|A0")


def cells_of(path: Path) -> list[str]:
    with open(path, newline="", encoding="utf-8") as file:
        return [cell for row in csv.reader(file) for cell in row]


def assert_nothing_is_calculated(path: Path, *names: str) -> None:
    found = cells_of(path)
    for name in names:
        assert any(cell.startswith("'") and name in cell for cell in found), name
        assert not any(cell.startswith(name) for cell in found), name


def test_no_table_of_a_package_calculates(tmp_path: Path):
    """Of objects, whose columns are named like channels, and of regions, by class."""
    write_table(tmp_path / "o.csv", {"label": np.array([1]), **{e: np.ones(1) for e in EVIL}})
    assert_nothing_is_calculated(tmp_path / "o.csv", *EVIL)
    _, rows = read_csv(tmp_path / "o.csv")
    assert rows == [{"label": "1", **dict.fromkeys(EVIL, "1")}]
    write_areas_by_class(tmp_path / "r.csv", np.arange(1, 5), EVIL, 0.5)
    assert_nothing_is_calculated(tmp_path / "r.csv", *EVIL)
    assert [row["class"] for row in read_csv(tmp_path / "r.csv")[1]] == list(EVIL)


def test_no_table_of_a_curve_calculates(tmp_path: Path):
    """Names of what is compared and of metrics; of images, groups and classes."""
    model, metric, image, group = EVIL
    level = Level(1.0, 2)
    arrays = {"values": np.ones((2, 1)), "metrics": np.array([metric])}
    outcome = Outcome(7, None, 3.0, "0" * 64, ["a", "b"], ["a", "b"], arrays)
    write_curve(tmp_path, "model", {Training(model, level, 0): outcome})
    assert_nothing_is_calculated(tmp_path / "curve.csv", model, metric)
    pixels = Image.from_array(np.zeros((8, 8), np.uint8))
    source = SimpleNamespace(open=lambda: pixels)
    records = [
        Record(name, source, split="train", group=group, columns={"class": EVIL[n]})  # pyright: ignore
        for n, name in enumerate((image, "b"))
    ]
    trainer = cast(Trainer, SimpleNamespace(records=records, by_class=False))
    _begin(tmp_path, Plan((1.0,), (0,), None, False), trainer, [level])
    assert_nothing_is_calculated(tmp_path / "labels.csv", image, group, *EVIL[:2])
    assert read_csv(tmp_path / "labels.csv")[1][0]["image"] == image


def test_headers_and_names_with_line_ends_are_read_back(tmp_path: Path):
    with open(tmp_path / "t.csv", "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerows(map(cells, (["id", "=x"], ["\r=name", 3], ["two\nlines", 4])))
    header, rows = read_csv(tmp_path / "t.csv")
    assert header == ("id", "=x")
    assert [row["=x"] for row in rows] == ["3", "4"]
    assert rows[1]["id"] == "two\nlines"
    assert [row.id for row in read_table(tmp_path / "t.csv", ("=x",))] == ["\r=name", "two\nlines"]


# ------------------------------------------------------------------------------------- terminals


def test_what_steers_a_terminal_is_written_out():
    assert shown("a\x1b[2Jb\x07\x9b31m\rc") == r"a\x1b[2Jb\x07\x9b31m\x0dc"
    assert shown("safe\u202egnp.exe") == r"safe\u202egnp.exe"
    assert shown("two\nlines\tand µm é 核") == "two\nlines\tand µm é 核"


def test_no_verb_prints_escapes_that_files_hold(tmp_path: Path, capsys):
    """Names of files, an index, a description: they come with a data set or a package."""
    (tmp_path / "images").mkdir()
    name = "a\x1b]0;title\x07.png"
    try:
        Picture.fromarray(np.full((8, 8), 7, np.uint8)).save(tmp_path / "images" / name)
    except OSError:
        pytest.skip("this file system has no such names")
    (tmp_path / "index.csv").write_text("id,group\nmissing\x1b[31m,1\na\x1b]0;title\x07,2\n")
    abbe("data", "check", tmp_path)
    package = tmp_path / "package"
    package.mkdir()
    (package / "package.json").write_text(json.dumps({"format": "\x1b[2J"}))
    abbe("predict", package, tmp_path / "images", "--out", tmp_path / "out")
    said = capsys.readouterr()
    assert "missing" in said.out
    assert r"format \x1b[2J" in said.err
    assert "\x1b" not in said.out + said.err
    assert "\x07" not in said.out + said.err


def test_no_verb_prints_escapes_of_a_packages_title(tmp_path: Path, capsys, monkeypatch):
    """`predict`, `bench` and `models` name packages by what these call themselves."""
    title = "a\x1b]0;title\x07\x1b[2J"
    folder = make_package(tmp_path / "packages" / "p", title=title)
    Picture.fromarray(np.full((40, 40), 7, np.uint8)).save(tmp_path / "a.png")
    assert abbe("predict", folder, tmp_path / "a.png", "--out", tmp_path / "out") == 0
    quick = [tmp_path / "a.png", "--repeats", 1, "--no-cold"]
    assert abbe("bench", folder, *quick) == 0
    said = capsys.readouterr()
    assert said.out.count(r"a\x1b]0;title\x07\x1b[2J") >= 2
    assert not set("\x1b\x07") & set(said.out + said.err)
    monkeypatch.setattr(places, "FOLDER", folder.parent)
    assert abbe("models") == 0
    said = capsys.readouterr()
    assert not set("\x1b\x07") & set(said.out + said.err)


def test_an_experiment_file_holds_no_control_characters(tmp_path: Path):
    path = tmp_path / "e.yaml"
    path.write_text('recipe: cmkd\ndata: {channels: ["nucleus", "a\\e[2J"]}\n')
    with pytest.raises(ConfigError, match=r"'a\\x1b\[2J' holds control characters"):
        read_values(path)
    path.write_text("recipe: cmkd\nout: two µm\n")
    assert read_values(path)["out"] == "two µm"
    assert config.draft(read_values(path), "e").recipe == "cmkd"


# ------------------------------------------------------------------------------------- Markdown


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("![x](http://evil/t.png)", r"!\[x\](http://evil/t.png)"),
        ("a | b", r"a \| b"),
        ("`code`", r"\`code\`"),
        ("two\n# lines\r\n", "two # lines"),
        ("R&D, CC-BY-NC-4.0", "R&amp;D, CC-BY-NC-4.0"),
    ],
)
def test_text_in_markdown_is_text(text: str, expected: str):
    assert markdown_text(text) == expected
