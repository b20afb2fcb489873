"""Programs in a home folder of their own, with every attempt at the network told and stopped."""

import os
import subprocess
import sys
from pathlib import Path

STOPPED = """
import sys

def stop(event, arguments):
    if event in ("urllib.Request", "socket.connect", "socket.getaddrinfo", "http.client.connect"):
        print("network:", event, str(arguments)[:300], flush=True)
        raise OSError("stopped")

sys.addaudithook(stop)
"""
"""Begins a program; what it tells begins with ``network:``."""


def run(program: str, home: Path, work: Path) -> subprocess.CompletedProcess[str]:
    """Run a program as a user's would, in a home folder of its own."""
    dropped = ("CI", "TF_BUILD", "JENKINS_URL", "NNCF_CI", "NNCF_DEV", "ORT_DISABLE_TELEMETRY",
               "HF_HUB_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")  # fmt: skip
    environment = {key: value for key, value in os.environ.items() if key not in dropped}
    environment |= {"HOME": str(home), "USERPROFILE": str(home)}
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=work, timeout=600,
        env=environment, check=False,
    )  # fmt: skip
