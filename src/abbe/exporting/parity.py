"""Does a package answer as the student did? Compared on probabilities and on what comes of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from abbe import scoring
from abbe.exporting.progress import watched
from abbe.runtime.instances import instances_from_maps
from abbe.runtime.package import Figures, InstanceRule, Thresholds

LARGEST_SIDE = 1024
"""Proof images are cut to their middle of at most so many px a side."""


@dataclass(frozen=True)
class Budget:
    """How much may be lost, as mean over the proof images; 0.002 is 0.2 points."""

    dice: float = 0.002
    pq: float = 0.01


@dataclass(frozen=True)
class ProofImage:
    """An image on which engines are compared.

    Attributes:
        id: Its name in the data set.
        pixels: (C, H, W) float32, normalised, at most `LARGEST_SIDE` px a side.
        label: (H, W) int instances, 0 = background, −1 = unknown; None where there is none.
    """

    id: str
    pixels: np.ndarray
    label: np.ndarray | None = None


@dataclass(frozen=True)
class Cuts:
    """How maps become a mask and instances."""

    outputs: tuple[str, ...]
    thresholds: Thresholds
    instances: InstanceRule

    def mask(self, maps: np.ndarray) -> np.ndarray:
        """(K, H, W) probabilities → (H, W) bool."""
        return self._named(maps)["foreground"] >= self.thresholds.mask

    def objects(self, maps: np.ndarray) -> np.ndarray:
        """(K, H, W) probabilities → (H, W) int32."""
        named = self._named(maps)
        return instances_from_maps(
            named["foreground"],
            named.get("boundary"),
            threshold=self.thresholds.foreground,
            boundary_threshold=self.thresholds.boundary,
            minimum_area=self.instances.minimum_area,
        )

    def _named(self, maps: np.ndarray) -> Mapping[str, np.ndarray]:
        return dict(zip(self.outputs, maps, strict=True))


Probabilities = Callable[[np.ndarray], np.ndarray]
"""(B, C, H, W) float32 → (B, K, H, W) probabilities."""


@dataclass(frozen=True)
class Reference:
    """What the student itself, in eager torch fp32, says of a proof image."""

    image: ProofImage
    maps: np.ndarray
    objects: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """One engine against eager: figures, and what it lost of the budget.

    Attributes:
        figures: For ``package.json``.
        lost_dice, lost_pq: What is held against the budget.
        worst: Image that lost most.
    """

    figures: Figures
    lost_dice: float
    lost_pq: float
    worst: str

    def excess(self, budget: Budget) -> str | None:
        """What was lost beyond the budget, in words, or None."""
        over = [
            f"{name} {lost:.4f} lost, at most {allowed:.4f} allowed"
            for name, lost, allowed in (
                ("Dice", self.lost_dice, budget.dice),
                ("PQ", self.lost_pq, budget.pq),
            )
            if lost > allowed
        ]
        if not over:
            return None
        return (
            f"{' and '.join(over)} (mean of {self.figures['images']} images, measured against "
            f"{self.figures['measured_against']}); worst image: {self.worst}"
        )


def references(
    eager: Probabilities, images: Sequence[ProofImage], cuts: Cuts, divisor: int
) -> list[Reference]:
    """What every engine is compared with."""
    found = []
    for image in watched(images, "the student's own answers"):
        maps = answer(eager, image.pixels, divisor)
        found.append(Reference(image, maps, cuts.objects(maps), cuts.mask(maps)))
    return found


def answer(probabilities: Probabilities, pixels: np.ndarray, divisor: int) -> np.ndarray:
    """(K, H, W) probabilities of one image, mirrored at its lower and right border to fit."""
    _, height, width = pixels.shape
    return probabilities(fit(pixels, divisor)[None])[0][:, :height, :width]


def fit(pixels: np.ndarray, divisor: int) -> np.ndarray:
    """(C, H, W) mirrored at the lower and right border up to multiples of the divisor."""
    _, height, width = pixels.shape
    below, beside = -height % divisor, -width % divisor
    return np.pad(pixels, ((0, 0), (0, below), (0, beside)), mode="symmetric")


def compare(
    probabilities: Probabilities,
    references: Sequence[Reference],
    cuts: Cuts,
    divisor: int,
    *,
    strict: bool,
    images_of: str,
) -> Comparison:
    """Hold an engine against eager torch.

    What is lost is a mean over images of 1 − Dice and 1 − PQ of the engine's answer against
    eager's, where ``strict`` or where no proof image has a label. Else it is the mean fall of Dice
    and PQ against the labels, eager's minus the engine's: rounded weights may answer otherwise at
    the margin, but not worse.

    Args:
        probabilities: The engine.
        references: Eager's answers, at least one.
        cuts: How maps become instances.
        divisor: Sides of what the engine sees are multiples of it.
        strict: The engine computes in fp32 too, and must agree.
        images_of: Split that the images are from, for the figures.
    """
    rows = []
    for reference in watched(references, "comparing"):
        maps = answer(probabilities, reference.image.pixels, divisor)
        rows.append(_compare_image(maps, reference, cuts))
    labelled = [place for place, row in enumerate(rows) if "lost_dice" in row]
    against_labels = bool(labelled) and not strict
    places = labelled if against_labels else range(len(rows))
    lost = [
        (row["lost_dice"], row["lost_pq"]) if against_labels else (1 - row["dice"], 1 - row["pq"])
        for row in (rows[place] for place in places)
    ]
    lost_dice, lost_pq = (float(mean) for mean in np.mean(lost, axis=0))
    worst = int(np.argmax(np.sum(lost, axis=1)))
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
    return Comparison(figures, lost_dice, lost_pq, worst_image)


def _compare_image(maps: np.ndarray, reference: Reference, cuts: Cuts) -> dict[str, float]:
    difference = np.abs(maps - reference.maps)
    mask, objects = cuts.mask(maps), cuts.objects(maps)
    row = {
        "max_difference": float(difference.max()),
        "mean_difference": float(difference.mean()),
        "dice": _dice(mask, reference.mask.astype(np.int8)),
        "pq": _pq(objects, reference.objects),
        "objects": float(objects.max(initial=0)),
        "objects_eager": float(reference.objects.max(initial=0)),
        "area": float(np.count_nonzero(objects)),
        "area_eager": float(np.count_nonzero(reference.objects)),
    }
    label = reference.image.label
    if label is not None and (label >= 0).any():
        row["lost_dice"] = _dice(reference.mask, label) - _dice(mask, label)
        row["lost_pq"] = _pq(reference.objects, label) - _pq(objects, label)
    return row


def _dice(mask: np.ndarray, truth: np.ndarray) -> float:
    return scoring.pixel_scores(mask, truth > 0, truth >= 0)["dice"]


def _pq(objects: np.ndarray, truth: np.ndarray) -> float:
    return scoring.instance_scores(objects, truth)["pq"]
