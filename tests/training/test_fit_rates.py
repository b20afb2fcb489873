"""How far a step goes: learning rates, clipped gradients, decay, the terms' own weights."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers_of_training import Trainer, everything, lines_of, stage_of, tiny_net
from torch.optim.optimizer import register_optimizer_step_pre_hook

from abbe.training.fit import learning_rate
from abbe.training.parts import WEIGHTING_RATE
from abbe.training.stage import Schedule, Term


def test_the_learning_rate_rises_linearly_and_falls_as_a_cosine() -> None:
    schedule = Schedule(steps=100, learning_rate=0.5, final_learning_rate=0.1, warmup=0.2)
    rates = [learning_rate(schedule, step) for step in range(101)]
    assert rates[:20] == pytest.approx([0.5 * (step + 1) / 20 for step in range(20)])
    assert max(rates) == rates[20] == 0.5
    assert rates[60] == pytest.approx(0.3)  # half way down
    assert rates[40] == pytest.approx(0.1 + 0.2 * (1 + math.cos(math.pi / 4)))
    assert all(before > after for before, after in itertools.pairwise(rates[20:]))
    assert rates[100] == pytest.approx(0.1)


def test_without_warm_up_the_learning_rate_starts_at_its_highest() -> None:
    assert learning_rate(Schedule(steps=10, learning_rate=0.5, warmup=0), 0) == 0.5


def test_the_optimiser_uses_the_rate_that_is_logged(tmp_path: Path, train: Trainer) -> None:
    used = []
    handle = register_optimizer_step_pre_hook(
        lambda optimizer, *_: used.append({group["lr"] for group in optimizer.param_groups[:2]})
    )
    stage = stage_of(tiny_net())
    try:
        train(stage)
    finally:
        handle.remove()
    assert used == [{learning_rate(stage.schedule, step)} for step in range(30)]
    logged = {line["step"]: line["learning_rate"] for line in lines_of(tmp_path / "log.jsonl")}
    assert logged == {step: learning_rate(stage.schedule, step - 1) for step in logged}


def test_gradients_are_clipped(train: Trainer) -> None:
    norms = []

    def measure(optimizer: torch.optim.Optimizer, *_: Any) -> None:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        norms.append(float(torch.nn.utils.get_total_norm([w.grad for w in weights])))

    handle = register_optimizer_step_pre_hook(measure)
    steep = Term("steep", lambda output, batch: 1e4 * everything(output, batch), distils=False)
    try:
        train(stage_of(tiny_net(), terms=[steep], steps=5, clip=0.5))
    finally:
        handle.remove()
    assert norms == pytest.approx([0.5] * 5, rel=1e-3)


def test_a_gradient_below_its_largest_norm_is_left_alone(
    train: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: Any) -> None:
        raise AssertionError("multiplied without need")

    monkeypatch.setattr("abbe.training.fit.clip_grads_with_norm_", refused)
    assert train(stage_of(tiny_net(), steps=3, clip=1e9)).steps == 3


def test_only_kernels_decay(train: Trainer, last_state: Callable[[], dict[str, Any]]) -> None:
    train(stage_of(tiny_net(), steps=5, weight_decay=0.3))
    decayed, *free = last_state()["optimizer"]["param_groups"]
    assert (decayed["weight_decay"], len(decayed["params"])) == (0.3, 2)
    assert [(each["weight_decay"], len(each["params"])) for each in free] == [
        (0.0, 2),  # biases
        (0.0, 1),  # log-variances
    ]


def test_log_variances_learn_faster_than_the_network(
    train: Trainer, last_state: Callable[[], dict[str, Any]]
) -> None:
    train(stage_of(tiny_net(), steps=7))
    groups = last_state()["optimizer"]["param_groups"]
    assert groups[-1]["lr"] == pytest.approx(WEIGHTING_RATE * groups[0]["lr"])
    assert groups[-1]["weight_decay"] == 0


def test_uncertainty_weights_move_and_stay_within_the_clamp(
    tmp_path: Path, train: Trainer, last_state: Callable[[], dict[str, Any]]
) -> None:
    train(stage_of(tiny_net(), steps=100, validate_every=100, learning_rate=0.2))
    log_variances = last_state()["trained"]["weighting.log_variances"]
    assert (log_variances.abs() > 0.05).all()
    for line in lines_of(tmp_path / "log.jsonl"):
        for weight in line["weights"].values():
            assert math.exp(-4) <= 2 * weight <= math.exp(4) * (1 + 1e-6)
