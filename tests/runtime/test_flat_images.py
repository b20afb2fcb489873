"""What has one value everywhere is said, whatever the package is for and does to values."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from commands import abbe
from made_packages import make_class_package, make_package, make_region_package
from prompt_package import make_prompt_package

from abbe.imaging import Image, Region
from abbe.runtime.package import DESCRIPTION
from abbe.runtime.predictors.channels import flat_channels

MAKERS: dict[str, Callable[..., Path]] = {
    "objects": make_package,
    "classes": make_class_package,
    "regions": make_region_package,
    "prompts": lambda folder: make_prompt_package(make_package, folder),
}


@pytest.mark.parametrize("kind", ["percentile", "range"])
@pytest.mark.parametrize("task", [*MAKERS])
def test_predict_says_it_of_every_package(task, kind, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    package = MAKERS[task](tmp_path / "package")
    described = json.loads((package / DESCRIPTION).read_text())
    if kind == "range":
        described |= {"normalisation": {"kind": "range"}, "format": 4}
        (package / DESCRIPTION).write_text(json.dumps(described))
    (tmp_path / "in").mkdir()
    PIL.Image.fromarray(np.full((64, 64), 7, np.uint8)).save(tmp_path / "in" / "flat.png")
    varied = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
    PIL.Image.fromarray(varied).save(tmp_path / "in" / "varied.png")
    words: list[Any] = ["predict", package, tmp_path / "in", "--out", tmp_path / "out"]
    if task == "prompts":
        boxes = "id,x0,y0,x1,y1\nflat,4,4,40,40\nvaried,4,4,40,40\n"
        (tmp_path / "boxes.csv").write_text(boxes)
        words += ["--prompts", tmp_path / "boxes.csv"]
    elif described["pixel_size"]:
        words += ["--pixel-size", described["pixel_size"]]
    assert abbe(*words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("note on 1 image: Nothing can be found by its channel") == 1
    assert "it is 7 in all pixels." in said


def test_one_pixel_anywhere_is_something() -> None:
    pixels = np.zeros((2, 4096, 4200), np.uint8)  # larger than what is looked at as samples
    pixels[1, -1, -1] = 1
    image = Image.from_array(pixels, ("a", "b"))
    assert flat_channels(image, ("b",)) == ()
    assert flat_channels(image, ("b", "a", "a")) == (
        "Nothing can be found by its channel a: it is 0 in all pixels.",
    )


def test_of_most_images_a_window_is_read() -> None:
    pixels = np.zeros((1, 2000, 3000), np.uint8)
    pixels[0, 1000, 1500] = 1
    image, read = Image.from_array(pixels, ("a",)), list[Any]()

    class Watched:
        shape = image.shape

        def read(self, region: Region, channels: Any) -> np.ndarray:
            read.append(region)
            return image.read(region, channels)

    assert flat_channels(Watched(), ("a",)) == ()  # pyright: ignore[reportArgumentType]
    assert read == [Region(744, 1244, 1256, 1756)]
