"""Training on labels alone: how a teacher U-Net of one's own is made."""

from collections.abc import Callable, Sequence
from typing import Literal

from torch import nn

from abbe import losses
from abbe.datasets.training.batches import Batches
from abbe.recipes.cmkd import boundary_term, supervised_term
from abbe.training.stage import Metrics, Schedule, Stage


def supervised(
    network: nn.Module,
    batches: Batches,
    schedule: Schedule,
    *,
    outputs: Sequence[str],
    weighting: Callable[[list[str]], nn.Module],
    boundary: Literal["off", "dice", "weighted_bce", "sobel_mse", "edge_head"] = "off",
    validate: Callable[[nn.Module], Metrics] | None = None,
    watch: str = "dice",
) -> list[Stage]:
    """One stage with BCE + Dice on every output, and foreground edges if asked for."""
    terms = [supervised_term(outputs, outputs)]
    if boundary in losses.BOUNDARY_LOSSES:
        terms.append(boundary_term(outputs, losses.BOUNDARY_LOSSES[boundary]))
    return [
        Stage(
            "supervised",
            trains=network,
            batches=batches,
            terms=tuple(terms),
            weighting=weighting,
            schedule=schedule,
            validate=validate,
            watch=watch,
        )
    ]
