"""Training batches for promptable networks: parts of pictures, and prompts for objects in them.

As in :mod:`abbe.datasets.training.batches`, batch k is a pure function of the seed and k.
"""

from collections.abc import Sequence
from typing import Literal, Unpack

import numpy as np
import torch

from abbe.datasets.pictures import Pictured, fitted, nearest, resized
from abbe.datasets.training.augment import Light, change_light
from abbe.datasets.training.batches import Batch
from abbe.datasets.training.demands import require_even_shares
from abbe.datasets.training.orders import in_turn
from abbe.errors import InputError

PromptKind = Literal["box", "point", "mixed"]
MEAN = (123.675, 116.28, 103.53)
DEVIATION = (58.395, 57.12, 57.375)
"""Of red, green and blue, as SAM subtracts and divides."""
MINIMUM_AREA = 12
"""Objects below this many px of the frame are not asked for: they may not show at all."""


def framed(picture: np.ndarray, side: int) -> np.ndarray:
    """A picture (h, w, 3) in [0, 255] as SAM reads it: (3, side, side) float32, padded by zeros."""
    height, width = picture.shape[:2]
    frame = np.zeros((3, side, side), np.float32)
    standard = (picture.astype(np.float32) - MEAN) / DEVIATION
    frame[:, :height, :width] = standard.transpose(2, 0, 1)
    return frame


class PromptedBatches:
    """Random parts of pictures with prompts; ``batches[k]`` is the batch of step ``k``.

    A batch holds, for B pictures of side S and P objects in each:

    - ``image`` (B, 3, S, S) float32 as SAM reads it;
    - ``mask`` (B, P, s, s) bool, and ``valid`` (B, s, s) bool, False beyond the picture;
      s is S / ``mask_step``;
    - ``boxes`` (B, P, 4) float32 x0, y0, x1, y1 in px of the frame, or ``points`` (B, P, K, 2)
      with ``point_labels`` (B, P, K), 1 for a point inside. One kind in a batch.
    """

    def __init__(
        self,
        images: Sequence[Pictured],
        *,
        side: int,
        batch_size: int,
        seed: int,
        objects: int = 4,
        mask_step: int = 1,
        prompts: PromptKind = "mixed",
        jitter: float = 0.02,
        zoom: tuple[float, float] = (0.6, 1.0),
        flips: bool = True,
        rank: int = 0,
        processes: int = 1,
        **light: Unpack[Light],
    ) -> None:
        """Draw from ``images``.

        Args:
            images: with labels; those without an object are left out.
            side: S, of the network's frame in px.
            batch_size: pictures in a batch, over all processes.
            seed: seed of everything drawn.
            objects: P; a picture with fewer objects is asked for some of them twice.
            mask_step: masks are given for squares of so many px of the frame, as the network
                answers, which saves time and memory; prompts are not affected.
            prompts: boxes, points (one or three), or now one and now the other.
            jitter: each side of a box moves by up to this share of the frame (0.02: 20 px of
                1024), but never by more than a quarter of the box.
            zoom: shares of the picture's sides that are shown, drawn evenly between these.
            flips: mirror at random, left to right and upside down.
            rank, processes: this process's number and how many share each batch.
            light: see :mod:`abbe.datasets.training.augment`.

        Raises:
            InputError: no image has an object, the batch cannot be shared out evenly, or
                ``mask_step`` does not divide the side.
        """
        if side % mask_step:
            raise InputError(f"mask_step {mask_step} does not divide the side of {side} px")
        self.images = [each for each in images if each.has_objects]
        if not self.images:
            raise InputError(
                "no training image has a labelled object to ask for: check the labels with "
                "'abbe data check'"
            )
        require_even_shares(batch_size, processes)
        self.side, self.batch_size, self.seed = side, batch_size, seed
        self.objects, self.prompts, self.jitter = objects, prompts, jitter
        self.mask_step = mask_step
        self.zoom, self.flips = zoom, flips
        self.light = light
        self.rank, self.processes = rank, processes

    def __getitem__(self, step: int) -> Batch:
        """This process's part of the batch of ``step``."""
        boxes, points = self._kind(step)
        positions = range(self.rank, self.batch_size, self.processes)
        samples = [self._sample(step, position, boxes, points) for position in positions]
        return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}

    def _kind(self, step: int) -> tuple[bool, int]:
        """Whether the step asks by boxes, and if not, by how many points."""
        random = np.random.default_rng([self.seed, 1 << 21, step])
        boxes = self.prompts == "box" or (self.prompts == "mixed" and random.random() < 0.5)
        return boxes, int(random.choice([1, 3]))

    def _sample(self, step: int, position: int, boxes: bool, points: int) -> Batch:
        random = np.random.default_rng([self.seed, step, position])
        image = self.images[in_turn(self.seed, step * self.batch_size + position, len(self.images))]
        label = image.label
        assert label is not None  # images without one are left out
        picture, label = self._part(image.picture, label, random)
        numbers = self._draw_objects(label, random)
        height, width = label.shape
        masks = np.zeros((len(numbers), self.side, self.side), bool)
        masks[:, :height, :width] = label == numbers[:, None, None]
        valid = np.zeros((self.side, self.side), bool)
        valid[:height, :width] = label >= 0
        light = torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32) / 255)
        changed = change_light(light, random, **self.light).numpy().transpose(1, 2, 0) * 255
        sample = {
            "image": torch.from_numpy(framed(changed, self.side)),
            "mask": torch.from_numpy(self._share(masks) > 0.5),
            "valid": torch.from_numpy(self._share(valid) == 1),
        }
        if boxes:
            asked = [self._box(mask, (height, width), random) for mask in masks]
            sample["boxes"] = torch.tensor(np.array(asked), dtype=torch.float32)
        else:
            where = np.stack([points_in(mask, points, random) for mask in masks])
            sample["points"] = torch.tensor(where, dtype=torch.float32)
            sample["point_labels"] = torch.ones(where.shape[:2], dtype=torch.int64)
        return sample

    def _share(self, masks: np.ndarray) -> np.ndarray:
        """How much of each square of ``mask_step`` px is in a mask: no px lies at its middle."""
        step, small = self.mask_step, self.side // self.mask_step
        return masks.reshape(*masks.shape[:-2], small, step, small, step).mean((-3, -1))

    def _part(
        self, picture: np.ndarray, label: np.ndarray, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        """A random part that shows at least one object, resized to the frame and mirrored."""
        part, part_label = self._cut(picture, label, random.uniform(*self.zoom), random)
        if not (part_label > 0).any():  # all were thinner than a px: where nothing shrinks, one is
            share = min(self.zoom[0], self.side / max(label.shape))
            part, part_label = self._cut(picture, label, share, random)
        return part, part_label

    def _cut(
        self, picture: np.ndarray, label: np.ndarray, share: float, random: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        height, width = (max(1, round(share * length)) for length in label.shape)
        ys, xs = np.nonzero(label > 0)
        chosen = random.integers(len(ys))
        top = _start(ys[chosen], height, label.shape[0], random)
        left = _start(xs[chosen], width, label.shape[1], random)
        window = np.s_[top : top + height, left : left + width]
        size = fitted((height, width), self.side)
        part, part_label = resized(picture[window], size), nearest(label[window], size)
        for axis in (0, 1):
            if self.flips and random.random() < 0.5:
                part, part_label = np.flip(part, axis), np.flip(part_label, axis)
        return part, part_label

    def _draw_objects(self, label: np.ndarray, random: np.random.Generator) -> np.ndarray:
        areas = np.bincount(label[label > 0])
        numbers = np.flatnonzero(areas >= min(MINIMUM_AREA, int(areas.max())))
        return random.choice(numbers, self.objects, replace=len(numbers) < self.objects)

    def _box(
        self, mask: np.ndarray, shape: tuple[int, int], random: np.random.Generator
    ) -> np.ndarray:
        box = box_around(mask)
        size = np.tile(box[2:] - box[:2], 2)
        moved = box + random.uniform(-1, 1, 4) * np.minimum(self.jitter * self.side, size / 4)
        return np.clip(moved, 0, np.tile([shape[1], shape[0]], 2))


def _start(seen: int, length: int, whole: int, random: np.random.Generator) -> int:
    """Where a window of ``length`` px begins that holds the pixel ``seen``."""
    return int(random.integers(max(0, seen - length + 1), min(seen, whole - length) + 1))


def box_around(mask: np.ndarray) -> np.ndarray:
    """x0, y0, x1, y1 (px, the far edges) of a mask (H, W) bool that is not empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1], float)


def points_in(mask: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """``count`` random points x, y (px) inside a mask (H, W) bool, (count, 2)."""
    rows, columns = np.nonzero(mask)
    chosen = random.integers(len(rows), size=count)
    return np.stack([columns[chosen], rows[chosen]], axis=1) + 0.5
