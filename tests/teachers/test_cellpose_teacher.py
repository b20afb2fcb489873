"""The Cellpose adapter, on a FAKE cellpose (fake_programs.py), and its messages."""

import sys
from pathlib import Path
from typing import Any
from urllib.error import URLError

import numpy as np
import pytest
import torch
from fake_programs import FakeNet, fake_cellpose
from helpers_of_teachers import SeededImage, dataset_of

from abbe.errors import ConfigError, InputError, MissingPackageError
from abbe.files import sha256_of_file
from abbe.imaging import Image
from abbe.targets import TargetStore
from abbe.teachers import TEACHERS, cellpose, teach

CHANNELS = ("nucleus", "membrane")


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    module = fake_cellpose(tmp_path)
    monkeypatch.setitem(sys.modules, "cellpose", type(sys)("cellpose"))
    monkeypatch.setitem(sys.modules, "cellpose.models", module)
    return module


def test_instances_and_probability_are_stored(installed, tmp_path: Path):
    teacher = TEACHERS["cellpose"]("cpsam_v2", CHANNELS, device="cpu", diameter=20.0)
    report = teach(teacher, dataset_of(2), tmp_path / "t", progress=False)
    assert report.failed == {}
    store = TargetStore(tmp_path / "t")
    pixels = SeededImage(1).open().read(channels=["nucleus"])[0]
    np.testing.assert_array_equal(store.read("image-1", "instances") > 0, pixels > 100)
    probability = store.read("image-1", "probability")[0]
    np.testing.assert_array_equal(probability > 0.5, pixels > 100)
    assert probability.max() == pytest.approx(1 / (1 + np.exp(-4)), abs=0.01)
    assert installed.CellposeModel.calls[0]["shape"] == (48, 40, 2)
    assert installed.CellposeModel.calls[0]["diameter"] == 20


def test_provenance(installed, tmp_path: Path):
    found = cellpose("cpsam_v2", CHANNELS, device="cpu", precision="bf16").provenance
    assert found.teacher == "cellpose cpsam_v2"
    assert found.weights_sha256 == sha256_of_file(tmp_path / "cpsam_v2")
    assert "CC-BY-NC" in found.weights_licence
    assert "CC-BY-NC" in found.training_data_licence
    assert "in order, then blank" in found.normalisation
    assert found.settings == {
        "gives": "probability, instances", "precision": "bf16", "tile": "2048", "halo": "256"
    }  # fmt: skip
    for other in ({"tile": 512}, {"halo": 64}, {"precision": "fp32"}, {"gives": "instances"}):
        options: dict[str, Any] = {"device": "cpu", "precision": "bf16", **other}
        assert found.differences(cellpose("cpsam_v2", CHANNELS, **options).provenance), other


@pytest.mark.parametrize("kind", ["probability", "instances"])
def test_one_kind_alone(installed, kind: str):
    teacher = cellpose("cpsam_v2", CHANNELS, device="cpu", gives=kind)
    assert set(teacher.predict(SeededImage(1).open(), "a").maps) == {kind}


def test_nothing_found_is_empty(installed):
    image = Image.from_array(np.zeros((1, 30, 30), np.uint8), ["nucleus"])
    for gives in ("probability", "instances"):
        assert cellpose("cpsam_v2", ["nucleus"], gives=gives).predict(image, "a").empty


def test_a_large_image_is_looked_at_in_tiles(installed):
    pixels = np.zeros((1, 130, 170), np.uint8)
    for row in range(6, 125, 17):
        for column in range(4, 165, 15):
            pixels[0, row : row + 7, column : column + 7] = 200
    image = Image.from_array(pixels, ["nucleus"])
    whole = cellpose("cpsam_v2", ["nucleus"]).predict(image, "a").maps
    tiled = cellpose("cpsam_v2", ["nucleus"], tile=48, halo=12).predict(image, "a").maps
    np.testing.assert_array_equal(tiled["probability"], whole["probability"])
    np.testing.assert_array_equal(tiled["instances"] > 0, whole["instances"] > 0)
    pairs = np.unique(np.stack([tiled["instances"], whole["instances"]]).reshape(2, -1), axis=1)
    assert pairs.shape[1] == len(np.unique(pairs[0])) == len(np.unique(pairs[1]))


def test_an_object_that_a_tile_cuts_is_no_silent_half(installed):
    pixels = np.zeros((1, 40, 200), np.uint8)
    pixels[0, 10:30, 20:180] = 200
    teacher = cellpose("cpsam_v2", ["nucleus"], tile=64, halo=8)
    with pytest.raises(InputError, match=r"object around row 20.*cut by the edge.*larger halo"):
        teacher.predict(Image.from_array(pixels, ["nucleus"]), "a")


def test_not_installed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "cellpose", None)
    monkeypatch.setitem(sys.modules, "cellpose.models", None)
    with pytest.raises(MissingPackageError) as caught:
        cellpose("cpsam_v2", CHANNELS)
    said = str(caught.value)
    for words in ("'cellpose>=4'", "environment of its own", "--teacher.kind store"):
        assert words in said


def test_another_model_is_not_taken_instead(installed, tmp_path: Path):
    with pytest.raises(InputError, match=r"cyto3: neither a file nor a model.*cpsam_v2, cpsam"):
        cellpose("cyto3", CHANNELS)
    torch.save({"out.weight": FakeNet().out.weight}, tmp_path / "half")
    with pytest.raises(InputError, match=r"half: not the weights.*1 of its tensors.*out\.bias"):
        cellpose(tmp_path / "half", CHANNELS)


def test_weights_that_cannot_be_fetched(installed, monkeypatch: pytest.MonkeyPatch):
    class Fetching:
        def __init__(self, pretrained_model: str, device: object, use_bfloat16: bool) -> None:
            raise URLError("no network")

    monkeypatch.setattr(installed, "CellposeModel", Fetching)
    with pytest.raises(InputError, match=r"cpsam_v2: Cellpose cannot fetch.*no network"):
        cellpose("cpsam_v2", CHANNELS)


def test_wrong_options(installed, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(ConfigError, match="one to three channels"):
        cellpose("cpsam_v2", ["a", "b", "c", "d"])
    with pytest.raises(ConfigError, match="gives: choose from probability, instances"):
        cellpose("cpsam_v2", CHANNELS, gives="embedding")
    with pytest.raises(ConfigError, match="fp32 or bf16"):
        cellpose("cpsam_v2", CHANNELS, precision="fp16")
    with pytest.raises(ConfigError, match="tile 0"):
        cellpose("cpsam_v2", CHANNELS, tile=0).predict(SeededImage(1).open(), "a")
    monkeypatch.setattr(installed, "CellposeModel", lambda model_type=None, gpu=False: None)
    with pytest.raises(ConfigError, match="older than 4"):
        cellpose("cpsam_v2", CHANNELS)
