"""What part of a stage goes into validation, and what is said of it."""

import time

import pytest
from helpers_of_training import lines_of, stage_of, tiny_net

from abbe.training import clock as clock_module
from abbe.training.clock import Clock


@pytest.fixture
def now(monkeypatch):
    """The time, as a test sets it."""
    seconds = [0.0]
    monkeypatch.setattr(clock_module.time, "perf_counter", lambda: seconds[0])
    return seconds


def spend(now, clock, training, validating):
    now[0] += training
    with clock.validating():
        now[0] += validating


def test_the_advice_is_the_interval_at_which_validation_takes_a_tenth(now):
    clock = Clock()
    spend(now, clock, training=10.0, validating=5.0)
    assert clock.advice(100, "student · distil", 900) is None  # one may stay the only one
    spend(now, clock, training=10.0, validating=5.0)
    assert clock.share_validating == pytest.approx(1 / 3)
    said = clock.advice(200, "student · distil", 900)
    # a step takes 0.1 s and a validation 5 s: after 450 steps, 45 s and 5 s
    assert said is not None
    assert "student · distil: validation takes 33% of the time" in said
    assert "set validate-every to 450," in said
    assert clock.advice(300, "student · distil", 900) is None  # once


def test_no_interval_is_advised_that_is_longer_than_the_training(now):
    clock = Clock()
    for _ in range(2):
        spend(now, clock, training=10.0, validating=5.0)
    said = clock.advice(200, "student · distil", 300)
    assert said is not None
    assert "To bring it to 10%, train for 450 steps, or have fewer validation images" in said


def test_a_tenth_is_not_too_much(now):
    clock = Clock()
    for _ in range(3):
        spend(now, clock, training=9.0, validating=1.0)
    assert clock.advice(30, "twin", 90) is None


def test_a_stage_that_is_resumed_goes_on_counting(now):
    clock = Clock()
    spend(now, clock, training=3.0, validating=1.0)
    state = clock.state
    now[0] += 1000  # the interruption
    again = Clock(*state)
    spend(now, again, training=3.0, validating=1.0)
    assert again.seconds == pytest.approx(8.0)
    assert again.share_validating == pytest.approx(0.25)


def test_a_stage_measures_its_validation_and_says_what_to_set(tmp_path, train, capsys):
    def slow(network):
        time.sleep(0.05)
        return {"dice": 0.5}

    stage = stage_of(tiny_net(), validate=slow, steps=10, validate_every=2)
    fitted = train(stage)
    lines = [line for line in lines_of(tmp_path / "log.jsonl") if "validation" in line]
    assert len(lines) == 5
    assert fitted.share_validating > 0.25 / 20  # seconds; no machine is busy for 20 s
    assert fitted.share_validating <= lines[-1]["share_validating"]  # the stage ended later
    assert capsys.readouterr().err.count("set validate-every") == 0  # no progress shown


def test_without_validation_its_share_is_nothing(tmp_path, train):
    assert train(stage_of(tiny_net(), steps=3)).share_validating == 0


def test_the_pace_is_told_once_and_is_that_of_the_log(tmp_path, train):
    told = []
    stage = stage_of(tiny_net(), steps=40)
    train(stage, paced=lambda seconds: told.append(seconds) or "")
    second = [line for line in lines_of(tmp_path / "log.jsonl") if "images_per_s" in line][1]
    assert told == [pytest.approx(stage.batches.batch_size / second["images_per_s"])]
