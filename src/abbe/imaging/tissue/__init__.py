"""Tissue on brightfield slides, told from glass, ink and blur: in training and predicting alike."""

from abbe.imaging.tissue.judging import (
    USUAL_LIMITS,
    Judged,
    Limits,
    Masks,
    Verdict,
    judged,
    masks_of,
    overview,
)
from abbe.imaging.tissue.mask import pen_mask, sharpness, tissue_mask

__all__ = [
    "USUAL_LIMITS",
    "Judged",
    "Limits",
    "Masks",
    "Verdict",
    "judged",
    "masks_of",
    "overview",
    "pen_mask",
    "sharpness",
    "tissue_mask",
]
