"""The training loop on a network of two convolutions."""

import copy
import itertools
import math
import signal
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from helpers_of_training import (
    everything,
    lines_of,
    loss_of_weights,
    same,
    stage_of,
    tiny_batches,
    tiny_net,
    untimed,
    weights_of,
)
from torch import nn
from torch.optim.optimizer import register_optimizer_step_pre_hook

from abbe.datasets.training.batches import Batch
from abbe.errors import AbbeError, InputError, MemoryShortError
from abbe.machine.pace import Pace
from abbe.training.checkpoint import load_checkpoint, save_checkpoint
from abbe.training.fit import Fitted, _Run, fit, learning_rate
from abbe.training.log import Log
from abbe.training.parts import WEIGHTING_RATE
from abbe.training.stage import Metrics, Schedule, Term

Trainer = Callable[..., Fitted]


def scripted(scores: Iterable[float]) -> Callable[[nn.Module], Metrics]:
    """Validation that gives these scores one after the other."""
    remaining = iter(scores)
    return lambda network: {"dice": next(remaining)}


@pytest.fixture
def last_state(monkeypatch: pytest.MonkeyPatch) -> Callable[[], dict[str, Any]]:
    """What a checkpoint would hold at a stage's end; a finished one holds less."""
    states: list[dict[str, Any]] = []
    finish = _Run.finish

    def save_and_finish(run: _Run) -> Fitted:
        run.save()
        return finish(run)

    def save(path: Path, state: dict[str, Any]) -> None:
        if "finished" not in state:
            states.append(copy.deepcopy(state))
        save_checkpoint(path, state)

    monkeypatch.setattr("abbe.training.fit.save_checkpoint", save)
    monkeypatch.setattr(_Run, "finish", save_and_finish)
    return lambda: states[-1]


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


def test_a_gpu_that_is_too_small_is_told_in_words(train: Trainer) -> None:
    def short(network: nn.Module) -> Metrics:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(MemoryShortError, match=r"CUDA out of memory.*a smaller --training\.batch"):
        train(stage_of(tiny_net(), validate=short, steps=2))


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


# -- learning rate and optimiser


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


# -- validation


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


# -- what goes wrong


def spoilt_after(steps: int, spoil: Callable[[torch.Tensor], torch.Tensor]) -> Term:
    """A term that is well for so many steps, and then is spoilt."""
    calls = itertools.count(1)

    def loss(output: torch.Tensor, batch: Batch) -> torch.Tensor:
        value = everything(output, batch)
        return value if next(calls) <= steps else spoil(value)

    return Term("supervised", loss, distils=False)


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda loss: loss * math.nan, id="loss"),
        pytest.param(lambda loss: loss * math.inf, id="infinite loss"),
        # The root's slope at 0 is infinite, so the loss is 0 and its gradient NaN.
        pytest.param(lambda loss: (loss * 0).sqrt(), id="gradient"),
    ],
)
@pytest.mark.parametrize("good_steps", [7, 13])
def test_a_broken_loss_stops_and_leaves_the_checkpoint_before_it(
    tmp_path: Path, train: Trainer, good_steps: int, spoil: Callable[[torch.Tensor], torch.Tensor]
) -> None:
    stage = stage_of(tiny_net(), terms=[spoilt_after(good_steps, spoil)], validate=loss_of_weights)
    with pytest.raises(AbbeError, match=r"student .* stage 'distil': lower training\."):
        train(stage)
    state = load_checkpoint(tmp_path / "student.pt")
    assert state["step"] == 7
    for weights in (state["trained"], state["average"], state["best_weights"]):
        assert all(weight.isfinite().all() for weight in weights.values())
    assert all("NaN" not in line for line in (tmp_path / "log.jsonl").read_text().splitlines())


def test_a_batch_with_nothing_to_learn_from_is_refused(train: Trainer) -> None:
    nothing = Term("supervised", lambda output, batch: None, distils=False)
    with pytest.raises(AbbeError, match=r"neither labels nor targets.*training\.labelled_share"):
        train(stage_of(tiny_net(), terms=[nothing]))


def test_a_damaged_checkpoint_is_named(tmp_path: Path, train: Trainer) -> None:
    stage = stage_of(tiny_net(), validate=loss_of_weights, steps=7)
    train(stage)
    whole = (tmp_path / "student.pt").read_bytes()
    (tmp_path / "student.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(AbbeError, match=r"student\.pt: not a readable checkpoint.*Delete it"):
        train(stage, resume=True)


def test_a_checkpoint_of_another_network_is_named(
    tmp_path: Path, train: Trainer, last_state: Callable[[], dict[str, Any]]
) -> None:
    train(stage_of(tiny_net(), validate=loss_of_weights, steps=7))
    state, finished = last_state(), load_checkpoint(tmp_path / "student.pt")
    state["optimizer"]["param_groups"].pop()
    finished["network"].popitem()
    for damaged in (state, finished):
        save_checkpoint(tmp_path / "student.pt", damaged)
        with pytest.raises(InputError, match=r"student\.pt: was written for another network or"):
            train(stage_of(tiny_net(), validate=loss_of_weights, steps=7), resume=True)


def test_log_variances_learn_faster_than_the_network(
    train: Trainer, last_state: Callable[[], dict[str, Any]]
) -> None:
    train(stage_of(tiny_net(), steps=7))
    groups = last_state()["optimizer"]["param_groups"]
    assert groups[-1]["lr"] == pytest.approx(WEIGHTING_RATE * groups[0]["lr"])
    assert groups[-1]["weight_decay"] == 0


# -- the weighting and the live teacher


def test_uncertainty_weights_move_and_stay_within_the_clamp(
    tmp_path: Path, train: Trainer, last_state: Callable[[], dict[str, Any]]
) -> None:
    train(stage_of(tiny_net(), steps=100, validate_every=100, learning_rate=0.2))
    log_variances = last_state()["trained"]["weighting.log_variances"]
    assert (log_variances.abs() > 0.05).all()
    for line in lines_of(tmp_path / "log.jsonl"):
        for weight in line["weights"].values():
            assert math.exp(-4) <= 2 * weight <= math.exp(4) * (1 + 1e-6)


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
