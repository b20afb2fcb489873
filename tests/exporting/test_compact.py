"""Compact packages: a third of the bytes, the same answers."""

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from small_students import FACTS, Blobs, images, number, weights_of

from abbe.exporting.networks.half_weights import LEAST, halve_weights
from abbe.exporting.request import ExportRequest
from abbe.exporting.write import write_package
from abbe.runtime.bench.check import check_package
from abbe.runtime.package.engine import open_engine


def network(weight: np.ndarray, path) -> None:
    """Saves (1, N) x weight (N, 4) + bias as ONNX."""
    bias = np.arange(4, dtype=np.float32) / 3
    graph = helper.make_graph(
        [
            helper.make_node("MatMul", ["x", "weight"], ["product"]),
            helper.make_node("Add", ["product", "bias"], ["y"]),
        ],
        "by hand",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, len(weight)])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4])],
        [numpy_helper.from_array(weight, "weight"), numpy_helper.from_array(bias, "bias")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save(model, path)


def stored(path) -> dict[str, np.dtype]:
    tensors = onnx.load(path).graph.initializer
    return {each.name: numpy_helper.to_array(each).dtype for each in tensors}


def test_large_weights_are_halved_and_small_ones_stay(tmp_path):
    weight = np.random.default_rng(0).normal(size=(LEAST, 4)).astype(np.float32)
    path = tmp_path / "model.onnx"
    network(weight, path)
    before = path.stat().st_size
    halve_weights(path)
    assert stored(path) == {"weight.float16": np.float16, "bias": np.float32}
    assert path.stat().st_size < 0.6 * before
    session = pytest.importorskip("onnxruntime").InferenceSession(path)
    x = np.random.default_rng(1).normal(size=(1, LEAST)).astype(np.float32)
    (found,) = session.run(None, {"x": x})
    halved = weight.astype(np.float16).astype(np.float32)
    np.testing.assert_allclose(found, x @ halved + np.arange(4, dtype=np.float32) / 3, rtol=1e-4)


def test_what_float16_cannot_hold_stays_as_it_is(tmp_path):
    weight = np.full((LEAST, 4), 1e6, np.float32)
    network(weight, tmp_path / "model.onnx")
    halve_weights(tmp_path / "model.onnx")
    assert stored(tmp_path / "model.onnx") == {"weight": np.float32, "bias": np.float32}


@pytest.mark.slow
def test_a_compact_package_has_no_openvino_network_and_answers_alike(tmp_path):
    student, said = Blobs(), []
    weights = weights_of(student, tmp_path / "weights.safetensors")
    request = ExportRequest(compact=True)
    package = write_package(
        tmp_path / "out", student, weights, FACTS, images(), request, said.append
    )
    assert not package.has("openvino_xml")
    assert package.has("onnx")
    for engine in ("openvino/fp32", "onnxruntime/fp32"):
        assert package.description.parity[engine]["kept"] is True
        assert number(package.description.parity[engine], "max_difference") < 2e-3
    batch = np.random.default_rng(0).random((1, 1, 64, 96), np.float32)
    maps = open_engine(package, precision="fp32", cache=tmp_path / "cache").probabilities(batch)
    assert maps.shape == (1, 2, 64, 96)
    assert check_package(package).wrong == []
