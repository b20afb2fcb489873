"""Tiles that RCKD pretrains on: without labels, and none of an image of the test."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile

from abbe import config
from abbe.datasets import Dataset, Record, class_folder, folder
from abbe.datasets.collection import FileImage, OneChannel
from abbe.datasets.public.bbbc038 import ColourImage, GreyImage
from abbe.datasets.public.pathology_nuclei import PanNukeImage
from abbe.datasets.public.pathology_regions import ColourPicture
from abbe.datasets.public.photographs import ColourFile
from abbe.datasets.stored import Stored
from abbe.recipes.rckd import tiles_of
from abbe.runs import build


def tiles_for(dataset, folder, **data):
    values = {
        "recipe": "rckd", "out": "x", "data": {"kind": "classes", "path": "x"},
        "pretrain_data": {"path": str(folder), **data},
        "teacher": {"kind": "masks", "path": "x"}, "student": {"encoder_weights": "random"},
    }  # fmt: skip
    return tiles_of(config.parse(values, "test"), dataset)


def test_no_label_goes_with_the_tiles(tiles):
    found = tiles_for(class_folder(tiles / "classes"), tiles / "classes", kind="classes")
    assert len(found) == 6  # those of val and test stay out
    assert all(record.id.startswith("train/") for record in found)
    for record in found:
        assert record.label is None
        assert record.types is None
        assert "class" not in record.columns


def test_images_of_the_test_are_not_pretrained_on_however_they_are_named(
    tiles, tmp_path, monkeypatch
):
    shutil.copytree(tiles / "tiles" / "images", tmp_path / "set" / "images")
    (tmp_path / "link").symlink_to(tmp_path / "set")
    monkeypatch.chdir(tmp_path)
    dataset = folder("set")
    split = dataset.with_splits(dict.fromkeys(dataset.ids[:2], "test"))
    for path, more in (
        ("set", {}),
        (tmp_path / "set", {}),
        ("link", {}),
        ("set", {"pixel_size": 0.5}),
        ("set", {"channels": ["r", "g", "b"]}),
    ):
        found = tiles_for(split, path, kind="folder", **more)
        assert found.ids == dataset.ids[2:], (path, more)


def test_slides_of_the_test_are_not_pretrained_on_in_tiles_of_any_size(tmp_path):
    tissue = np.array([[205, 140, 180], [110, 70, 140]], np.uint8)
    random = np.random.default_rng(0)
    for name in ("one", "two"):
        slide = random.choice(tissue, (256, 256))
        tifffile.imwrite(
            tmp_path / f"{name}.tif", slide, photometric="rgb",
            resolution=(2e4, 2e4), resolutionunit="CENTIMETER",
        )  # fmt: skip
    dataset = build.collect(config.Data(kind="slides", path=tmp_path, size=128))
    split = dataset.with_splits({r.id: "test" for r in dataset if r.group == "one"})
    assert len(split.split("test")) == 4
    for size in (128, 64):
        found = tiles_for(split, tmp_path, kind="slides", size=size)
        assert {record.group for record in found} == {"two"}, size


def test_images_that_sets_keep_in_their_own_ways_are_held_out_as_well(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    images = {
        "a.png": (ColourPicture(Path("a.png")), ColourPicture(tmp_path / "a.png", 0.25)),
        "b.png": (ColourImage(Stored(Path("b.png"))), FileImage(tmp_path / "b.png")),
        "c.png": (GreyImage(Stored(Path("c.png")), "grey"), ColourFile(tmp_path / "c.png")),
        "d.zip": (
            ColourImage(Stored(Path("d.zip"), "one.png")),
            GreyImage(Stored(tmp_path / "d.zip", "one.png"), "grey"),
        ),
        "e.npy": (PanNukeImage(Path("e.npy"), 3, "x"), PanNukeImage(tmp_path / "e.npy", 3, "y")),
    }
    tested, pretrained = zip(*images.values(), strict=True)
    others = (
        ColourImage(Stored(Path("d.zip"), "two.png")),
        PanNukeImage(Path("e.npy"), 4, "x"),
        FileImage(Path("f.png")),
    )
    dataset = Dataset(
        "set", tuple(Record(str(n), image, split="test") for n, image in enumerate(tested)), ("c",)
    )
    tiles = Dataset(
        "tiles", tuple(Record(str(n), image) for n, image in enumerate(pretrained + others)), ("c",)
    )
    monkeypatch.setattr(build, "collect", lambda source: tiles)
    left = tiles_for(dataset, tmp_path, kind="folder")
    assert left.ids == ("5", "6", "7")
    named = dataset.having(
        replace(record, image=OneChannel(record.image, "c")) for record in dataset
    )
    assert tiles_for(named, tmp_path, kind="folder").ids == left.ids
