"""How pixels become what a package's network takes, by format and kind."""

import json

import numpy as np
import pytest
from made_packages import blobs, make_class_package, make_package, make_region_package

from abbe.errors import InputError
from abbe.imaging import normalise, percentile_limits
from abbe.runtime import predict
from abbe.runtime.package import DESCRIPTION, Normalisation, read_package
from abbe.runtime.package.engine import open_engine

NEW = ("standardised", "context")
"""Keys that earlier formats lack."""


def as_format(folder, version):
    """Have a package's description be one that a version wrote which knew no newer format."""
    path = folder / DESCRIPTION
    values = json.loads(path.read_text())
    known = {key: value for key, value in values.items() if key not in NEW or version > 3}
    path.write_text(json.dumps(known | {"format": version}))
    return folder


def dim(height, width):
    """8-bit, up to a quarter of the range, so that stretching changes what is seen."""
    return np.random.default_rng(0).integers(0, 64, (height, width)).astype(np.uint8)


@pytest.mark.parametrize("version", [1, 2, 3])
def test_objects_of_earlier_formats_are_those_of_percentiles(version, tmp_path):
    package = as_format(make_package(tmp_path / "package"), version)
    assert read_package(package).description.format == version
    pixels = blobs(96, 128)
    seen = normalise(pixels[None], percentile_limits(pixels[None]))
    maps = open_engine(read_package(package)).probabilities(seen[None])[0]
    found = predict(package, pixels)
    assert found.max() > 0
    assert not (found > 0)[maps[0] < 0.499].any()
    np.testing.assert_array_equal(found, predict(make_package(tmp_path / "newest"), pixels))


@pytest.mark.parametrize("version", [2, 3])
def test_tiles_of_earlier_formats_are_stretched_one_by_one(version, tmp_path):
    package = as_format(make_class_package(tmp_path / "package"), version)
    pixels = dim(64, 64)
    seen = normalise(pixels[None], percentile_limits(pixels[None]))
    expected = open_engine(read_package(package)).probabilities(seen[None])[0]
    np.testing.assert_allclose(predict(package, pixels), expected, atol=1e-5)


@pytest.mark.parametrize("version", [2, 3])
def test_regions_of_earlier_formats_are_those_of_percentiles(version, tmp_path):
    package = as_format(make_region_package(tmp_path / "package"), version)
    pixels = np.kron(dim(8, 8), np.ones((16, 16), np.uint8))
    seen = normalise(pixels[None], percentile_limits(pixels[None]))
    expected = open_engine(read_package(package)).probabilities(seen[None])[0].argmax(0)
    np.testing.assert_array_equal(predict(package, pixels), expected)


@pytest.mark.parametrize(
    ("kind", "dtype", "most"),
    [
        ("range", np.uint8, 255),
        ("range", np.uint16, 65535),
        ("range", np.float32, 1),
        ("none", np.float32, 1),
    ],
)
@pytest.mark.parametrize("make", [make_package, make_class_package, make_region_package])
def test_range_and_none_look_at_no_image(make, kind, dtype, most, tmp_path):
    values = {"format": 4, "normalisation": Normalisation(kind=kind)}
    package = make(tmp_path / "package", **values)
    share = dim(64, 64) / 255
    pixels = (share * most).astype(dtype)
    seen = (pixels / most).astype(np.float32)[None]
    maps = open_engine(read_package(package)).probabilities(seen[None])[0]
    found = predict(package, pixels)
    if make is make_class_package:
        np.testing.assert_allclose(found, maps, atol=1e-5)
    elif make is make_region_package:
        np.testing.assert_array_equal(found, maps.argmax(0))
    else:  # nothing is bright enough, where stretching would find objects
        assert not (found > 0)[maps[0] < 0.499].any()


@pytest.mark.parametrize("make", [make_package, make_class_package, make_region_package])
@pytest.mark.parametrize("kind", ["range", "none"])
def test_values_that_do_not_lie_in_0_to_1_are_refused(make, kind, tmp_path):
    values = {"format": 4, "normalisation": Normalisation(kind=kind)}
    package = make(tmp_path / "package", **values)
    with pytest.raises(InputError, match=r"its values go from 0 to 6\d, and normalisation"):
        predict(package, dim(64, 64).astype(np.float32))
