"""What each part of CMKD brings, told apart: label boundary on or off x distillation on or off.

    python benchmarks/ablation.py OUT [--steps 100] [--seeds 3]
    python benchmarks/ablation.py OUT --codex DATA MASKS --steps 200

Without --codex on the demo's simulated tissue (two labelled images), with its teacher. With it on
CODEX: DATA is the folder that benchmarks/codex.py makes, MASKS holds the teacher's masks; labels:
one crop of expert 1; test: the whole other tile, which is one image, so that nothing has an
interval. Students are MobileNetV3 U-Nets that see the nucleus channel alone.

Everything goes through the command line: 'no distillation' is the run's twin, which sees the same
batches. Intervals are over test images (whole groups, where they are known) and seeds.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from abbe import cli
from abbe.reporting.tables import plain_cell
from abbe.runs.folder import open_run
from abbe.scoring import METRICS, Measured
from abbe.tasks.scores import Scores, measured_gain, measured_score

SHOWN = ("dice", "boundary_f1", "f1@0.5", "pq")
FIXED = ("--loss.weighting", "fixed")
RUNS: dict[str, tuple[str, ...]] = {
    "no-boundary": (*FIXED, "--loss.boundary", "off", "--baselines", "twin"),
    "label-boundary": (
        *FIXED, "--loss.no-target-boundary", "--baselines", "supervised", "twin",
    ),
    "both-boundaries": (*FIXED, "--evidence", "quick"),
    "weighting": ("--baselines", "twin"),
}  # fmt: skip
"""Options of each run; what is not named is as the recipe has it."""


class Row(NamedTuple):
    """A network of a run."""

    run: str
    model: str


NEITHER, LABEL, MSE, BOTH = (
    "neither",
    "label boundary",
    "distillation (MSE)",
    "label boundary, distillation (MSE)",
)
TARGETS, WEIGHTING = "… and target boundary", "… and learned weighting (CMKD)"
ROWS = {
    NEITHER: Row("no-boundary", "twin"),
    LABEL: Row("label-boundary", "twin"),
    MSE: Row("no-boundary", "student"),
    BOTH: Row("label-boundary", "student"),
    TARGETS: Row("both-boundaries", "student"),
    WEIGHTING: Row("weighting", "student"),
    "label boundary, learned weighting": Row("weighting", "twin"),
    "label boundary, every crop labelled": Row("label-boundary", "supervised"),
}
"""The 2 x 2 first."""
STEPS = {
    "distillation, without label boundary": (MSE, NEITHER),
    "distillation, with label boundary": (BOTH, LABEL),
    "label boundary, without distillation": (LABEL, NEITHER),
    "label boundary, with distillation": (BOTH, MSE),
    "target boundary": (TARGETS, BOTH),
    "learned weighting": (WEIGHTING, TARGETS),
    "all that the teacher brings": (WEIGHTING, "label boundary, learned weighting"),
}
"""By name, the row with it and the one without."""


def main() -> None:
    parser = argparse.ArgumentParser(description="What each part of CMKD brings, told apart.")
    parser.add_argument("out", type=Path)
    parser.add_argument("--codex", type=Path, nargs=2, metavar=("DATA", "MASKS"))
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    out, seeds = arguments.out, arguments.seeds
    codex = arguments.codex
    data = of_codex(codex[0], codex[1], out) if codex else of_tissue(out)
    for name, options in RUNS.items():
        train(out / name, [*data, *options, "--seeds", seeds, "--training.steps", arguments.steps])
    print_tables("expert 1" if codex else "simulated tissue", out, seeds)
    if codex:
        for name in RUNS:
            evaluate(out / name, codex[0])
        print_tables("expert 2", out, seeds, "evaluations/expert2")


def of_tissue(out: Path) -> list[object]:
    """Words that name the demo's data, student and schedule, and its teacher's stored answers."""
    if not (out / "teacher/summary.json").exists():
        call("distill", "demo-teacher", "--out", out / "teacher", "--resume")
    tissue = ["--data.kind", "simulated", "--data.count", 240, "--data.size", 128, "--data.seed", 2]
    if not (out / "targets.zarr").exists():
        teacher = ["--teacher.kind", "run", "--teacher.path", out / "teacher"]
        call("teach", "--out", out / "targets.zarr", *tissue, *teacher)
    return ["demo", "--teacher.kind", "store", "--teacher.path", out / "targets.zarr"]


CODEX = ("--data.channels", "nucleus", "cytoplasm", "membrane")


def of_codex(data: Path, masks: Path, out: Path) -> list[object]:
    """The same of the CODEX tiles."""
    tiles = ["--data.path", data, *CODEX, "--data.labels", "labels/one-crop"]
    if not (out / "targets.zarr").exists():
        teacher = ["--teacher.kind", "masks", "--teacher.path", masks]
        call("teach", "--out", out / "targets.zarr", *tiles, *teacher)
    return [
        "cmkd", *tiles, "--teacher.kind", "store", "--teacher.path", out / "targets.zarr",
        "--student.architecture", "unet-mobilenetv3", "--student.input-channels", "nucleus",
        "--student.encoder-weights", "random", "--training.batch-size", 8,
        "--training.crop", 96, "--training.learning-rate", 0.002,
    ]  # fmt: skip


def train(run: Path, words: Sequence[object]) -> None:
    if not (run / "summary.json").exists() or not open_run(run).summary.evidence.complete:
        call("distill", *words, "--out", run, "--resume")


def evaluate(run: Path, data: Path) -> None:
    """Score a run against the second expert."""
    if not (run / "evaluations/expert2/summary.json").exists():
        other = ["--data.path", data, *CODEX, "--data.labels", "labels/expert2"]
        call("evaluate", run, "--name", "expert2", *other)


def call(*words: object) -> None:
    code = cli.main([str(word) for word in words])
    if code:
        raise SystemExit(code)


def print_tables(title: str, out: Path, seeds: int, part: str = ".") -> None:
    """Markdown: scores of each row, then what each part changes."""
    scores = collect(out, part)
    found = {
        metric: dict(zip(ROWS, scores.measured(metric, list(ROWS)), strict=True))
        for metric in SHOWN
    }
    images = {metric: next(iter(rows.values())).n for metric, rows in found.items()}
    print(f"\n{title}: {seeds} seeds, test images {images}\n")
    print_table("network", {
        name: [
            plain_cell(measured_score(found[metric][name], METRICS[metric].scale))
            for metric in SHOWN
        ]
        for name in ROWS
    })  # fmt: skip
    parts = {metric: differences(rows) for metric, rows in found.items()}
    print()
    print_table("what it changes", {
        name: [plain_cell(measured_gain(parts[metric][name]), "+") for metric in SHOWN]
        for name in parts[SHOWN[0]]
    })  # fmt: skip


def collect(out: Path, part: str) -> Scores:
    """The scores of all runs, whose models are the rows."""
    rows = []
    for run in RUNS:
        named = {row.model: name for name, row in ROWS.items() if row.run == run}
        table = open_run(out / run / part).scores.to_pylist()
        rows += [{**row, "model": named[row["model"]]} for row in table if row["model"] in named]
    return Scores(rows)


def differences(rows: Mapping[str, Measured]) -> dict[str, Measured]:
    """What each part changes, paired by image and seed; last, whether two of them depend."""
    found = {name: rows[more].minus(rows[less]) for name, (more, less) in STEPS.items()}
    with_it, without = (
        found[f"distillation, {word} label boundary"] for word in ("with", "without")
    )
    return {**found, "interaction of distillation and label boundary": with_it.minus(without)}


def print_table(first: str, rows: Mapping[str, Sequence[str]]) -> None:
    print(f"| {first} | " + " | ".join(METRICS[metric].name for metric in SHOWN) + " |")
    print("|---|" + "---:|" * len(SHOWN))
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(cells) + " |", flush=True)


if __name__ == "__main__":
    main()
