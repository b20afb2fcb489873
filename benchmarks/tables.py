"""Print the tables of docs/results.md from finished runs.

    python benchmarks/tables.py RUN [RUN …] [--metrics dice f1@0.5 pq] [--against RUN [MODEL]]

A run is a run folder, or one of its evaluations. Means with 95 % intervals over images (or groups)
and seeds; gain is student − each baseline, retention student ÷ teacher. With --against also each
run's student − another run's student (or MODEL, such as twin), paired by test image and seed.
"""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path

from pyarrow import parquet

from abbe.reporting.tables import plain_cell
from abbe.runs.folder import open_run
from abbe.summary import Score
from abbe.tasks.scores import Row, Scores, measured_gain


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
    folder: Path, metrics: Sequence[str], against: str, model: str = "student"
) -> dict[str, Score]:
    """The student − another run's model, by metric, seed by seed."""
    own, other = rows_of(folder, "student", "own"), rows_of(Path(against), model, "other")
    if values(own, "image") != values(other, "image"):
        raise SystemExit(f"{folder} and {against} were tested on different images")
    seeds, others = values(own, "seed"), values(other, "seed")
    if others not in (seeds, {None}):
        raise SystemExit(f"{folder} has the seeds {seeds}, {against} {others}: no pairs of these")
    found = Scores([*own, *other])
    pairs = {metric: found.measured(metric, ("own", "other")) for metric in metrics}
    return {metric: measured_gain(one.minus(two)) for metric, (one, two) in pairs.items()}


def rows_of(folder: Path, model: str, name: str) -> list[Row]:
    """The scores of one model of a run, which is called ``name``."""
    rows = parquet.read_table(folder / "scores.parquet").to_pylist()
    return [{**row, "model": name} for row in rows if row["model"] == model]


def values(rows: Sequence[Row], column: str) -> set[object]:
    return {row[column] for row in rows}


def row(
    folder: Path, name: str, values: Mapping[str, Score], metrics: list[str], sign: str = ""
) -> None:
    cells = [plain_cell(values[metric], sign) for metric in metrics]
    print(f"| {folder.name} | {name} | {values[metrics[0]].n} | " + " | ".join(cells) + " |")


def share(value: float | None) -> str:
    return "—" if value is None else f"{100 * value:.1f} %"


if __name__ == "__main__":
    main()
