"""Batches of photographs as networks for ImageNet are trained on: random crops, flips, colours.

As everywhere, batch k is a pure function of the seed and k; see `batches`.
"""

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms import v2

from abbe.datasets.imagenet import Photographs
from abbe.datasets.training.batches import Batch
from abbe.datasets.training.demands import require_even_shares
from abbe.datasets.training.orders import in_turn

AREAS = (0.08, 1.0)
"""Shares of a photograph that a crop covers."""
KEPT = 0.875
"""Share of the shorter side that is kept when a whole photograph is classified: 224 of 256 px."""


class PhotographBatches:
    """``image`` (B, 3, S, S) uint8 and ``category`` (B,) int64; each pass shows every file once."""

    def __init__(
        self,
        photographs: Photographs,
        *,
        batch_size: int,
        crop: int,
        seed: int,
        colour: float = 0.4,
        flips: bool = True,
        rank: int = 0,
        processes: int = 1,
    ) -> None:
        """Draw from ``photographs``.

        Args:
            photographs: to learn from.
            batch_size: samples in a batch, over all processes.
            crop: side of what the network sees, in px: crops of `AREAS` at aspect ratios from 3:4
                to 4:3 are resized to it.
            seed: of order, crops, flips and colours.
            colour: how far brightness, contrast and saturation change, 0 to below 1.
            flips: whether half of the crops are mirrored.
            rank, processes: this process's number and how many share each batch.

        Raises:
            InputError: the batch cannot be shared out evenly.
        """
        require_even_shares(batch_size, processes)
        self.photographs, self.batch_size, self.seed = photographs, batch_size, seed
        own = batch_size // processes
        self._positions = range(rank * own, (rank + 1) * own)
        steps: list[torch.nn.Module] = [v2.RandomResizedCrop(crop, scale=AREAS)]
        if flips:
            steps.append(v2.RandomHorizontalFlip())
        if colour:
            steps.append(v2.ColorJitter(colour, colour, colour))
        self._change = v2.Compose([*steps, v2.PILToTensor()])

    def __getitem__(self, step: int) -> Batch:
        """This process's part of the batch of ``step``."""
        images, categories = [], []
        for position in self._positions:
            count = step * self.batch_size + position
            index = in_turn(self.seed, count, len(self.photographs))
            drawn = np.random.default_rng([self.seed, step, position]).integers(1 << 62)
            with torch.random.fork_rng(devices=[]):  # torchvision draws from torch's generator
                torch.manual_seed(int(drawn))
                images.append(self._change(self.photographs.read(index)))
            categories.append(int(self.photographs.numbers[index]))
        return {"image": torch.stack(images), "category": torch.tensor(categories)}


class WholePhotographs(torch.utils.data.Dataset[tuple[Tensor, int]]):
    """The middle of each photograph, (3, S, S) uint8, with the number of its class."""

    def __init__(self, photographs: Photographs, crop: int) -> None:
        """Show ``crop`` px of what is resized to `KEPT` of its shorter side."""
        self.photographs = photographs
        side = round(crop / KEPT)
        self._change = v2.Compose([v2.Resize(side), v2.CenterCrop(crop), v2.PILToTensor()])

    def __len__(self) -> int:
        return len(self.photographs)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        picture = self._change(self.photographs.read(index))
        return picture, int(self.photographs.numbers[index])
