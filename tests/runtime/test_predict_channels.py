"""An image's channels and those that a package sees: by name, by colour, by the user's word."""

import numpy as np
import pytest
import tifffile
from commands import abbe
from made_packages import blobs, make_package
from PIL import Image as Picture
from written_tiff import write_tiff

from abbe.errors import InputError
from abbe.imaging import Image, read_labels
from abbe.runtime.predictors.predict import predict


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def test_missing_channels_are_named(tmp_path):
    package = make_package(tmp_path / "package", channels=("nucleus", "membrane"))
    with pytest.raises(InputError, match="the package sees nucleus, membrane, but the image has"):
        predict(package, blobs(50, 50))
    with pytest.raises(InputError, match="the package sees nucleus, membrane"):
        predict(package, np.stack([blobs(50, 50)] * 3))


def test_channels_are_found_by_name_in_any_order(tmp_path):
    package = make_package(tmp_path / "package")
    bright, other = blobs(80, 80), blobs(80, 80, seed=5)
    image = Image.from_array(np.stack([other, bright]), ["membrane", "nucleus"])
    np.testing.assert_array_equal(predict(package, image), predict(package, bright))


def test_a_grey_image_that_was_saved_in_colours_is_grey(tmp_path, capsys):
    package = make_package(tmp_path / "package")
    grey = blobs(80, 80).astype(np.uint8)
    write_tiff(tmp_path / "in" / "grey.tif", grey)
    Picture.fromarray(np.stack([grey] * 3, -1)).save(tmp_path / "in" / "saved.png")
    off = np.stack([grey] * 3, -1)
    off[79, 79, 2] ^= 1  # one pixel is coloured
    Picture.fromarray(off).save(tmp_path / "in" / "coloured.png")
    assert abbe("predict", package, tmp_path / "in", "--out", tmp_path / "out") == 1
    said = capsys.readouterr().out
    assert (
        "note on 1 image: It is grey, though saved in colours: red, green and blue are alike"
        in said
    )
    assert "1 image failed" in said
    assert "coloured.png: the package sees nucleus, but this is a colour image" in said
    np.testing.assert_array_equal(
        read_labels(tmp_path / "out" / "saved.labels.tif"),
        read_labels(tmp_path / "out" / "grey.labels.tif"),
    )


def test_channels_are_mapped_and_renamed(tmp_path, capsys):
    package = make_package(tmp_path / "package")
    grey = write_tiff(tmp_path / "grey.tif", blobs(80, 80))
    two = tmp_path / "two.ome.tif"
    pixels = np.stack([blobs(80, 80, seed=5), blobs(80, 80)])
    metadata = {"axes": "CYX", "Channel": {"Name": ["actin", "DAPI"]}}
    tifffile.imwrite(two, pixels, metadata=metadata, photometric="minisblack")
    assert abbe("predict", package, grey, "--out", tmp_path / "a") == 0
    assert (
        "note on 1 image: Its one channel, grey, is taken for nucleus." in capsys.readouterr().out
    )
    assert abbe("predict", package, two, "--out", tmp_path / "b") == 1
    assert "such as nucleus=actin" in capsys.readouterr().out
    assert abbe("predict", package, two, "--out", tmp_path / "b", "--channels", "nucleus=DAPI") == 0
    np.testing.assert_array_equal(
        read_labels(tmp_path / "b" / "two.labels.tif"),
        read_labels(tmp_path / "a" / "grey.labels.tif"),
    )
    rgb = make_package(tmp_path / "rgb", channels=("red", "green", "blue"))
    with pytest.raises(InputError, match=r"this is a grey image \(one channel, grey\)"):
        predict(rgb, grey)
    tifffile.imwrite(
        tmp_path / "rgb.tif",
        np.tile([[[9, 8, 7]]], (20, 20, 1)).astype(np.uint8),
        photometric="rgb",
    )
    with pytest.raises(InputError, match=r"this is a colour image \(red, green, blue\)"):
        predict(package, tmp_path / "rgb.tif")
