"""A network, images and stages small enough to train in a blink."""

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from abbe import losses
from abbe.datasets.training.batches import Batch, Batches
from abbe.datasets.training.prepare import Prepared
from abbe.recipes.cmkd import cmkd
from abbe.training.fit import Fitted
from abbe.training.stage import Metrics, Schedule, Stage, Term

Trainer = Callable[..., Fitted]


class TinyNet(nn.Module):
    """Two convolutions; no batch norm, whose statistics would depend on how a batch is shared."""

    outputs = ("foreground",)
    divisor = 1

    def __init__(self, channels: int = 1, dropout: float = 0.0) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1),
            nn.ReLU(),
            nn.Dropout2d(dropout),
            nn.Conv2d(4, len(self.outputs), 3, padding=1),
        )

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.layers(image)


def tiny_net(seed: int = 0, channels: int = 1, dropout: float = 0.0) -> TinyNet:
    """A tiny network whose weights depend on the seed alone."""
    torch.manual_seed(seed)
    return TinyNet(channels, dropout)


def disc(number: int, side: int = 24) -> Prepared:
    """An image of a bright disc with noise; odd ones have no label."""
    random = np.random.default_rng(number)
    row, column = random.uniform(8, 16, 2)
    rows, columns = np.mgrid[:side, :side]
    inside = (rows - row) ** 2 + (columns - column) ** 2 < 36
    pixels = (60 + 100 * inside + random.normal(0, 10, inside.shape)).clip(0, 255)
    return Prepared(
        id=str(number),
        pixels=pixels.astype(np.uint8)[None],
        channels=("nucleus",),
        limits=np.array([[40, 180]], np.float32),
        shape=(side, side),
        label=None if number % 2 else inside.astype(np.int32),
        probability=np.where(inside, 230, 25).astype(np.uint8)[None],
    )


def tiny_batches(*, batch_size: int = 4, rank: int = 0, processes: int = 1, **more: Any) -> Batches:
    return Batches(
        [disc(number) for number in range(8)],
        input_channels=("nucleus",),
        batch_size=batch_size,
        crop=16,
        seed=3,
        gamma=(0.8, 1.2),
        brightness=0.1,
        noise=0.02,
        rank=rank,
        processes=processes,
        **more,
    )


def stage_of(
    network: nn.Module,
    *,
    batches: Any = None,
    terms: Sequence[Term] | None = None,
    validate: Callable[[nn.Module], Metrics] | None = None,
    teacher: nn.Module | None = None,
    preview: Callable[[nn.Module], np.ndarray] | None = None,
    **schedule: Any,
) -> Stage:
    """One CMKD stage of 30 steps, or one with other terms."""
    planned: dict[str, Any] = {"steps": 30, "learning_rate": 0.01, "validate_every": 7, **schedule}
    (stage,) = cmkd(
        network,
        batches if batches is not None else tiny_batches(),
        Schedule(**planned),
        outputs=("foreground",),
        target_outputs=("foreground",),
        weighting=losses.UncertaintyWeighting,
        validate=validate,
        teacher=teacher,
    )
    stage = replace(stage, preview=preview)
    return stage if terms is None else replace(stage, terms=tuple(terms))


def weights_of(network: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().clone() for name, value in network.state_dict().items()}


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    """Whether two networks are equal to the last bit."""
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def untimed(lines: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Lines of the log without what the clock says."""
    clock = ("images_per_s", "share_waiting", "share_validating", "seconds")
    return [{key: value for key, value in line.items() if key not in clock} for line in lines]


def loss_of_weights(network: nn.Module) -> Metrics:
    """A stand-in for validation: some number that depends on every weight."""
    total = sum(float(value.abs().sum()) for value in network.state_dict().values())
    return {"dice": 1 / (1 + total)}


def scripted(scores: Iterable[float]) -> Callable[[nn.Module], Metrics]:
    """Validation that gives these scores one after the other."""
    remaining = iter(scores)
    return lambda network: {"dice": next(remaining)}


def everything(output: torch.Tensor, batch: Batch) -> torch.Tensor:
    """A loss that pulls every logit to 1."""
    return ((output - 1) ** 2).mean()
