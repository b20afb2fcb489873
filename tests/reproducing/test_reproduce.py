"""Published tables through the command line, on tiny files in their publishers' layouts."""

import csv
import json
import shlex
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import abbe
from fake_programs import fake_cellsam
from helpers_of_reproducing import SMALL_SAM, cells_of, here
from upstream_sets import encoder_file, made

from abbe.recipes.recipe import fit_plan

SMALL = shlex.split("--set training.crop=32 training.precision=fp32")


ROWS = {
    "swin-tiny-sam": ("Swin-Tiny", "SAM"),
    "mobilenetv3-cellsam": ("MobileNetV3", "CellSAM"),
}
ENCODERS = {"Swin-Tiny": 27.515, "MobileNetV3": 0.927}
"""Millions of parameters of timm's, features alone, with one channel to see."""


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
