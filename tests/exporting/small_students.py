"""A student that needs no training: bright discs and their edges, by fixed convolutions."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from abbe.exporting.comparison import Images, ParityImage
from abbe.runtime.package import (
    DESCRIPTION,
    Figures,
    InstanceRule,
    Lineage,
    Normalisation,
    Thresholds,
)
from abbe.runtime.postprocess.flood import components_of
from abbe.runtime.postprocess.map_rule import MapRule

OUTPUTS = ("foreground", "boundary")


class Blobs(nn.Module):
    """Logits of being bright, and of brightness changing, after a 5 x 5 mean."""

    architecture, in_channels, divisor = "by hand", 1, 16

    def __init__(self, shift: float = 0.0) -> None:
        super().__init__()
        self.mean = nn.Conv2d(1, 1, 5, padding=2)
        self.slopes = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Conv2d(5, 2, 1)
        sobel = torch.tensor([[-1.0, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
        kernels = torch.stack([sobel, -sobel, sobel.T, -sobel.T])[:, None]
        with torch.no_grad():
            self.mean.weight.fill_(1 / 25)
            self.slopes.weight.copy_(kernels)
            self.head.weight.copy_(
                torch.tensor([[20.0, 0, 0, 0, 0], [0, 20, 20, 20, 20]])[..., None, None]
            )
            assert self.head.bias is not None
            self.head.bias.copy_(torch.tensor([-10.0 + shift, -3.0]))
            for layer in (self.mean, self.slopes):
                assert layer.bias is not None
                layer.bias.zero_()
        self.eval()

    def forward(self, image: Tensor) -> Tensor:
        smooth = self.mean(image).relu()
        return self.head(torch.cat([smooth, self.slopes(smooth).relu()], 1))


def discs(seed: int, side: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """(1, side, side) float32 in [0, 1] with bright discs, and their label."""
    random = np.random.default_rng(seed)
    rows, columns = np.mgrid[:side, :side]
    bright = np.zeros((side, side), bool)
    for _ in range(side * side // 700):
        y, x = random.uniform(0, side, 2)
        radius = random.uniform(4, 8)
        bright |= np.hypot(rows - y, columns - x) <= radius
    image = np.where(bright, 0.85, 0.1) + random.normal(0, 0.05, bright.shape)
    return image.clip(0, 1).astype(np.float32)[None], components_of(bright)


def parity_images(count: int = 3, side: int = 64) -> list[ParityImage]:
    return [ParityImage(f"image-{seed}", *discs(seed, side)) for seed in range(count)]


def images(count: int = 3) -> Images:
    calibration = [discs(100 + seed)[0] for seed in range(4)]
    example = (discs(50)[0] * 4000 + 100).astype(np.uint16)
    return Images(parity_images(count), "val", calibration, example)


def weights_of(student: nn.Module, path: Path) -> Path:
    save_file(student.state_dict(), path)
    return path


def number(figures: Figures, name: str) -> float:
    """A figure that must be a number."""
    value = figures[name]
    assert isinstance(value, int | float)
    return value


FACTS: dict[str, Any] = {
    "abbe": "0.1.0",
    "name": "blobs",
    "title": "Bright discs",
    "task": "segmentation",
    "architecture": "by hand",
    "channels": ("nucleus",),
    "pixel_size": 0.5,
    "normalisation": Normalisation(),
    "divisor": 16,
    "outputs": OUTPUTS,
    "thresholds": Thresholds(),
    "instances": InstanceRule(minimum_area=10),
    "tile": 128,
    "halo": 32,
    "lineage": Lineage(
        teacher="a teacher",
        weights_licence="teacher: CC-BY-NC-4.0",
        training_data_licence="unknown to us",
        dataset="discs",
        dataset_licence="CC0-1.0",
        recipe="cmkd",
        run="run-1",
        stand_in=True,
        simulated=True,
        notes=("a note",),
    ),
    "training": {
        "data": {"test": 7},
        "models": {
            "student": {"metrics": {"dice": {"mean": 0.9, "ci95": [0.85, 0.95], "n": 7}}},
            "twin": {"metrics": {"dice": {"mean": 0.8, "ci95": [None, None], "n": 7}}},
        },
    },
}
CUTS = MapRule(OUTPUTS, FACTS["thresholds"], FACTS["instances"])


def equal_but_for_times(first: Path, second: Path) -> list[str]:
    """Hold two exports against each other; names of the files that are in both."""
    names = sorted(path.name for path in first.iterdir())
    assert names == sorted(path.name for path in second.iterdir())
    for name in names:
        of_first, of_second = (_timeless(each / name) for each in (first, second))
        assert of_first == of_second, name
    return names


def _timeless(path: Path) -> object:
    content = path.read_bytes()
    if path.name == "README.md":
        lines = content.decode().splitlines()
        return [line for line in lines if not re.match(r"\| \w+/\w+, tile", line)]
    if path.name == DESCRIPTION:
        value = json.loads(content)
        del value["timings"], value["engine"], value["files"]["card"]
        return value
    return content
