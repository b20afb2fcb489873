"""Training batches for distilling an image encoder: whole pictures and a teacher's embeddings.

An embedding of a vision transformer does not turn with its image, so a stored one goes only with
the very view it was made from; where the teacher answers live, the view may be any. As in
:mod:`abbe.datasets.training.batches`, batch k is a pure function of the seed and k.
"""

from collections.abc import Sequence
from typing import Unpack

import numpy as np
import torch

from abbe.datasets.pictures import Pictured, fitted, resized
from abbe.datasets.training.augment import Light, change_light
from abbe.datasets.training.batches import Batch
from abbe.datasets.training.demands import require_even_shares
from abbe.datasets.training.orders import in_turn
from abbe.datasets.training.prompted import framed
from abbe.errors import InputError
from abbe.targets import TargetStore


class EmbeddedBatches:
    """Pictures with embeddings to learn; ``batches[k]`` is the batch of step ``k``.

    A batch holds, for B pictures of side S:

    - ``image`` (B, 3, S, S) float32 as SAM reads it, its light changed at random;
    - ``target`` (B, 256, h, w) float32, the stored embedding; or where the teacher is live,
      ``teacher_image`` (B, 3, T, T), the same view in the light it was taken in, T the teacher's
      side.
    """

    def __init__(
        self,
        images: Sequence[Pictured],
        embeddings: TargetStore | None,
        *,
        side: int,
        batch_size: int,
        seed: int,
        teacher_side: int | None = None,
        flips: bool = True,
        rank: int = 0,
        processes: int = 1,
        **light: Unpack[Light],
    ) -> None:
        """Draw from ``images``.

        Args:
            images: labels are not looked at.
            embeddings: the teacher's; None where it is live.
            side: S in px.
            batch_size: pictures in a batch, over all processes.
            seed: seed of order and light.
            teacher_side: T in px, of a live teacher.
            flips: mirror the picture at random; only with a live teacher.
            rank, processes: this process's number and how many share each batch.
            light: see :mod:`abbe.datasets.training.augment`.

        Raises:
            InputError: no image has an embedding, or the batch cannot be shared out evenly.
        """
        known = None if embeddings is None else set(embeddings.ids)
        self.images = [each for each in images if known is None or each.id in known]
        if not self.images:
            place = "" if embeddings is None else f"{embeddings.path}: "
            raise InputError(
                f"{place}holds no embedding of any training image, so there is nothing to distil"
            )
        require_even_shares(batch_size, processes)
        self.embeddings, self.side, self.batch_size = embeddings, side, batch_size
        self.seed, self.teacher_side, self.flips = seed, teacher_side, flips
        self.light = light
        self.rank, self.processes = rank, processes

    def __getitem__(self, step: int) -> Batch:
        """This process's part of the batch of ``step``."""
        positions = range(self.rank, self.batch_size, self.processes)
        samples = [self._sample(step, position) for position in positions]
        return {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}

    def _sample(self, step: int, position: int) -> Batch:
        random = np.random.default_rng([self.seed, step, position])
        image = self.images[in_turn(self.seed, step * self.batch_size + position, len(self.images))]
        picture = image.picture
        if self.embeddings is None and self.flips and random.random() < 0.5:
            picture = picture[:, ::-1]
        light = torch.from_numpy(picture.transpose(2, 0, 1).astype(np.float32) / 255)
        changed = change_light(light, random, **self.light).numpy().transpose(1, 2, 0) * 255
        sample = {"image": _frame(changed.round().astype(np.uint8), self.side)}
        if self.embeddings is None:
            sample["teacher_image"] = _frame(picture, self.teacher_side or self.side)
        else:
            stored = self.embeddings.read(image.id, "embedding")
            sample["target"] = torch.from_numpy(np.asarray(stored, np.float32))
        return sample


def _frame(picture: np.ndarray, side: int) -> torch.Tensor:
    shape = picture.shape
    small = resized(np.ascontiguousarray(picture), fitted((shape[0], shape[1]), side))
    return torch.from_numpy(framed(small, side))
