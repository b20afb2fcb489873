"""The page's own functions, run by node on cases that a test writes."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

PAGE = Path(__file__).parents[2] / "src" / "abbe" / "web" / "page"


def node() -> str:
    """The program; without it tests are skipped, but where it must be there, as in .ci/run."""
    found = shutil.which("node")
    if found is None and not os.environ.get("ABBE_NEEDS_BROWSER"):
        pytest.skip("no node is installed: the page's functions were not tried")
    assert found is not None, "node is needed here (Debian: nodejs)"
    return found


class Cases:
    """Calls of the page's functions, all answered by one run of node."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._cases: list[dict[str, Any]] = []
        self._arrays = 0

    def array(self, values: np.ndarray) -> dict[str, str]:
        """How a case names an array, which is written beside it."""
        self._arrays += 1
        name = f"array{self._arrays}.bin"
        (self.folder / name).write_bytes(np.ascontiguousarray(values).tobytes())
        return {"file": name, "kind": str(values.dtype)}

    def add(self, call: str, **given: Any) -> None:
        """One call more."""
        self._cases.append({"call": call, **given})

    def answers(self, dtype: type) -> list[np.ndarray]:
        """What each call answers, flat."""
        (self.folder / "cases.json").write_text(json.dumps(self._cases))
        script = Path(__file__).with_name("core.mjs")
        command = [node(), "--no-warnings", str(script), str(PAGE), str(self.folder)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return [
            np.frombuffer((self.folder / f"{number}.out").read_bytes(), dtype)
            for number in range(len(self._cases))
        ]
