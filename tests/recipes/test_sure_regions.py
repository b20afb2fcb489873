"""Regions of a network that is sure of every class: their sigmoids are all 1 in float32."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch
from torch import nn

from abbe import students
from abbe.datasets import Dataset, Record
from abbe.datasets.training.prepare import Prepared
from abbe.imaging import PERCENTILE, Image
from abbe.tasks import previews
from abbe.tasks.classes import ClassModel
from abbe.tasks.semantic import Semantic

PIXELS = np.arange(64 * 64, dtype=np.uint8).reshape(64, 64)


@dataclass(frozen=True)
class Source:
    def open(self) -> Image:
        return Image.from_array(PIXELS, ["nucleus"], None, "image")


@dataclass(frozen=True)
class Label:
    def read(self) -> np.ndarray:
        return np.ones((64, 64), np.int32)


@pytest.fixture(scope="module")
def sure() -> students.UNet:
    """It says 20 of the first class and 25 of the second, wherever it looks."""
    network = students.build(
        "unet-mobilenetv3", in_channels=1, outputs=("a", "b"), encoder_weights="random"
    )
    nn.init.zeros_(network.head.weight)
    with torch.no_grad():
        assert network.head.bias is not None
        network.head.bias.copy_(torch.tensor([20.0, 25.0]))
    return network.eval()


@pytest.fixture
def image() -> Prepared:
    limits = np.array([[0, 255]], np.float32)
    label = np.ones((64, 64), np.int32)
    return Prepared("image", PIXELS[None], ("nucleus",), limits, (64, 64), None, label)


def test_the_class_is_that_of_the_largest_logit(sure, image):
    assert (students.predict(sure, image.whole()) == 1).all()  # why sigmoids do not tell
    found = Semantic().predictions(sure, [image], ["nucleus"], 2)
    assert found.table.tolist() == [[[0, 0], [0, 64 * 64]]]


def test_calibration_is_of_the_logits_themselves(sure):
    dataset = Dataset("set", (Record("image", Source(), Label(), "val"),), ("nucleus",))
    found = Semantic().sample(ClassModel(sure, ("nucleus",), PERCENTILE, None), dataset, "val")
    (sample,) = found.values()
    assert np.unique(sample.logits, axis=0).tolist() == [[20, 25]]


def test_the_picture_shows_the_class_that_is_scored(sure, image, monkeypatch):
    seen: list[np.ndarray] = []
    monkeypatch.setattr(
        previews, "tinted", lambda picture, classes: seen.append(classes) or picture
    )
    previews.RegionPreview([image], ["nucleus"])(sure)
    truth, answer = seen
    assert (truth == 1).all()
    assert (answer == 1).all()
