"""What else must be true of an experiment, recipe by recipe: each line says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from abbe.config.experiment import Experiment


def cmkd(experiment: Experiment) -> Iterator[str]:
    """A teacher, and a term that learns from it."""
    if experiment.teacher.kind == "none":
        yield "recipe 'cmkd' needs a teacher: give --teacher.kind and its path"
    loss = experiment.loss
    edges = loss.target_boundary and loss.boundary not in ("off", "edge_head")
    if loss.probability == "off" and not edges:
        yield (
            "recipe 'cmkd' distils nothing with loss.probability off and no edges from targets: "
            "leave one of them on"
        )
    if experiment.teacher.trust == "auto" and experiment.teacher.live:
        yield (
            "teacher.trust auto needs the teacher's answers before training: leave teacher.live "
            "out, or give a number"
        )


def kdsam(experiment: Experiment) -> Iterator[str]:
    """A teacher that has embeddings."""
    if experiment.teacher.kind != "sam":
        yield "recipe 'kdsam' needs a teacher of SAM's family: --teacher.kind sam"


def rckd(experiment: Experiment) -> Iterator[str]:
    """What the method of pretraining needs."""
    pretraining = experiment.pretraining
    if "rckd" in pretraining.method and experiment.teacher.kind == "none":
        yield (
            f"recipe 'rckd' with pretraining.method '{pretraining.method}' needs a "
            "teacher: give --teacher.kind and its path"
        )
    if "contrastive" in pretraining.method and pretraining.batch_size < 2:
        yield "pretraining.batch_size: a contrastive term needs 2 or more"


def imagenet(experiment: Experiment) -> Iterator[str]:
    """Colour pictures in folders, scaled as timm's users expect."""
    if experiment.data.kind != "classes":
        yield "recipe 'imagenet' reads folders of classes: data.kind classes"
    if experiment.student.input_channels != ("red", "green", "blue"):
        yield "recipe 'imagenet': student.input_channels is red green blue"
    if experiment.student.normalisation != "range":
        yield "recipe 'imagenet': student.normalisation is range"
