"""Gradients of every recipe's terms for a batch, whole or shared out unevenly among processes.

Run as a program by each of several processes, it writes what the averaged gradients are; imported,
it says what they should be: those of one process with the whole batch.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from abbe import losses
from abbe.datasets.training.batches import Batch
from abbe.recipes.cmkd import cmkd
from abbe.recipes.masks import bce_term, dice_term, iou_term
from abbe.recipes.pretraining import ResponseOutput, contrastive_term, hv_term, response_term
from abbe.recipes.prompting import MaskPrediction
from abbe.tasks.classification import classification_term
from abbe.tasks.semantic import region_term
from abbe.training.loss_of import LossOf
from abbe.training.stage import Schedule, Term

SIDE, MAPS = 16, 4
BOTH = ("foreground", "boundary")


class Net(nn.Module):
    """Maps, and vectors made of them; no batch norm, whose statistics are each process's own."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3, padding=1)
        self.last = nn.Conv2d(6, MAPS, 3, padding=1)
        self.vector = nn.Linear(6, 5)

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        inner = torch.relu(self.first(image))
        return self.last(inner), self.vector(inner.mean((-2, -1)))


def whole_batch() -> Batch:
    """Four images, of which processes get every other: only the first has a label, the fourth is
    empty and mostly beyond its edge, the second has no target and few known pixels."""
    random = torch.Generator().manual_seed(4)
    label = torch.full((4, SIDE, SIDE), -1)
    label[0] = 0
    label[0, 2:7, 2:9], label[0, 9:14, 5:12] = 1, 2
    instances = torch.zeros(4, SIDE, SIDE, dtype=torch.int64)
    instances[0, 3:8, 3:8], instances[2, 1:12, 6:9], instances[2, 13:15, 2:9] = 1, 1, 2
    valid = torch.ones(4, SIDE, SIDE, dtype=torch.bool)
    valid[3, 5:], valid[1, 2:] = False, False
    masks = torch.zeros(4, 2, SIDE, SIDE, dtype=torch.bool)
    masks[0, 0, 2:7, 2:9], masks[0, 1, 9:14, 5:12], masks[1, 0, :2, :9] = True, True, True
    return {
        "image": torch.rand(4, 1, SIDE, SIDE, generator=random),
        "second_image": torch.rand(4, 1, SIDE, SIDE, generator=random),
        "label": label,
        "target": torch.rand(4, MAPS, SIDE, SIDE, generator=random) * valid[:, None],
        "target_instances": instances,
        "has_target": torch.tensor([True, False, True, True]),
        "valid": valid,
        "category": torch.tensor([0, 1, 2, 1]),
        "mask": masks,
    }


def maps(network: nn.Module, batch: Batch) -> torch.Tensor:
    return network(batch["image"])[0]


def vectors(network: nn.Module, batch: Batch) -> torch.Tensor:
    return network(batch["image"])[1]


def answer(network: nn.Module, batch: Batch) -> ResponseOutput:
    found, first = network(batch["image"])
    return ResponseOutput(found, first, network(batch["second_image"])[1])


def prompted(network: nn.Module, batch: Batch) -> list[MaskPrediction]:
    """Two prompts an image with two masks each."""
    found, vector = network(batch["image"])
    logits = found.reshape(-1, 2, SIDE, SIDE)
    return [MaskPrediction(logits, vector[:, :4].reshape(-1, 2))]


def of_cmkd(**options: Any) -> tuple[Term, ...]:
    network, batches = nn.Identity(), object()
    (stage,) = cmkd(
        network,
        batches,  # pyright: ignore[reportArgumentType]  # nothing is drawn
        Schedule(1, 1e-3),
        outputs=BOTH,
        target_outputs=BOTH,
        **options,
    )
    return stage.terms


def only_foreground(network: nn.Module, batch: Batch) -> torch.Tensor:
    return maps(network, batch)[:, :2]


Case = tuple[tuple[Term, ...], Callable[[nn.Module, Batch], Any], tuple[str, ...]]
"""Terms, how the network is asked, and what the batch does not hold."""
INSTANCES = ("target_instances",)

CASES: dict[str, Case] = {
    **{
        f"cmkd, boundary {kind}": (of_cmkd(boundary=kind), only_foreground, INSTANCES)
        for kind in ("dice", "weighted_bce", "sobel_mse", "edge_head")
    },
    **{
        f"cmkd, probability {kind}": (of_cmkd(probability=kind), only_foreground, INSTANCES)
        for kind in ("soft_bce", "logit_mse", "cwd", "dist")
    },
    "cmkd of instances": (of_cmkd(), only_foreground, ("target",)),
    "rckd of maps, contrastive": (
        (response_term(MAPS, "soft_bce", 2.0), contrastive_term(0.1)),
        answer,
        INSTANCES,
    ),
    "rckd of classes": ((response_term(MAPS, "kl", 2.0),), answer, INSTANCES),
    "rckd of instances": ((response_term(2, "soft_bce", 2.0), hv_term(2)), answer, ("target",)),
    "contrastive": ((contrastive_term(0.5),), answer, ()),
    "classes": ((classification_term([0.5, 1.0, 3.0, 1.0, 2.0], 0.1),), vectors, ()),
    "classes, unweighted": ((classification_term(),), vectors, ()),
    "regions": ((region_term(),), maps, ()),
    "prompts": ((dice_term(), bce_term(), iou_term()), prompted, ()),
}


def gradients(case: Case, part: slice, wrap: Callable[[nn.Module], nn.Module]) -> Batch:
    """Gradients of every parameter, and the value of every term."""
    terms, asked, absent = case
    torch.manual_seed(0)
    weighting = losses.UncertaintyWeighting([term.name for term in terms])
    nn.init.uniform_(weighting.log_variances, -1, 1)
    loss_of = LossOf(Net(), terms, weighting, asked)
    batch = {key: value[part] for key, value in whole_batch().items() if key not in absent}
    wrapped = wrap(loss_of)  # held until after the backward pass, which needs it
    loss, values, _ = wrapped(batch)
    loss.backward()
    found = {
        name: parameter.grad
        for name, parameter in loss_of.named_parameters()
        if parameter.grad is not None
    }
    return {**found, **{f"value of {name}": value for name, value in values.items()}}


def main() -> None:
    torch.set_num_threads(1)
    accelerator = Accelerator(cpu=True)
    rank, processes = accelerator.process_index, accelerator.num_processes

    def wrap(module: nn.Module) -> nn.Module:
        return DistributedDataParallel(module, find_unused_parameters=True)

    found = {
        name: gradients(case, slice(rank, None, processes), wrap) for name, case in CASES.items()
    }
    torch.save(found, Path(sys.argv[1]) / f"gradients-{rank}.pt")
    accelerator.end_training()
