"""A set of mostly empty crops learns as well as the crops with something in them alone."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from helpers_of_training import stage_of, tiny_net
from torch import nn

from abbe import losses
from abbe.datasets.training.batches import Batches
from abbe.datasets.training.prepare import Prepared

SIDE = 32


def faint(number: int, *, empty: bool = False) -> Prepared:
    """Noise, and a disc a little brighter unless it is to be empty; labelled and taught."""
    random = np.random.default_rng(number)
    rows, columns = np.mgrid[:SIDE, :SIDE]
    row, column = random.uniform(10, 22, 2)
    inside = ((rows - row) ** 2 + (columns - column) ** 2 < 30) & (not empty)
    pixels = (90 + 40 * inside + random.normal(0, 20, inside.shape)).clip(0, 255)
    return Prepared(
        id=str(number),
        pixels=pixels.astype(np.uint8)[None],
        channels=("nucleus",),
        limits=np.array([[40, 180]], np.float32),
        shape=(SIDE, SIDE),
        label=inside.astype(np.int32),
        probability=np.where(inside, 230, 25).astype(np.uint8)[None],
    )


FULL = [faint(number) for number in range(8)]
EMPTY = [faint(200 + number, empty=True) for number in range(32)]
TESTS = [faint(100 + number) for number in range(30)]


def dice_of(network: nn.Module) -> float:
    scores = []
    for image in TESTS:
        assert image.label is not None
        answer = network.eval()(torch.from_numpy(image.whole())[None])[0, 0].detach().numpy() > 0
        truth = image.label > 0
        scores.append(2 * (answer & truth).sum() / max(1, answer.sum() + truth.sum()))
    return float(np.mean(scores))


def learn(images: list[Prepared], train: Any, folder: str) -> tuple[float, float]:
    """Train by all of CMKD's terms; Dice on test images, log-variance of the supervised term."""
    network, built = tiny_net(1), []

    def weighting(names: list[str]) -> nn.Module:
        built.append(losses.UncertaintyWeighting(names))
        return built[-1]

    batches = Batches(images, input_channels=("nucleus",), batch_size=8, crop=SIDE, seed=1)
    stage = stage_of(network, batches=batches, steps=200, learning_rate=0.03, validate_every=10**6)
    train(replace(stage, weighting=weighting), folder)
    (module,) = built
    log_variances = dict(zip(module.names, module.log_variances.tolist(), strict=True))
    return dice_of(network), log_variances["supervised"]


def test_four_empty_crops_of_five_neither_dominate_nor_pass_for_uncertain(train: Any) -> None:
    """When Dice counted empty crops, this network found nothing at all (Dice 0, log-variance 0)."""
    alone, _ = learn(FULL, train, "full")
    mixed, log_variance = learn(FULL + EMPTY, train, "mixed")
    assert alone > 0.9
    assert mixed == pytest.approx(alone, abs=0.03)
    assert log_variance < -1
