"""Pictures that KD SAM's teacher fails on, or that cannot be read: told, or lost on request."""

import json
import shutil

import pytest
from commands import abbe, doubts
from tiny_kdsam import WITH_TWIN

from abbe.targets import TargetStore
from abbe.teachers.sam.teacher import SamTeacher


@pytest.fixture
def failing(monkeypatch):
    """A teacher that has no memory for picture 1, which is one to train on."""
    predict = SamTeacher.predict

    def some(self, image, id):
        if id == "1":
            raise RuntimeError("out of memory")
        return predict(self, image, id)

    monkeypatch.setattr(SamTeacher, "predict", some)


@pytest.mark.usefixtures("failing")
def test_a_picture_that_the_teacher_fails_on_ends_the_run_before_it_trains(
    pictures, sam_file, tmp_path, capsys
):
    out = tmp_path / "run"
    words = ["distill", "kdsam", "--data.path", pictures, "--teacher.path", sam_file, *WITH_TWIN]
    assert abbe(*words, "--out", out) == 1
    said = capsys.readouterr().err
    assert "1 image was lost, and 0 may be:\n  1: RuntimeError: out of memory" in said
    assert sorted(TargetStore(out / "targets.zarr").ids) == ["0", "2", "6", "7", "8"]
    assert not (out / "log.jsonl").exists()
    assert abbe(*words, "--out", out, "--resume", "--allow-failed", 1) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["targets"] == {"images": 5, "empty": 0, "missing": 1}
    assert summary["lost"] == ["1"]
    assert "The teacher gave no answer for 1 image." in (out / "report.html").read_text()


def test_a_picture_that_cannot_be_read_may_be_lost_too(pictures, sam_file, tmp_path, capsys):
    copied = tmp_path / "discs"
    shutil.copytree(pictures, copied)
    for name in ("2", "7"):  # one to train on, one to test on
        file = copied / "images" / f"{name}.png"
        file.write_bytes(file.read_bytes()[:60])
    words = ["distill", "kdsam", "--data.path", copied, "--teacher.path", sam_file, *WITH_TWIN]
    assert abbe(*words, "--out", tmp_path / "a") == 1
    assert "2.png" in capsys.readouterr().err
    assert abbe(*words, "--out", tmp_path / "a", "--allow-failed", 1) == 1
    said = capsys.readouterr().err
    assert "2 images were lost, and 1 may be:" in said
    assert "2.png" in said
    assert "and so 1 more: 7\n" in said
    assert abbe(*words, "--out", tmp_path / "a", "--allow-failed", 2) == 0
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["lost"] == ["2", "7"]
    assert summary["targets"]["missing"] == 0  # it was not asked about what cannot be read
    other = ["--name", "other", "--data.path", copied]
    assert abbe("evaluate", tmp_path / "a", *other) == 1
    assert abbe("evaluate", tmp_path / "a", *other, "--allow-failed", 2) == 0
    there = json.loads((tmp_path / "a" / "evaluations" / "other" / "summary.json").read_text())
    assert there["lost"] == ["2", "7"]
    assert any(
        "2 images could not be used and were left" in text
        for text in doubts(tmp_path / "a/evaluations/other")
    )
