"""What ends a training: broken losses, nothing to learn from, little memory, bad checkpoints."""

import itertools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers_of_training import Trainer, everything, loss_of_weights, stage_of, tiny_net
from torch import nn

from abbe.datasets.training.batches import Batch
from abbe.errors import AbbeError, InputError, MemoryShortError
from abbe.training.checkpoint import load_checkpoint, save_checkpoint
from abbe.training.stage import Metrics, Term


def test_a_gpu_that_is_too_small_is_told_in_words(train: Trainer) -> None:
    def short(network: nn.Module) -> Metrics:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(MemoryShortError, match=r"CUDA out of memory.*a smaller --training\.batch"):
        train(stage_of(tiny_net(), validate=short, steps=2))


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
