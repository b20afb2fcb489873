import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from made_packages import brightness_network, make_package
from onnx import TensorProto, helper

from abbe.errors import ConfigError, PackageError
from abbe.runtime.package import describe_file, read_package, write_description
from abbe.runtime.package import engine as engines
from abbe.runtime.package.engine import open_engine


@pytest.fixture
def package(tmp_path):
    return read_package(make_package(tmp_path / "package"))


def network_of(*nodes: onnx.NodeProto) -> onnx.ModelProto:
    """A network from ``image`` to ``logits``."""
    ports = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["B", 1, "H", "W"])
        for name in ("image", "logits")
    ]
    graph = helper.make_graph(list(nodes), "made", ports[:1], ports[1:])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def test_engines_agree_with_the_definition(package, tmp_path):
    batch = np.random.default_rng(0).random((2, 1, 48, 32), np.float32)
    ours = open_engine(package, cache=tmp_path / "cache").probabilities(batch)
    other = open_engine(package, engine="onnxruntime").probabilities(batch)
    np.testing.assert_allclose(ours, other, atol=1e-5)
    mean = np.lib.stride_tricks.sliding_window_view(batch[0, 0], (5, 5)).mean(axis=(2, 3))
    expected = 1 / (1 + np.exp(-20 * (mean - 0.5)))
    np.testing.assert_allclose(ours[0, 0, 2:-2, 2:-2], expected, atol=1e-5)


def test_sides_may_change_from_call_to_call(package, tmp_path):
    engine = open_engine(package, cache=tmp_path / "cache", streams=2)
    for shape in ((1, 1, 16, 16), (3, 1, 32, 64), (1, 1, 128, 16)):
        assert engine.probabilities(np.zeros(shape, np.float32)).shape == (shape[0], 2, *shape[2:])


def test_extreme_logits_do_not_overflow(tmp_path):
    scale = helper.make_tensor("scale", TensorProto.FLOAT, [], [1e6])
    model = network_of(helper.make_node("Mul", ["image", "scale"], ["logits"]))
    model.graph.initializer.append(scale)
    folder = make_package(tmp_path / "package", outputs=("foreground",), network=model)
    engine = open_engine(read_package(folder), cache=tmp_path / "cache")
    with np.errstate(all="raise"):
        values = engine.probabilities(np.array([[[[-1, 1], [0, 0]]]], np.float32))
    np.testing.assert_allclose(values, [[[[0, 1], [0.5, 0.5]]]], atol=1e-30)


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_garbage_is_no_network(package, engine, tmp_path):
    (package.folder / "model.onnx").write_bytes(b"no network at all" * 10)
    files = {"onnx": describe_file(package.folder, "model.onnx")}
    write_description(package.folder, package.description.model_copy(update={"files": files}))
    with pytest.raises(PackageError, match=r"model\.onnx: cannot be read as a network"):
        open_engine(read_package(package.folder), engine=engine, cache=tmp_path / "cache")


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_weights_in_another_file_are_not_followed(tmp_path, engine):
    model = brightness_network()
    tensor = model.graph.initializer[0]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="../../secret")
    tensor.ClearField("raw_data")
    folder = make_package(tmp_path / "package", network=model)
    with pytest.raises(PackageError, match="stored in another file"):
        open_engine(read_package(folder), engine=engine, cache=tmp_path / "cache")


def test_an_answer_of_another_shape_is_refused(tmp_path):
    folder = make_package(tmp_path / "package", network=brightness_network(outputs=1))
    engine = open_engine(read_package(folder), cache=tmp_path / "cache")
    with pytest.raises(PackageError, match=r"shape \(1, 1, 16, 16\), but package.json promises"):
        engine.probabilities(np.zeros((1, 1, 16, 16), np.float32))


def test_nan_is_an_error_and_no_empty_mask(tmp_path):
    model = network_of(helper.make_node("Log", ["image"], ["logits"]))
    folder = make_package(tmp_path / "package", outputs=("foreground",), network=model)
    engine = open_engine(read_package(folder), cache=tmp_path / "cache")
    with pytest.raises(PackageError, match="NaN or infinity"):
        engine.probabilities(np.zeros((1, 1, 16, 16), np.float32))


def test_wrong_channels_are_the_networks_failure(package, tmp_path):
    engine = open_engine(package, cache=tmp_path / "cache")
    with pytest.raises(PackageError, match="fails on an input of shape"):
        engine.probabilities(np.zeros((1, 3, 16, 16), np.float32))


def test_what_the_package_lacks_is_said(package):
    with pytest.raises(ConfigError, match="no int8 network"):
        open_engine(package, precision="int8")
    with pytest.raises(ConfigError, match="onnxruntime runs packages in fp32"):
        open_engine(package, engine="onnxruntime", precision="bf16")
    # Whoever asks for a precision alone is answered by the engine that has it.
    with pytest.raises(ConfigError, match="no int8 network"):
        open_engine(asking_for(package, engine="onnxruntime"), precision="int8")


def asking_for(package, **changes):
    told = package.description.engine.model_copy(update=changes)
    write_description(package.folder, package.description.model_copy(update={"engine": told}))
    return read_package(package.folder)


def test_a_package_may_ask_for_bf16_where_there_is_none(package, tmp_path, computes_bf16):
    engine = open_engine(asking_for(package, precision="bf16"), cache=tmp_path / "cache")
    assert engine.precision == ("bf16" if computes_bf16 else "fp32")
    note = "The package asks for bf16; this processor lacks it, so fp32 is computed."
    assert engine.notes == (() if computes_bf16 else (note,))
    batch = np.random.default_rng(0).random((1, 1, 48, 32), np.float32)
    exact = open_engine(package, precision="fp32", cache=tmp_path / "cache").probabilities(batch)
    # Logits reach 10, where the numbers of bf16 are 1/16 apart and their sums round, too.
    np.testing.assert_allclose(engine.probabilities(batch), exact, atol=0.2 if computes_bf16 else 0)


def test_a_package_may_ask_for_an_engine_that_is_not_installed(package, tmp_path, monkeypatch):
    asking = asking_for(package, engine="onnxruntime")
    batch = np.random.default_rng(0).random((1, 1, 32, 32), np.float32)
    there = open_engine(asking, cache=tmp_path / "cache")
    assert (there.engine, there.notes) == ("onnxruntime", ())
    monkeypatch.setattr(engines, "find_spec", lambda name: None)
    instead = open_engine(asking, cache=tmp_path / "cache")
    assert (instead.engine, instead.precision) == ("openvino", "fp32")
    assert instead.notes == (
        "The package asks for ONNX Runtime, which is not installed (pip install onnxruntime): "
        "OpenVINO computes.",
    )
    np.testing.assert_allclose(there.logits(batch), instead.logits(batch), atol=1e-4)


def test_a_user_who_asks_for_bf16_is_not_given_fp32(package, tmp_path, computes_bf16):
    if computes_bf16:
        asked = open_engine(package, precision="bf16", cache=tmp_path / "cache")
        assert asked.precision == "bf16"
        return
    with pytest.raises(ConfigError, match="does not compute in bf16: use --precision fp32"):
        open_engine(package, precision="bf16", cache=tmp_path / "cache")


ALONE = """
import os, sys, threading
from contextlib import suppress
from pathlib import Path
import numpy as np
from abbe.runtime.package import read_package
from abbe.runtime.package.engine import open_engine

engine = open_engine(read_package(Path(sys.argv[1])), cache=Path(sys.argv[2]), threads=1)
image = np.zeros((1, 1, 1024, 1024), np.float32)
at_work = threading.Thread(target=lambda: [engine.probabilities(image) for _ in range(9)])
at_work.start()
cores = set()
while at_work.is_alive():
    for path in Path("/proc/self/task").iterdir():
        with suppress(ProcessLookupError):
            cores.add(len(os.sched_getaffinity(int(path.name))))
print(cores)
"""


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="threads are bound on Linux alone")
def test_no_thread_is_bound_to_a_core_of_its_own(package, tmp_path):
    """Each of several processes would bind its first to the first core."""
    words = [sys.executable, "-c", ALONE, str(package.folder), str(tmp_path / "cache")]
    said = subprocess.run(words, check=True, capture_output=True, text=True).stdout
    assert said == f"{{{len(os.sched_getaffinity(0))}}}\n"


def test_threads_are_those_asked_for_or_set_or_the_packages(package, tmp_path, monkeypatch):
    three, cache = asking_for(package, threads=3), tmp_path / "cache"
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert open_engine(three, cache=cache).threads == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert open_engine(three, cache=cache).threads == 2
    assert open_engine(three, threads=1, cache=cache).threads == 1
