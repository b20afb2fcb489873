"""What one validation takes: images one by one, all of them; answered together; and capped.

    python benchmarks/validation.py DSB2018 [--architecture unet-mobilenetv3] [--repeats 3]

DSB2018 is a folder with images/, labels/ and index.csv, whose validation images are taken; beside
them, 200 synthetic images of 512² px. One by one is how Abbe validated before: `students.predict`
for each image. The arms take turns in one process, so that a busy machine slows them alike, and of
each the quickest of its repeats counts; what is printed first is the ratio.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from abbe import scoring, students
from abbe.datasets import folder
from abbe.datasets.training.prepare import Prepared, prepare
from abbe.students import UNet
from abbe.tasks.instances import validator


def one_by_one(network: UNet, images: Sequence[Prepared]) -> float:
    """Mean Dice, an image at a time."""
    found = []
    for image in images:
        assert image.label is not None
        foreground = students.predict(network, image.whole())[0] >= 0.5
        found.append(scoring.pixel_scores(foreground, image.label > 0, image.label >= 0)["dice"])
    return float(np.nanmean(found))


def together(network: UNet, images: Sequence[Prepared]) -> float:
    """Mean Dice as Abbe validates."""
    validate = validator(images, images[0].channels, network.outputs)
    assert validate is not None
    return validate(network)["dice"]


def synthetic(count: int, side: int) -> list[Prepared]:
    """Noise, of which the brighter half is labelled."""
    random = np.random.default_rng(0)
    limits = np.array([[0, 255]], np.float32)
    pixels = [random.integers(0, 256, (1, side, side), np.uint8) for _ in range(count)]
    return [
        Prepared(str(n), each, ("grey",), limits, (side, side), label=(each[0] > 127).astype(int))
        for n, each in enumerate(pixels)
    ]


def compare(name: str, network: UNet, images: Sequence[Prepared], repeats: int) -> None:
    """Print the ratio, both times and how far the scores differ."""
    arms: dict[str, Callable[[UNet, Sequence[Prepared]], float]] = {
        "one by one": one_by_one, "together": together
    }  # fmt: skip
    seconds: dict[str, list[float]] = {arm: [] for arm in arms}
    scores = {}
    for _ in range(repeats):
        for arm, validate in arms.items():
            started = time.perf_counter()
            scores[arm] = validate(network, images)
            seconds[arm].append(time.perf_counter() - started)
    first, second = (min(each) for each in seconds.values())
    apart = abs(scores["one by one"] - scores["together"])
    print(
        f"{name}: {len(images)} images, {first / second:.2f} times as fast together "
        f"({first:.2f} s → {second:.2f} s); Dice differs by {apart:.1g}",
        flush=True,
    )


def main() -> None:
    """Time both kinds of images."""
    parser = argparse.ArgumentParser(description="What one validation takes.")
    parser.add_argument("dsb2018")
    parser.add_argument("--architecture", default="unet-mobilenetv3")
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    torch.manual_seed(0)
    network = students.build(arguments.architecture, in_channels=1, encoder_weights="random")
    records = folder(arguments.dsb2018, channels=["nucleus"]).where(kind="fluo").split("val")
    real = prepare(records.labelled, ("nucleus",))
    small = [
        replace(
            image, pixels=image.pixels[:, :96, :96], shape=(96, 96), label=image.label[:96, :96]
        )
        for image in real
        if isinstance(image.pixels, np.ndarray) and image.label is not None
    ]
    compare("DSB-2018, fluorescence, validation", network, real, arguments.repeats)
    compare("parts of them, 96 px", network, small, arguments.repeats)
    compare("synthetic, 512 px", network, synthetic(200, 512), 1)


if __name__ == "__main__":
    main()
