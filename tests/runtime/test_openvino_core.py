"""Threads that use OpenVINO for the first time at the same moment."""

import subprocess
import sys

MANY = """
import sys, threading
import numpy as np
{first}
import openvino

start = threading.Barrier(32)

def look() -> None:
    start.wait()
    openvino.Type.f32.to_dtype()
    openvino.Tensor(np.zeros(1, np.float32)).data

sys.setswitchinterval(1e-6)
threads = [threading.Thread(target=look) for _ in range(32)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print("done")
"""


def test_threads_that_come_first_together_do_not_wait_for_ever():
    first = "from abbe.runtime.package.openvino_core import openvino_core; openvino_core()"
    program = MANY.format(first=first)
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "done\n"
