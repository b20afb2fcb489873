"""Training batches: batch k is a pure function of the seed and k.

So a run that resumes at step k sees what it would have seen, the twin sees what the student saw,
and each of several processes takes its own positions of the same batch.
"""

from collections.abc import Sequence
from typing import Unpack

import numpy as np
import torch

from abbe.datasets.training.augment import Geometry, Light, change_light, draw_geometry
from abbe.datasets.training.demands import (
    require_apart,
    require_colours,
    require_even_shares,
    require_places,
)
from abbe.datasets.training.orders import order
from abbe.datasets.training.prepare import Prepared, StoredTarget
from abbe.datasets.training.stain import change_colours, change_stains, draw_stain_change
from abbe.errors import InputError
from abbe.imaging import Region

Batch = dict[str, torch.Tensor]
"""A batch, with B samples of side S:

- ``image`` (B, C, S, S) float32 in [0, 1], the student's channels; ``teacher_image`` likewise
  for a live teacher, with geometry but no photometry; ``second_image`` likewise, another crop of
  the same image with a photometry of its own, for contrastive terms;
- ``label`` (B, S, S) int64 instances, −1 unknown; ``has_label`` (B,) bool;
- ``target`` (B, K, S, S) float32 in [0, 1], or ``target_instances`` (B, S, S) int64;
  ``has_target`` (B,) bool; ``target_weight`` (B,) float32, how much it counts, where images say so;
- ``types`` (B, S, S) int64, of each pixel the type of its object, from 1; 0 and −1 are not known;
- ``category`` (B,) int64, the image's class, where images have one;
- ``valid`` (B, S, S) bool, False beyond the image's edge.
"""


class Batches:
    """Random crops of prepared images; ``batches[k]`` is the batch of step ``k``."""

    def __init__(
        self,
        images: Sequence[Prepared],
        *,
        input_channels: Sequence[str],
        batch_size: int,
        crop: int,
        seed: int,
        labelled_share: float = 0.5,
        teacher_channels: Sequence[str] | None = None,
        scale: tuple[float, float] = (1.0, 1.0),
        flips: bool = True,
        stain: float = 0.0,
        colour: float = 0.0,
        second_view: bool = False,
        rank: int = 0,
        processes: int = 1,
        **light: Unpack[Light],
    ) -> None:
        """Draw from ``images``; the labelled ones fill ``labelled_share`` of each batch.

        Args:
            images: training images, each with a label, a target or both.
            input_channels: the student's channels.
            batch_size: samples in a batch, over all processes.
            crop: side of a crop in px.
            seed: seed of crops, order and augmentation.
            labelled_share: share of a batch drawn from labelled images where both kinds exist.
            teacher_channels: channels of a live teacher, delivered as ``teacher_image``.
            scale, flips, light: see `augment`.
            stain, colour: strength of the changes in `stain`; the student must
                see red, green and blue.
            second_view: whether to deliver ``second_image``; no image is in a batch twice then,
                and those that would not fill a batch wait for the next pass.
            rank, processes: this process's number and how many share each batch.

        Raises:
            InputError: there are no images, the batch cannot be shared out evenly, it has no room
                for one of the two kinds, or there are fewer images than it holds of a second view.
        """
        if not images:
            raise InputError("no training images: check the splits with 'abbe data check'")
        require_colours(input_channels, stain, colour)
        require_even_shares(batch_size, processes)
        self.images = images
        self.batch_size, self.crop, self.seed = batch_size, crop, seed
        self.scale, self.flips = scale, flips
        self.light = light
        self.stain, self.colour, self.second_view = stain, colour, second_view
        self.rank, self.processes = rank, processes
        self.teaches_live = teacher_channels is not None
        self._student = [images[0].channels.index(name) for name in input_channels]
        self._teacher = [images[0].channels.index(name) for name in teacher_channels or ()]
        self._outputs = max(
            (len(i.probability) for i in images if i.probability is not None), default=0
        )
        self._known = {
            i: _known_pixels(image.label)
            for i, image in enumerate(images)
            if image.label is not None and (image.label >= 0).any()
        }
        self._typed = any(image.types is not None for image in images)
        self._has_instances = any(image.instances is not None for image in images)
        self._labelled = list(self._known)
        # A partly labelled image is in both: its unknown part is worth learning from too.
        self._unlabelled = [i for i in range(len(images)) if self._known.get(i, ()) is not None]
        share = labelled_share if self._labelled and self._unlabelled else bool(self._labelled)
        require_places(batch_size, share)
        self._first_unlabelled = round(batch_size * share)
        if second_view:
            require_apart(self._first_unlabelled, len(self._labelled))
            require_apart(batch_size - self._first_unlabelled, len(self._unlabelled))

    @property
    def has_unlabelled(self) -> bool:
        """Whether any crop is drawn for another reason than its label."""
        return self._first_unlabelled < self.batch_size

    def __getitem__(self, step: int) -> Batch:
        """This process's part of the batch of ``step``."""
        positions = range(self.rank, self.batch_size, self.processes)
        samples = [self._sample(step, position) for position in positions]
        return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}

    def _sample(self, step: int, position: int) -> Batch:
        random = np.random.default_rng([self.seed, step, position])
        index = self._draw_image(step, position)
        image = self.images[index]
        known = self._known[index] if position < self._first_unlabelled else None
        centre = None if known is None else tuple(known[random.integers(len(known))])
        geometry = draw_geometry(
            random, image.shape, self.crop, scale=self.scale, flips=self.flips, centre=centre
        )
        inside = _inside(geometry.box, image.shape)
        pixels = geometry.intensities(_pad(image.crop(inside), geometry.box, inside, 0))
        sample = {
            "image": self._photometry(pixels, random),
            "valid": geometry.labels(
                _pad(np.ones(_size(inside), bool), geometry.box, inside, False)
            ).bool(),
            **self._label(image, geometry, inside),
            **self._target(image, geometry, inside),
        }
        if self._typed:
            sample["types"] = self._numbers(image.types, geometry, inside)
        if self.teaches_live:
            sample["teacher_image"] = pixels[self._teacher]
        if image.category >= 0:
            sample["category"] = torch.tensor(image.category)
        if self.second_view:
            sample["second_image"] = self._second_view(image, random)
        return sample

    def _photometry(self, pixels: torch.Tensor, random: np.random.Generator) -> torch.Tensor:
        """The student's channels, with other stain, colour and light."""
        seen = pixels[self._student]
        if self.stain:
            seen = change_stains(seen, *draw_stain_change(random, self.stain))
        if self.colour:
            seen = change_colours(seen, random, self.colour)
        return change_light(seen, random, **self.light)

    def _second_view(self, image: Prepared, random: np.random.Generator) -> torch.Tensor:
        geometry = draw_geometry(random, image.shape, self.crop, scale=self.scale, flips=self.flips)
        inside = _inside(geometry.box, image.shape)
        pixels = geometry.intensities(_pad(image.crop(inside), geometry.box, inside, 0))
        return self._photometry(pixels, random)

    def _draw_image(self, step: int, position: int) -> int:
        """Every image of a pool comes once before any comes again, in an order drawn each time.

        With a second view a pass ends with a whole batch: at the seam of two passes an image may
        come twice in a row, and views of it would be taken for those of two.
        """
        first = self._first_unlabelled
        labelled = position < first
        pool = self._labelled if labelled else self._unlabelled
        place, count = (
            (position, first) if labelled else (position - first, self.batch_size - first)
        )
        shown = len(pool) - len(pool) % count if self.second_view else len(pool)
        turn, place = divmod(step * count + place, shown)
        return pool[order((self.seed, 1 << 20, turn, int(labelled)), len(pool))[place]]

    def _label(self, image: Prepared, geometry: Geometry, inside: Region) -> Batch:
        label = self._numbers(image.label, geometry, inside)
        return {"label": label, "has_label": torch.tensor(image.label is not None)}

    def _numbers(
        self, numbers: np.ndarray | None, geometry: Geometry, inside: Region
    ) -> torch.Tensor:
        """(S, S) of a crop; −1 beyond the image, and everywhere of an image without any."""
        if numbers is None:
            return torch.full((self.crop, self.crop), -1)
        own = _cut(numbers, inside).astype(np.int32)
        return geometry.labels(_pad(own, geometry.box, inside, -1))

    def _target(self, image: Prepared, geometry: Geometry, inside: Region) -> Batch:
        target: Batch = {"has_target": torch.tensor(image.has_target or self.teaches_live)}
        if image.target_weight is not None:
            target["target_weight"] = torch.tensor(image.target_weight, dtype=torch.float32)
        side = self.crop
        if self._outputs:
            target["target"] = torch.zeros(self._outputs, side, side)
            if image.probability is not None:
                maps = _pad(_cut(image.probability, inside), geometry.box, inside, 0)
                target["target"] = geometry.intensities(maps) / 255
        elif self._has_instances:
            target["target_instances"] = torch.full((side, side), -1)
            if image.instances is not None:
                maps = _pad(_cut(image.instances, inside), geometry.box, inside, -1)
                target["target_instances"] = geometry.labels(maps)
        return target


def _known_pixels(label: np.ndarray) -> np.ndarray | None:
    """Rows and columns of known pixels where a label is partial; None where all are known."""
    if not (label < 0).any():
        return None
    return np.argwhere(label >= 0)


def _inside(box: Region, shape: tuple[int, int]) -> Region:
    return Region(box.top, box.left, min(box.bottom, shape[0]), min(box.right, shape[1]))


def _size(region: Region) -> tuple[int, int]:
    return region.bottom - region.top, region.right - region.left


def _cut(array: np.ndarray | StoredTarget, region: Region) -> np.ndarray:
    return array[..., region.top : region.bottom, region.left : region.right]


def _pad(array: np.ndarray, box: Region, inside: Region, value: int | bool) -> np.ndarray:
    """Fill a cut up to the whole box: an image smaller than the crop lies at the top left."""
    below, beside = box.bottom - inside.bottom, box.right - inside.right
    if not below and not beside:
        return array
    widths = [(0, 0)] * (array.ndim - 2) + [(0, below), (0, beside)]
    return np.pad(array, widths, constant_values=value)
