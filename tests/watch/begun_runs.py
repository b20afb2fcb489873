"""What a run writes while it trains, made by hand."""

import json
import os
import socket
from pathlib import Path
from typing import Any


def line(model: str, step: int, steps: int, seconds: float, **more: Any) -> dict[str, Any]:
    """As training reports: see ``tests/training/test_fit_log.py``."""
    values = {"loss": 1 / step, "terms": {}, "weights": {}, "learning_rate": 0.001}
    shares = {"images_per_s": 10.0, "share_waiting": 0.0, "seconds": seconds}
    return {"model": model, "stage": "distil", "step": step, "steps": steps, **values, **shares,
            **more}  # fmt: skip


def validation(model: str, step: int, dice: float, share: float = 0.01) -> dict[str, Any]:
    values = {"dice": dice, "iou": dice / 2}
    return {
        "model": model, "stage": "distil", "step": step, "validation": values,
        "share_validating": share,
    }  # fmt: skip


def write_log(path: Path, *lines: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(each) + "\n" for each in lines), "utf-8")


def lock(folder: Path, pid: int | None = None, host: str | None = None) -> None:
    """The lock file of a process; of this one unless another is named."""
    holder = {"pid": pid or os.getpid(), "host": host or socket.gethostname()}
    (folder / ".lock").write_text(json.dumps(holder), "utf-8")
