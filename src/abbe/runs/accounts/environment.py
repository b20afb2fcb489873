"""In what surroundings a run was computed, and how long it took: environment.json."""

import importlib.metadata
import platform
import shlex
import subprocess
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import Any

from abbe.errors import InputError
from abbe.files import parse_json, write_json
from abbe.remote.urls import masked
from abbe.runs.folder import has_computed

PACKAGES = (
    "abbe",
    "torch",
    "torchvision",
    "timm",
    "segmentation-models-pytorch",
    "accelerate",
    "numpy",
    "scipy",
    "scikit-image",
    "zarr",
    "tifffile",
)


def write_environment(folder: Path, *, device: str, precision: str, seed: int) -> None:
    """Write environment.json: versions, hardware, git state, the command.

    Of a run that is resumed, the start and the command stay those of its first part; ``resumed``
    tells when the others began, ``seconds`` how long the earlier parts took.
    """
    import torch

    versions = {}
    for package in PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = "not installed"
    now = time.strftime(_TIME)
    begun: dict[str, Any] = {
        "command": masked(shlex.join([_program(), *sys.argv[1:]])),
        "started": now,
        "resumed": [],
        "seconds": 0.0,
    }
    earlier = _environment(folder)
    if earlier and has_computed(folder):
        begun = {
            "command": earlier["command"],
            "started": earlier["started"],
            "resumed": [*earlier.get("resumed", []), now],
            "seconds": _seconds_of(folder, earlier),
        }
    write_json(
        folder / "environment.json",
        {
            **versions,
            "python": platform.python_version(),
            "platform": platform.platform(),
            "cpu": _cpu_name(),
            "threads": torch.get_num_threads(),
            "device": device,
            "precision": precision,
            "git": _git_state(),
            "seed": seed,
            **begun,
        },
    )


def write_end(folder: Path) -> None:
    """Add what this part of the run took so far to the ``seconds`` of environment.json.

    It may be said twice: once the first student is scored, and at the end.
    """
    environment = _environment(folder)
    earlier = environment.get("earlier_seconds", environment["seconds"])
    took = time.time() - _began(environment)
    write_json(
        folder / "environment.json",
        {
            **environment,
            "earlier_seconds": earlier,
            "seconds": round(earlier + took, 1),
            "ended": time.strftime(_TIME),
        },
    )


_TIME = "%Y-%m-%d %H:%M:%S %z"


def _program() -> str:
    """What was typed: ``python -m abbe`` names its file, which runs alone in no shell."""
    path = Path(sys.argv[0])
    return "abbe" if path.name == "__main__.py" else path.name


def _environment(folder: Path) -> dict[str, Any]:
    path = folder / "environment.json"
    if not path.is_file():
        return {}
    try:
        found = parse_json(path.read_text(encoding="utf-8"))
        datetime.strptime([found["started"], *found.get("resumed", [])][-1], _TIME)
        return {
            **found,
            "command": str(found["command"]),
            "seconds": float(found.get("seconds", 0)),
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            f"{path}: damaged ({error}). Delete it; the run then counts its time from now"
        ) from error


def _seconds_of(folder: Path, environment: dict[str, Any]) -> float:
    """Seconds of the parts so far; a part that was killed ended when it last wrote its log."""
    seconds = environment["seconds"]
    earlier = environment.get("earlier_seconds", seconds)
    log = folder / "log.jsonl"
    ended_as_before = "ended" in environment and "earlier_seconds" not in environment
    if ended_as_before or not log.is_file():
        return seconds
    return max(seconds, earlier + log.stat().st_mtime - _began(environment))


def _began(environment: dict[str, Any]) -> float:
    """When the last part of the run began, in seconds since the epoch."""
    last = [environment["started"], *environment.get("resumed", [])][-1]
    return datetime.strptime(last, _TIME).timestamp()


def _cpu_name() -> str:
    information = Path("/proc/cpuinfo")
    if information.exists():
        for line in information.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _git_state() -> str | None:
    """Commit of the folder Abbe runs from, with '+changes' if it was edited; None outside git."""
    command = ["git", "describe", "--always", "--dirty=+changes", "--abbrev=12"]
    source = Path(__file__).parent
    try:
        done = subprocess.run(command, cwd=source, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None
