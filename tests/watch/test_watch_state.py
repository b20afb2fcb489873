"""How a run stands, by the files in its folder."""

import os
import subprocess
import sys

import pytest
from begun_runs import line, lock, validation, write_log

from abbe.errors import InputError
from abbe.watch.state import SILENT, require_run, state_of


def ended_process() -> int:
    """The number of a process that ran and is no more."""
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    return done.pid


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no run was begun here"):
        require_run(tmp_path)


def test_before_the_first_line_it_prepares(begun):
    state = state_of(begun)
    assert (state.status, state.training, state.silent, state.notes) == ("prepares", None, None, ())


def test_which_network_of_which_seed_and_how_long_it_takes(begun):
    write_log(
        begun / "log.jsonl",
        line("student", 50, 100, 30), validation("student", 50, 0.5), line("student", 100, 100, 60),
        validation("student", 100, 0.75), line("twin", 100, 100, 40),
    )  # fmt: skip
    write_log(
        begun / "seeds" / "1" / "log.jsonl",
        line("student, seed 1", 20, 100, 10), validation("student, seed 1", 20, 0.4),
        line("student, seed 1", 25, 100, 12.5),
    )  # fmt: skip
    os.utime(begun / "log.jsonl", (0, 0))
    state = state_of(begun)
    training = state.training
    assert state.status == "trains"
    assert training is not None
    assert (training.network, training.stage) == ("student, seed 1", "distil")
    assert (training.step, training.steps, training.number, training.planned) == (25, 100, 3, 4)
    assert training.left == pytest.approx(75 * 0.5)
    assert training.all_left == pytest.approx(75 * 0.5 + (60 + 40) / 2)  # one twin is left
    assert training.best == ("dice", 0.4, 20)
    assert len(state.log) == 8
    assert state.silent is not None
    assert state.silent < 60


def test_networks_that_are_one_are_counted_once(begun):
    """The twin of a student whose images are all labelled is the supervised network."""
    write_log(begun / "log.jsonl", line("student", 100, 100, 60))
    os.utime(begun / "log.jsonl", (0, 0))
    write_log(begun / "seeds" / "1" / "log.jsonl", line("student, seed 1", 100, 100, 60))
    state = state_of(begun)
    assert state.training is not None
    assert (state.training.number, state.training.planned) == (2, 2)
    assert state.training.all_left == 0
    assert state.status == "scores"


def test_a_log_without_times_has_no_time_left(begun):
    entry = line("student", 50, 100, 30)
    del entry["seconds"]
    write_log(begun / "log.jsonl", entry)
    training = state_of(begun).training
    assert training is not None
    assert (training.step, training.left, training.all_left) == (50, None, None)


def test_after_the_last_step_it_scores(begun):
    names = ("student", "twin", "student, seed 1", "twin, seed 1")
    write_log(begun / "log.jsonl", *(line(name, 100, 100, 60) for name in names))
    assert state_of(begun).status == "scores"


def test_a_killed_run_is_told_from_one_that_trains(begun):
    write_log(begun / "log.jsonl", line("student", 50, 100, 30))
    assert state_of(begun).status == "trains"
    lock(begun, pid=ended_process())
    assert state_of(begun).status == "ended early"
    (begun / ".lock").unlink()
    assert state_of(begun).status == "ended early"


def test_of_another_machine_only_the_log_tells(begun):
    lock(begun, host="elsewhere")
    write_log(begun / "log.jsonl", line("student", 50, 100, 30))
    assert state_of(begun).status == "trains"
    past = (begun / "log.jsonl").stat().st_mtime - SILENT - 10
    os.utime(begun / "log.jsonl", (past, past))
    assert state_of(begun).status == "unknown"


def test_lost_time_and_damaged_lines_are_noted(begun):
    write_log(
        begun / "log.jsonl",
        line("student", 50, 100, 30, share_waiting=0.25), validation("student", 50, 0.5, share=0.3),
    )  # fmt: skip
    with open(begun / "log.jsonl", "a", encoding="utf-8") as file:
        file.write('{"model": "stu\n')
    notes = state_of(begun).notes
    assert notes[0] == "1 line(s) of log.jsonl are damaged."
    assert notes[1].startswith("student waits for data 25")
    assert "--training.workers" in notes[1]
    assert notes[2].startswith("student validates 30")
    assert "--training.validate-every" in notes[2]


def test_an_experiment_that_cannot_be_read_is_noted(begun):
    (begun / "config.yaml").write_text("recipe: [", "utf-8")
    write_log(begun / "log.jsonl", line("student", 50, 100, 30))
    state = state_of(begun)
    assert state.title == begun.name
    assert "config.yaml" in state.notes[0]
    assert state.training is not None


def test_the_newest_picture_of_all_seeds_is_shown(begun, picture):
    assert state_of(begun).preview is None
    old = picture(begun / "previews" / "student-distil-000100.png")
    new = picture(begun / "seeds" / "1" / "previews" / "student-distil-000020.png")
    os.utime(old, (0, 0))
    assert state_of(begun).preview == new
