"""GPUs, of which tests have none: fakes that answer as ONNX Runtime and OpenVINO do."""

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from made_packages import make_package
from numpy.testing import assert_allclose

from abbe.errors import ConfigError
from abbe.runtime.package import Package, gpu, network, read_package
from abbe.runtime.package.engine import Device, open_engine
from abbe.runtime.package.gpu import CUDA
from abbe.runtime.predictors.predict import predict

CPU = "CPUExecutionProvider"


@pytest.fixture
def package(tmp_path: Path) -> Package:
    return read_package(make_package(tmp_path / "package"))


@pytest.fixture
def batch(package: Package) -> np.ndarray:
    channels = len(package.description.channels)
    return np.random.default_rng(0).random((1, channels, 64, 64), np.float32)


class Session:
    """ONNX Runtime's session on the processor, which says that it is another's.

    As `onnxruntime-gpu` has it: where CUDA cannot be loaded, a session is made all the same, and
    its list of providers is that of the processor alone.
    """

    asked: list[Any]
    loads = True

    def __init__(self, path: str, options: Any, providers: list[Any]) -> None:
        type(self).asked = providers
        self._session = real(path, options, providers=[CPU])
        wanted = [each if isinstance(each, str) else each[0] for each in providers]
        self._providers = [each for each in wanted if self.loads or each == CPU]

    def get_providers(self) -> list[str]:
        return self._providers

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)


class WithoutDriver(Session):
    loads = False


real = onnxruntime.InferenceSession


def cuda_is_there(monkeypatch: pytest.MonkeyPatch, session: type[Session]) -> None:
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CUDA, CPU])
    monkeypatch.setattr(onnxruntime, "InferenceSession", session)


class Core:
    """OpenVINO's core, with a GPU of Intel's that the processor stands in for."""

    def __init__(self, core: Any) -> None:
        self._core = core
        self.available_devices = ["CPU", "GPU.0"]
        self.asked: list[tuple[str, dict[str, Any]]] = []

    def compile_model(self, path: str, device: str, options: dict[str, Any]) -> Any:
        self.asked.append((device, options))
        return self._core.compile_model(path, "CPU", {})

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)


def test_cuda_computes_in_onnxruntime_in_true_fp32(
    package: Package, batch: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = open_engine(package, engine="onnxruntime").probabilities(batch)
    cuda_is_there(monkeypatch, Session)
    engine = open_engine(package, device="cuda")
    assert (engine.engine, engine.precision, engine.device) == ("onnxruntime", "fp32", "cuda")
    assert engine.notes == ()
    assert str(engine) == "onnxruntime, fp32, cuda"
    assert Session.asked == [(CUDA, {"use_tf32": "0"}), CPU]
    assert_allclose(engine.probabilities(batch), expected, atol=1e-6)


@pytest.mark.parametrize("how", ["no CUDA in it", "no driver", "not installed"])
def test_without_cuda_the_processor_computes_with_a_word(
    how: str, package: Package, batch: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = open_engine(package)
    if how == "no driver":
        cuda_is_there(monkeypatch, WithoutDriver)
    elif how == "not installed":
        monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    else:
        monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: [CPU])
    engine = open_engine(package, device="cuda")
    assert (engine.engine, engine.precision, engine.device) == (
        usual.engine, usual.precision, "cpu",
    )  # fmt: skip
    (note, *_) = engine.notes
    said = {
        "no CUDA in it": "this ONNX Runtime has no CUDA",
        "no driver": "ONNX Runtime could not load CUDA",
        "not installed": "ONNX Runtime is not installed (pip install onnxruntime-gpu)",
    }[how]
    assert note.startswith(f"No cuda: {said}")
    assert note.endswith("The processor computes.")
    assert_allclose(engine.probabilities(batch), usual.probabilities(batch), atol=1e-6)


def test_an_intel_gpu_computes_in_openvino(
    package: Package, batch: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = Core(network.openvino_core())
    monkeypatch.setattr(gpu, "openvino_core", lambda: core)
    monkeypatch.setattr(network, "openvino_core", lambda: core)
    engine = open_engine(package, device="gpu")
    assert (engine.engine, engine.precision, engine.device) == ("openvino", "fp32", "gpu")
    ((device, options),) = core.asked
    assert device == "GPU"
    assert options["INFERENCE_PRECISION_HINT"] == "f32"
    assert "INFERENCE_NUM_THREADS" not in options  # a GPU knows no such property
    usual = open_engine(package, precision="fp32")
    assert_allclose(engine.probabilities(batch), usual.probabilities(batch), atol=0.02)


def test_without_an_intel_gpu_the_processor_computes_with_a_word(
    package: Package, monkeypatch: pytest.MonkeyPatch
) -> None:
    core = Core(gpu.openvino_core())
    core.available_devices = ["CPU"]
    monkeypatch.setattr(gpu, "openvino_core", lambda: core)
    engine = open_engine(package, device="gpu")
    assert engine.device == "cpu"
    assert engine.notes[0] == (
        "No gpu: OpenVINO sees no GPU of Intel's here (only CPU). The processor computes."
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "tpu"}, "device 'tpu': known are cpu, cuda, gpu"),
        ({"device": "cuda", "engine": "openvino"}, "onnxruntime computes there, in fp32"),
        ({"device": "cuda", "precision": "int8"}, "leave engine and precision out"),
        ({"device": "gpu", "engine": "onnxruntime"}, "openvino computes there, in fp32"),
    ],
)
def test_what_does_not_go_together_is_refused(
    package: Package, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        open_engine(package, **options)


def test_predict_takes_the_device(package: Package, monkeypatch: pytest.MonkeyPatch) -> None:
    devices: list[Device] = []
    cuda_is_there(monkeypatch, Session)
    loaded = network.cuda_session

    def counted(*arguments: Any) -> Any:
        devices.append("cuda")
        return loaded(*arguments)

    monkeypatch.setattr(network, "cuda_session", counted)
    channels = len(package.description.channels)
    pixels = np.random.default_rng(0).integers(0, 255, (channels, 64, 64)).astype(np.uint8)
    description = package.description
    labels = predict(package, pixels, device="cuda", pixel_size=description.pixel_size)
    assert devices == ["cuda"]
    assert labels.shape == (64, 64)
