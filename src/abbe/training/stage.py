"""What a recipe is made of: stages, and the terms of their losses."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import nn

from abbe.datasets.training.batches import Batch

Metrics = dict[str, float]


class Batches(Protocol):
    """Batches by step: ``batches[k]`` depends on nothing but ``k``."""

    batch_size: int
    """Samples in a batch, over all processes."""

    def __getitem__(self, step: int) -> Batch:
        """This process's part of the batch of ``step``."""
        ...


def on_image(network: nn.Module, batch: Batch) -> torch.Tensor:
    """The network's answer to the batch's images alone."""
    return network(batch["image"])


def probabilities(teacher: nn.Module, batch: Batch) -> torch.Tensor:
    """A live teacher's answer to ``teacher_image`` (B, C, H, W): (B, K, H, W) in [0, 1]."""
    return torch.sigmoid(teacher(batch["teacher_image"]).float())


@dataclass(frozen=True)
class Term:
    """One summand of a loss.

    Attributes:
        name: how it is logged and weighted.
        loss: from the network's output (whatever the stage's ``forward`` gives) and the batch to a
            scalar, or for a term of parts to one value a part (P,), whose mean is the term; None
            when the batch holds nothing for this term. Where several processes share the batch, all
            give None or none does, and the mean of theirs is that of the batch
            (:mod:`abbe.losses.processes`).
        distils: whether it learns from the teacher. Baselines train without such terms.
        parts: their names, where it has any. Each is logged beside the term, as ``name/part``.
    """

    name: str
    loss: Callable[[Any, Batch], torch.Tensor | None]
    distils: bool
    parts: tuple[str, ...] = ()

    @property
    def logged(self) -> tuple[str, ...]:
        """The names under which its values are logged."""
        return (self.name, *(f"{self.name}/{part}" for part in self.parts))

    def values(self, output: Any, batch: Batch) -> dict[str, torch.Tensor]:
        """The term's value, by its name, and its parts'; empty where the batch holds nothing."""
        value = self.loss(output, batch)
        if value is None:
            return {}
        if not self.parts:
            return {self.name: value}
        return dict(zip(self.logged, (value.mean(), *value), strict=True))


@dataclass(frozen=True)
class Schedule:
    """How long a stage trains and how fast it learns.

    Attributes:
        steps: optimiser steps.
        learning_rate: the highest, after warm-up.
        final_learning_rate: the lowest, at the end of the cosine.
        warmup: share of the steps over which the rate rises linearly.
        weight_decay: of AdamW, on weights of two and more dimensions only.
        clip: largest norm of the gradient.
        ema: decay of the moving average of the weights; 0 for none.
        validate_every: steps between validations.
        patience: validations without a better value before stopping; None to never stop.
        sync_batch_norm: take the statistics of batch norm over all processes' parts of a batch, on
            GPUs; with one process it changes nothing.
    """

    steps: int
    learning_rate: float
    final_learning_rate: float = 1e-6
    warmup: float = 0.05
    weight_decay: float = 1e-4
    clip: float = 1.0
    ema: float = 0.99
    validate_every: int = 100
    patience: int | None = None
    sync_batch_norm: bool = False


@dataclass(frozen=True)
class Stage:
    """What trains, on which batches, with which terms, watched by which metric, for how long.

    Attributes:
        name: shown in logs and reports.
        trains: the network.
        batches: such as :class:`abbe.datasets.training.batches.Batches`.
        terms: summands of the loss.
        weighting: builds what joins the terms, from their names.
        schedule: steps and learning rate.
        validate: scores the network; None where there is nothing to validate on.
        watch: the validation metric that picks the best weights; higher is better.
        preview: draws what the network answers for some validation images, (H, W, 3) uint8; None
            where there is nothing to show.
        teacher: a frozen network, if the teacher runs live.
        forward: how the network is asked: from it and the batch to what the terms see.
        forward_teacher: how the live teacher is asked, from it and the batch to ``target``.
        parts: the parts of the network that train, by the beginning of their parameters' names,
            each with what its learning rate is multiplied by; all of it at 1 where None.
    """

    name: str
    trains: nn.Module
    batches: Batches
    terms: tuple[Term, ...]
    weighting: Callable[[list[str]], nn.Module]
    schedule: Schedule
    validate: Callable[[nn.Module], Metrics] | None = None
    watch: str = "dice"
    preview: Callable[[nn.Module], np.ndarray] | None = None
    teacher: nn.Module | None = None
    forward: Callable[[nn.Module, Batch], Any] = on_image
    forward_teacher: Callable[[nn.Module, Batch], torch.Tensor] = probabilities
    parts: Mapping[str, float] | None = None


def twin_of(stage: Stage, network: nn.Module) -> Stage | None:
    """The same stage without distillation, for ``network`` instead of the student.

    Everything but the distilling terms stays: batches, seed, steps, schedule and validation.
    None when the stage does nothing but distil.
    """
    terms = tuple(term for term in stage.terms if not term.distils)
    return replace(stage, trains=network, terms=terms, teacher=None) if terms else None
