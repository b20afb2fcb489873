"""CMKD: cross-modal distillation of a teacher that sees more channels than its student.

After Mohammad, Ritu and Hossain, "Single-Channel Tissue Segmentation via Cross-Modal Distillation
from Foundation Models", arXiv 2606.00928. The paper's abstract names three ingredients: MSE-based
probability matching, boundary-aware supervision and learnable uncertainty weighting. Their exact
forms are not in what could be read of it; those here are our defaults (docs/cmkd.md).
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import nn

from abbe import losses
from abbe.datasets.training.batches import Batch, Batches
from abbe.errors import InputError
from abbe.training.stage import Metrics, Schedule, Stage, Term

Probability = Literal["off", "mse", "soft_bce", "logit_mse"]
Boundary = Literal["off", "dice", "weighted_bce", "sobel_mse", "edge_head"]
MapLoss = Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]


def cmkd(
    student: nn.Module,
    batches: Batches,
    schedule: Schedule,
    *,
    outputs: Sequence[str],
    target_outputs: Sequence[str],
    supervised: bool = True,
    probability: Probability = "mse",
    boundary: Boundary = "dice",
    weighting: Callable[[list[str]], nn.Module] = losses.UncertaintyWeighting,
    teacher: nn.Module | None = None,
    validate: Callable[[nn.Module], Metrics] | None = None,
    watch: str = "dice",
) -> list[Stage]:
    """One stage: labels where they exist, the teacher's maps everywhere.

    Args:
        student: the network to train; it answers (B, K, H, W) logits, one map an output.
        batches: crops of labelled and unlabelled images.
        schedule: steps and learning rate.
        outputs: names of the student's K maps.
        target_outputs: names of the teacher's maps; maps that only one of the two has are not
            distilled.
        supervised: learn from labels by BCE + Dice.
        probability: how probabilities are matched to the teacher's.
        boundary: how foreground edges are supervised, from labels and from targets.
        weighting: builds what joins the terms, from their names.
        teacher: a live teacher's network, if there are no stored targets.
        validate: scores the student on validation images.
        watch: the validation score that picks the best weights.

    Raises:
        InputError: the teacher gives no foreground.
    """
    if "foreground" not in target_outputs:
        raise InputError(
            f"the teacher gives {', '.join(target_outputs)} but no map called 'foreground': name "
            "its outputs with teacher.options, such as outputs: foreground"
        )
    terms = []
    if supervised:
        supervised_outputs = outputs if boundary != "edge_head" else ("foreground",)
        terms.append(supervised_term(outputs, supervised_outputs))
    if probability != "off":
        terms.append(
            probability_term(outputs, target_outputs, losses.PROBABILITY_LOSSES[probability])
        )
    if boundary == "edge_head":
        terms.append(supervised_term(outputs, ("boundary",), name="boundary"))
    elif boundary != "off":
        terms.append(boundary_term(outputs, losses.BOUNDARY_LOSSES[boundary]))
        terms.append(
            target_boundary_term(outputs, target_outputs, losses.BOUNDARY_LOSSES[boundary])
        )
    return [
        Stage(
            "distil",
            trains=student,
            batches=batches,
            terms=tuple(terms),
            weighting=weighting,
            schedule=schedule,
            validate=validate,
            watch=watch,
            teacher=teacher,
        )
    ]


def supervised_term(
    outputs: Sequence[str], supervised: Sequence[str], name: str = "supervised"
) -> Term:
    """BCE + Dice of the maps named in ``supervised``, against labels; their mean."""

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor | None:
        valid = _known(batch)
        if not losses.anywhere(valid):
            return None
        truths = maps_of(batch["label"])
        terms = [
            losses.supervised(logits[:, outputs.index(o)], truths[o], valid) for o in supervised
        ]
        return torch.stack(terms).mean()

    return Term(name, loss, distils=False)


def probability_term(outputs: Sequence[str], target_outputs: Sequence[str], match: MapLoss) -> Term:
    """The student's probabilities against the teacher's, on every map that both have."""
    shared = [output for output in outputs if output in target_outputs]

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor | None:
        valid = _taught(batch)
        if not losses.anywhere(valid):
            return None
        targets = _targets(batch, target_outputs)
        terms = [match(logits[:, outputs.index(o)], targets[o], valid) for o in shared]
        return torch.stack(terms).mean()

    return Term("probability", loss, distils=True)


def boundary_term(outputs: Sequence[str], edge_loss: MapLoss) -> Term:
    """Edges of the foreground against those of the labels, in crops that have any."""
    foreground = outputs.index("foreground")

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor | None:
        truth = losses.foreground_of(batch["label"])
        valid = _where_edges_are(truth, _known(batch))
        return edge_loss(logits[:, foreground], truth, valid) if losses.anywhere(valid) else None

    return Term("boundary", loss, distils=False)


def target_boundary_term(
    outputs: Sequence[str], target_outputs: Sequence[str], edge_loss: MapLoss
) -> Term:
    """Edges of the foreground against those of the teacher's map, cut at one half, likewise."""
    foreground = outputs.index("foreground")

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor | None:
        target = (_targets(batch, target_outputs)["foreground"] >= 0.5).float()
        valid = _where_edges_are(target, _taught(batch))
        return edge_loss(logits[:, foreground], target, valid) if losses.anywhere(valid) else None

    return Term("target_boundary", loss, distils=True)


def maps_of(instances: torch.Tensor) -> dict[str, torch.Tensor]:
    """The maps that a student with both outputs should give for (B, H, W) instances."""
    return {
        "foreground": losses.foreground_of(instances),
        "boundary": losses.boundary_of(instances),
    }


def _targets(batch: Batch, names: Sequence[str]) -> dict[str, torch.Tensor]:
    if "target_instances" in batch:
        return maps_of(batch["target_instances"])
    return {name: batch["target"][:, index] for index, name in enumerate(names)}


def _where_edges_are(truth: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """``valid`` in crops with an edge: one without has nothing to say of where edges are.

    Counted with the others, empty crops would thin out this term and, with it, what its learned
    variance rests on.
    """
    return valid & losses.images_with_edges(truth, valid)[:, None, None]


def _known(batch: Batch) -> torch.Tensor:
    return batch["valid"] & losses.known_of(batch["label"])


def _taught(batch: Batch) -> torch.Tensor:
    return batch["valid"] & batch["has_target"][:, None, None]
