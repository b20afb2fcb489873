"""bioimage.io packages that are damaged, hostile or not supported: each is named."""

import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
import yaml
from packages_of_bioimageio import CHANNELS, Package

from abbe.errors import ConfigError, InputError
from abbe.files import sha256_of_file
from abbe.teachers import bioimageio


def put(*keys: Any, value: Any) -> Callable[[dict], None]:
    def change(values: dict) -> None:
        for key in keys[:-1]:
            values = values[key]
        values[keys[-1]] = value

    return change


STEPS = ("inputs", 0, "preprocessing")
NOT_SUPPORTED = {
    "format": (put("format_version", value="0.3.6"), r"format '0\.3\.6' is not supported"),
    "weights": (put("weights", value={"torchscript": {}}), "no ONNX weights, only torchscript"),
    "web": (put("weights", "onnx", "source", value="https://example.com/w.onnx"), "on the web"),
    "outside": (put("weights", "onnx", "source", value="../w.onnx"), "leads out of the package"),
    "missing": (put("weights", "onnx", "source", value="w.onnx"), r"'w\.onnx'.* is missing"),
    "hash": (put("weights", "onnx", "sha256", value="0" * 64), "damaged or was changed"),
    "external": (put("weights", "onnx", "external_data", value={"source": "d"}), "external data"),
    "step": (put(*STEPS, value=[{"id": "custom"}]), "step 'custom' of 'raw' is not supported"),
    "argument": (
        put(*STEPS, value=[{"id": "clip", "kwargs": {"min": 0, "max_percentile": 99}}]),
        "step 'clip' has the argument 'max_percentile'",
    ),
    "reference": (
        put(*STEPS, value=[{"id": "scale_range", "kwargs": {"reference_tensor": "other"}}]),
        "step 'scale_range' has reference_tensor 'other'",
    ),
    "axis": (
        put("inputs", 0, "axes", 0, value={"type": "space", "id": "z", "size": 8}),
        "'raw' has the axes z, channel, y, x; only 2D",
    ),
    "inputs": (put("inputs", value=[{}, {}]), "2 inputs"),
    "lacking": (put("outputs", 0, value={"axes": []}), "lacks or misuses 'id'"),
}


@pytest.mark.parametrize("case", NOT_SUPPORTED)
def test_what_is_not_supported_is_named(package: Package, case: str):
    change, message = NOT_SUPPORTED[case]
    with pytest.raises(InputError, match=message):
        bioimageio(package("0.5.4", lambda values: change(values)))


@pytest.mark.parametrize("contents", [b"", b"no array", b"\x93NUMPY\x01\x00"])
def test_a_test_tensor_that_is_no_array(package: Package, contents: bytes):
    folder = package()
    (folder / "in.npy").write_bytes(contents)
    with pytest.raises(InputError, match=r"'in\.npy' is no \.npy array"):
        bioimageio(folder)


def test_a_damaged_member_of_a_zip(package: Package, tmp_path: Path):
    folder, path = package(), tmp_path / "p.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(folder / "in.npy", "in.npy")
        for file in sorted(set(folder.iterdir()) - {folder / "in.npy"}):
            archive.write(file, file.name)
    data = bytearray(path.read_bytes())
    data[60:90] = bytes(30)
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"p\.zip: 'in\.npy' is damaged"):
        bioimageio(path)


def test_wrong_channels_and_outputs(package: Package, tmp_path: Path):
    folder = package("0.4.10")
    with pytest.raises(ConfigError, match="old squares, 2 channels: say which"):
        bioimageio(folder)
    with pytest.raises(ConfigError, match="reads 2 channels but 1 are named: nucleus"):
        bioimageio(folder, ("nucleus",))
    with pytest.raises(ConfigError, match="gives 1 maps but 2 outputs are named"):
        bioimageio(folder, CHANNELS, outputs="a,b")
    with pytest.raises(InputError, match=r"gone: there is no such bioimage\.io package"):
        bioimageio(tmp_path / "gone")
    (folder / "rdf.yaml").unlink()
    with pytest.raises(InputError, match=r"holds no bioimageio\.yaml or rdf\.yaml"):
        bioimageio(folder)


def test_a_description_that_is_not_yaml(package: Package):
    folder = package()
    (folder / "rdf.yaml").write_text("a: [")
    with pytest.raises(InputError, match="not readable as YAML"):
        bioimageio(folder)


@pytest.mark.parametrize("name", ["weights.onnx", "in.npy", "rdf.yaml"])
def test_links_that_lead_out_of_the_package_are_not_followed(
    package: Package, tmp_path: Path, name: str
):
    folder = package()
    (folder / name).rename(tmp_path / "elsewhere")
    (folder / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(InputError, match=f"'{name}' is a link that leads out of the package"):
        bioimageio(folder, CHANNELS)


def test_links_within_the_package_are_files_like_others(package: Package):
    folder = package()
    (folder / "weights.onnx").rename(folder / "w")
    (folder / "weights.onnx").symlink_to("w")
    assert bioimageio(folder, CHANNELS).provenance.teacher == "squares"


def test_weights_outside_of_the_onnx_file_are_not_read(package: Package):
    folder = package()
    model = onnx.load(folder / "weights.onnx")
    model.graph.initializer[0].data_location = onnx.TensorProto.EXTERNAL
    model.graph.initializer[0].external_data.add(key="location", value="in.npy")
    (folder / "weights.onnx").write_bytes(model.SerializeToString())
    description = yaml.safe_load((folder / "rdf.yaml").read_text())
    description["weights"]["onnx"]["sha256"] = sha256_of_file(folder / "weights.onnx")
    (folder / "rdf.yaml").write_text(yaml.safe_dump(description))
    with pytest.raises(InputError, match="stored in another file, which a package does not allow"):
        bioimageio(folder, CHANNELS)


def test_a_key_that_stands_twice_is_refused(package: Package):
    folder = package()
    path = folder / "rdf.yaml"
    path.write_text(path.read_text() + "name: another\n")
    with pytest.raises(InputError, match="the key 'name' stands twice"):
        bioimageio(folder, CHANNELS)
