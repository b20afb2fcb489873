"""Packages for edge devices: one engine, one precision, size and memory stated."""

import numpy as np
import pytest
from small_students import FACTS, Blobs, discs, images, number, weights_of

from abbe.errors import ConfigError, PackageError
from abbe.exporting.request import ExportRequest
from abbe.exporting.write import write_package
from abbe.runtime.package import Role, read_package
from abbe.runtime.package.engine import open_engine

SIZES: dict[str, set[Role]] = {
    "onnxruntime": {"onnx"},
    "openvino": {"openvino_xml", "openvino_bin"},
}


def made(folder, **options):
    said: list[str] = []
    weights = weights_of(Blobs(), folder / "weights.safetensors")
    request = ExportRequest(int8="none", **options)
    package = write_package(
        folder / "edge", Blobs(), weights, FACTS, images(), request, said.append
    )
    return package, said


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_package_of_one_engine_answers_as_the_whole_one_does(tmp_path, exported, engine):
    package, said = made(tmp_path, engine=engine)
    told = read_package(package.folder).description
    assert SIZES[engine] <= set(told.files)
    others = {"onnx", "openvino_xml", "openvino_bin", "int8_xml", "int8_bin", "weights"}
    assert not set(told.files) & (others - SIZES[engine])
    declared = {file.path for file in told.files.values()}
    assert {each.name for each in package.folder.iterdir()} == declared | {"package.json"}
    assert told.engine.engine == engine
    (figures,) = [each for each in told.timings.values() if "peak_mib" in each]
    size = sum(told.files[role].bytes for role in SIZES[engine])
    assert figures["network_bytes"] == size
    kept = {key for key, each in told.parity.items() if each.get("kept")}
    assert kept
    assert {key.partition("/")[0] for key in kept} == {engine}
    assert "left out: made for" in (package.folder / "README.md").read_text("utf-8")
    assert 30 < number(figures, "peak_mib") < 4000
    assert f"network {size / 1e6:.1f} MB, {figures['peak_mib']:.0f} MiB" in said[-1]
    batch = discs(7)[0][None]
    expected = open_engine(exported.package, engine=engine, precision="fp32").logits(batch)
    found = open_engine(package, precision=told.engine.precision).logits(batch)
    tolerance = 1e-4 if told.engine.precision == "fp32" else 0.2
    np.testing.assert_allclose(found, expected, atol=tolerance)


def test_memory_stands_with_the_setting_that_was_chosen(tmp_path):
    package, _ = made(tmp_path, engine="openvino", budget_ms=1e9, tile=(96, 512), threads=1)
    told = package.description
    (measured,) = [key for key, each in told.timings.items() if "peak_mib" in each]
    ran_as = f"{told.engine.engine}/{told.engine.precision}, tile 512, 1 thread"
    assert (told.tile, measured) == (512, ran_as)  # a smaller tile takes less time


def test_another_engine_is_refused_in_words(tmp_path):
    package, _ = made(tmp_path, engine="openvino")
    with pytest.raises(ConfigError, match="made for OpenVINO alone"):
        open_engine(package, engine="onnxruntime")


def test_a_package_without_any_network_is_none(tmp_path):
    package, _ = made(tmp_path, engine="onnxruntime")
    text = (package.folder / "package.json").read_text("utf-8")
    (package.folder / "package.json").write_text(text.replace('"onnx": {', '"weights": {'))
    with pytest.raises(PackageError):
        read_package(package.folder)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "onnxruntime", "int8": "required"}, "--int8 required: ONNX Runtime runs"),
        ({"engine": "openvino", "compact": True}, "--compact: needs the ONNX network"),
    ],
)
def test_what_does_not_go_together_is_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        ExportRequest(**options).check()
