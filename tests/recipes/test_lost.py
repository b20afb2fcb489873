"""Images that cannot be read: all are named before anything trains, and some may be lost."""

import json
import re
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import TINY, TWIN_ALONE, abbe, doubts
from PIL import Image as Picture

from abbe.imaging import write_labels

SPLITS = "train", "val", "test"


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:60])


@pytest.fixture
def squares(tmp_path: Path) -> Path:
    """Twelve grey pictures of a bright square: eight to train on, two to validate, two to test."""
    rows = ["id,split"]
    for number in range(12):
        label = np.zeros((64, 64), np.int32)
        label[10 + number : 30 + number, 20:40] = 1
        pixels = (label * 150 + np.arange(64) % 40).astype(np.uint8)
        path = tmp_path / "squares" / "images" / f"s{number:02}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Picture.fromarray(pixels).save(path)
        write_labels(tmp_path / "squares" / "labels" / path.name, label)
        rows.append(f"{path.stem},{SPLITS[max(0, number // 2 - 3)]}")
    (tmp_path / "squares" / "index.csv").write_text("\n".join(rows))
    return tmp_path / "squares"


def supervised(squares: Path, out: Path) -> list:
    return ["distill", "supervised", "--data.path", squares, *TINY,
            "--student.input-channels", "grey", "--out", out]  # fmt: skip


@pytest.mark.slow
def test_all_damaged_training_images_are_named_before_the_training(squares, tmp_path, capsys):
    for number in range(7):
        path = squares / "images" / f"s{number:02}.png"
        path.write_bytes(path.read_bytes()[:-40])  # it opens, and cannot be read
    damage(squares / "labels" / "s11.png")
    assert abbe(*supervised(squares, tmp_path / "run")) == 1
    said = capsys.readouterr().err
    assert "8 images were lost, and 0 may be:" in said
    named = [*(f"s0{number}" for number in range(7)), "s11"]
    assert re.findall(r"\bs\d\d\b(?=: |,|\n)", said) == named  # those of one fault in a line
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_damaged_test_images_are_named_before_the_training_too(squares, tmp_path, capsys):
    for name in ("s10", "s11"):
        damage(squares / "images" / f"{name}.png")
    assert abbe(*supervised(squares, tmp_path / "run")) == 1
    said = capsys.readouterr().err
    assert "2 images were lost, and 0 may be:" in said
    assert "  s10: " in said
    assert "and so 1 more: s11\n" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_run_that_was_allowed_to_lose_images_can_be_exported(squares, tmp_path, capsys):
    for name in ("s02", "s08"):  # to train on, and to validate: what a package is checked on
        damage(squares / "images" / f"{name}.png")
    assert abbe(*supervised(squares, tmp_path / "run"), "--allow-failed", 2) == 0
    quick = "--int8", "none", "--threads", 1, "--tile", 160
    assert abbe("export", tmp_path / "run", "--out", tmp_path / "package", *quick) == 0
    assert (tmp_path / "package" / "package.json").is_file()
    # what was amiss when the images were listed is told wherever they are
    write_labels(squares / "labels" / "stray.png", np.ones((64, 64), np.int32))
    capsys.readouterr()
    words = ["evaluate", tmp_path / "run", "--data.path", squares, "--name", "again"]
    assert abbe(*words, "--allow-failed", 2) == 0
    assert "warning: labels: 1 label without an image: stray.png" in capsys.readouterr().out


@pytest.mark.slow
def test_rckd_looks_at_labelled_images_before_it_pretrains(tmp_path, capsys):
    random = np.random.default_rng(0)
    for split in SPLITS:
        for name in ("dark", "light"):
            folder = tmp_path / "classes" / split / name
            folder.mkdir(parents=True)
            for number in range(4):
                pixels = random.integers(0, 60, (64, 64, 3)) + 150 * (name == "light")
                Picture.fromarray(pixels.astype(np.uint8)).save(folder / f"{number}.png")
    for number in range(2):
        damage(tmp_path / "classes" / "train" / "dark" / f"{number}.png")
    words = shlex.split(
        "--data.kind classes --fine-tuning.task classification --pretraining.method contrastive "
        "--teacher.kind none --pretraining.steps 2 --pretraining.batch-size 2 "
        "--pretraining.crop 32 --pretrain-data.kind given --student.input-channels red green blue"
    )
    words = ["distill", "rckd", *words, *TINY, *TWIN_ALONE, "--data.path", tmp_path / "classes"]
    assert abbe(*words, "--out", tmp_path / "run") == 1
    said = capsys.readouterr().err
    assert "2 images were lost, and 0 may be:" in said
    assert "train/dark/0: " in said
    assert "and so 1 more: train/dark/1\n" in said
    assert not (tmp_path / "run").exists()
    assert abbe(*words, "--out", tmp_path / "run", "--allow-failed", 2) == 0
    assert len(json.loads((tmp_path / "run" / "summary.json").read_text())["lost"]) == 2


@pytest.mark.slow
def test_a_test_image_that_is_trained_on_by_another_name_is_a_doubt(squares, tmp_path, capsys):
    shutil.copyfile(squares / "images" / "s00.png", squares / "images" / "s10.png")
    words = supervised(squares, tmp_path / "run")
    sentence = "1 test image (such as s10) has the very pixels of an image to train or validate on"
    for again in ([], ["--resume"]):
        assert abbe(*words, *again) == 0
        assert f"warning: {sentence}" in capsys.readouterr().out
        summary = json.loads((tmp_path / "run" / "summary.json").read_text())
        assert summary["overlaps"] == [{"source": "data", "images": 1, "example": "s10"}]
        assert sum(sentence in doubt for doubt in doubts(tmp_path / "run")) == 1
