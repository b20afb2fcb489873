"""Times of models: in turn, one time for networks that are alike, and on what machine."""

import os
import time

import pytest
from torch import nn

from abbe.students import build_promptable
from abbe.tasks import timing


def test_calls_are_made_in_turn_and_the_first_round_is_not_counted() -> None:
    order: list[str] = []

    def call(name: str) -> None:
        time.sleep(0.05 if name not in order else 0.002)
        order.append(name)

    found = timing.time_in_turn({"a": lambda: call("a"), "b": lambda: call("b")})
    assert [each.runs for each in found.values()] == [timing.REPEATS] * 2
    assert order == ["a", "b"] * (1 + timing.REPEATS)
    assert found.keys() == {"a", "b"}
    assert all(
        2 <= each.milliseconds < 45 for each in found.values()
    )  # ms; not the 50 of the first


def test_the_median_counts_so_that_a_moment_of_other_work_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of nine runs of 2 ms, three take a second; their mean would be 335 ms."""
    now, runs = 0.0, iter([9.0, 0.002, 1.0, 0.002, 0.002, 1.0, 0.002, 1.0, 0.002, 0.002])

    def work() -> None:
        nonlocal now
        now += next(runs)

    monkeypatch.setattr(timing.time, "perf_counter", lambda: now)
    monkeypatch.setattr(timing, "BUDGET", 100.0)
    found = timing.time_in_turn({"a": work})["a"]
    assert found.milliseconds == pytest.approx(2)
    assert found.runs == 9


def test_a_slow_model_is_run_once_or_twice_and_the_others_as_often_as_ever(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(timing, "BUDGET", 0.1)
    order: list[str] = []
    calls = {
        name: lambda name=name, seconds=seconds: (order.append(name), time.sleep(seconds))
        for name, seconds in {"slow": 0.11, "slower": 0.06, "quick": 0.002}.items()
    }
    found = timing.time_in_turn(calls)
    assert order[:5] == ["slow", "slower", "quick", "slower", "quick"]
    assert {name: order.count(name) for name in calls} == {"slow": 1, "slower": 2, "quick": 10}
    assert {name: each.runs for name, each in found.items()} == {
        "slow": 1, "slower": 1, "quick": 9,
    }  # fmt: skip
    assert found["slow"].milliseconds >= 110
    said = timing.circumstances((640, 480), {name: each.runs for name, each in found.items()})
    assert said.repeats == 9
    assert said.runs == {"slow": 1, "slower": 1}


def test_networks_that_are_built_alike_share_one_time() -> None:
    networks = {"student": nn.Linear(2, 3), "twin": nn.Linear(2, 3), "teacher": nn.Linear(2, 4)}
    assert timing.first_alike(networks) == {
        "student": "student", "twin": "student", "teacher": "teacher",
    }  # fmt: skip


def test_one_network_at_two_sides_has_two_times() -> None:
    large, small = (
        build_promptable("promptable-mobilenetv3-large", side=side, encoder_weights="random")
        for side in (128, 64)
    )
    assert {key: each.shape for key, each in large.state_dict().items()} == {
        key: each.shape for key, each in small.state_dict().items()
    }
    networks = {"teacher": large, "baseline": small, "twin": small}
    assert timing.first_alike(networks) == {
        "teacher": "teacher", "baseline": "baseline", "twin": "baseline",
    }  # fmt: skip


@pytest.mark.parametrize(("load", "busy"), [(0.5, False), (64.0, True)])
def test_a_busy_machine_is_told(monkeypatch: pytest.MonkeyPatch, load: float, busy: bool) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    found = timing.circumstances((640, 480), {"student": 9})
    assert found.runs == {}
    assert found.busy is busy
    assert found.image_size == (640, 480)
