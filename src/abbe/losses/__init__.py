"""Losses: pure functions of logits, a target and where it is known; and how to weigh them."""

from abbe.losses.boundary import (
    boundary_dice,
    boundary_weighted_bce,
    edges,
    images_with_edges,
    sobel_mse,
)
from abbe.losses.contrastive import nt_xent
from abbe.losses.hover import hv_maps, hv_mse
from abbe.losses.label_maps import boundary_of, foreground_of, known_of
from abbe.losses.probability import cwd, dist, logit_mse, probability_mse, soft_bce
from abbe.losses.processes import anywhere, average_count
from abbe.losses.regions import region_loss
from abbe.losses.response import logits_of, response_bce, temperature_kl
from abbe.losses.supervised import supervised
from abbe.losses.uncertainty import FixedWeighting, UncertaintyWeighting

PROBABILITY_LOSSES = {
    "mse": probability_mse,
    "soft_bce": soft_bce,
    "logit_mse": logit_mse,
    "cwd": cwd,
    "dist": dist,
}
"""The ways to match a teacher's probabilities, by the name an experiment file gives them."""

BOUNDARY_LOSSES = {
    "dice": boundary_dice,
    "weighted_bce": boundary_weighted_bce,
    "sobel_mse": sobel_mse,
}
"""The ways to make the student mind the boundary, by the name an experiment file gives them."""

__all__ = [
    "BOUNDARY_LOSSES",
    "PROBABILITY_LOSSES",
    "FixedWeighting",
    "UncertaintyWeighting",
    "anywhere",
    "average_count",
    "boundary_dice",
    "boundary_of",
    "boundary_weighted_bce",
    "cwd",
    "dist",
    "edges",
    "foreground_of",
    "hv_maps",
    "hv_mse",
    "images_with_edges",
    "known_of",
    "logit_mse",
    "logits_of",
    "nt_xent",
    "probability_mse",
    "region_loss",
    "response_bce",
    "soft_bce",
    "supervised",
    "temperature_kl",
]
