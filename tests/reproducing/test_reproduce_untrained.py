"""Published tables without any training: what is listed, planned, refused and written."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import abbe
from helpers_of_reproducing import SMALL_SAM, here
from upstream_sets import made

from abbe import config
from abbe.api.reproducing import reproduce
from abbe.errors import ConfigError
from abbe.registry import PUBLISHED
from abbe.reproducing.experiments import settings_for
from abbe.reproducing.given import material_of
from abbe.reproducing.written import Result, markdown_of
from abbe.summary import Evidence, RunSummary


def test_what_builds_on_an_item_that_is_made_anew_is_refused(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    made(tmp_path / "sets", "tissuenet")
    first, second = (weights / f"{name}.safetensors" for name in ("sam_vit_tiny", "mobile_sam"))

    def begin(experiment: config.Experiment, **options: Any) -> None:
        experiment.out.mkdir(parents=True)
        (experiment.out / "log.jsonl").touch()

    monkeypatch.setattr("abbe.runs.distill.distill", begin)
    words = ["reproduce", "cmkd-tissuenet", "--quick", "--random-weights", "--data",
             tmp_path / "sets", "--only", "swin-tiny-sam", "--out", tmp_path / "out"]  # fmt: skip
    assert abbe(*words, "--weights", f"sam={first}") == 0
    items = tmp_path / "out" / "items"
    assert sorted(each.name for each in items.iterdir()) == ["mobilenetv3-sam", "swin-tiny-sam"]
    shutil.rmtree(items / "mobilenetv3-sam")  # the swin's answers come from this one's teacher
    capsys.readouterr()
    assert abbe(*words, "--weights", f"sam={second}") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert f"{items / 'swin-tiny-sam'}: was made with other settings (after.mobile" in said
    assert not (items / "mobilenetv3-sam").exists()  # before anything is run
    assert abbe(*words, "--weights", f"sam={first}", "--plan") == 0


@pytest.mark.parametrize("error", [MemoryError("no room"), torch.OutOfMemoryError("no room")])
def test_an_item_without_enough_memory_does_not_end_the_others(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    made(tmp_path / "sets", "busi", "kvasir")
    tried: list[str] = []

    def fail(experiment: config.Experiment, **options: Any) -> None:
        tried.append(experiment.out.name)
        raise error

    monkeypatch.setattr("abbe.runs.distill.distill", fail)
    given = ["--data", tmp_path / "sets", "--weights", f"sam={weights / 'mobile_sam.safetensors'}"]
    words = ["reproduce", "kdsam", *given, "--quick", "--random-weights", *SMALL_SAM]
    assert abbe(*words, "--out", tmp_path / "out") == 1
    assert {"busi", "kvasir"} <= set(tried)
    assert "- busi: " in (tmp_path / "out" / "table.md").read_text("utf-8")
    assert "no room" in (tmp_path / "out" / "table.md").read_text("utf-8")


@pytest.mark.parametrize(
    ("made_with", "said"),
    [
        ({"busi": 3, "kvasir": 3}, "here: 3 seeds;"),
        ({"busi": 1, "kvasir": 1}, "here: one seed, so nothing has a ±; not all of 3 seeds yet: "
         "busi (1), kvasir (1);"),
        ({"busi": 2, "kvasir": 3}, "here: 2 to 3 seeds; not all of 3 seeds yet: busi (2);"),
    ],
)  # fmt: skip
def test_the_seeds_that_are_told_are_those_of_the_runs(
    made_with: dict[str, int], said: str, tmp_path: Path
):
    table = PUBLISHED["kdsam"]
    material = material_of(table, {}, {}, random_weights=False)
    settings = settings_for(table, material, out=tmp_path, seeds=3)
    runs = {
        item: RunSummary(evidence=Evidence(seeds=list(range(count))))
        for item, count in made_with.items()
    }
    assert said in markdown_of(Result(settings, (), runs, {}, {}))


def test_the_papers_figures_are_the_papers():
    def printed(table: str) -> dict[tuple[str, ...], tuple[float, float | None, bool]]:
        return {
            (*cell.row, cell.column): (cell.paper.mean, cell.paper.spread, cell.paper.derived)
            for cell in PUBLISHED[table].cells
            if cell.paper is not None
        }

    rows = [("no KD",), ("SAM",), ("CellSAM",)]
    sizes = {"Swin-Tiny": 27, "ResNet18": 11, "EfficientNet-B0": 5.3, "MobileNetV3": 1.5}
    encoders = {
        (title, *row, "encoder"): (millions, None, False)
        for title, millions in sizes.items()
        for row in rows
    }
    about = {(title, "SAM", "gain"): (12, None, True) for title in [*sizes][1:]}
    assert printed("cmkd-tissuenet") == encoders | about | {
        ("SAM", "teacher", "dice"): (89.12, 1.21, False),
        ("SAM", "teacher", "whole"): (641.1, None, True),
        ("Swin-Tiny", "no KD", "dice"): (65.31, 1.35, False),
        ("Swin-Tiny", "SAM", "dice"): (78.36, 1.44, False),
        ("Swin-Tiny", "SAM", "gain"): (13.05, None, False),
        ("Swin-Tiny", "SAM", "recovery"): (87.9, None, False),
        ("Swin-Tiny", "SAM", "smaller"): (23, None, False),
    }
    assert printed("cmkd-bbbc038") == encoders
    csat, efficient, convnext = PUBLISHED["rckd"].rows[::2]
    assert printed("rckd") == {
        (csat[0], "RCKD", "accuracy"): (94.2, None, False),
        (csat[0], "RCKD", "mean_iou"): (0.673, None, False),
        (*efficient, "accuracy"): (90.2, None, True),
        (*efficient, "mean_iou"): (0.630, None, True),
        (*convnext, "accuracy"): (86.8, None, True),
        (*convnext, "mean_iou"): (0.667, None, True),
    }
    assert printed("kdsam") == {
        ("SAM ViT-H", "whole"): (641.1, None, True),
        ("MobileSAM, as it comes", "whole"): (9.66, None, True),
        ("MobileSAM, tuned", "whole"): (9.66, None, True),
        ("KD SAM", "encoder"): (26.4, None, False),
    }


@pytest.fixture
def told(capsys: pytest.CaptureFixture) -> Callable[..., tuple[int, str, str]]:
    def words(*arguments: str | Path) -> tuple[int, str, str]:
        code = abbe("reproduce", *arguments)
        said = capsys.readouterr()
        return code, said.out, said.err

    return words


def test_tables_are_listed_with_what_they_lack(told: Any, tmp_path: Path):
    made(tmp_path, "busi", "kvasir", "tissuenet")
    (tmp_path / "sam_vit_h_4b8939.pth").touch()
    given = ("--data", tmp_path, "--weights", tmp_path / "sam_vit_h_4b8939.pth")
    code, out, _ = told("--list", *given)
    assert code == 0
    assert "lacks    isic2017, hc18, mobile_sam" in out
    assert "can run  2 of 4 runs" in out
    code, out, _ = told("--list", "--json", *given)
    listed = {each["name"]: each for each in json.loads(out)}
    assert set(listed) == {"cmkd-tissuenet", "cmkd-bbbc038", "rckd", "kdsam"}
    assert listed["cmkd-tissuenet"]["runnable"] == 4
    assert not listed["cmkd-tissuenet"]["complete"]
    need = {each["name"]: each for each in listed["kdsam"]["needs"]}
    assert need["sam"]["given"]
    assert "abbe data fetch hc18" in need["hc18"]["where"]


def test_a_plan_shows_the_items_and_does_nothing(told: Any, tmp_path: Path):
    made(tmp_path / "sets", "busi", "tissuenet")
    code, out, _ = told("kdsam", "--data", tmp_path / "sets", "--weights", "sam=x", "--plan",
                        "--out", tmp_path / "out")  # fmt: skip
    assert code == 0
    assert "busi      kdsam  to do" in out
    assert "kvasir    kdsam  lacks kvasir" in out
    code, out, _ = told(
        "cmkd-tissuenet", "--data", tmp_path / "sets", "--weights", "sam=x", "--plan",
        "--only", "swin-tiny-sam", "--out", tmp_path / "out",
    )  # fmt: skip
    assert "2 runs to do, over 3 seeds" in out  # the one whose teacher's answers it takes, too
    assert "swin-tiny-sam            cmkd   to do (after mobilenetv3-sam)" in out
    for cell in ("Swin-Tiny/SAM/dice", "Swin-Tiny/SAM/*"):
        code, again, _ = told(
            "cmkd-tissuenet", "--data", tmp_path / "sets", "--weights", "sam=x", "--plan",
            "--only", cell, "--out", tmp_path / "out",
        )  # fmt: skip
        assert again == out
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tables"], "there is no table 'tables'; there are: cmkd-tissuenet"),
        ([], "name a table; abbe reproduce --list"),
        (["kdsam", "--data", "nowhere"], "--data nowhere: there is no such file or folder"),
        (["kdsam", "--data", "busi=nowhere"], "--data busi=nowhere: there is no such folder"),
        (["kdsam", "--weights", "cellsam=x"], "--weights cellsam: table kdsam takes sam"),
        (["kdsam", "--only", "glas"], "--only glas: table kdsam has no such item; it has: kvasir"),
        (["kdsam", "--set", "training"], "--set training: give KEY=VALUE"),
        (["kdsam", "--seeds", "0"], "seeds: at least 1"),
        (["kdsam", "--set", "a=1", "--set", "b=1"], "--set stands twice"),
        (["kdsam", "--json"], "--json goes with --list"),
    ],
)
def test_wrong_words(told: Any, tmp_path: Path, words: list[str], message: str):
    code, _, err = told(*words, *(["--out", tmp_path / "out"] if words else []))
    assert code == 1
    assert message in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("student.architecture=unet-resnet18", "table kdsam settles this itself"),
        ("student=1", "table kdsam settles this itself"),
        ("data.split=fraction", "table kdsam settles this itself"),
        ("training.stepps=3", "training.stepps: unknown key"),
        ("loss.boundary=sobel_mse", "loss.boundary: belongs to recipe"),
    ],
)
def test_what_a_table_compares_is_not_changed(told: Any, tmp_path: Path, change: str, message: str):
    made(tmp_path / "sets", "busi")
    code, _, err = told("kdsam", "--data", tmp_path / "sets", "--weights", "sam=x",
                        "--set", change, "--out", tmp_path / "out")  # fmt: skip
    assert code == 1
    assert message in err
    assert not (tmp_path / "out" / "items").exists()


def test_a_set_in_another_layout_is_named_and_told(told: Any, tmp_path: Path):
    for folder in ("images", "labels"):
        (tmp_path / "mine" / folder).mkdir(parents=True)
    code, _, err = told("kdsam", "--data", tmp_path / "mine")
    assert code == 1
    assert f"--data kvasir={tmp_path / 'mine'}" in err
    code, out, _ = told("kdsam", "--data", f"busi={tmp_path / 'mine'}", "--plan")
    assert code == 0
    assert "lacks sam" in out


def test_nothing_given_makes_an_empty_table_that_says_where_to_get_all(told: Any, tmp_path: Path):
    code, out, _ = told("cmkd-bbbc038", "--out", tmp_path / "out")
    assert code == 0
    assert set(here(tmp_path / "out").values()) == {None}
    assert "64 for want of bbbc038. nuclei of the 2018 Data Science Bowl" in out
    assert "abbe data fetch bbbc038 FOLDER" in out
    assert "| Swin-Tiny " in out
    assert "QUICK" not in out


def test_from_python(tmp_path: Path):
    made(tmp_path / "sets", "busi")
    table = reproduce("kdsam", tmp_path / "sets", out=tmp_path / "out", progress=False)
    assert repr(table) == f"Reproduced('{tmp_path / 'out'}', kdsam, 0 of 28 cells)"
    assert table.failures == {}
    assert table.markdown() == (tmp_path / "out" / "table.md").read_text("utf-8")
    assert "for want of sam. SAM ViT-H: https://" in table.markdown()
    assert "for want of busi" not in table.markdown()
    with pytest.raises(ConfigError, match="--data glas: table kdsam takes kvasir"):
        reproduce("kdsam", {"glas": tmp_path}, out=tmp_path / "out")
    with pytest.raises(ConfigError, match="table kdsam settles this itself"):
        reproduce(
            "kdsam", {"busi": {"kind": "busi", "path": str(tmp_path / "sets/busi")}},
            {"sam": "x"}, changes={"student": {"input_channels": ("red",)}}, out=tmp_path / "out",
        )  # fmt: skip
