"""What labels on suggested images are worth, against labels on random ones.

    python benchmarks/suggest.py RUN DATA OUT [--count 20] [--seeds 5] [--steps 150]

RUN is a run on DSB-2018 (DATA, with its columns kind and split) that had few labels and has stored
its teacher's answers, such as OUT/labels-20 of benchmarks/evidence.sh. `abbe suggest` chooses
COUNT of its unlabelled training images. A supervised MobileNetV3 U-Net (--steps, the same
settings for all) then learns from the run's own labels and these; from its own labels and as many
random ones, drawn anew for each seed; and from its own alone. All are scored on the test images;
intervals are over images and seeds, in OUT/table.md. Neither is done again when it is finished.
"""

import argparse
import csv
import random
from collections.abc import Iterator
from pathlib import Path

import abbe
from abbe.datasets import Dataset
from abbe.files import write_text
from abbe.reporting.tables import plain_cell
from abbe.runs import build
from abbe.runs.folder import Run, read_experiment
from abbe.scoring import METRICS
from abbe.tasks.scores import Row, Scores, measured_gain, measured_score

SHOWN = ("dice", "f1@0.5", "pq")
ARMS: tuple[str, ...] = ("suggested", "random", "none")


def main() -> None:
    parser = argparse.ArgumentParser(description="Suggested labels against random ones.")
    parser.add_argument("run", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=150)
    arguments = parser.parse_args()
    section = read_experiment(arguments.run).data.model_copy(update={"path": arguments.data})
    labelled = build.build_dataset(section)
    own = set(labelled.split("train").labelled.ids)
    suggested = suggestions(arguments.run, arguments.count, arguments.out / "suggestions")
    others = sorted(set(labelled.split("train").ids) - own)
    whole = build.split(build.collect(section), section)
    rows: list[Row] = []
    for seed in range(arguments.seeds):
        drawn = set(random.Random(seed).sample(others, len(suggested)))
        for arm, more in zip(ARMS, (suggested, drawn, set()), strict=True):
            chosen, out = with_labels(whole, own | more), arguments.out / f"{arm}-{seed}"
            run = train(chosen, out, seed, arguments.steps)
            rows += [{**row, "model": arm, "seed": seed} for row in run.scores.to_pylist()]
    title = f"{len(own)} labels of the run, {len(suggested)} more; {arguments.seeds} seeds"
    told = "\n".join((title, "", *table_of(Scores(rows))))
    write_text(arguments.out / "table.md", f"{told}\n")
    print(f"\n{told}")


def suggestions(run: Path, count: int, out: Path) -> set[str]:
    """The suggested images; those of an earlier call, where it has left a table."""
    table = out / "suggestions.csv"
    if not table.exists():
        abbe.suggest(run, count=count, out=out)
    with table.open(newline="", encoding="utf-8") as file:
        found = {line["image"] for line in csv.DictReader(file)}
    if len(found) != count:
        raise SystemExit(f"{table} has {len(found)} images, not {count}: name another folder")
    return found


def with_labels(dataset: Dataset, ids: set[str]) -> Dataset:
    """The data set with the labels of these training images alone; other splits keep theirs."""
    return dataset.having(
        record if record.split != "train" or record.id in ids else record.without_labels()
        for record in dataset
    )


def train(dataset: Dataset, out: Path, seed: int, steps: int) -> Run:
    if (out / "summary.json").exists():
        return abbe.open_run(out)
    return abbe.distill(
        "supervised",
        dataset,
        student="unet-mobilenetv3",
        input_channels=["nucleus"],
        encoder_weights="random",
        out=out,
        seed=seed,
        training={"steps": steps, "batch_size": 8, "crop": 128, "validate_every": steps // 2},
    )


def table_of(scores: Scores) -> Iterator[str]:
    """Scores of each arm, then differences over the same seeds, as lines of Markdown."""
    yield f"| labels | {' | '.join(SHOWN)} |\n|---|{'---:|' * len(SHOWN)}"
    measured = {key: dict(zip(ARMS, scores.measured(key, ARMS), strict=True)) for key in SHOWN}
    for arm in ARMS:
        cells = [measured_score(measured[key][arm], METRICS[key].scale) for key in SHOWN]
        yield f"| {arm} | {' | '.join(map(plain_cell, cells))} |"
    for first, second in (("suggested", "random"), ("suggested", "none"), ("random", "none")):
        gains = [measured_gain(measured[key][first].minus(measured[key][second])) for key in SHOWN]
        told = (plain_cell(gain, sign="+") for gain in gains)
        yield f"| {first} − {second} | {' | '.join(told)} |"


if __name__ == "__main__":
    main()
