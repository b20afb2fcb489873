"""Students that tell classes apart without training: by how much of an image is bright."""

from typing import Any

import numpy as np
import torch
from small_students import FACTS, discs
from torch import Tensor, nn

from abbe.exporting.comparison import Images, ParityImage
from abbe.runtime.package import InstanceRule, Normalisation

CLASSES = ("empty", "sparse", "dense")
REGIONS = ("background", "disc", "rim")
_SHARED = {key: FACTS[key] for key in FACTS if key not in ("outputs", "thresholds", "instances")}
CLASS_FACTS: dict[str, Any] = _SHARED | {
    "format": 2, "task": "classification", "classes": CLASSES, "divisor": 1, "halo": 0,
    "tile": 64, "normalisation": Normalisation(kind="tile_percentile"),
}  # fmt: skip
REGION_FACTS: dict[str, Any] = _SHARED | {
    "format": 2, "task": "regions", "classes": REGIONS, "divisor": 16,
    "instances": InstanceRule(rule="components", minimum_area=10),
}  # fmt: skip


class Shares(nn.Module):
    """Logits (B, 3): how near the share of bright px is to that of each class."""

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.smooth = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)
        levels = torch.tensor([0.0, 0.2, 0.5]) + shift
        with torch.no_grad():
            self.smooth.weight.fill_(1 / 9)
            self.head.weight.copy_((400 * levels / 4)[:, None].expand(3, 4))
            assert self.smooth.bias is not None
            self.smooth.bias.zero_()
            self.head.bias.copy_(-200 * levels**2)
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.smooth(image).relu().mean((2, 3)))


class Levels(nn.Module):
    """Logits (B, 3, H, W): how near the brightness around a pixel is to that of each class."""

    in_channels, divisor = 1, 16

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.mean = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 3, 1)
        levels = torch.tensor([0.0, 1.0, 0.5]) + shift
        with torch.no_grad():
            self.mean.weight.fill_(1 / 9)
            self.head.weight.copy_((100 * levels / 4)[:, None, None, None].expand(3, 4, 1, 1))
            assert self.mean.bias is not None
            assert self.head.bias is not None
            self.mean.bias.zero_()
            self.head.bias.copy_(-50 * levels**2)
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        return self.head(self.mean(image).relu())


def class_images(count: int = 6) -> Images:
    """Images whose share of bright px is that of their class, about."""
    random = np.random.default_rng(0)
    shown = []
    for number in range(count):
        bright = random.random((1, 48, 56)) < (0.0, 0.2, 0.5)[number % 3]
        shown.append(ParityImage(f"image-{number}", bright.astype(np.float32), category=number % 3))
    example = (shown[2].pixels * 4000 + 100).astype(np.uint16)
    return Images(shown, "val", [each.pixels for each in shown], example)


def region_images(count: int = 3) -> Images:
    """Discs, whose label is the class that the student gives, but for the first row."""
    student, shown = Levels(), []
    for seed in range(count):
        pixels, _ = discs(seed)
        with torch.inference_mode():
            label = student(torch.from_numpy(pixels)[None])[0].argmax(0).numpy().astype(np.int32)
        label[0] = -1
        shown.append(ParityImage(f"image-{seed}", pixels, label))
    example = (discs(50)[0] * 4000 + 100).astype(np.uint16)
    return Images(shown, "val", [each.pixels for each in shown], example)
