"""The CellSAM adapter, on a FAKE cellSAM (fake_programs.py): traps, channels, messages."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest
import torch
from fake_programs import FakeNet, fake_cellsam
from helpers_of_teachers import SeededImage, dataset_of

from abbe.errors import ConfigError, InputError, MissingPackageError
from abbe.imaging import Image
from abbe.teachers import TEACHERS, cellsam, teach

CHANNELS = ("nucleus", "membrane")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    monkeypatch.setenv("DEEPCELL_ACCESS_TOKEN", "a token")
    return tmp_path


def install(monkeypatch: pytest.MonkeyPatch, fails: str = "") -> types.ModuleType:
    package = fake_cellsam(fails)
    monkeypatch.setitem(sys.modules, "cellSAM", package)
    return package


def test_instances_from_blank_nuclear_membrane(monkeypatch: pytest.MonkeyPatch):
    package = install(monkeypatch)
    teacher = TEACHERS["cellsam"]("cellsam_general", CHANNELS, device="cpu")
    image = SeededImage(1).open()
    found = teacher.predict(image, "a").maps["instances"]
    pixels = image.read(channels=["nucleus"])[0]
    np.testing.assert_array_equal(found > 0, pixels > 100)
    shown = package.seen[0]
    assert shown.shape == (48, 40, 3)
    assert not shown[..., 0].any()
    assert shown.max() == pytest.approx(1)
    assert np.corrcoef(shown[..., 1].ravel(), pixels.ravel())[0, 1] > 0.99
    cellsam("cellsam_general", ["nucleus"], device="cpu").predict(image, "a")
    assert not package.seen[1][..., :2].any()
    assert package.seen[1][..., 2].any()


def test_provenance(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch)
    found = cellsam("cellsam_general", CHANNELS).provenance
    assert found.teacher == "cellsam cellsam_general"
    assert "non-commercial" in found.weights_licence
    assert "blank, nuclear, membrane" in found.normalisation
    assert len(found.weights_sha256 or "") == 64


def test_an_honest_empty_is_empty(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch)
    image = Image.from_array(np.zeros((2, 40, 40), np.uint8), CHANNELS)
    answer = cellsam("cellsam_general", CHANNELS).predict(image, "a")
    assert answer.empty
    assert answer.maps["instances"].shape == (40, 40)


@pytest.mark.parametrize("fails", ["raising", "logging"])
def test_a_failure_is_never_an_empty_mask(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fails: str
):
    install(monkeypatch, fails)
    teacher = cellsam("cellsam_general", CHANNELS)
    report = teach(teacher, dataset_of(2), tmp_path / "t", progress=False)
    assert (report.done, report.empty) == (0, 0)
    assert all("out of memory" in message for message in report.failed.values())
    assert len(report.failed) == 2


def test_tiles_do_not_wrap_around_the_image(monkeypatch: pytest.MonkeyPatch):
    package = install(monkeypatch)
    pixels = np.zeros((1, 100, 100), np.uint8)
    pixels[0, 40:52, 90:] = 200  # touches the right edge only
    pixels[0, 5:11, 5:11] = 200
    image = Image.from_array(pixels, ["nucleus"])
    found = cellsam("cellsam_general", ["nucleus"], tile=48, halo=16).predict(image, "a")
    assert found.maps["instances"].max() == 2
    np.testing.assert_array_equal(found.maps["instances"] > 0, pixels[0] > 0)
    left = [tile for tile in package.seen if tile[:, 0].any()]
    assert left == []  # no tile at the left edge was shown what lies at the right one


def test_weights_need_a_token_or_a_file(monkeypatch: pytest.MonkeyPatch, home: Path):
    install(monkeypatch)
    monkeypatch.delenv("DEEPCELL_ACCESS_TOKEN")
    with pytest.raises(ConfigError, match=r"access token.*users\.deepcell\.org"):
        cellsam("cellsam_general", CHANNELS)
    torch.save(FakeNet().state_dict(), home / "own.pt")
    assert cellsam(home / "own.pt", CHANNELS).provenance.teacher == "cellsam own.pt"
    (home / ".deepcell" / "models").mkdir(parents=True)
    (home / ".deepcell" / "models" / "cellsam-models_v1.2.tar.gz").touch()
    assert cellsam("cellsam_general", CHANNELS)


def test_what_can_be_wrong(monkeypatch: pytest.MonkeyPatch, home: Path):
    package = install(monkeypatch)
    with pytest.raises(ConfigError, match="nuclear channel before the membrane: name nucleus, m"):
        cellsam("cellsam_general", ("membrane", "nucleus"))
    with pytest.raises(ConfigError, match="one to three channels"):
        cellsam("cellsam_general", ("a", "b", "c", "d"))
    with pytest.raises(InputError, match=r"cellsam_huge: neither a file of weights nor one of"):
        cellsam("cellsam_huge", CHANNELS)
    torch.save({"out.bias": torch.zeros(2)}, home / "half.pt")
    with pytest.raises(InputError, match=r"half\.pt: not the weights"):
        cellsam(home / "half.pt", CHANNELS)
    (home / "broken.pt").write_bytes(b"not weights")
    with pytest.raises(InputError, match=r"broken\.pt: damaged"):
        cellsam(home / "broken.pt", CHANNELS)
    small = Image.from_array(np.zeros((1, 8, 200), np.uint8), ["nucleus"])
    with pytest.raises(InputError, match="at least 16 px"):
        cellsam("cellsam_general", ["nucleus"]).predict(small, "a")
    monkeypatch.setattr(package, "get_model", lambda model=None: model)
    with pytest.raises(ConfigError, match="too old"):
        cellsam("cellsam_general", CHANNELS)
    monkeypatch.setitem(sys.modules, "cellSAM", None)
    with pytest.raises(MissingPackageError, match=r"'cellSAM'.*github\.com/vanvalenlab/cellSAM"):
        cellsam("cellsam_general", CHANNELS)
