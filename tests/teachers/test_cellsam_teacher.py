"""The CellSAM adapter, on a FAKE cellSAM (fake_programs.py): traps, channels, messages.

The fake answers in the shapes of github.com/vanvalenlab/cellSAM at commit 35bc6e0.
"""

import sys
import types
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_programs import FakeCellSAM, fake_cellsam
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


def install(
    monkeypatch: pytest.MonkeyPatch, fails: str = "", answers_none: bool = False
) -> types.ModuleType:
    package = fake_cellsam(fails, answers_none)
    monkeypatch.setitem(sys.modules, "cellSAM", package)
    monkeypatch.setitem(sys.modules, "cellSAM.utils", package.utils)
    return package


def test_instances_from_blank_nuclear_membrane(monkeypatch: pytest.MonkeyPatch):
    package = install(monkeypatch)
    options = {"normalisation": "percentile"}
    teacher = TEACHERS["cellsam"]("cellsam_general", CHANNELS, device="cpu", **options)
    image = SeededImage(1).open()
    found = teacher.predict(image, "a").maps["instances"]
    pixels = image.read(channels=["nucleus"])[0]
    np.testing.assert_array_equal(found > 0, pixels > 100)
    shown = package.seen[0]
    assert shown.shape == (48, 40, 3)
    assert not shown[..., 0].any()
    assert shown.max() == pytest.approx(1)
    assert np.corrcoef(shown[..., 1].ravel(), pixels.ravel())[0, 1] > 0.99
    one = cellsam("cellsam_general", ["nucleus"], device="cpu", normalisation="percentile")
    one.predict(image, "a")
    assert not package.seen[1][..., :2].any()
    assert package.seen[1][..., 2].any()


def test_provenance(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch)
    found = cellsam("cellsam_general", CHANNELS).provenance
    assert found.teacher == "cellsam cellsam_general"
    assert "non-commercial" in found.weights_licence
    assert "blank, nuclear, membrane" in found.normalisation
    assert len(found.weights_sha256 or "") == 64
    others: tuple[dict[str, Any], ...] = (
        {"postprocess": True}, {"tile": 256}, {"halo": 64}, {"gives": "instances"}
    )  # fmt: skip
    for other in others:
        assert found.differences(cellsam("cellsam_general", CHANNELS, **other).provenance), other


@pytest.mark.parametrize("answers_none", [False, True])
@pytest.mark.parametrize("bright", [False, True])
def test_no_cells_is_an_empty_target(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, answers_none: bool, bright: bool
):
    """(None, None, None, None), zeros of (3, H, W), or an image that is blank."""
    install(monkeypatch, answers_none=answers_none)
    pixels = np.zeros((2, 40, 40), np.uint8)
    if bright:
        pixels[:] = 20
        pixels[:, 3:6, 3:6] = 30
    monkeypatch.setattr("fake_programs.labelled", lambda bright: np.zeros(bright.shape, np.int64))
    teacher = cellsam("cellsam_general", CHANNELS)
    answer = teacher.predict(Image.from_array(pixels, CHANNELS), "a")
    assert answer.empty
    assert answer.maps["instances"].shape == (40, 40)
    assert answer.maps["probability"].shape == (1, 40, 40)
    assert not answer.maps["instances"].any()
    assert not answer.maps["probability"].any()
    report = teach(teacher, dataset_of(2), tmp_path / "t", progress=False)
    assert (report.done, report.empty, report.failed) == (2, 2, {})


@pytest.mark.parametrize("answers_none", [False, True])
def test_one_empty_tile_does_not_fail_an_image(monkeypatch: pytest.MonkeyPatch, answers_none: bool):
    package = install(monkeypatch, answers_none=answers_none)
    pixels = np.zeros((1, 60, 160), np.uint8)
    pixels[0, 20:30, 20:30] = 200  # in the first tile
    pixels[0, 10, 150] = 60  # the last tile has something to look at, and no cell
    image = Image.from_array(pixels, ["nucleus"])
    teacher = cellsam("cellsam_general", ["nucleus"], tile=64, halo=8, normalisation="percentile")
    answer = teacher.predict(image, "a")
    np.testing.assert_array_equal(answer.maps["instances"] > 0, pixels[0] == 200)
    assert not answer.empty
    assert all(tile.any() for tile in package.seen)  # it was not asked about the blank one
    assert any(tile.max() < 0.5 for tile in package.seen)


def test_soft_masks_are_kept_beside_the_objects(monkeypatch: pytest.MonkeyPatch):
    install(monkeypatch)
    pixels = np.zeros((1, 40, 60), np.uint8)
    pixels[0, 5:15, 5:15] = 200
    pixels[0, 20:32, 30:50] = 200
    image = Image.from_array(pixels, ["nucleus"])
    found = cellsam("cellsam_general", ["nucleus"]).predict(image, "a").maps
    assert found["instances"].max() == 2
    np.testing.assert_allclose(
        found["probability"][0], np.where(found["instances"] > 0, 0.9, 0.2), atol=1e-6
    )
    only = cellsam("cellsam_general", ["nucleus"], gives="instances").predict(image, "a").maps
    assert set(only) == {"instances"}
    soft = cellsam("cellsam_general", ["nucleus"], gives="probability").predict(image, "a").maps
    assert set(soft) == {"probability"}


def test_its_own_normalisation_is_over_the_whole_image(monkeypatch: pytest.MonkeyPatch):
    package = install(monkeypatch)
    pixels = np.random.default_rng(0).integers(1, 4000, (2, 70, 150)).astype(np.uint16)
    image = Image.from_array(pixels, CHANNELS)
    found = cellsam("cellsam_general", CHANNELS, tile=64, halo=8)
    monkeypatch.setattr("fake_programs.labelled", lambda bright: np.zeros(bright.shape, np.int64))
    found.predict(image, "a")
    assert "CLAHE" in found.provenance.normalisation
    slots = np.zeros((70, 150, 3))
    slots[..., 1:] = pixels.transpose(1, 2, 0)
    expected = package.utils.normalize_image(slots).astype(np.float32)
    np.testing.assert_array_equal(package.seen[0], expected[:64, :64])
    np.testing.assert_array_equal(package.seen[-1], expected[-64:, -64:])
    monkeypatch.setattr(import_module("abbe.teachers.programs.cellsam"), "LARGEST_CLAHE", 1000)
    with pytest.raises(InputError, match=r"70 x 150 px are too many.*normalisation percentile"):
        found.predict(image, "a")
    with pytest.raises(ConfigError, match="no normalisation 'zscore'; choose from clahe, perc"):
        cellsam("cellsam_general", CHANNELS, normalisation="zscore")


@pytest.mark.parametrize("nested", [False, True])
@pytest.mark.parametrize("with_copy", [False, True])
def test_checkpoints_that_cellsam_loads(
    monkeypatch: pytest.MonkeyPatch, home: Path, nested: bool, with_copy: bool
):
    package, loaded = install(monkeypatch), []
    local = package.get_local_model
    monkeypatch.setattr(
        package, "get_local_model", lambda path: loaded.append(local(path)) or loaded[-1]
    )
    weights = FakeCellSAM().state_dict()
    kept = {k: v for k, v in weights.items() if with_copy or not k.startswith("model_cp.")}
    torch.save({"state_dict": kept, "epoch": 7} if nested else kept, home / "own.pt")
    assert cellsam(home / "own.pt", CHANNELS)
    for key, value in loaded[0].state_dict().items():
        source = key if with_copy else key.replace("model_cp.", "model.")
        assert torch.equal(value, weights[source]), key


def test_a_checkpoint_that_cellsam_would_pass_over_is_refused(
    monkeypatch: pytest.MonkeyPatch, home: Path
):
    """It loads what fits and leaves the rest random: a prefix, or SAM without the detector."""
    install(monkeypatch)
    weights = FakeCellSAM().state_dict()
    torch.save({f"module.{key}": value for key, value in weights.items()}, home / "ddp.pt")
    with pytest.raises(InputError, match=r"ddp\.pt: not the weights of this network; 4 of"):
        cellsam(home / "ddp.pt", CHANNELS)
    torch.save({k: v for k, v in weights.items() if k.startswith("model.")}, home / "sam.pt")
    with pytest.raises(InputError, match=r"2 of its tensors .* such as cellfinder\.weight"):
        cellsam(home / "sam.pt", CHANNELS)
    torch.save([1, 2], home / "list.pt")
    with pytest.raises(InputError, match=r"list\.pt: holds no named tensors, but list"):
        cellsam(home / "list.pt", CHANNELS)


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
    teacher = cellsam("cellsam_general", ["nucleus"], tile=48, halo=16, normalisation="percentile")
    found = teacher.predict(image, "a")
    assert found.maps["instances"].max() == 2
    np.testing.assert_array_equal(found.maps["instances"] > 0, pixels[0] > 0)
    left = [tile for tile in package.seen if tile[:, 0].any()]
    assert left == []  # no tile at the left edge was shown what lies at the right one


def test_weights_need_a_token_or_a_file(monkeypatch: pytest.MonkeyPatch, home: Path):
    install(monkeypatch)
    monkeypatch.delenv("DEEPCELL_ACCESS_TOKEN")
    with pytest.raises(ConfigError, match=r"access token.*users\.deepcell\.org"):
        cellsam("cellsam_general", CHANNELS)
    torch.save(FakeCellSAM().state_dict(), home / "own.pt")
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
    torch.save({"cellfinder.bias": torch.zeros(3)}, home / "half.pt")
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
