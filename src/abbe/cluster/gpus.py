"""GPUs of this machine, and workers here that have one each."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from distributed.diagnostics.plugin import WorkerPlugin

VISIBLE = "CUDA_VISIBLE_DEVICES"
DRIVER = Path("/proc/driver/nvidia/gpus")
"""Where NVIDIA's driver lists what there is, on Linux."""


def gpus() -> tuple[str, ...]:
    """The names, as CUDA takes them, of the GPUs that this process may use."""
    said = os.environ.get(VISIBLE)
    if said is None:
        found = len(list(DRIVER.iterdir())) if DRIVER.is_dir() else 0
        return tuple(map(str, range(found)))
    names = [name.strip() for name in said.split(",")]
    ends = [place for place, name in enumerate(names) if name in ("", "-1")]  # as CUDA reads it
    return tuple(names[: ends[0]] if ends else names)


class HasOwnGpu(WorkerPlugin):
    """A worker here that sees one GPU: the one whose turn its number says."""

    name = "abbe-gpu"

    def __init__(self, names: tuple[str, ...]) -> None:
        """Take the GPUs to share out."""
        self.names = names

    def setup(self, worker: Any) -> None:
        """Before CUDA is asked for: it reads the variable when it is first used."""
        os.environ[VISIBLE] = self.names[int(worker.name) % len(self.names)]
