"""Calling the command line from a test, and settings so small that a run takes seconds."""

import json
import os
import shlex
from pathlib import Path
from typing import Any

from safetensors.numpy import load_file

from abbe import config, datasets
from abbe.caveats import caveats_of
from abbe.cli import main
from abbe.runs import build
from abbe.runs.folder import Run
from abbe.summary import RunSummary, read_summary

TISSUE = shlex.split(
    "--data.kind simulated --data.count 16 --data.size 64 --data.seed 5 "
    "--data.fractions 0.25 0.25 0.5"
)
"""16 simulated images of 64 px in four slides: one to train, one to validate, two to test."""

TINY = shlex.split(
    "--training.steps 4 --training.batch-size 2 --training.crop 32 --training.validate-every 2 "
    "--training.workers 0 --training.ema 0 --training.learning-rate 0.01 "
    "--student.architecture unet-timm-test_efficientnet --student.encoder-weights random "
)
"""Four steps of the smallest student."""

TWIN_ALONE = shlex.split("--baselines twin --seeds 1")
"""The least that a student can be held against."""


def abbe(*words: str | os.PathLike[str] | int) -> int:
    """The exit code of ``abbe WORDS``, run in this process."""
    try:
        return main([str(word) for word in words])
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1


def told(run: Run) -> dict[str, Any]:
    """What summary.json holds, as a reader of the file finds it."""
    return json.loads((run.folder / "summary.json").read_text("utf-8"))


def doubts(folder: Path) -> list[str]:
    """What the report of a run holds against its figures."""
    summary = read_summary(folder)
    assert isinstance(summary, RunSummary)
    return caveats_of(summary)


def tissue() -> datasets.Dataset:
    """The data set of TISSUE, with its splits."""
    data = config.Data(
        kind="simulated", count=16, size=64, seed=5, fractions=(0.25, 0.25, 0.5), labelled=2
    )
    return build.build_dataset(data)


def weights_below(folder: Path) -> dict[str, bytes]:
    """Every weight of a run, by file and tensor."""
    return {
        f"{path.relative_to(folder)} {name}": tensor.tobytes()
        for path in sorted(folder.rglob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def figures(folder: Path) -> dict[str, Any]:
    """What summary.json says, but for times and for the name of the evidence."""
    summary = json.loads((folder / "summary.json").read_text("utf-8"))
    for model in summary["models"].values():
        for time in ("ms_per_image", "ms_per_prompt"):
            model.pop(time, None)
    summary["evidence"].pop("level")
    return {key: value for key, value in summary.items() if key not in ("speed", "timing")}
