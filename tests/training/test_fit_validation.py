"""Validation while training: when a stage stops, and which of its weights are kept."""

import math
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers_of_training import Trainer, lines_of, same, scripted, stage_of, tiny_net, weights_of
from torch import nn

from abbe.errors import AbbeError
from abbe.training.checkpoint import load_checkpoint
from abbe.training.stage import Metrics


def test_training_stops_when_nothing_gets_better(train: Trainer) -> None:
    scores = [0.5, 0.6, 0.5, 0.55, 0.9]
    stage = stage_of(tiny_net(), validate=scripted(scores), steps=50, patience=2)
    fitted = train(stage)
    assert (fitted.steps, fitted.best) == (28, (0.6, 14))


def test_a_stage_that_stopped_early_stays_stopped(train: Trainer) -> None:
    net, again = tiny_net(), tiny_net(seed=1)
    stage = stage_of(net, validate=scripted([0.5, 0.4]), steps=50, patience=1)
    train(stage)
    fitted = train(stage_of(again, validate=scripted([]), steps=50, patience=1), resume=True)
    assert (fitted.steps, fitted.best) == (14, (0.5, 7))
    assert same(weights_of(net), weights_of(again))


@pytest.mark.parametrize(
    ("scores", "patience"), [([0.1, 0.2, 0.3, 0.4, 0.5], None), ([0.5, 0.4], 1)]
)
def test_a_signal_during_the_last_validation_stops_before_what_follows(
    tmp_path: Path, train: Trainer, scores: list[float], patience: int | None
) -> None:
    remaining = list(scores)

    def validate(network: nn.Module) -> Metrics:
        if len(remaining) == 1:
            signal.raise_signal(signal.SIGINT)
        return {"dice": remaining.pop(0)}

    steps = 50 if patience else 30
    with pytest.raises(KeyboardInterrupt):
        train(stage_of(tiny_net(), validate=validate, steps=steps, patience=patience))
    assert not remaining
    stage = stage_of(tiny_net(), validate=scripted([]), steps=steps, patience=patience)
    assert train(stage, resume=True).steps == load_checkpoint(tmp_path / "student.pt")["step"]


def test_without_patience_training_goes_on(train: Trainer) -> None:
    scores = [0.9, 0.5, 0.4, 0.3, 0.2]
    assert train(stage_of(tiny_net(), validate=scripted(scores))).steps == 30


def test_the_best_weights_are_kept_rather_than_the_last(train: Trainer) -> None:
    seen = []
    scores = iter([0.2, 0.7, 0.7, 0.1, 0.3])

    def validate(network: nn.Module) -> Metrics:
        seen.append(weights_of(network))
        return {"dice": next(scores)}

    net = tiny_net()
    fitted = train(stage_of(net, validate=validate))
    assert len(seen) == 5
    assert fitted.best == (0.7, 14)  # the earlier of two equals
    assert same(weights_of(net), seen[1])
    assert not same(seen[1], seen[4])


def test_the_named_score_is_watched_and_stands_first_in_the_log(
    tmp_path: Path, train: Trainer
) -> None:
    scores = iter([{"dice": 0.1, "iou": 0.9}, {"dice": 0.9, "iou": 0.1}])
    stage = stage_of(tiny_net(), validate=lambda network: next(scores), steps=14)
    assert train(replace(stage, watch="iou")).best == (0.9, 7)
    told = [line["validation"] for line in lines_of(tmp_path / "log.jsonl") if "validation" in line]
    assert [list(each) for each in told] == [["iou", "dice"]] * 2


def test_the_average_follows_the_weights(train: Trainer) -> None:
    net = tiny_net()
    raw, averaged = [], []

    def validate(network: nn.Module) -> Metrics:
        raw.append(weights_of(net)["layers.0.weight"])
        averaged.append(weights_of(network)["layers.0.weight"])
        return {"dice": float(len(raw))}

    train(stage_of(net, validate=validate, steps=12, validate_every=1, ema=0.6))
    expected = raw[0]
    for step, weights in enumerate(raw[1:], start=1):
        decay = min(0.6, 1 - (1 + step) ** (-2 / 3))  # the average starts short and grows longer
        expected = decay * expected + (1 - decay) * weights
        torch.testing.assert_close(averaged[step], expected)
    assert not torch.equal(averaged[-1], raw[-1])
    assert torch.equal(weights_of(net)["layers.0.weight"], averaged[-1])


def test_without_an_average_the_weights_themselves_are_validated(train: Trainer) -> None:
    net = tiny_net()
    validated = []

    def validate(network: nn.Module) -> Metrics:
        validated.append(network)
        return {"dice": 0.0}

    train(stage_of(net, validate=validate, steps=7, ema=0))
    assert all(network is net for network in validated)


def test_without_validation_the_last_averaged_weights_are_kept(
    tmp_path: Path, train: Trainer, last_state: Callable[[], dict[str, Any]]
) -> None:
    net = tiny_net()
    fitted = train(stage_of(net, steps=7))
    assert fitted.best is None
    assert same(weights_of(net), last_state()["average"])
    kept = load_checkpoint(tmp_path / "student.pt")
    assert set(kept) == {"step", "finished", "network"}  # a run has many finished stages
    assert same(weights_of(net), kept["network"])


def test_a_score_that_is_no_number_is_refused(train: Trainer) -> None:
    with pytest.raises(AbbeError, match=r"'dice' is not a number.*split 'val'"):
        train(stage_of(tiny_net(), validate=scripted([math.nan])))
