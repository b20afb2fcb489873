"""A label-efficiency curve of CMKD: the student beside its twin, on simulated tissue."""

import csv
import json
import os
import signal
import subprocess
import threading
import time
from contextlib import suppress

import numpy as np
import pyarrow.parquet
import pytest
from commands import TINY, TISSUE, abbe, tissue, weights_below
from programs import forked_workers

import abbe as package
from abbe.curves.results import table
from abbe.curves.trainings import load_outcome
from abbe.errors import ConfigError
from abbe.imaging import write_labels
from abbe.runs import session
from abbe.summary import CurveSummary, read_summary
from abbe.teachers.run import RunTeacher

SHARES = ["--fractions", "0.25", "1", "--seeds", "0", "1"]


@pytest.fixture(scope="module")
def base(teacher_run):
    teacher = ["--teacher.kind", "run", "--teacher.path", str(teacher_run)]
    return ["curve", "cmkd", *TISSUE, *TINY, *teacher]


@pytest.fixture(scope="module")
def curve(base, tmp_path_factory):
    out = tmp_path_factory.mktemp("curves") / "tissue"
    assert abbe(*base, *SHARES, "--out", out) == 0
    return out


def rows_of(folder):
    return list(csv.DictReader((folder / "curve.csv").open()))


@pytest.mark.slow
def test_student_and_twin_are_compared_over_the_labels(curve):
    summary = json.loads((curve / "summary.json").read_text())
    names = ["student", "supervised", "twin"]
    assert summary["compared"] == names
    assert summary["reference"] == "supervised"
    assert [level["labelled"] for level in summary["levels"]] == [1, 4]
    rows = rows_of(curve)
    assert len(rows) == 3 * 2 * 2
    assert {row["model"] for row in rows} == set(names)
    own = {}
    for number, labelled in enumerate(("1", "4")):
        own = {
            model: np.mean([float(r["dice"]) for r in rows
                            if (r["model"], r["labelled"]) == (model, labelled)])
            for model in names
        }  # fmt: skip
        for model, mean in own.items():
            told = summary["scores"][model][number]["metrics"]["dice"]
            assert told["mean"] == pytest.approx(mean)
        gain = summary["differences"]["student"]["levels"][number]["metrics"]["dice"]
        assert gain["mean"] == pytest.approx(own["student"] - own["supervised"])
    assert set(summary["differences"]) == {"student", "twin"}
    assert own["twin"] == own["supervised"]  # with all labels it is the same network
    scores = pyarrow.parquet.read_table(curve / "scores.parquet").to_pylist()
    dice = [row for row in scores if row["metric"] == "dice"]
    assert len(dice) == 12 * 8  # as many trainings as test images


@pytest.mark.slow
def test_the_teacher_is_taught_once_and_stands_beside_them(curve):
    summary = json.loads((curve / "summary.json").read_text())
    assert 0 <= summary["teacher_scores"]["dice"]["mean"] <= 1
    values = load_outcome(curve / "trainings/teacher.npz").arrays
    column = values["metrics"].tolist().index("dice")
    mean = values["values"][:, column].mean()
    assert summary["teacher_scores"]["dice"]["mean"] == pytest.approx(mean)
    page = (curve / "report.html").read_text()
    assert "patients, slides; 2 groups, 8 images)" in page
    read = read_summary(curve)
    assert isinstance(read, CurveSummary)
    assert table(read).splitlines()[-1] == "over 8 test images of 2 groups (patients, slides …)"
    for text in ("Simulated.", "Dice", "Differences to supervised", "</span>teacher"):
        assert text in page
    assert list(curve.rglob("targets.zarr")) == [curve / "targets.zarr"]
    labels = {
        path.stem: load_outcome(path).labels_sha256
        for path in (curve / "trainings").glob("*-seed-*.npz")
    }
    assert labels["student-1-seed-0"] == labels["twin-1-seed-0"]
    assert labels["student-4-seed-0"] == labels["twin-4-seed-1"]


@pytest.mark.slow
def test_a_pair_that_was_cut_in_two_is_finished_and_no_other_is_touched(
    base, curve, tmp_path, monkeypatch
):
    names, fit = [], session.fit

    def counted(stage, accelerator, log, *rest, **options):
        names.append((log.path.parent.name, log.model))
        return fit(stage, accelerator, log, *rest, **options)

    monkeypatch.setattr(session, "fit", counted)
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(curve), str(copy)], check=True)
    config = (copy / "config.yaml").read_text().replace(str(curve), str(copy))
    (copy / "config.yaml").write_text(config)
    (copy / "trainings/twin-1-seed-1.npz").unlink()
    assert abbe("curve", copy / "config.yaml", "--resume") == 0
    assert names == [("1-seed-1", name) for name in ("student", "supervised", "twin")]
    first, second = (
        [{key: value for key, value in row.items() if key != "seconds"} for row in rows_of(folder)]
        for folder in (curve, copy)
    )
    assert first == second


@pytest.mark.slow
def test_workers_train_the_same_networks_and_one_that_is_killed_costs_its_training(
    base, curve, tmp_path, capsys
):
    out, killed = tmp_path / "curve", []

    def kill_one() -> None:
        while not killed:
            for lock in out.glob(".training/.*.lock"):  # of a training that is in hand
                with suppress(OSError, ValueError):
                    killed.append(json.loads(lock.read_text())["pid"])
                    os.kill(killed[0], signal.SIGKILL)
                    return
            time.sleep(0.02)

    killing = threading.Thread(target=kill_one, daemon=True)
    killing.start()
    with forked_workers():
        assert abbe(*base, *SHARES, "--out", out, "--cluster", "local:2") == 0
    assert killed
    assert "12 of 12 trainings done" in capsys.readouterr().err
    assert weights_below(out) == weights_below(curve)
    first, second = (
        [{key: value for key, value in row.items() if key != "seconds"} for row in rows_of(folder)]
        for folder in (curve, out)
    )
    assert first == second
    told = [json.loads((folder / "summary.json").read_text()) for folder in (curve, out)]
    for key in ("scores", "differences", "teacher_scores", "targets", "data", "lost"):
        assert told[0][key] == told[1][key]
    assert not (out / ".training").exists()


def test_a_live_teacher_has_no_workers(base, tmp_path, capsys):
    assert abbe(*base, "--teacher.live", "--out", tmp_path / "a", "--cluster", "local:1") == 1
    assert "teacher.live: trainings on workers learn from answers" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["--initialisations", "random"],
            "a curve of 'cmkd' compares the student with its baselines",
        ),
        (
            ["--loss.no-supervised", "--loss.boundary", "off"],
            "the twin learns nothing from labels",
        ),
        (["--data.fractions", "0.5", "0.5", "0"], "no labelled test image"),
        (["--data.labelled", "2"], "data.labelled is 2, but the fractions say"),
    ],
)
def test_what_does_not_fit_fails_before_any_work(
    tmp_path, capsys, monkeypatch, arguments, complaint
):
    write_labels(tmp_path / "masks" / "a.png", np.ones((64, 64), np.int32))
    teacher = ["--teacher.kind", "masks", "--teacher.path", str(tmp_path / "masks")]
    words = ["curve", "cmkd", *TISSUE, *TINY, *teacher, *SHARES, "--out", tmp_path / "x"]
    assert abbe(*words, *arguments) == 1
    shown = capsys.readouterr()
    assert complaint in " ".join((shown.err + shown.out).split())
    assert not (tmp_path / "x").exists()


@pytest.mark.slow
def test_a_curve_from_python(teacher_run, tmp_path):
    tissue = package.datasets.simulated_tissue(12, size=64, seed=5)
    tissue = package.datasets.assign_splits(tissue, fractions={"train": 0.5, "test": 0.5})
    teacher = package.teachers.TEACHERS["run"](teacher_run, None)
    targets = package.teach(teacher, tissue, tmp_path / "targets.zarr", progress=False)
    training = {"steps": 2, "batch_size": 2, "crop": 32, "workers": 0, "ema": 0}
    given = {
        "student": "unet-mobilenetv3",
        "input_channels": ["nucleus"],
        "encoder_weights": "random",
        "out": tmp_path / "curve",
        "progress": False,
        "training": training,
        "twin": False,
    }
    made = package.curve("cmkd", tissue, targets, fractions=[1.0], seeds=[0], **given)
    assert made.summary is not None
    assert made.summary.compared == ["student"]
    assert made.table.is_file()
    assert made.picture.is_file()
    assert made.report.is_file()
    with pytest.raises(ConfigError, match="fractions: 2 is no share"):
        package.curve("cmkd", tissue, targets, fractions=[2], resume=True, **given)
    with pytest.raises(ConfigError, match="no-label"):
        package.curve("no-label", tissue, targets, **given)


def test_a_curve_ends_where_its_teacher_fails(base, tmp_path, monkeypatch, capsys):
    predict, first = RunTeacher.predict, tissue().split("test").ids[0]

    def some(self, image, id):
        if id == first:
            raise RuntimeError("out of memory")
        return predict(self, image, id)

    monkeypatch.setattr(RunTeacher, "predict", some)
    words = [*base, "--fractions", "1", "--seeds", "0", "--out", tmp_path / "curve"]
    assert abbe(*words) == 1
    assert f"1 image was lost, and 0 may be:\n  {first}: RuntimeError: out of" in (
        capsys.readouterr().err
    )
    assert not list((tmp_path / "curve").rglob("*.safetensors"))
    assert abbe(*words, "--resume", "--allow-failed", 1) == 0
    summary = json.loads((tmp_path / "curve/summary.json").read_text())
    assert summary["targets"]["missing"] == 1
    assert summary["lost"] == [first]
