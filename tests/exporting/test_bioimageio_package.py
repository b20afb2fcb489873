"""Packages as bioimage.io packages: they pass its own test, and others read them alike."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from small_students import Blobs, discs

from abbe.errors import ConfigError, PackageError
from abbe.exporting.formats import bioimageio
from abbe.exporting.formats.bioimageio import write_bioimageio
from abbe.exporting.formats.torchscript import write_torchscript
from abbe.imaging import Image, normalise, percentile_limits
from abbe.runtime.package import Normalisation, Package
from abbe.runtime.package.engine import open_engine
from abbe.teachers import bioimageio as bioimageio_teacher

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::FutureWarning")]


@pytest.fixture(scope="module")
def written(exported, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With ONNX and TorchScript weights; it is tested by bioimageio.core while it is written."""
    folder = tmp_path_factory.mktemp("bioimageio")
    write_torchscript(Blobs(), folder / "blobs.pt", 1, 16)
    write_bioimageio(
        exported.package,
        folder / "blobs.zip",
        authors=("A. Person",),
        licence="CC-BY-NC-4.0",
        torchscript=folder / "blobs.pt",
    )
    return folder / "blobs.zip"


def test_it_is_described_in_the_words_of_bioimage_io(written):
    with zipfile.ZipFile(written) as zipped:
        values = yaml.safe_load(zipped.read("rdf.yaml"))
        documentation = zipped.read(values["documentation"]["source"]).decode()
    assert set(values["weights"]) == {"onnx", "torchscript"}
    assert values["license"] == "CC-BY-NC-4.0"
    assert values["authors"][0]["name"] == "A. Person"
    space = [axis for axis in values["inputs"][0]["axes"] if axis["type"] == "space"]
    assert [axis["scale"] for axis in space] == [0.5, 0.5]
    assert all(axis["size"]["step"] == 16 for axis in space)
    steps = [step["id"] for step in values["inputs"][0]["preprocessing"]]
    assert steps[1:3] == ["scale_range", "clip"]  # around them stand casts to float32
    assert "watershed" in documentation
    assert "CC0-1.0" in documentation
    assert "the low and the high percentile are one value" in documentation


def test_the_type_whose_range_is_meant_is_told(exported):
    of_range = exported.package.description.model_copy(
        update={"normalisation": Normalisation(kind="range")}
    )
    told = bioimageio._documentation(Package(exported.package.folder, of_range))
    assert "divided by the largest value of uint16" in told
    assert "percentile are one value" not in told


def test_our_own_reader_of_such_packages_gives_the_same_maps(written, exported, tmp_path):
    pixels = (discs(7, 96)[0] * 3000 + 50).astype(np.uint16)
    teacher = bioimageio_teacher(written, ("nucleus",))
    image = Image.from_array(pixels, channels=("nucleus",), pixel_size=0.5)
    answer = teacher.predict(image, "discs")
    engine = open_engine(exported.package, precision="fp32", cache=tmp_path)
    maps = engine.probabilities(normalise(pixels, percentile_limits(pixels))[None])[0]
    np.testing.assert_allclose(answer.maps["probability"], maps, atol=2e-3)


def test_a_package_that_fails_its_test_is_not_written(exported, tmp_path, monkeypatch):
    def shifted(package, scratch):
        image, expected = original(package, scratch)
        np.save(expected, 1 - np.load(expected))
        return image, expected

    original = bioimageio._test_arrays
    monkeypatch.setattr(bioimageio, "_test_arrays", shifted)
    with pytest.raises(PackageError, match=r"bioimageio\.core does not accept the package"):
        write_bioimageio(exported.package, tmp_path / "blobs.zip")
    assert not list(tmp_path.iterdir())


def test_a_licence_that_is_none_is_named(exported, tmp_path):
    with pytest.raises(ConfigError, match="--licence mine alone: is no SPDX name"):
        write_bioimageio(exported.package, tmp_path / "blobs.zip", licence="mine alone")
