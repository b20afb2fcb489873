"""Published tables through the command line, on tiny files in their publishers' layouts."""

import csv
import json
import shlex
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import abbe
from fake_programs import fake_cellsam
from upstream_sets import encoder_file, made, sam_file

from abbe import config
from abbe.api.reproducing import reproduce
from abbe.errors import ConfigError
from abbe.recipes.recipe import fit_plan
from abbe.registry import PUBLISHED
from abbe.reproducing.experiments import settings_for
from abbe.reproducing.given import material_of
from abbe.reproducing.written import Result, markdown_of
from abbe.summary import Evidence, RunSummary

SMALL = shlex.split("--set training.crop=32 training.precision=fp32")
SMALL_SAM = shlex.split(
    "--set promptable.side=64 promptable.perceptual_mode=decoder training.precision=fp32"
)


ROWS = {
    "swin-tiny-sam": ("Swin-Tiny", "SAM"),
    "mobilenetv3-cellsam": ("MobileNetV3", "CellSAM"),
}
ENCODERS = {"Swin-Tiny": 27.515, "MobileNetV3": 0.927}
"""Millions of parameters of timm's, features alone, with one channel to see."""


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SAM's and MobileSAM's places taken by tiny networks with random weights."""
    root = tmp_path_factory.mktemp("weights")
    sam_file(root / "sam_vit_tiny.safetensors", 2)
    sam_file(root / "mobile_sam.safetensors", 3)
    return root


def cells_of(out: Path) -> dict[tuple[str, ...], dict[str, Any]]:
    """The cells of table.json by row and column."""
    values = json.loads((out / "table.json").read_text("utf-8"))
    return {(*cell["row"], cell["column"]): cell for cell in values["cells"]}


def here(out: Path) -> dict[tuple[str, ...], Any]:
    """Our numbers, or None, by row and column."""
    found = cells_of(out)
    return {
        key: None if each["here"] is None else each["here"]["mean"] for key, each in found.items()
    }


def is_whole(out: Path, title: str) -> None:
    """What every quick table shows."""
    text = (out / "table.md").read_text("utf-8")
    assert text.startswith("# QUICK, a few steps on a few images, NO COMPARISON: ")
    assert title in text
    rows = list(csv.DictReader((out / "table.csv").open(encoding="utf-8")))
    by_json = here(out)
    assert len(rows) == len(by_json)
    assert [row["here"] != "" for row in rows] == [value is not None for value in by_json.values()]
    assert {row["quick"] for row in rows} == {"1"}


@pytest.mark.slow
def test_cmkd(weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    package = fake_cellsam()
    monkeypatch.setitem(sys.modules, "cellSAM", package)
    monkeypatch.setitem(sys.modules, "cellSAM.utils", package.utils)
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("DEEPCELL_ACCESS_TOKEN", "a token")
    made(tmp_path / "sets", "tissuenet")
    out, items = tmp_path / "out", ["swin-tiny-sam", "mobilenetv3-cellsam"]
    code = abbe(
        "reproduce", "cmkd-tissuenet", "--quick", "--random-weights", "--data", tmp_path / "sets",
        "--weights", weights / "sam_vit_tiny.safetensors", "cellsam=cellsam_general",
        "--only", *items, "--out", out, *SMALL,
    )  # fmt: skip
    assert code == 0
    is_whole(out, "of the teacher's Dice, %")
    found = here(out)
    trained = [("MobileNetV3", "SAM"), *(ROWS[item] for item in items)]
    for title, teacher in trained:
        values = {key[-1]: value for key, value in found.items() if key[:2] == (title, teacher)}
        assert None not in values.values()
        assert values["dice"] - values["gain"] == pytest.approx(found[title, "no KD", "dice"])
        assert values["encoder"] == pytest.approx(ENCODERS[title], abs=0.001)
        assert values["smaller"] == pytest.approx(
            found[teacher, "teacher", "whole"] / values["encoder"]
        )
        assert values["recovery"] == pytest.approx(
            100 * values["dice"] / found[teacher, "teacher", "dice"]
        )
    assert {key[:2] for key, value in found.items() if value is not None} == {
        *trained, *((title, "no KD") for title, _ in trained),
        *((teacher, "teacher") for _, teacher in trained),
    }  # fmt: skip
    text = (out / "table.md").read_text("utf-8")
    assert "random weights took the place of ImageNet weights of swin_tiny" in text
    assert "shown the true labels" in text
    assert "set by the user: training.crop 32" in text
    stored = json.loads((out / "items" / items[0] / "summary.json").read_text("utf-8"))
    assert stored["evidence"]["baselines"] == ["supervised"]
    assert not (out / "items" / items[0] / "targets.zarr").exists()  # the teacher answered once


@pytest.mark.slow
def test_a_whole_table_has_its_spread_over_seeds(weights: Path, tmp_path: Path):
    """Not a quick one: the set is read as it lies there. Its shortness is the user's."""
    made(tmp_path / "sets", "bbbc038")
    code = abbe(
        "reproduce", "cmkd-bbbc038", "--random-weights", "--data", tmp_path / "sets", "--weights",
        weights / "sam_vit_tiny.safetensors", "--only", "EfficientNet-B0/SAM/dice",
        "--seeds", "2", "--out", tmp_path / "out", *SMALL, "training.steps=2",
        "training.batch_size=2", "training.validate_every=2", "training.workers=0",
    )  # fmt: skip
    assert code == 0
    for name in ("EfficientNet-B0", "MobileNetV3"):
        dice, gain, recovery = (
            cells_of(tmp_path / "out")[name, "SAM", column]["here"]
            for column in ("dice", "gain", "recovery")
        )
        without = cells_of(tmp_path / "out")[name, "no KD", "dice"]["here"]
        teacher = cells_of(tmp_path / "out")["SAM", "teacher", "dice"]["here"]
        assert len(dice["by_seed"]) == len(without["by_seed"]) == 2
        assert dice["spread"] == pytest.approx(abs(np.diff(dice["by_seed"])[0]) / np.sqrt(2))
        pairs = zip(dice["by_seed"], without["by_seed"], strict=True)
        assert gain["by_seed"] == pytest.approx([first - second for first, second in pairs])
        assert teacher["by_seed"] == []
        assert recovery["by_seed"] == pytest.approx(
            [100 * each / teacher["mean"] for each in dice["by_seed"]]
        )
    assert cells_of(tmp_path / "out")["ResNet18", "CellSAM", "dice"]["lacks"] == ["cellsam"]
    assert cells_of(tmp_path / "out")["ResNet18", "no KD", "dice"]["lacks"] == []
    text = (tmp_path / "out" / "table.md").read_text("utf-8")
    assert "not run, or not finished: resnet18-sam, swin-tiny-sam\n" in text
    assert text.startswith("# CMKD on BBBC038")
    assert f"| {dice['mean']:.2f} ± {dice['spread']:.2f} † |" in text
    assert "set by the user: training.steps 2" in text
    assert "here: 2 seeds" in text
    config = (tmp_path / "out/items/efficientnet-b0-sam/config.yaml").read_text("utf-8")
    assert "kind: bbbc038" in config
    assert "modality: fluorescence" in config


@pytest.mark.slow
def test_kdsam(weights: Path, tmp_path: Path):
    made(tmp_path / "sets", "isic2017", "hc18")  # the next test but one has the other two
    given = ["--data", tmp_path / "sets", "--weights", *sorted(weights.iterdir())]
    arguments = ["reproduce", "kdsam", *given, "--quick", "--random-weights", *SMALL_SAM]
    assert abbe(*arguments, "--out", tmp_path / "out") == 0
    is_whole(tmp_path / "out", "KD SAM on four medical sets")
    found = here(tmp_path / "out")
    waiting = {key for key, value in found.items() if value is None}
    assert {column for _, column in waiting} == {"kvasir", "busi"}
    assert found["KD SAM", "encoder"] == pytest.approx(26.39, abs=0.01)
    config = (tmp_path / "out/items/hc18/config.yaml").read_text("utf-8")
    assert "- grey" in config


@pytest.mark.slow
def test_rckd(tmp_path: Path):
    sets = ("nct_crc", "bach", "breakhis", "chaoyang", "glas", "bcss")
    made(tmp_path / "sets", *sets)
    encoder = encoder_file(tmp_path / "csat_like.safetensors", "csat-like")
    code = abbe(
        "reproduce", "rckd", "--quick", "--data", tmp_path / "sets", "--weights", encoder,
        "--only", "csat-like-rckd-*", "csat-like-imagenet-[bg]*",
        "--set", "training.precision=fp32", "--out", tmp_path / "out",
    )  # fmt: skip
    assert code == 0
    is_whole(tmp_path / "out", "mean mIoU")
    found = here(tmp_path / "out")
    row = ("CSAT (ours: csat-like)", "RCKD")
    values = [found[*row, each] for each in sets]
    assert None not in values
    assert found[*row, "accuracy"] == pytest.approx(sum(values[:4]) / 4)
    assert found[*row, "mean_iou"] == pytest.approx(sum(values[4:]) / 2)
    row = ("CSAT (ours: csat-like)", "ImageNet")
    assert [found[*row, each] is None for each in sets] == [True, False, False, True, False, False]
    assert found[*row, "accuracy"] is None  # two of its four sets are not there
    assert found[*row, "mean_iou"] is not None
    assert found["EfficientNet-B0", "RCKD", "accuracy"] is None
    assert (
        "not run, or not finished: csat-like-imagenet-nct_crc, csat-like-imagenet-chaoyang, "
        in (tmp_path / "out" / "table.md").read_text("utf-8")
    )
    for item in ("rckd-nct_crc", "rckd-glas", "imagenet-glas"):
        kept = json.loads((tmp_path / f"out/items/csat-like-{item}/summary.json").read_text())
        assert kept["pretraining"] == ("rckd" if item == "rckd-nct_crc" else "none")


@pytest.mark.slow
def test_what_was_stopped_goes_on_and_nothing_is_done_twice(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
):
    made(tmp_path / "sets", "busi", "kvasir")
    given = ["--data", tmp_path / "sets", "--weights", *sorted(weights.iterdir())]
    arguments = ["reproduce", "kdsam", *given, "--quick", "--random-weights", *SMALL_SAM,
                 "--out", tmp_path / "out"]  # fmt: skip
    trained: list[str] = []

    def stopped(
        name: str, plan: Any, task: Any, metadata: Any, session: Any, **options: Any
    ) -> Any:
        if len(trained) == 5:  # the second item's student is there, its twin is not
            raise KeyboardInterrupt
        trained.append(f"{session.folder.name} {name}")
        return fit_plan(name, plan, task, metadata, session, **options)

    monkeypatch.setattr("abbe.runs.distill.fit_plan", stopped)
    assert abbe(*arguments) == 130
    assert "Go on with the same command: abbe reproduce kdsam" in capsys.readouterr().err
    assert trained[-1] == "busi student"
    monkeypatch.setattr("abbe.runs.distill.fit_plan", fit_plan)
    finished = tmp_path / "out/items/kvasir"
    before = {file: file.stat().st_mtime_ns for file in finished.rglob("*") if file.is_file()}
    assert abbe(*arguments) == 0
    assert {file: file.stat().st_mtime_ns for file in before} == before
    log = (tmp_path / "out/items/busi/log.jsonl").read_text("utf-8").splitlines()
    steps = [(line["model"], line["stage"], line["step"]) for line in map(json.loads, log)
             if "terms" in line]  # fmt: skip
    assert len(steps) == len(set(steps)) > 0
    assert here(tmp_path / "out")["KD SAM", "busi"] is not None
    text = (tmp_path / "out" / "table.md").read_text("utf-8")
    assert "for want of isic2017. ISIC 2017, task 1: https://challenge.isic-archive.com" in text
    assert "then --data hc18=FOLDER" in text
    capsys.readouterr()
    assert abbe(*arguments, "--plan") == 0
    assert "0 runs to do" in capsys.readouterr().out
    assert abbe(*arguments[:-2], "--seeds", "2", "--out", tmp_path / "out", "--plan") == 0
    assert "2 runs to do" in capsys.readouterr().out
    assert abbe(*arguments[:-2], "training.learning_rate=0.1", *arguments[-2:]) == 1
    assert "was made with other settings (training.learning_rate)" in capsys.readouterr().err
    assert abbe("reproduce", "kdsam", "--out", tmp_path / "out") == 1
    assert "holds a quick table. Give --quick, or another --out" in capsys.readouterr().err
    assert abbe("reproduce", "kdsam", "--quick", "--out", tmp_path / "out") == 0
    assert "random weights took the place of ImageNet weights of resnet50" in (
        tmp_path / "out" / "table.md"
    ).read_text("utf-8")  # though this call made nothing, and was given nothing
    assert cells_of(tmp_path / "out")["KD SAM", "busi"]["instead"]
    capsys.readouterr()
    wrong = ["reproduce", "cmkd-bbbc038", "--quick", "--out", tmp_path / "out"]
    assert abbe(*wrong) == 1
    assert "holds table kdsam, not cmkd-bbbc038" in capsys.readouterr().err


@pytest.mark.slow
def test_an_item_that_fails_leaves_its_cells_empty_and_the_others_run(
    weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture
):
    made(tmp_path / "sets", "busi", "hc18")
    for file in (tmp_path / "sets/hc18/training_set").glob("*_HC.png"):
        file.write_bytes(b"damaged")
    code = abbe(
        "reproduce", "kdsam", "--quick", "--random-weights", "--data", tmp_path / "sets",
        "--weights", f"sam={weights / 'mobile_sam.safetensors'}", "--out", tmp_path / "out",
        *SMALL_SAM,
    )  # fmt: skip
    assert code == 1
    found = cells_of(tmp_path / "out")
    assert found["KD SAM", "busi"]["here"] is not None
    assert found["KD SAM", "hc18"]["failed"] == ["hc18"]
    assert found["MobileSAM, tuned", "busi"]["lacks"] == ["mobile_sam"]
    text = (tmp_path / "out" / "table.md").read_text("utf-8")
    assert "- hc18: " in text
    assert "for want of mobile_sam. MobileSAM: https://github.com/ChaoningZhang/MobileSAM" in text


# --------------------------------------------------------------------------- without any training


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
