"""What all tests share: where the real data is, and a seed for what they make."""

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from sites import browser, runtime, served  # noqa: F401

from abbe.machine import precision
from abbe.runtime.package import openvino_core
from abbe.runtime.package.signal_stack import signal_stack
from abbe.telemetry import switch_off

switch_off()  # before any test imports OpenVINO


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real data sets; the test is skipped, saying so, where there is none."""
    default = Path(__file__).resolve().parents[1] / ".." / "shared" / "data"
    root = Path(os.environ.get("ABBE_DATA", default)).resolve()
    if not root.is_dir():
        pytest.skip("real data not found: set ABBE_DATA to the folder that holds it")
    return root


@pytest.fixture(scope="session", autouse=True)
def compiled_networks_of_the_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """The tests keep compiled networks in a folder of their own, not in the user's cache."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module", autouse=True)
def what_lasts_is_not_searched_for_garbage() -> None:
    """Each stage of a training ends with a search for garbage, slow among all that is imported."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def settings_are_timed_briefly() -> Iterator[None]:
    """Exports time each setting once: windows of 1024 px take longer than the rest of an export.

    Which setting is chosen may then be luck; that the fastest is, `exporting/test_speed.py` holds.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("abbe.exporting.speed.ENOUGH", 0.0)
        patch.setattr("abbe.exporting.speed.FEWEST", 1)
        yield


@pytest.fixture(scope="session", autouse=True)
def openvino_takes_one_thread() -> Iterator[None]:
    """Where nobody says otherwise, as nncf does not: threads of all cores wait for each other
    beside the other tests' processes.
    """
    import openvino

    made = openvino.Core

    def core() -> openvino.Core:
        core = made()
        core.set_property("CPU", {"INFERENCE_NUM_THREADS": 1})
        return core

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(openvino, "Core", core)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests go first, so that no worker has a long one left when others are done.

    Order in a file is kept. `make test` keeps pytest-xdist from sorting files by their tests.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session")
def first_signal_stack() -> int | None:
    return signal_stack()


@pytest.fixture(autouse=True)
def signal_stack_as_it_was(first_signal_stack: int | None) -> Iterator[None]:
    """Nothing may leave another stack for signals behind: the next Ctrl+C could crash there."""
    yield
    assert signal_stack() == first_signal_stack


@pytest.fixture(params=[True, False], ids=["bf16", "no bf16"])
def computes_bf16(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Run the test as on a processor that computes bf16, and as on one that does not.

    Only what the processor says of itself is handed in. Where it has no bf16, torch emulates it
    and OpenVINO quietly computes fp32.
    """
    native: bool = request.param
    monkeypatch.setattr(precision, "_cpu_has_bf16", lambda: native)
    found = ["FP32", "INT8", "BF16"] if native else ["FP32", "INT8"]
    monkeypatch.setattr(openvino_core, "_capabilities", lambda: found)
    return native


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)
