"""For which pixel size a student is made, and that scores see images at it, as predict does."""

from contextlib import nullcontext
from dataclasses import dataclass, replace
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from abbe import students
from abbe.datasets import Dataset, Record
from abbe.datasets.training.prepare import Prepared
from abbe.errors import ConfigError, InputError
from abbe.exporting.request import ExportRequest
from abbe.imaging import PERCENTILE, Image
from abbe.runs import pixel_sizes, teaching
from abbe.targets import Provenance
from abbe.tasks import maps as models
from abbe.tasks.semantic import Semantic

SQUARE = np.zeros((40, 60), np.uint8)
SQUARE[10:30, 20:44] = 200


@dataclass(frozen=True)
class Sized:
    """The same square at any pixel size."""

    pixel_size: float | None

    def open(self) -> Image:
        return Image.from_array(SQUARE, ["nucleus"], self.pixel_size, "square")


@dataclass(frozen=True)
class Label:
    def read(self) -> np.ndarray:
        return (SQUARE > 0).astype(np.int32)


def dataset(train: list[float | None], test: list[float | None]) -> Dataset:
    sizes = [("train", size) for size in train] + [("test", size) for size in test]
    records = tuple(
        Record(f"{split}-{n}", Sized(size), Label(), split) for n, (split, size) in enumerate(sizes)
    )
    return Dataset("squares", records, ("nucleus",))


@pytest.mark.parametrize(
    ("sizes", "expected"),
    [([0.5, 0.5], 0.5), ([0.5, 0.51, 0.5], 0.5), ([0.5, 0.55], None), ([0.5, None], None),
     ([None], None), ([], None)],
)  # fmt: skip
def test_images_agree_within_five_percent(sizes, expected):
    assert pixel_sizes.common(sizes) == expected
    assert pixel_sizes.student_pixel_size(dataset(sizes, [9.0])) == expected


def test_what_is_unknown_is_said_once_and_what_cannot_be_scored_is_refused(capsys):
    pixel_sizes.check(dataset([None, None], [None]))
    pixel_sizes.check(dataset([0.5, 0.5], [0.51]))
    assert capsys.readouterr().out == ""
    pixel_sizes.check(dataset([0.5, 0.25, None], [None]))
    said = capsys.readouterr().out
    assert said.count("do not agree on a pixel size (0.25 to 0.5 µm, 2 say none)") == 1
    assert "abbe export --pixel-size" in said
    pixel_sizes.check(dataset([0.5, 0.5], [0.25, 0.5]))
    assert (
        "another pixel size than the training images' (0.5 µm) in 1 image of val and test"
        in capsys.readouterr().out
    )
    with pytest.raises(InputError, match="1 of those to be scored without one, such as 'test"):
        pixel_sizes.check(dataset([0.5, 0.5], [None]))
    with pytest.raises(InputError, match="One of the two is likely wrong"):
        pixel_sizes.check(dataset([0.5, 0.5], [50.0]))


@pytest.mark.parametrize(
    ("own", "trained", "seen"),
    [(0.5, None, (40, 60)), (None, None, (40, 60)), (0.5, 0.51, (40, 60)),
     (0.5, 0.25, (80, 120)), (0.5, 1.0, (20, 30))],
)  # fmt: skip
def test_a_network_is_scored_at_its_pixel_size(monkeypatch, own, trained, seen):
    shapes = []

    def foreground(network: Any, pixels: np.ndarray) -> np.ndarray:
        shapes.append(pixels.shape[1:])
        return pixels[:1]

    monkeypatch.setattr(students, "predict", foreground)
    network = cast(students.UNet, None)
    model = models.NetworkModel(network, ("foreground",), ("nucleus",), PERCENTILE, trained)
    maps = model.predict(Record("a", Sized(own)))
    assert shapes == [seen]
    assert maps.foreground.shape == SQUARE.shape
    different = (maps.foreground >= 0.5) != (SQUARE > 0)
    assert different.sum() <= 4 * (trained == 1.0)  # coarser pixels round the corners


def test_a_network_with_a_pixel_size_refuses_images_without_one():
    network = cast(students.UNet, None)
    model = models.NetworkModel(network, ("foreground",), ("nucleus",), PERCENTILE, 0.5)
    with pytest.raises(InputError, match=r"square: its pixel size is not known.*data\.pixel_size"):
        model.predict(Record("a", Sized(None)))


def test_regions_are_scored_at_the_networks_pixel_size():
    network = students.build(
        "unet-mobilenetv3", in_channels=1, outputs=("a", "b"), encoder_weights="random"
    )
    shapes: list[tuple[int, ...]] = []
    network.register_forward_pre_hook(lambda module, given: shapes.append(given[0].shape[-2:]))
    limits = np.array([[0, 200]], np.float32)
    image = Prepared("a", SQUARE[None], ("nucleus",), limits, SQUARE.shape, 0.5, (SQUARE > 0) * 1)
    for size, seen in ((None, (64, 64)), (0.25, (96, 128)), (0.5, (64, 64))):
        found = Semantic().predictions(network, [image], ["nucleus"], 2, size)
        assert shapes.pop() == seen  # multiples of 32
        assert found.maps[0].shape == SQUARE.shape
        assert found.table[0].sum() == SQUARE.size
    image = replace(image, pixel_size=None)
    with pytest.raises(InputError, match="a: its pixel size is not known, and the network was"):
        Semantic().predictions(network, [image], ["nucleus"], 2, 0.5)


def test_a_pixel_size_is_stated_for_packages_whose_run_knows_none():
    assert ExportRequest().stated(None) is None
    assert ExportRequest().stated(0.5) == 0.5
    assert ExportRequest(pixel_size=0.25).stated(None) == 0.25
    assert ExportRequest(pixel_size=0.51).stated(0.5) == 0.5
    with pytest.raises(ConfigError, match=r"--pixel-size 0\.25: the run's images have 0\.5 µm"):
        ExportRequest(pixel_size=0.25).stated(0.5)


@pytest.mark.parametrize(
    ("images", "trained", "told"),
    [([0.5, 0.5], 0.5, ""), ([0.5], 0.51, ""), ([0.5, None], None, ""),
     ([0.5, 0.5], 0.25, r"pixels of 0\.25 µm, and the training images have 0\.5 µm"),
     ([0.5, 1.0], 0.5, "the training images agree on none"), ([None], 0.5, "agree on none")],
)  # fmt: skip
def test_a_live_teacher_sees_the_students_crops_at_its_own_pixel_size(images, trained, told):
    """It was shown raw crops of any scale; stored answers are of resampled images."""
    provenance = Provenance("t", None, "none", "none", ("nucleus",), PERCENTILE.words)
    teacher = cast(Any, SimpleNamespace(provenance=provenance, pixel_size=trained))
    refused = pytest.raises(ConfigError, match=told) if told else nullcontext()
    with refused:
        teaching.check_live(teacher, PERCENTILE, dataset(images, [9.0]))
