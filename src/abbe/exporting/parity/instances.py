"""Does a package find what the student did? Compared on probabilities, masks and instances."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from abbe import scoring
from abbe.exporting.comparison import (
    Comparison,
    Images,
    ParityImage,
    Probabilities,
    ProbabilityCheck,
    predict_padded,
)
from abbe.exporting.networks.eager import eager_probabilities
from abbe.exporting.parity.example import normalised, write_example
from abbe.in_words import counted
from abbe.object_types import types_in
from abbe.progress import track
from abbe.runtime.package import Figures
from abbe.runtime.postprocess.map_rule import MapRule
from abbe.runtime.postprocess.types import object_types

LARGEST_SIDE = 1024
"""Images of the check are cut to their middle of at most so many px a side."""


@dataclass(frozen=True)
class Reference:
    """What the student itself, in eager torch fp32, says of an image."""

    image: ParityImage
    maps: np.ndarray
    objects: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class InstanceCheck(ProbabilityCheck):
    """Maps, masks and instances against those of the student.

    ``expected.npz`` holds ``probabilities`` (K, H, W) float32 and ``instances`` (H, W) int32.
    """

    known: Sequence[Reference]
    rule: MapRule

    def compare(self, probabilities: Probabilities, *, strict: bool) -> Comparison:
        """See `compare` of this module."""
        return compare(
            probabilities, self.known, self.rule, self.facts["divisor"],
            strict=strict, images_of=self.images.split,
        )  # fmt: skip

    def write_example(self, folder: Path) -> tuple[str, str]:
        """Write the test image and what is expected of it."""
        pixels = self.images.example
        maps = predict_padded(self.eager, normalised(pixels, self.facts), self.facts["divisor"])
        instances = self.rule.objects(maps).astype(np.int32)
        return write_example(folder, pixels, self.facts, probabilities=maps, instances=instances)


def instance_check(student: nn.Module, images: Images, facts: Mapping[str, Any]) -> InstanceCheck:
    """Ask the student itself about every image."""
    eager = eager_probabilities(student)
    rule = MapRule(facts["outputs"], facts["thresholds"], facts["instances"])
    known = references(eager, images.parity, rule, facts["divisor"])
    return InstanceCheck(eager, images, facts, known, rule)


def references(
    eager: Probabilities, images: Sequence[ParityImage], rule: MapRule, divisor: int
) -> list[Reference]:
    """What every engine is compared with."""
    found = []
    for image in track(images, "the student's own answers", transient=True):
        maps = predict_padded(eager, image.pixels, divisor)
        found.append(Reference(image, maps, rule.objects(maps), rule.mask(maps)))
    return found


def compare(
    probabilities: Probabilities,
    references: Sequence[Reference],
    rule: MapRule,
    divisor: int,
    *,
    strict: bool,
    images_of: str,
) -> Comparison:
    """Hold an engine against eager torch.

    What is lost is a mean over images of 1 − Dice and 1 − PQ of the engine's answer against
    eager's, where ``strict`` or where no image has a label. Else it is the mean fall of Dice
    and PQ against the labels, eager's minus the engine's: rounded weights may answer otherwise at
    the margin, but not worse. Of a student that tells types of objects, the accuracy lost is in
    any case the share of eager's objects that the engine's maps give another type than eager's.

    Args:
        probabilities: The engine.
        references: Eager's answers, at least one.
        cuts: How maps become instances.
        divisor: Sides of what the engine sees are multiples of it.
        strict: The engine computes in fp32 too, and must agree.
        images_of: Split that the images are from, for the figures.
    """
    rows = []
    for reference in track(references, "comparing", transient=True):
        maps = predict_padded(probabilities, reference.image.pixels, divisor)
        rows.append(_compare_image(maps, reference, rule))
    labelled = [place for place, row in enumerate(rows) if "lost_dice" in row]
    against_labels = bool(labelled) and not strict
    places = labelled if against_labels else range(len(rows))
    lost = [
        (row["lost_dice"], row["lost_pq"]) if against_labels else (1 - row["dice"], 1 - row["pq"])
        for row in (rows[place] for place in places)
    ]
    lost_dice, lost_pq = (float(mean) for mean in np.mean(lost, axis=0))
    types = _types([rows[place] for place in places]) if types_in(rule.outputs) else {}
    retyped = [rows[place]["retyped"] / max(1, rows[place]["objects_eager"]) for place in places]
    worst = int(np.argmax(np.sum(lost, axis=1) + retyped))
    worst_image = references[places[worst]].image.id
    figures: Figures = {
        "images": len(lost),
        "images_of": images_of,
        "measured_against": "labels" if against_labels else "eager",
        "lost_dice": lost_dice,
        "lost_pq": lost_pq,
        "worst_image": worst_image,
        "worst_lost_dice": lost[worst][0],
        "worst_lost_pq": lost[worst][1],
        **_agreement(rows),
        **types,
    }
    lost_of = {"dice": lost_dice, "pq": lost_pq}
    if types:
        lost_of["accuracy"] = types["lost_accuracy"]
    return Comparison(figures, lost_of, worst_image, _in_words(figures))


def _agreement(rows: Sequence[Mapping[str, float]]) -> Figures:
    """How far the engine's answers are from eager's, over all images."""
    return {
        "max_difference": max(row["max_difference"] for row in rows),
        **{
            name: float(np.mean([row[key] for row in rows]))
            for name, key in (
                ("mean_difference", "mean_difference"),
                ("agreement_dice", "dice"),
                ("agreement_pq", "pq"),
            )
        },
        **{
            name: sum(int(row[name]) for row in rows)
            for name in ("objects", "objects_eager", "area", "area_eager")
        },
    }


def _types(rows: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """How many of eager's objects keep the type that eager gives them."""
    objects = sum(row["objects_eager"] for row in rows)
    lost = sum(row["retyped"] for row in rows) / max(1.0, objects)
    return {"agreement_types": 1 - lost, "lost_accuracy": lost}


def _in_words(figures: Figures) -> str:
    types = figures.get("agreement_types")
    return (
        f"Dice {figures['agreement_dice']:.4f}, PQ {figures['agreement_pq']:.4f}, "
        f"{figures['objects']} of {counted(figures['objects_eager'], 'object')}, probabilities "
        f"within {figures['max_difference']:.1g}; against {figures['measured_against']}: "
        f"{figures['lost_dice']:.4f} Dice, {figures['lost_pq']:.4f} PQ lost"
        f"{'' if types is None else f'; {types:.2%} of the objects have the same type'}"
    )


def _compare_image(maps: np.ndarray, reference: Reference, rule: MapRule) -> dict[str, float]:
    difference = np.abs(maps - reference.maps)
    mask, objects = rule.mask(maps), rule.objects(maps)
    row = {
        "max_difference": float(difference.max()),
        "mean_difference": float(difference.mean()),
        "dice": _dice(mask, reference.mask.astype(np.int8)),
        "pq": _pq(objects, reference.objects),
        "objects": float(objects.max(initial=0)),
        "objects_eager": float(reference.objects.max(initial=0)),
        "area": float(np.count_nonzero(objects)),
        "area_eager": float(np.count_nonzero(reference.objects)),
        "retyped": _retyped(maps, reference, rule.outputs),
    }
    label = reference.image.label
    if label is not None and (label >= 0).any():
        row["lost_dice"] = _dice(reference.mask, label) - _dice(mask, label)
        row["lost_pq"] = _pq(reference.objects, label) - _pq(objects, label)
    return row


def _retyped(maps: np.ndarray, reference: Reference, outputs: Sequence[str]) -> float:
    """How many of eager's objects have another type by these maps than by eager's."""
    own = [place for place, name in enumerate(outputs) if types_in([name])]
    if not own:
        return 0.0
    given, eager = (
        object_types(reference.objects, each[own]).argmax(1) for each in (maps, reference.maps)
    )
    return float(np.count_nonzero(given != eager))


def _dice(mask: np.ndarray, truth: np.ndarray) -> float:
    return scoring.pixel_scores(mask, truth > 0, truth >= 0)["dice"]


def _pq(objects: np.ndarray, truth: np.ndarray) -> float:
    return scoring.instance_scores(objects, truth)["pq"]
