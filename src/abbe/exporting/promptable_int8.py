"""An int8 encoder for a promptable package, kept if its masks are as good."""

import time
from collections.abc import Sequence

import numpy as np

from abbe.errors import PackageError
from abbe.exporting import openvino_files
from abbe.exporting.int8 import WAYS, quantise
from abbe.exporting.making import Making
from abbe.exporting.progress import watched
from abbe.exporting.promptable_parity import Answers, Reference, answers_of, iou
from abbe.exporting.prove import Say
from abbe.runtime.package import Figures
from abbe.runtime.package.engine import Precision
from abbe.runtime.predictors.letterbox import Letterbox
from abbe.runtime.predictors.promptable import PromptablePredictor

NAME = "openvino/int8"
TURNS = 3
"""Encodings by which the quicker of two encoders is told."""


def add_int8_encoder(
    making: Making,
    known: Sequence[Reference],
    known_of: str,
    calibration: Sequence[np.ndarray],
    most_lost: float,
    say: Say,
    *,
    required: bool = False,
) -> bool:
    """Try ways of rounding the encoder until one loses no more Dice than allowed.

    The decoder stays in fp32: it is small, and what it rounds away is the outline.

    Args:
        making: With the networks in fp32.
        known: What eager torch says of the proof's pictures.
        known_of: Their split.
        calibration: Training pictures (H, W, 3) uint8, as the network is shown them.
        most_lost: Dice that may be lost.
        say: Told of each comparison.
        required: Fail where every way loses more, else leave int8 out and say why.

    Returns:
        Whether the package has an int8 encoder that is also quicker than the one in fp32.

    Raises:
        PackageError: Every way loses more, and int8 is required.
    """
    (side, _) = making.facts["image_size"]
    model = openvino_files.convert(making.folder / "encoder.onnx")
    squares = [Letterbox.of(picture.shape[:2], side).image(picture) for picture in calibration]
    tried: list[tuple[float, str, Figures]] = []
    for way in WAYS:
        openvino_files.save(quantise(model, squares, way), making.folder / "encoder-int8.xml")
        making.add("encoder_int8_xml", "encoder-int8.xml")
        making.add("encoder_int8_bin", "encoder-int8.bin")
        figures, lost = compare(_open(making, "int8"), known, known_of)
        say(
            f"{NAME}: masks agree to {figures['mask_iou']:.4f} IoU; {lost:.4f} Dice lost against "
            f"{figures['measured_against']} ({way.name})"
        )
        if lost <= most_lost:
            quicker = _quicker(making, known[0].picture.picture)
            making.parity[NAME] = {**figures, "kept": True, "way": way.name}
            return quicker
        tried.append((lost, way.name, figures))
    making.remove("encoder_int8_xml", "encoder_int8_bin")
    lost, name, figures = min(tried, key=lambda each: each[0])
    reason = (
        f"{lost:.4f} Dice lost, at most {most_lost:.4f} allowed; of {len(WAYS)} ways this was the "
        f"best: {name}"
    )
    if required:
        raise PackageError(
            f"{NAME} loses more than the budget: {reason}. Allow more with --budget-dice, give "
            "more --calibration-images, or leave --int8 required out"
        )
    making.parity[NAME] = {**figures, "kept": False, "reason": reason}
    say(f"{NAME} is left out: {reason}")
    return False


def compare(package: Answers, known: Sequence[Reference], images_of: str) -> tuple[Figures, float]:
    """What rounding costs: Dice against the labels, or where there are none, against eager.

    Returns:
        Figures for ``package.json``, and the Dice that is lost, as mean over the prompts.
    """
    agreement, eager, rounded = [], [], []
    labelled = all(reference.picture.truths for reference in known)
    for reference in watched(known, "comparing"):
        _, masks = answers_of(package, reference.picture)
        truths = reference.picture.truths if labelled else reference.masks
        for mask, theirs, truth in zip(masks, reference.masks, truths, strict=True):
            agreement.append(iou(mask, theirs))
            eager.append(dice(theirs, truth))
            rounded.append(dice(mask, truth))
    lost = float(np.mean(eager) - np.mean(rounded))
    figures: Figures = {
        "images": len(known),
        "images_of": images_of,
        "prompts": len(agreement),
        "measured_against": "labels" if labelled else "eager",
        "mask_iou": float(np.mean(agreement)),
        "least_mask_iou": float(np.min(agreement)),
        "dice_lost": lost,
    }
    return figures, lost


def dice(ours: np.ndarray, theirs: np.ndarray) -> float:
    """2 |A ∩ B| / (|A| + |B|) of two masks; 1 where both are empty."""
    total = np.count_nonzero(ours) + np.count_nonzero(theirs)
    return 2 * np.count_nonzero(ours & theirs) / total if total else 1.0


def _quicker(making: Making, picture: np.ndarray) -> bool:
    """Whether this processor encodes faster in int8; the two take turns."""
    precisions: tuple[Precision, ...] = ("fp32", "int8")
    predictors = {precision: _open(making, precision) for precision in precisions}
    seconds: dict[str, list[float]] = {precision: [] for precision in predictors}
    for _ in range(TURNS):
        for precision, predictor in predictors.items():
            start = time.perf_counter()
            predictor.set_image(picture)
            seconds[precision].append(time.perf_counter() - start)
    return min(seconds["int8"]) < min(seconds["fp32"])


def _open(making: Making, precision: Precision) -> PromptablePredictor:
    return PromptablePredictor(
        making.package(), engine="openvino", precision=precision, cache=making.cache
    )
