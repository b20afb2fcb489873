"""An encoder that begins from a student: its file, its run's package, or a package's name."""

from pathlib import Path

import pytest
import torch

from abbe.errors import InputError
from abbe.runtime.package import (
    InstanceRule,
    Lineage,
    PackageDescription,
    describe_file,
    places,
    write_description,
)
from abbe.students import Standardisation, UNet, build, save

NAME = "unet-mobilenetv3"


@pytest.fixture(scope="module")
def student() -> UNet:
    torch.manual_seed(4)
    return build(NAME, in_channels=1, encoder_weights="random", depth=4)


@pytest.fixture
def package(student: UNet, tmp_path: Path) -> Path:
    folder = tmp_path / "packages" / "cells"
    folder.mkdir(parents=True)
    save(folder / "model.safetensors", student, {})
    (folder / "model.onnx").write_bytes(b"not looked at")
    description = PackageDescription(
        abbe="0.1.0", name="cells", title="Cells", task="segmentation", architecture=NAME,
        channels=("nucleus",), pixel_size=None, divisor=16, tile=128, halo=32,
        outputs=("foreground",), instances=InstanceRule(),
        files={
            "onnx": describe_file(folder, "model.onnx"),
            "weights": describe_file(folder, "model.safetensors"),
        },
        lineage=Lineage(
            teacher="none", weights_licence="none", training_data_licence="none", dataset="none",
            dataset_licence="none", recipe="supervised", run="run",
        ),
    )  # fmt: skip
    write_description(folder, description)
    return folder


def begun(weights: Path, depth: int = 4) -> UNet:
    torch.manual_seed(9)
    return build(NAME, in_channels=1, encoder_weights=weights, depth=depth)


def same_encoder(first: UNet, second: UNet) -> bool:
    a, b = first.encoder.state_dict(), second.encoder.state_dict()
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_file_folder_and_name_give_the_same_encoder(student, package, monkeypatch):
    monkeypatch.setattr(places, "FOLDER", package.parent)
    for weights in (package / "model.safetensors", package, Path("cells")):
        model = begun(weights)
        assert same_encoder(model, student)
        assert not torch.equal(model.head.weight, student.head.weight)  # the decoder is its own


def test_what_the_student_did_to_images_is_done_again(tmp_path):
    torch.manual_seed(4)
    seen = Standardisation((0.4,), (0.3,))
    other = build(NAME, in_channels=1, encoder_weights="random", standardisation=seen, depth=4)
    save(tmp_path / "student.safetensors", other, {})
    model = begun(tmp_path / "student.safetensors")
    assert model.encoder.standardisation == seen


def test_a_deeper_student_is_told_what_would_fit(package):
    with pytest.raises(InputError, match=r"Missing: .*It begins students of --student\.depth 4"):
        begun(package, depth=5)


def test_another_encoder_is_refused_by_name(package):
    with pytest.raises(
        InputError, match=r"'mobilenetv3', and 'resnet18' is wanted.*--student\.depth 4"
    ):
        build("unet-resnet18", in_channels=1, encoder_weights=package, depth=4)


def test_a_package_without_weights_says_so(package):
    (package / "model.safetensors").unlink()
    with pytest.raises(InputError, match=r"cannot begin from this package.*missing"):
        begun(package)


def test_what_is_nowhere_is_no_file(tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        begun(tmp_path / "nowhere")
