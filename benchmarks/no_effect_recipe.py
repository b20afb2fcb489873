"""A recipe without any effect, whose student and baselines differ in luck alone; two with one."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from timm.models import register_model
from torch import Tensor, nn

from abbe import config
from abbe.datasets import Dataset, simulated_tissue
from abbe.imaging import Image
from abbe.recipes.recipe import Material, Plan, Trained
from abbe.recipes.supervised import Supervised
from abbe.runs.session import Session

APART = 1_000_000
"""Between the seeds of two networks of a run."""
SLIDES = 60
"""In the pool, of two images each."""


class NoEffect(Supervised):
    """Labels alone, for every network; each has initial weights and batches of its own."""

    name = "no-effect"

    @staticmethod
    def is_weak(network: str) -> bool:
        """Whether a network is trained for one step alone."""
        return False

    def plans(
        self,
        experiment: config.Experiment,
        dataset: Dataset,
        material: Material,
        session: Session,
        trained: Mapping[str, Trained],
    ) -> Iterator[tuple[str, Plan]]:
        """The student's plan again for each baseline, with another seed."""
        for number, name in enumerate(("student", *experiment.compared_with)):
            training = experiment.training
            if self.is_weak(name):
                training = training.model_copy(update={"steps": 1})
            lucky = experiment.model_copy(
                update={"seed": experiment.seed + number * APART, "training": training}
            )
            for _, plan in super().plans(lucky, dataset, material, session, trained):
                yield name, plan


class Helps(NoEffect):
    """Baselines hardly learn: a gain that is there."""

    name = "helps"

    @staticmethod
    def is_weak(network: str) -> bool:
        """All but the student."""
        return network != "student"


class Harms(NoEffect):
    """The student hardly learns: a loss that is there."""

    name = "harms"

    @staticmethod
    def is_weak(network: str) -> bool:
        """The student."""
        return network == "student"


@dataclass(frozen=True)
class Once:
    """An image, or its label, that is simulated once for all runs."""

    source: Any

    def open(self) -> Image:
        """The image."""
        return _opened(self.source)

    def read(self) -> np.ndarray:
        """The label."""
        return _label(self.source).copy()


@cache
def _opened(source: Any) -> Image:
    image = source.open()
    return Image.from_array(image.read(), channels=image.channels, pixel_size=image.pixel_size)


@cache
def _label(source: Any) -> np.ndarray:
    return source.read()


def pool(path: Path, *, count: int, size: int = 64, seed: int = 0) -> Dataset:
    """Two images of each of ``count`` / 2 slides, drawn from a pool; all are simulated."""
    whole = simulated_tissue(4 * SLIDES, size=size, channels=("nucleus",), label="nucleus")
    drawn = np.random.default_rng(seed).permutation(SLIDES)[: count // 2]
    records = (whole.records[4 * slide + image] for slide in drawn for image in (0, 1))
    kept = (
        replace(record, image=Once(record.image), label=Once(record.label)) for record in records
    )
    return replace(whole, records=tuple(kept))


class Micro(nn.Module):
    """Three convolutions of 8 channels at strides 2, 4, 8; two more that no student keeps."""

    def __init__(self, in_chans: int = 3, num_classes: int = 0) -> None:
        super().__init__()
        self.feature_info = [
            {"num_chs": 8, "reduction": 2 << number, "module": f"stages.{number}"}
            for number in range(5)
        ]
        self.stages = nn.ModuleList(
            nn.Sequential(nn.Conv2d(8 if number else in_chans, 8, 3, 2, 1), nn.ReLU())
            for number in range(5)
        )

    def forward_intermediates(
        self, image: Tensor, indices: Any = None, intermediates_only: bool = False, **options: Any
    ) -> Any:
        """The maps of ``indices``; timm's signature."""
        maps = []
        for stage in self.stages:
            image = stage(image)
            maps.append(image)
        wanted = range(5) if indices is None else indices
        chosen = [maps[index] for index in wanted if index < len(maps)]
        return chosen if intermediates_only else (image, chosen)

    def prune_intermediate_layers(self, indices: Any = 1, **options: Any) -> list[int]:
        """Drop what the maps of ``indices`` do not need; timm's signature."""
        chosen = [index % 5 for index in indices]
        self.stages = self.stages[: max(chosen) + 1]
        return chosen


@register_model
def micro(pretrained: bool = False, **options: Any) -> Micro:
    """The network, as timm makes it."""
    from timm.models import build_model_with_cfg

    return build_model_with_cfg(
        Micro, "micro", pretrained, feature_cfg={"feature_cls": "getter"}, **options
    )


default_cfgs: dict[str, Any] = {}
