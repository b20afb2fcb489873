"""Slides as a user gives them: the keys of `data`, the check, its picture, its bar."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import tifffile
from commands import abbe

from abbe import config
from abbe.errors import ConfigError, InputError
from abbe.imaging import write_labels
from abbe.runs import build
from abbe.runs.lost import Lost, readable

SLIDES = ["--data.kind", "slides", "--data.size", "128"]
RESOLUTION: dict[str, Any] = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}


@pytest.fixture
def slides(tmp_path: Path) -> Path:
    """One slide of 512 px at 0.5 µm: tissue in the upper half, green ink in a quarter of that."""
    pixels = np.full((512, 512, 3), 242, np.uint8)
    stains = np.array([[205, 140, 180], [110, 70, 140]], np.uint8)
    pixels[:256] = np.random.default_rng(0).choice(stains, (256, 512))
    pixels[:128, :256] = (30, 150, 90)
    (tmp_path / "slides").mkdir()
    tifffile.imwrite(tmp_path / "slides" / "one.tif", pixels, photometric="rgb", **RESOLUTION)
    return tmp_path / "slides"


def tiles(slides: Path, **keys: Any) -> int:
    return len(build.collect(config.Data(kind="slides", path=slides, size=128, **keys)))


def test_every_rule_is_a_key(slides):
    assert tiles(slides) == 6
    assert tiles(slides, stride=64) > 6
    assert tiles(slides, minimum_tissue=0, minimum_sharpness=0) == 14  # glass, but no ink
    ink = {"maximum_pen": 1, "minimum_tissue": 0}
    assert tiles(slides, **ink) == 6  # without structure, glass and ink are blurred
    assert tiles(slides, **ink, minimum_sharpness=0) == 16


def test_the_channels_may_be_named_and_only_as_colours(slides, capsys):
    assert tiles(slides, channels=("red", "green", "blue")) == 6
    words = ["--data.channels", "nucleus", "membrane", "dna"]
    assert abbe("data", "check", slides, *SLIDES, *words) == 1
    assert "channels of slides are red, green, blue, not nucleus" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("key", "value"),
    [("stride", 64), ("minimum_tissue", 0.2), ("maximum_pen", 0.5), ("minimum_sharpness", 0)],
)
def test_rules_for_tiles_are_refused_of_other_data(key, value, tmp_path):
    with pytest.raises(ConfigError, match=f"{key} is about slides: leave it out"):
        config.Data(path=tmp_path, **{key: value})


def test_the_check_draws_the_tiles(slides, tmp_path, capsys):
    picture = tmp_path / "tiles.png"
    assert abbe("data", "check", slides, *SLIDES, "--picture", picture) == 0
    shown = capsys.readouterr()
    assert f"picture of the tiles: {picture}" in shown.out
    assert "slides: 6 images" in shown.out
    assert shown.err == ""  # no bar where nobody watches
    with PIL.Image.open(picture) as drawn:
        assert (0, 150, 60) in {tuple(c) for c in np.asarray(drawn).reshape(-1, 3).tolist()}


def test_the_picture_shows_why_no_tile_was_taken(slides, tmp_path, capsys):
    picture = tmp_path / "tiles.png"
    words = ["--data.minimum-sharpness", "1e9", "--picture", picture]
    assert abbe("data", "check", slides, *SLIDES, *words) == 1
    assert "lower minimum_tissue or minimum_sharpness" in capsys.readouterr().err
    assert picture.exists()


def test_other_data_have_no_picture_of_tiles(tmp_path, capsys):
    assert abbe("data", "check", tmp_path, "--picture", tmp_path / "tiles.png") == 1
    assert "data.kind: tiles are taken from slides, and this is 'folder'" in capsys.readouterr().err


def test_the_check_names_fluorescence_slides(slides, capsys):
    pixels = np.ones((3, 256, 256), np.uint16)
    tifffile.imwrite(slides / "dyes.qptiff", pixels, photometric="minisblack", metadata=None,
                     **RESOLUTION)  # fmt: skip
    assert abbe("data", "check", slides, *SLIDES) == 1
    shown = capsys.readouterr().out
    assert "no problem found" not in shown
    assert "dyes.qptiff: tissue is looked for in colour images of 8 bits" in shown


def test_a_bar_is_shown_to_whoever_watches(slides, capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert tiles(slides) == 6
    assert "1/1" in capsys.readouterr().err


def damaged_slide(slides: Path) -> None:
    (slides / "cut.tif").write_bytes((slides / "one.tif").read_bytes()[:5000])


@pytest.mark.parametrize("begun", [False, True])
def test_a_slide_that_cannot_be_used_is_a_lost_image_of_a_run(slides, begun):
    damaged_slide(slides)
    dataset = build.collect(config.Data(kind="slides", path=slides, size=128))
    with pytest.raises(InputError, match=r"1 image was lost, and 0 may be:\n.*cut\.tif"):
        readable(dataset, Lost(0, begun=begun), progress=False)
    lost = Lost(1, begun=begun)
    left = readable(dataset, lost, progress=False)
    assert (left.ids, left.left_out) == (dataset.ids, {})
    assert lost.ids == lost.left_out == ["cut.tif"]
    # what the finished run did without is known, and no fault any more
    assert len(readable(dataset.without(lost.left_out), Lost(0), progress=False)) == 6


def test_a_slide_that_cannot_be_used_has_failed_to_be_taught(slides, tmp_path, capsys):
    for id in build.collect(config.Data(kind="slides", path=slides, size=128)).ids:
        write_labels(tmp_path / "masks" / f"{id}.png", np.ones((128, 128), np.int32))
    damaged_slide(slides)
    teacher = ["--teacher.kind", "masks", "--teacher.path", tmp_path / "masks"]
    words = ["teach", "--data.path", slides, *SLIDES, *teacher, "--out", tmp_path / "targets.zarr"]
    assert abbe(*words, "--plan") == 1
    assert "cut.tif" in capsys.readouterr().out
    assert abbe(*words) == 1
    said = capsys.readouterr().out
    assert "6 images taught (0 of them empty), 0 already there, 1 failed" in said
    assert "cut.tif" in said
    assert abbe(*words, "--allow-failed", 1) == 0
