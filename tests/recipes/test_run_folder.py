"""One process at a time in the folder of a run; starts that fail leave none; folders go on."""

import json
import os
import shutil
import signal
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import programs
import pytest
from commands import TINY, TISSUE, abbe

from abbe import config
from abbe.errors import ConfigError
from abbe.files.locks import alone
from abbe.runs import folder as run_folder
from abbe.runs.accounts.environment import write_end, write_environment
from abbe.summary import CURVE_PLAN, TRAINED_ON

SUPERVISED = ["distill", "supervised", *TISSUE, *TINY, "--student.input-channels", "nucleus"]


def test_a_start_that_fails_leaves_no_folder(tmp_path: Path, capsys) -> None:
    out = tmp_path / "runs" / "a"
    missing = tmp_path / "missing.safetensors"
    assert abbe(*SUPERVISED, "--student.encoder-weights", missing, "--out", out) == 1
    assert "missing.safetensors" in capsys.readouterr().err
    assert not out.exists()


def test_a_start_that_fails_takes_nothing_from_a_folder_that_was_there(tmp_path: Path) -> None:
    out = tmp_path / "a"
    out.mkdir()
    (out / "notes.txt").write_text("mine")
    missing = tmp_path / "missing.safetensors"
    assert abbe(*SUPERVISED, "--student.encoder-weights", missing, "--out", out) == 1
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("resume", [[], ["--resume"]])
def test_a_run_that_is_being_trained_is_left_alone(tmp_path: Path, capsys, resume) -> None:
    out = tmp_path / "a"
    out.mkdir()
    with alone(out / ".lock"):
        assert abbe(*SUPERVISED, "--out", out, *resume) == 1
    said = capsys.readouterr().err
    assert str(out) in said
    assert f"process {os.getpid()}" in said
    assert [path.name for path in out.iterdir()] == []


def _supervised(out: Path, seed: int = 0) -> config.Experiment:
    data = {"kind": "simulated", "split_seed": seed}
    student = {"encoder_weights": "random", "input_channels": ["nucleus"]}
    values = {"recipe": "supervised", "out": str(out), "data": data, "student": student}
    return config.parse(values, "a test")


LEFT = ("environment.json", "schedule.json", TRAINED_ON)
"""What a start writes beside config.yaml before it trains."""


def _stopped_while_the_teacher_answered(out: Path) -> None:
    with run_folder.opened(_supervised(out), resume=False):
        (out / "targets.zarr").mkdir()
        for name in LEFT:
            (out / name).write_text("of the first start")


def test_a_start_of_other_splits_keeps_answers_and_no_list_of_the_first(tmp_path: Path) -> None:
    out = tmp_path / "a"
    _stopped_while_the_teacher_answered(out)
    assert all((out / name).exists() for name in LEFT)
    with run_folder.opened(_supervised(out, seed=1), resume=False):
        assert not [name for name in LEFT if (out / name).exists()]
        assert (out / "targets.zarr").is_dir()


def test_the_same_start_keeps_its_command_and_reads_its_images_again(tmp_path: Path) -> None:
    out = tmp_path / "a"
    _stopped_while_the_teacher_answered(out)
    with run_folder.opened(_supervised(out), resume=True):
        assert [name for name in LEFT if (out / name).exists()] == ["environment.json"]


def test_the_answers_of_several_teachers_are_kept_with_their_experiment(tmp_path: Path) -> None:
    out = tmp_path / "a"
    with run_folder.opened(_supervised(out), resume=False):
        (out / "teachers" / "1.zarr").mkdir(parents=True)
    assert (out / "config.yaml").exists()


@pytest.mark.parametrize("resume", [False, True])
def test_a_curve_is_no_run_and_a_run_no_curve(tmp_path: Path, resume: bool) -> None:
    run, curve = tmp_path / "run", tmp_path / "curve"
    for folder, of_it in ((run, "log.jsonl"), (curve, CURVE_PLAN)):
        with run_folder.opened(_supervised(folder), resume=False):
            (folder / "log.jsonl").touch()
            (folder / of_it).touch()
    with (
        pytest.raises(ConfigError, match=f"holds a curve.*abbe curve {curve} --resume"),
        run_folder.opened(_supervised(curve), resume=resume),
    ):
        pass
    with (
        pytest.raises(ConfigError, match=f"holds a run.*abbe distill {run} --resume"),
        run_folder.opened(_supervised(run), resume=resume, as_curve=True),
    ):
        pass
    with run_folder.opened(_supervised(curve), resume=True, as_curve=True):
        pass


def _text_of(path: Path) -> str:
    return path.read_text("utf-8") if path.exists() else ""


@pytest.mark.slow
def test_ctrl_c_says_how_to_go_on_and_the_folder_goes_on_where_it_is_now(tmp_path: Path) -> None:
    out, moved = tmp_path / "a", tmp_path / "moved"
    long = [*SUPERVISED, "--training.steps", "120", "--training.validate-every", "120"]
    told = tmp_path / "said.txt"
    stopped = programs.start(programs.abbe, *long, "--out", out, output=told, new_group=True)
    assert stopped.pid is not None
    deadline = time.monotonic() + 120
    while '"step": 10,' not in _text_of(out / "log.jsonl"):
        assert time.monotonic() < deadline
        assert stopped.exitcode is None
        time.sleep(0.02)
    os.killpg(stopped.pid, signal.SIGINT)
    assert programs.ended(stopped) == 130
    said = told.read_text("utf-8")
    assert f"Go on with: abbe distill {out} --resume" in said
    assert "Traceback" not in said
    before = (out / "log.jsonl").read_text().splitlines()
    shutil.move(out, moved)
    # As a killed process leaves them: this one's number has ended.
    half = [moved / f".config.yaml.{stopped.pid}-00ff.part",
            moved / "checkpoints" / f".student-supervised.pt.{stopped.pid}-00ff.part"]  # fmt: skip
    for path in half:
        path.touch()
    assert abbe("distill", moved, "--resume") == 0
    assert not any(path.exists() for path in half)
    assert json.loads((moved / "summary.json").read_text())["models"]["student"]
    after = (moved / "log.jsonl").read_text().splitlines()
    assert after[: len(before)] == before  # training that begins anew forgets them
    steps = [json.loads(line)["step"] for line in after]
    assert sorted(steps) == steps
    assert steps[-1] == 120


def test_a_resumed_run_began_when_it_began_and_adds_its_times(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/abbe", "distill", "cmkd"])
    write_environment(tmp_path, device="cpu", precision="fp32", seed=0)
    first = json.loads((tmp_path / "environment.json").read_text())
    assert (first["command"], first["resumed"]) == ("abbe distill cmkd", [])
    # It was killed 100 s later, as its log shows, and is resumed now.
    earlier = first | {"started": "2026-01-02 03:04:05 +0000"}
    (tmp_path / "environment.json").write_text(json.dumps(earlier))
    began = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC).timestamp()
    (tmp_path / "log.jsonl").write_text("")
    os.utime(tmp_path / "log.jsonl", (began + 100, began + 100))
    monkeypatch.setattr(sys, "argv", ["/usr/bin/abbe", "distill", "runs/a", "--resume"])
    write_environment(tmp_path, device="cpu", precision="fp32", seed=0)
    second = json.loads((tmp_path / "environment.json").read_text())
    assert second["started"] == earlier["started"]
    assert second["command"] == "abbe distill cmkd"
    assert len(second["resumed"]) == 1
    assert second["seconds"] == 100
    write_end(tmp_path)
    assert 100 <= json.loads((tmp_path / "environment.json").read_text())["seconds"] < 130


def test_what_a_run_took_is_counted_once_though_it_is_written_twice(tmp_path: Path) -> None:
    file = tmp_path / "environment.json"
    write_environment(tmp_path, device="cpu", precision="fp32", seed=0)
    began = datetime.now(UTC).replace(microsecond=0).timestamp() - 60
    started = datetime.fromtimestamp(began, UTC).strftime("%Y-%m-%d %H:%M:%S %z")
    file.write_text(json.dumps(json.loads(file.read_text()) | {"started": started}))
    write_end(tmp_path)  # once the first student is scored
    write_end(tmp_path)  # at the end
    assert 60 <= json.loads(file.read_text())["seconds"] < 90
    # Killed 100 s after it began, while others were trained: all of that counts.
    (tmp_path / "log.jsonl").write_text("")
    os.utime(tmp_path / "log.jsonl", (began + 100, began + 100))
    write_environment(tmp_path, device="cpu", precision="fp32", seed=0)
    assert json.loads(file.read_text())["seconds"] == 100
