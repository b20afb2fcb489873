"""The training loop on a network of two convolutions: the same each time, and resumed."""

import itertools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from helpers_of_training import (
    Trainer,
    lines_of,
    loss_of_weights,
    same,
    scripted,
    stage_of,
    tiny_batches,
    tiny_net,
    untimed,
    weights_of,
)
from torch import nn

from abbe.datasets.training.batches import Batch
from abbe.machine.pace import Pace
from abbe.training.fit import fit
from abbe.training.log import Log
from abbe.training.stage import Metrics, Term


def test_fewer_threads_last_until_the_training_ends(train: Trainer, monkeypatch):
    def fewer(pace: Pace, seconds: float) -> None:
        torch.set_num_threads(1)

    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(Pace, "after_step", fewer)
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        train(stage_of(tiny_net(), steps=2))
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


class Interrupted(Exception):
    """Stands for whatever ends a run in the middle."""


def interrupting(times: int) -> Callable[[nn.Module], Metrics]:
    """Validation that works so many times, and then ends the run."""
    calls = itertools.count()

    def validate(network: nn.Module) -> Metrics:
        if next(calls) == times:
            raise Interrupted
        return loss_of_weights(network)

    return validate


# -- sameness


def test_equal_seeds_give_equal_weights_and_logs(tmp_path: Path, train: Trainer) -> None:
    nets = [tiny_net(dropout=0.3) for _ in range(3)]
    for net, folder, seed in zip(nets, ("a", "b", "c"), (5, 5, 6), strict=True):
        train(stage_of(net, validate=loss_of_weights, steps=15), folder, seed=seed)
    first, again, other = map(weights_of, nets)
    assert same(first, again)
    assert not same(first, other)  # the seed reaches the dropout
    logs = [untimed(lines_of(tmp_path / folder / "log.jsonl")) for folder in "ab"]
    assert logs[0] == logs[1]


def test_dropout_does_not_depend_on_what_was_drawn_before(train: Trainer) -> None:
    nets = [tiny_net(dropout=0.3) for _ in range(2)]
    torch.manual_seed(99)
    train(stage_of(nets[0], steps=5), "a")
    torch.manual_seed(7)
    train(stage_of(nets[1], steps=5), "b")
    assert same(weights_of(nets[0]), weights_of(nets[1]))


@pytest.mark.parametrize("validations", [0, 3])
def test_an_interrupted_run_resumes_as_if_nothing_had_happened(
    tmp_path: Path, train: Trainer, validations: int
) -> None:
    # Validation every 7 steps and lines every 10: checkpoints lie between lines.
    whole, cut = tiny_net(dropout=0.3), tiny_net(dropout=0.3)
    expected = train(stage_of(whole, validate=loss_of_weights), "whole")
    with pytest.raises(Interrupted):
        train(stage_of(cut, validate=interrupting(validations)), "cut")
    resumed = tiny_net(dropout=0.3, seed=1)  # its own weights must not matter
    if not validations:
        resumed = tiny_net(dropout=0.3)  # no checkpoint was written yet: it starts again
    fitted = train(stage_of(resumed, validate=loss_of_weights), "cut", resume=True)
    assert same(weights_of(whole), weights_of(resumed))
    assert (fitted.steps, fitted.best) == (expected.steps, expected.best)
    logs = [untimed(lines_of(tmp_path / folder / "log.jsonl")) for folder in ("whole", "cut")]
    assert logs[0] == logs[1]


def test_a_finished_stage_is_not_trained_again(tmp_path: Path, train: Trainer) -> None:
    net = tiny_net()
    train(stage_of(net, validate=loss_of_weights))
    log = (tmp_path / "log.jsonl").read_bytes()
    again = tiny_net(seed=1)
    fitted = train(stage_of(again, validate=scripted([])), resume=True)
    assert fitted.steps == 30
    assert same(weights_of(net), weights_of(again))
    assert (tmp_path / "log.jsonl").read_bytes() == log


def test_batches_prepared_elsewhere_change_nothing(train: Trainer) -> None:
    nets = [tiny_net() for _ in range(2)]
    for workers, net in enumerate(nets):
        train(stage_of(net, steps=8), str(workers), workers=workers)
    assert same(weights_of(nets[0]), weights_of(nets[1]))


# -- live teachers and half precision


def test_a_live_teacher_answers_and_is_not_trained(
    train: Trainer, last_state: Callable[[], dict[str, Any]]
) -> None:
    student, teacher = tiny_net(), tiny_net(seed=1, dropout=0.5)
    before = weights_of(teacher)
    batches = tiny_batches(teacher_channels=("nucleus",))
    differences = []

    def compare(output: torch.Tensor, batch: Batch) -> torch.Tensor:
        answer = torch.sigmoid(teacher.eval()(batch["teacher_image"]))
        differences.append(float((answer - batch["target"]).abs().max()))
        return ((output.sigmoid() - batch["target"]) ** 2).mean()

    terms = [Term("probability", compare, distils=True)]
    train(stage_of(student, batches=batches, terms=terms, teacher=teacher, steps=9))
    assert len(differences) == 9
    assert max(differences) < 1e-6  # no dropout in the teacher
    assert same(before, weights_of(teacher))
    for weight in teacher.parameters():
        assert weight.grad is None
        assert not weight.requires_grad
    state = last_state()
    trained = sum(len(group["params"]) for group in state["optimizer"]["param_groups"])
    assert trained == len(list(student.parameters())) + 1  # and the log-variances
    assert not [name for name in state["trained"] if "teacher" in name]


def test_half_precision_trains_much_the_same(tmp_path: Path, train: Trainer) -> None:
    train(stage_of(tiny_net()), "full")
    AcceleratorState._reset_state()
    half = Accelerator(cpu=True, mixed_precision="bf16")
    (tmp_path / "half").mkdir()
    log = Log(tmp_path / "half" / "log.jsonl", half, "student")
    net = tiny_net()
    fit(stage_of(net), half, log, tmp_path / "half" / "student.pt", progress=False)
    losses = [
        [line["loss"] for line in lines_of(tmp_path / folder / "log.jsonl")]
        for folder in ("full", "half")
    ]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=0.02)
    assert all(weight.dtype == torch.float32 for weight in net.parameters())


def test_half_precision_computes_slow_depthwise_convolutions_in_full(tmp_path: Path) -> None:
    made_by: list[str] = []
    AcceleratorState._reset_state()
    half = Accelerator(cpu=True, mixed_precision="bf16")
    net, slow = tiny_net(), nn.Conv2d(4, 4, 5, padding=2, groups=4)
    net.layers.insert(1, slow)
    slow.register_forward_hook(lambda *call: made_by.append(call[-1].grad_fn.name()))
    log = Log(tmp_path / "log.jsonl", half, "student")
    fit(stage_of(net, steps=3), half, log, tmp_path / "student.pt", progress=False)
    assert made_by[:3] == ["ToCopyBackward0"] * 3  # of what fp32 gave; else ConvolutionBackward0
