"""Whoever opened packages may still be interrupted."""

import subprocess
import sys

import openvino
import pytest

from abbe.runtime.package.signal_stack import signal_stack, signal_stack_kept

INTERRUPTED = """
import signal
from abbe.runtime.package.openvino_core import openvino_core
{enable}
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's job may have it ignored
first, second = openvino_core(), openvino_core()
for core in (first, second):
    core.get_property("CPU", "FULL_DEVICE_NAME")
del core, first
del second
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""


@pytest.mark.parametrize("enable", ["", "import faulthandler; faulthandler.enable()"])
def test_ctrl_c_after_two_cores_is_an_interrupt(enable):
    program = INTERRUPTED.format(enable=enable)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "interrupted\n"


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere OpenVINO leaves signals alone")
def test_openvino_still_takes_the_stack_that_is_then_put_back():
    """If this fails, OpenVINO has mended it, and `abbe.runtime.package.signal_stack` may go."""
    before = signal_stack()
    with signal_stack_kept():
        core = openvino.Core()
        core.get_property("CPU", "FULL_DEVICE_NAME")
        assert signal_stack() != before
    assert signal_stack() == before


def fail_with_openvino_loaded() -> None:
    with signal_stack_kept():
        core = openvino.Core()
        core.get_property("CPU", "FULL_DEVICE_NAME")
        raise ValueError("with the plugin loaded")


def test_the_stack_is_put_back_after_an_error_too():
    before = signal_stack()
    with pytest.raises(ValueError, match="with the plugin"):
        fail_with_openvino_loaded()
    assert signal_stack() == before
