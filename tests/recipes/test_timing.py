"""Times of models: in turn, one time for networks that are alike, and on what machine."""

import os
import time

import pytest
from torch import nn

from abbe.recipes import timing


def test_calls_are_made_in_turn_and_the_first_round_is_not_counted() -> None:
    order: list[str] = []

    def call(name: str) -> None:
        time.sleep(0.05 if name not in order else 0.002)
        order.append(name)

    found, rounds = timing.time_in_turn({"a": lambda: call("a"), "b": lambda: call("b")})
    assert rounds == timing.REPEATS
    assert order == ["a", "b"] * (1 + timing.REPEATS)
    assert found.keys() == {"a", "b"}
    assert all(2 <= each < 45 for each in found.values())  # ms; not the 50 of the first


def test_slow_models_are_timed_in_fewer_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(timing, "BUDGET", 0.0)
    found, rounds = timing.time_in_turn({"a": lambda: time.sleep(0.002)})
    assert rounds == 1
    assert found["a"] >= 2


def test_networks_that_are_built_alike_share_one_time() -> None:
    networks = {"student": nn.Linear(2, 3), "twin": nn.Linear(2, 3), "teacher": nn.Linear(2, 4)}
    assert timing.first_alike(networks) == {
        "student": "student", "twin": "student", "teacher": "teacher",
    }  # fmt: skip


@pytest.mark.parametrize(("load", "busy"), [(0.5, False), (64.0, True)])
def test_a_busy_machine_is_told(monkeypatch: pytest.MonkeyPatch, load: float, busy: bool) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 0.0, 0.0), raising=False)
    found = timing.circumstances((640, 480), 9)
    assert found["busy"] is busy
    assert found["image_size"] == [640, 480]
