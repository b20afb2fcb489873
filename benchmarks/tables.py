"""Print the tables of docs/results.md from finished runs.

    python benchmarks/tables.py RUN [RUN …] [--metrics dice f1@0.5 pq] [--against RUN [MODEL]]

A run is a run folder, or one of its evaluations. Means with 95 % intervals over images (or groups)
and seeds; gain is student − each baseline, retention student ÷ teacher. With --against also each
run's student − another run's student (or MODEL, such as twin) on the same test images, paired.
"""

import argparse
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from pyarrow import parquet

from abbe import scoring
from abbe.reporting.tables import plain_cell
from abbe.runs.folder import open_run
from abbe.summary import Score
from abbe.tasks.scores import gain_of


def main() -> None:
    parser = argparse.ArgumentParser(description="Print tables from finished runs.")
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--metrics", nargs="+", default=["dice", "boundary_f1", "f1@0.5", "pq"])
    parser.add_argument("--against", nargs="+", metavar=("RUN", "MODEL"), default=[])
    arguments = parser.parse_args()
    print("| run | model | n | " + " | ".join(arguments.metrics) + " |")
    print("|---|---|---:|" + "---:|" * len(arguments.metrics))
    for folder in arguments.runs:
        summary = open_run(folder).summary
        for name, model in summary.models.items():
            row(folder, name, model.metrics, arguments.metrics)
        for name, gains in summary.gains.items():
            row(folder, f"**gain over {name}**", gains, arguments.metrics, sign="+")
        if summary.retention:
            kept = [share(summary.retention.get(metric)) for metric in arguments.metrics]
            print(f"| {folder.name} | **retention** | | " + " | ".join(kept) + " |")
        if arguments.against:
            found = differences(folder, arguments.metrics, *arguments.against)
            row(folder, f"− {' '.join(arguments.against)}", found, arguments.metrics, sign="+")


def differences(
    folder: Path, metrics: list[str], against: str, model: str = "student"
) -> dict[str, Score]:
    """The student − another run's model, by metric."""
    found = {}
    for metric in metrics:
        own, other = scores(folder, metric, "student"), scores(Path(against), metric, model)
        if own.keys() != other.keys():
            raise SystemExit(f"{folder} and {against} were tested on different images")
        difference = scoring.paired_difference(
            np.array([value for _, value in own.values()]),
            np.array([other[image][1] for image in own]),
            [group or image for image, (group, _) in own.items()],
        )
        found[metric] = gain_of(difference)
    return found


def scores(folder: Path, metric: str, model: str) -> dict[str, tuple[str, float]]:
    """By image its group and its score."""
    rows = parquet.read_table(folder / "scores.parquet").to_pylist()
    return {
        row["image"]: (row["group"], row["value"])
        for row in rows
        if (row["metric"], row["model"]) == (metric, model)
    }


def row(
    folder: Path, name: str, values: Mapping[str, Score], metrics: list[str], sign: str = ""
) -> None:
    cells = [plain_cell(values[metric], sign) for metric in metrics]
    print(f"| {folder.name} | {name} | {values[metrics[0]].n} | " + " | ".join(cells) + " |")


def share(value: float | None) -> str:
    return "—" if value is None else f"{100 * value:.1f} %"


if __name__ == "__main__":
    main()
