"""A package as teacher: what abbe predict would find, as maps."""

import sys
import warnings
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))
from made_packages import (  # pyright: ignore[reportMissingImports]
    blobs,
    make_class_package,
    make_package,
)

from abbe.cli import main
from abbe.errors import ConfigError, InputError, PackageError
from abbe.imaging import Image, normalise, percentile_limits, write_labels
from abbe.runs.from_python import kind_of_teacher
from abbe.runtime.package import describe_file, places, read_package, write_description
from abbe.runtime.package.engine import open_engine
from abbe.targets import TargetStore
from abbe.teachers import package


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return make_package(tmp_path / "shipped" / "cells", object_diameter=16)


def test_maps_are_the_networks(folder):
    pixels = blobs(96, 128)
    found = package(folder).predict(Image.from_array(pixels), "a")
    maps = found.maps["probability"]
    seen = normalise(pixels[None], percentile_limits(pixels[None]))
    expected = open_engine(read_package(folder)).probabilities(seen[None])[0]
    np.testing.assert_allclose(maps, expected, atol=0.5 / 255 + 1e-3)
    assert (maps.shape, found.empty) == ((2, 96, 128), False)


def test_provenance_says_what_the_package_does(folder):
    teacher = package(folder, diameter=8)
    told, weights = teacher.provenance, read_package(folder).description.files["onnx"]
    assert (told.teacher, told.outputs) == ("Bright blobs", ("foreground", "boundary"))
    assert told.weights_sha256 == weights.sha256
    assert told.settings == {
        "engine": "openvino",
        "precision": "fp32",
        "tile": str(read_package(folder).description.tile),
        "diameter": "8.0",
    }
    assert told.stand_in
    assert teacher.cost().precision == "fp32"


def test_a_package_for_one_engine_teaches_too(tmp_path):
    import openvino

    folder = make_package(tmp_path / "whole")
    model = openvino.convert_model(folder / "model.onnx")
    openvino.save_model(model, folder / "model.xml", compress_to_fp16=False)
    told = read_package(folder).description
    files = {f"openvino_{kind}": describe_file(folder, f"model.{kind}") for kind in ("xml", "bin")}
    write_description(folder, told.model_copy(update={"files": files}))
    (folder / "model.onnx").unlink()
    teacher = package(folder)
    assert teacher.provenance.weights_sha256 == files["openvino_bin"].sha256
    assert teacher.predict(Image.from_array(blobs(96, 128)), "a").maps["probability"].any()


def test_another_scale_is_seen_by_the_diameter(folder):
    pixels = np.kron(blobs(96, 128), np.ones((2, 2), np.uint16))
    image = Image.from_array(pixels)
    large = package(folder, diameter=32).predict(image, "a").maps["probability"]
    plain = package(folder).predict(Image.from_array(pixels[::2, ::2]), "a").maps["probability"]
    assert large.shape == (2, 192, 256)
    unscaled = package(folder).predict(image, "a").maps["probability"]
    assert np.abs(large[:, ::2, ::2] - plain).mean() < 0.005
    assert np.abs(unscaled[:, ::2, ::2] - plain).mean() > 0.02


def test_images_are_resampled_to_the_packages_pixel_size(tmp_path):
    teacher = package(make_package(tmp_path / "sized", pixel_size=0.5))
    plain, large = blobs(96, 128), np.kron(blobs(96, 128), np.ones((2, 2), np.uint16))
    shown_as_it_is = teacher.predict(Image.from_array(plain, pixel_size=0.5), "a")
    resampled = teacher.predict(Image.from_array(large, pixel_size=0.25), "b").maps["probability"]
    expected = shown_as_it_is.maps["probability"]
    assert resampled.shape == (2, 192, 256)
    assert np.abs(resampled[:, ::2, ::2] - expected).mean() < 0.005
    unscaled = teacher.predict(Image.from_array(large, pixel_size=0.5), "c").maps["probability"]
    assert np.abs(unscaled[:, ::2, ::2] - expected).mean() > 0.02
    with pytest.raises(InputError, match=r"image-a: its pixel size is not known"):
        teacher.predict(Image.from_array(plain, None, None, "image-a"), "a")
    with pytest.raises(InputError, match="One of the two is likely wrong"):
        teacher.predict(Image.from_array(plain, pixel_size=50.0), "a")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        teacher.predict(Image.from_array(plain, pixel_size=0.5), "a")


def test_a_package_that_knows_no_pixel_size_says_so_once(folder):
    calibrated = Image.from_array(blobs(64, 64), pixel_size=0.5)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("default")
        teacher = package(folder)
        teacher.predict(Image.from_array(blobs(64, 64)), "a")
        package(folder, diameter=16).predict(calibrated, "b")  # the diameter tells the scale
        assert told == []
        for id in "cd":
            teacher.predict(calibrated, id)
    assert [str(each.message) for each in told] == [
        "the teacher Bright blobs does not say for which pixel size it was trained: images are "
        "seen as they are, whatever theirs"
    ]


def test_channels_are_shown_by_other_names(folder):
    stack = np.stack([np.zeros((64, 64), np.uint16), blobs(64, 64)])
    image = Image.from_array(stack, ["nucleus", "DAPI"])
    shown = package(folder, ["DAPI"]).predict(image, "a")
    alone = package(folder).predict(Image.from_array(stack[1]), "a")
    np.testing.assert_array_equal(shown.maps["probability"], alone.maps["probability"])
    with pytest.raises(InputError, match=r"no channel actin.*--teacher\.input-channels"):
        package(folder, ["actin"]).predict(image, "a")


def test_what_is_no_teacher_is_refused(folder, tmp_path):
    with pytest.raises(ConfigError, match="classification package"):
        package(make_class_package(tmp_path / "classes"))
    with pytest.raises(ConfigError, match="name another channel for each"):
        package(folder, ["a", "b"])
    with pytest.raises(PackageError, match="holds no package"):
        package(tmp_path / "nothing")


def test_a_name_teaches_from_the_command_line(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(places, "FOLDER", folder.parent)
    (tmp_path / "data" / "images").mkdir(parents=True)
    for seed in range(2):
        np.save(tmp_path / "data" / "images" / f"{seed}.npy", blobs(64, 64, seed))
    write_labels(tmp_path / "data" / "labels" / "0.tif", np.ones((64, 64), np.int32))
    store = tmp_path / "targets.zarr"
    code = main(
        ["teach", "--out", str(store), "--data.path", str(tmp_path / "data"),
         "--teacher.kind", "package", "--teacher.path", "cells"]
    )  # fmt: skip
    assert code == 0
    said = "data: the one channel of its images, grey, is taken for nucleus"
    assert said in capsys.readouterr().out
    assert sorted(TargetStore(store).ids) == ["0", "1"]
    assert kind_of_teacher(Path("cells")) == kind_of_teacher(folder) == "package"
    assert kind_of_teacher(Path("hf:me/cells")) == "package"
    assert kind_of_teacher(Path("nothing")) is None
