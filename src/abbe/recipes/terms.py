"""Terms of losses for maps of objects: against labels, and against a teacher's maps."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import torch

from abbe import losses
from abbe.datasets.training.batches import Batch
from abbe.object_types import type_maps, types_in
from abbe.teachers import AGREEMENT
from abbe.training.stage import Term


class MapLoss(Protocol):
    """Of a map (B, H, W) of logits, its target and where that is known, both of the same shape."""

    def __call__(
        self,
        logits: torch.Tensor,
        target: torch.Tensor,
        valid: torch.Tensor,
        /,
        weight: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """A scalar; ``weight`` (B,) says how much each image counts."""
        ...


def supervised_term(
    outputs: Sequence[str], supervised: Sequence[str], name: str = "supervised"
) -> Term:
    """BCE + Dice of the maps named in ``supervised``, against labels; their mean."""

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor | None:
        valid = _known(batch)
        if not losses.anywhere(valid):
            return None
        truths = maps_of(batch["label"], supervised)
        terms = [
            losses.supervised(logits[:, outputs.index(o)], truths[o], valid) for o in supervised
        ]
        return torch.stack(terms).mean()

    return Term(name, loss, distils=False)


def type_term(outputs: Sequence[str]) -> Term:
    """BCE + Dice of the maps of types, where objects are whose type is known; their mean."""
    places = [outputs.index(output) for output in type_maps(types_in(outputs))]

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor | None:
        if "types" not in batch:
            return None
        valid = batch["valid"] & (batch["types"] > 0)
        if not losses.anywhere(valid):
            return None
        terms = [
            losses.supervised(logits[:, place], (batch["types"] == number).float(), valid)
            for number, place in enumerate(places, start=1)
        ]
        return torch.stack(terms).mean()

    return Term("types", loss, distils=False)


def probability_term(
    outputs: Sequence[str],
    target_outputs: Sequence[str],
    match: MapLoss,
    counts: Mapping[str, float] | None = None,
) -> Term:
    """The student's probabilities against the teacher's, on every map that both have.

    Maps of types count where the teacher sees an object: elsewhere they say nothing.

    Args:
        outputs: names of the student's maps.
        target_outputs: names of the teacher's.
        match: the distance of two maps.
        counts: how much each map counts beside the others, at most 1; all alike where None.
    """
    counts = counts or dict.fromkeys(outputs, 1.0)
    shared = [output for output in outputs if output in target_outputs and counts[output]]

    def loss(logits: torch.Tensor, batch: Batch) -> torch.Tensor | None:
        valid = _taught(batch)
        if not losses.anywhere(valid):
            return None
        targets = _targets(batch, target_outputs, target_outputs)
        sure = _sure(valid, targets)
        within = sure * (targets["foreground"] >= 0.5)
        terms = [
            counts[o]
            * match(
                logits[:, outputs.index(o)],
                targets[o],
                within if types_in([o]) else sure,
                _weight(batch),
            )
            for o in shared
        ]
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
        targets = _targets(batch, target_outputs, ["foreground"])
        target = (targets["foreground"] >= 0.5).float()
        valid = _where_edges_are(target, _taught(batch))
        if not losses.anywhere(valid):
            return None
        return edge_loss(logits[:, foreground], target, _sure(valid, targets), _weight(batch))

    return Term("target_boundary", loss, distils=True)


def maps_of(instances: torch.Tensor, names: Collection[str]) -> dict[str, torch.Tensor]:
    """The maps of these names that a student should give for (B, H, W) instances."""
    ways = {"foreground": losses.foreground_of, "boundary": losses.boundary_of}
    return {name: way(instances) for name, way in ways.items() if name in names}


def _targets(
    batch: Batch, names: Sequence[str], needed: Collection[str]
) -> dict[str, torch.Tensor]:
    """The teacher's maps, named in their order; those of masks are made if they are needed."""
    if "target_instances" in batch:
        return maps_of(batch["target_instances"], needed)
    return {name: batch["target"][:, index] for index, name in enumerate(names)}


def _sure(valid: torch.Tensor, targets: Mapping[str, torch.Tensor]) -> torch.Tensor:
    """How much each pixel counts: as far as several teachers agree on it, where there are such."""
    return valid * targets[AGREEMENT] if AGREEMENT in targets else valid


def _where_edges_are(truth: torch.Tensor, valid: torch.Tensor) -> torch.Tensor:
    """``valid`` in crops with an edge: one without has nothing to say of where edges are.

    Counted with the others, empty crops would thin out this term and, with it, what its learned
    variance rests on.
    """
    return valid & losses.images_with_edges(truth, valid)[:, None, None]


def _known(batch: Batch) -> torch.Tensor:
    return batch["valid"] & losses.known_of(batch["label"])


def _weight(batch: Batch) -> torch.Tensor | None:
    """How much the teacher counts image by image; None where all are alike."""
    return batch.get("target_weight")


def _taught(batch: Batch) -> torch.Tensor:
    return batch["valid"] & batch["has_target"][:, None, None]
