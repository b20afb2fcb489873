"""Weights that run code when they are unpickled never reach another program, whatever it allows."""

import sys
import types
from pathlib import Path

import pytest
import torch
from fake_programs import FakeNet

from abbe.errors import InputError
from abbe.teachers import cellpose, cellsam, torch_module

CHANNELS = ("nucleus", "membrane")


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


@pytest.fixture(params=["zip", "old"])
def weights(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / "weights.pt"
    state = {**FakeNet().state_dict(), "more": Touch(tmp_path / "trace")}
    torch.save(state, path, _use_new_zipfile_serialization=request.param == "zip")
    return path


def reckless(path: str) -> FakeNet:
    """What a program does that trusts every file."""
    torch.load(path, weights_only=False)
    return FakeNet()


@pytest.fixture(autouse=True)
def programs(monkeypatch: pytest.MonkeyPatch) -> None:
    """FAKE programs, which unpickle all that they are given."""

    class Model:
        def __init__(self, pretrained_model: str, device: object, use_bfloat16: bool) -> None:
            self.net, self.pretrained_model = reckless(pretrained_model), pretrained_model

    models = types.ModuleType("cellpose.models")
    models.__dict__.update(CellposeModel=Model, MODEL_NAMES=["cpsam_v2"], get_user_models=list)
    parent = types.ModuleType("cellpose")
    parent.__dict__["models"] = models
    monkeypatch.setitem(sys.modules, "cellpose", parent)
    monkeypatch.setitem(sys.modules, "cellpose.models", models)
    package = types.ModuleType("cellSAM")
    package.__dict__.update(get_local_model=reckless, get_model=reckless)
    monkeypatch.setitem(sys.modules, "cellSAM", package)


@pytest.mark.parametrize("teacher", [cellpose, cellsam])
def test_pickles_are_refused_before_a_program_sees_them(weights: Path, tmp_path: Path, teacher):
    with pytest.raises(InputError, match=r"weights\.pt: damaged, or no file of named tensors"):
        teacher(weights, CHANNELS)
    assert not (tmp_path / "trace").exists()
    reckless(str(weights))
    assert (tmp_path / "trace").exists()  # such a file does what it is made for


def test_ours_neither(weights: Path, tmp_path: Path):
    with pytest.raises(InputError, match="run code"):
        torch_module("fake_programs:FakeNet", CHANNELS, weights=weights)
    assert not (tmp_path / "trace").exists()
