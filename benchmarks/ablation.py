"""What each ingredient of CMKD adds, over seeds: none, MSE, + boundary, + uncertainty weighting.

    python benchmarks/ablation.py CODEX_DATA MASKS OUT [--steps 60] [--seeds 3]

CODEX_DATA is the folder that benchmarks/codex.py makes, MASKS holds the teacher's masks. Student:
MobileNetV3 U-Net that sees the nucleus channel; labels: one crop of expert 1. Scores are those of
the whole other tile. "±" is the standard deviation over seeds, not an interval over images.
"""

import argparse
from pathlib import Path
from typing import Any

import numpy as np

from abbe import config
from abbe.datasets import folder
from abbe.recipes.shipped import recipe_path
from abbe.runs.distill import distill
from abbe.runs.evaluate import evaluate_run
from abbe.runs.folder import Run, open_run
from abbe.teachers import masks, teach

CHANNELS = ("nucleus", "cytoplasm", "membrane")
METRICS = ("dice", "boundary_f1", "f1@0.5", "pq")
FIXED = {"weighting": "fixed", "boundary": "off"}
ARMS: dict[str, tuple[dict[str, str], str]] = {
    "no distillation": (FIXED, "twin"),
    "MSE": (FIXED, "student"),
    "MSE + boundary": ({"weighting": "fixed", "boundary": "dice"}, "student"),
    "MSE + boundary + uncertainty": ({"weighting": "uncertainty", "boundary": "dice"}, "student"),
}
"""By name: the loss section, and which model of that run is meant."""


def main() -> None:
    parser = argparse.ArgumentParser(description="What each ingredient of CMKD adds, over seeds.")
    parser.add_argument("data", type=Path)
    parser.add_argument("masks", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    tiles = folder(arguments.data, channels=CHANNELS, labels="labels/one-crop")
    store = arguments.out / "targets.zarr"
    teach(masks(arguments.masks, CHANNELS, name="Mesmer-0.9"), tiles, store)
    for expert in ("expert 1", "expert 2"):
        print(f"\n{expert}\n\n| arm | " + " | ".join(METRICS) + " |")
        print("|---|" + "---:|" * len(METRICS))
        for name, (loss, model) in ARMS.items():
            runs = [scored(arguments, store, loss, seed, expert) for seed in range(arguments.seeds)]
            cells = [spread(runs, model, metric) for metric in METRICS]
            print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


def spread(runs: list[Run], model: str, metric: str) -> str:
    values = np.array([run.summary.models[model].metrics[metric].mean for run in runs], float)
    return f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}"


def scored(
    arguments: argparse.Namespace, store: Path, loss: dict[str, str], seed: int, expert: str
) -> Run:
    """The run of one arm and seed, trained if it is not there, scored against one expert."""
    name = f"{loss['weighting']}-{loss['boundary']}-{seed}"
    folder_ = arguments.out / name
    if not (folder_ / "summary.json").exists():
        values = experiment(arguments, store, loss, seed, folder_)
        distill(config.parse(values, name), resume=True)
    run = open_run(folder_)
    if expert == "expert 1":
        return run
    if (folder_ / "evaluations/expert2/summary.json").exists():
        return open_run(folder_ / "evaluations/expert2")
    data = config.Data(path=arguments.data, channels=CHANNELS, labels="labels/expert2")
    return evaluate_run(folder_, data, name="expert2")


def experiment(
    arguments: argparse.Namespace, store: Path, loss: dict[str, str], seed: int, out: Path
) -> dict[str, Any]:
    shipped = config.read_values(recipe_path("cmkd"))
    return {
        **shipped,
        "out": str(out),
        "seed": seed,
        "twin": loss["boundary"] == "off",
        "data": {
            "path": str(arguments.data),
            "channels": list(CHANNELS),
            "labels": "labels/one-crop",
        },
        "teacher": {"kind": "store", "path": str(store)},
        "student": {"architecture": "unet-mobilenetv3", "encoder_weights": "random"},
        "loss": loss,
        "training": {
            "steps": arguments.steps,
            "batch_size": 8,
            "crop": 96,
            "learning_rate": 0.002,
        },
    }


if __name__ == "__main__":
    main()
