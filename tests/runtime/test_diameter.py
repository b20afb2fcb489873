"""Images whose scale is told by how large their objects are."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from made_packages import blobs, make_class_package, make_package

from abbe.cli import main
from abbe.errors import ConfigError, InputError
from abbe.imaging import Image
from abbe.runtime import predict
from abbe.runtime.package import read_package
from abbe.runtime.predictors.diameter import estimate
from abbe.runtime.predictors.instances import predictor
from abbe.runtime.tiling.cutting import scale_for
from abbe.runtime.tiling.executors import Inline

TRAINED = 16.0
"""px across of what the package was trained on."""


@pytest.fixture
def package(tmp_path: Path) -> Path:
    return make_package(tmp_path / "package", object_diameter=TRAINED)


def discs(diameter: float, side: int = 256, step: int = 3) -> np.ndarray:
    """(side, side) uint16: bright discs of one size in rows, ``step`` diameters apart."""
    apart = step * diameter
    rows, columns = (np.arange(side) % apart - apart / 2 for _ in range(2))
    inside = np.hypot(rows[:, None], columns[None]) <= diameter / 2
    return np.where(inside, 20000, 1000).astype(np.uint16)


def measured(found: np.ndarray) -> float:
    return float(np.median(2 * np.sqrt(np.bincount(found.ravel())[1:] / np.pi)))


@pytest.mark.parametrize(("diameter", "scale"), [(8, 2.0), (32, 0.5), (16.4, 1.0), (16, 1.0)])
def test_a_diameter_is_a_scale(package, diameter, scale):
    image = Image.from_array(discs(16)).with_diameter(float(diameter))
    assert scale_for(image, read_package(package).description) == scale


def test_pixel_sizes_known_on_both_sides_go_first(tmp_path):
    sized = read_package(make_package(tmp_path / "p", pixel_size=0.5, object_diameter=TRAINED))
    pixels = discs(16)
    calibrated = Image.from_array(pixels, pixel_size=0.25).with_diameter(32.0)
    assert scale_for(calibrated, sized.description) == 0.5
    unknown = Image.from_array(pixels).with_diameter(4.0)
    assert scale_for(unknown, sized.description) == 4
    with pytest.raises(InputError, match=r"pixel size is not known.*--diameter"):
        scale_for(Image.from_array(pixels), sized.description)


def test_a_diameter_far_from_the_packages_is_refused(package):
    image = Image.from_array(discs(16), name="a.tif").with_diameter(0.01)
    with pytest.raises(InputError, match=r"a\.tif: objects of 0\.01 px.*16 px.*--diameter"):
        scale_for(image, read_package(package).description)


def test_objects_too_small_for_the_package_are_found_by_their_diameter(package):
    small = discs(5)  # of which the network's 5 x 5 mean leaves nothing above half
    assert predict(package, small).max() == 0
    found = predict(package, small, diameter=5)
    assert found.shape == small.shape
    assert found.max() == (256 // 15 + 1) ** 2 or found.max() == (256 // 15) ** 2
    assert measured(found) == pytest.approx(5, abs=1)


@pytest.mark.parametrize("diameter", [9, 14, 40])
def test_auto_finds_the_diameter(package, diameter):
    image = Image.from_array(discs(diameter))
    found = estimate(predictor(package), image, Inline())
    assert found == pytest.approx(diameter, rel=0.12)
    np.testing.assert_array_equal(
        predict(package, discs(diameter), diameter="auto"),
        predict(package, discs(diameter), diameter=found),
    )


def test_auto_looks_beyond_an_empty_middle(package, monkeypatch):
    monkeypatch.setattr("abbe.runtime.predictors.diameter.SIDE", 256)
    pixels = np.full((3 * 256, 3 * 256), 1000, np.uint16)
    pixels[-128:, -128:] = discs(12, side=128, step=2)
    found = estimate(predictor(package), Image.from_array(pixels), Inline())
    assert found == pytest.approx(12, rel=0.12)


def test_auto_of_an_image_without_objects_sees_it_as_it_is(package):
    empty = np.full((64, 64), 7, np.uint16)
    assert estimate(predictor(package), Image.from_array(empty), Inline()) is None
    assert predict(package, empty, diameter="auto").max() == 0


def test_auto_of_an_image_without_objects_and_pixel_size_sees_it_as_it_is(tmp_path, capsys):
    sized = make_package(tmp_path / "p", pixel_size=0.5, object_diameter=TRAINED)
    images, out = tmp_path / "images", tmp_path / "out"
    images.mkdir()
    tifffile.imwrite(images / "empty.tif", np.full((64, 64), 7, np.uint16))
    tifffile.imwrite(images / "full.tif", discs(8))
    words = ["predict", str(sized), str(images), "--out", str(out), "--diameter", "auto"]
    assert main(words) == 0
    assert lines(out)["empty"]["objects"] == 0
    assert "diameter" not in lines(out)["empty"]
    assert any("seen as it is" in note for note in lines(out)["empty"]["notes"])
    assert lines(out)["full"]["diameter"] == pytest.approx(8, rel=0.12)
    assert not any("seen as it is" in note for note in lines(out)["full"].get("notes", ()))
    empty = np.full((64, 64), 7, np.uint16)
    assert predict(sized, empty, diameter="auto").max() == 0


def test_auto_looks_at_what_the_network_sees(package, monkeypatch):
    opened, shown = predictor(package), Image.from_array(discs(14))
    monkeypatch.setattr(type(opened), "seen", lambda self, image, work: shown)  # in other stains
    faint = Image.from_array(np.full((256, 256), 7, np.uint16))
    assert estimate(opened, faint, Inline()) == pytest.approx(14, rel=0.12)


def lines(out: Path) -> dict[str, dict]:
    text = (out / "predicted.jsonl").read_text().splitlines()
    return {line["stem"]: line for line in map(json.loads, text)}


def test_files_say_by_which_diameter_they_were_seen(package, tmp_path, capsys):
    images = tmp_path / "images"
    images.mkdir()
    for name, diameter in (("small", 8), ("large", 32)):
        tifffile.imwrite(images / f"{name}.tif", discs(diameter))
    out = tmp_path / "out"
    words = ["predict", str(package), str(images), "--out", str(out)]
    assert main([*words, "--diameter", "auto"]) == 0
    told = capsys.readouterr().out
    found = lines(out)
    assert found["small"]["diameter"] == pytest.approx(8, rel=0.12)
    assert found["large"]["diameter"] == pytest.approx(32, rel=0.12)
    assert found["large"]["task"]["diameter"] == "auto"
    assert "seen by their diameter: objects of" in told
    assert main([*words, "--diameter", "auto"]) == 0
    assert "results were there already: 2 images" in capsys.readouterr().out
    assert main([*words, "--diameter", "20"]) == 0  # another task
    assert "seen by their diameter: objects of 20 px" in capsys.readouterr().out
    assert lines(out)["small"]["diameter"] == lines(out)["small"]["task"]["diameter"] == 20


def test_a_calibrated_image_is_told_that_its_diameter_is_not_looked_at(tmp_path, capsys):
    sized = make_package(tmp_path / "p", pixel_size=0.5, object_diameter=TRAINED)
    tifffile.imwrite(
        tmp_path / "a.ome.tif", discs(16), ome=True,
        metadata={"axes": "YX", "PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm",
                  "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"},
    )  # fmt: skip
    out = tmp_path / "out"
    words = ["predict", str(sized), str(tmp_path / "a.ome.tif"), "--out", str(out)]
    assert main([*words, "--diameter", "40"]) == 0
    assert "0.5 µm, and the package's are known" in capsys.readouterr().out
    assert "diameter" not in lines(out)["a"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"diameter": 0}, "--diameter 0"),
        ({"diameter": float("nan")}, "--diameter nan"),
        ({"diameter": 12, "pixel_size": 0.5}, "not both"),
        ({"diameter": "auto", "override_pixel_size": 0.5}, "not both"),
        ({"pixel_size": 0.5, "override_pixel_size": 0.5}, "give one of them"),
        ({"pixel_size": 0.0}, "--pixel-size 0: no pixel is so wide"),
        ({"override_pixel_size": float("nan")}, "--override-pixel-size nan: no pixel is so wide"),
    ],
)
def test_options_that_mean_nothing_are_refused(package, options, words):
    with pytest.raises(ConfigError, match=words):
        predict(package, discs(16), **options)


def test_packages_that_cannot_tell_refuse_a_diameter(tmp_path):
    with pytest.raises(ConfigError, match="does not say how large the objects were"):
        predict(make_package(tmp_path / "old"), blobs(64, 64), diameter=12)
    with pytest.raises(ConfigError, match="this is a classification package"):
        predict(make_class_package(tmp_path / "classes"), blobs(64, 64), diameter=12)
