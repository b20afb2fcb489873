"""Nothing that Abbe loads reports its use, and nothing is left in the home folder."""

import os
from pathlib import Path

import pytest
from network_watch import STOPPED, run

NETWORK = """
import numpy as np
from onnx import TensorProto, helper
ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 1, 4, 4]) for name in "ab"]
graph = helper.make_graph([helper.make_node("Relu", ["a"], ["b"])], "g", ports[:1], ports[1:])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
"""
PROGRAMS = {
    "openvino": "from abbe.runtime.package.openvino_core import openvino_core; openvino_core()",
    "reading a network": NETWORK + """
import pathlib
from abbe.exporting.networks import openvino_files
path = pathlib.Path("network.onnx")
path.write_bytes(model.SerializeToString())
openvino_files.save(openvino_files.convert(path), path.with_suffix(".xml"))
""",
    "rounding a network": NETWORK + """
import pathlib
from abbe.exporting.networks import int8
from abbe.exporting.networks import openvino_files
path = pathlib.Path("network.onnx")
path.write_bytes(model.SerializeToString())
int8.quantise(openvino_files.convert(path), [np.ones((1, 1, 4, 4), np.float32)], int8.PRESETS[0])
""",
    "ONNX Runtime": NETWORK + """
from abbe.teachers.networks.onnx_network import OnnxNetwork
OnnxNetwork(model.SerializeToString(), "network")(np.ones((1, 1, 4, 4), np.float32))
""",
    "a verb": "from abbe.cli import main; main(['bench', 'nowhere']); import openvino",
}  # fmt: skip


@pytest.mark.parametrize("program", PROGRAMS.values(), ids=list(PROGRAMS))
def test_nothing_is_sent_and_nothing_is_left_in_the_home_folder(program: str, tmp_path: Path):
    """The variables that would switch reports off by themselves are taken away first."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    done = run(STOPPED + program, home, work)
    assert done.returncode == 0, done.stderr
    assert "network:" not in done.stdout + done.stderr
    assert list(home.iterdir()) == []


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_predict_sends_nothing(engine: str, tmp_path: Path):
    """A whole one: network compiled, image read, results written."""
    home, work = tmp_path / "home", tmp_path / "work"
    home.mkdir()
    work.mkdir()
    program = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent / "runtime")!r})
import tifffile
from pathlib import Path
from made_packages import blobs, make_package
make_package(Path("package"))
tifffile.imwrite("a.tif", blobs(80, 80))
from abbe.cli import main
words = ["predict", "package", "a.tif", "--out", "out", "--engine", {engine!r}]
assert main(words) == 0
assert {engine!r} in sys.modules
"""
    done = run(STOPPED + program, home, work)
    assert done.returncode == 0, done.stderr
    assert (work / "out" / "a.labels.tif").is_file()
    assert "network:" not in done.stdout + done.stderr
    left = [path.relative_to(home).as_posix() for path in home.rglob("*") if path.is_file()]
    assert all(path.startswith(".cache/abbe/") for path in left)


def test_the_check_sees_what_openvino_does_where_it_is_not_told(tmp_path: Path):
    plain = "import time, openvino; time.sleep(1)"
    done = run(STOPPED + plain, tmp_path, tmp_path)
    assert "network:" in done.stdout
    assert list(tmp_path.iterdir()) != []


def test_onnxruntime_and_nncf_are_told_before_they_are_loaded(tmp_path: Path):
    """ONNX Runtime sends from threads of its own, where Python sees nothing."""
    program = """
import os, sys
class Told:
    def find_spec(self, name, *rest):
        if name in ("onnxruntime", "nncf"):
            print(name, os.environ.get("ORT_DISABLE_TELEMETRY"), os.environ.get("NNCF_CI"))
sys.meta_path.insert(0, Told())
"""
    program += (
        NETWORK
        + """
from abbe.teachers.networks.onnx_network import OnnxNetwork
OnnxNetwork(model.SerializeToString(), "network")
"""
    )
    assert "onnxruntime 1 1" in run(program, tmp_path, tmp_path).stdout


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch):
    from abbe.telemetry import switch_off

    monkeypatch.setenv("HF_HUB_DISABLE_TELEMETRY", "0")
    monkeypatch.delenv("ORT_DISABLE_TELEMETRY")
    switch_off()
    assert os.environ["HF_HUB_DISABLE_TELEMETRY"] == "0"
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"
