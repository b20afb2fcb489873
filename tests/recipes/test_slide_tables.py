"""A table of slides: classes, splits, patients and clinical columns, scored slide by slide."""

import csv
import shlex
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from commands import TINY, TWIN_ALONE, abbe
from pyarrow import parquet

from abbe import config
from abbe.errors import InputError
from abbe.runs import build
from abbe.runs.folder import open_run
from abbe.tasks.slides import mean_over_tiles, top_tiles

RESOLUTION: dict[str, Any] = {"resolution": (2e4, 2e4), "resolutionunit": "CENTIMETER"}
ROWS = [
    (f"s{number}", split, f"p{number // 2}", ("ductal", "lobular")[number % 2], "MK"[number % 2])
    for number, split in enumerate(["train"] * 4 + ["val"] * 2 + ["test"] * 4)
]
SLIDES = shlex.split("--data.kind slides --data.size 64 --data.minimum-sharpness 0")


@pytest.fixture(scope="module")
def slides(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten slides of four tiles in two colours."""
    root = tmp_path_factory.mktemp("slides")
    stains = np.array(
        [[[205, 140, 180], [190, 90, 150]], [[110, 70, 140], [90, 60, 160]]], np.uint8
    )
    for number, (name, *_) in enumerate(ROWS):
        pixels = np.full((256, 128, 3), 242, np.uint8)
        drawn = np.random.default_rng(number).choice(stains[number % 2], (128, 128))
        pixels[:128] = drawn
        tifffile.imwrite(root / f"{name}.tif", pixels, photometric="rgb", **RESOLUTION)
    with open(root / "index.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["slide", "split", "group", "class", "scanner"])
        writer.writerows((f"{name}.tif", *rest) for name, *rest in ROWS)
    return root


def collect(root: Path, **keys: Any):
    return build.collect(
        config.Data(kind="slides", path=root, size=64, minimum_sharpness=0, **keys)
    )


def test_tiles_have_what_the_table_says_of_their_slide(slides):
    dataset = collect(slides)
    assert dataset.classes == ("ductal", "lobular")
    assert collect(slides, classes=("lobular", "ductal")).classes == ("lobular", "ductal")
    assert len(dataset) == 4 * len(ROWS)
    rows = {name: rest for name, *rest in ROWS}
    for record in dataset:
        split, patient, kind, scanner = rows[record.columns["slide"].removesuffix(".tif")]
        assert (record.split, record.group) == (split, patient)
        assert (record.columns["class"], record.columns["scanner"]) == (kind, scanner)
        assert record.columns["tissue"] == "1.00"
    assert {record.group for record in collect(slides, group="scanner")} == {"M", "K"}


def test_a_row_of_no_slide_is_told_and_two_of_one_are_refused(slides, tmp_path):
    root = tmp_path / "slides"
    root.mkdir()
    for name in ("s0.tif", "s1.tif"):
        (root / name).write_bytes((slides / name).read_bytes())
    (root / "index.csv").write_text("id,class\ns0,a\ns7,b\n")
    dataset = collect(root)
    assert any("1 row of no image: s7" in problem for problem in dataset.problems)
    assert any("1 image without a row: s1" in problem for problem in dataset.problems)
    assert {record.group for record in dataset} == {"s0", "s1"}
    (root / "index.csv").write_text("id,class\ns0,a\ns0.tif,b\n")
    with pytest.raises(InputError, match="image 's0' has two rows"):
        collect(root)


def test_means_and_the_surest_tiles():
    table = np.array([[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [1.0, 0.0]])
    members = [np.array([0, 1, 2]), np.array([3])]
    np.testing.assert_allclose(mean_over_tiles(table, members), [[0.5, 0.5], [1, 0]])
    np.testing.assert_allclose(top_tiles(table, members, 2), [[0.65 / 1.35, 0.7 / 1.35], [1, 0]])


def test_a_run_scores_slides_and_writes_their_table(slides, tmp_path):
    words = [
        "--data.path", slides, *SLIDES, *TINY, *TWIN_ALONE, "--training.steps", "8",
        "--fine-tuning.task", "classification", "--teacher.kind", "none",
        "--pretraining.method", "contrastive", "--pretraining.steps", 2,
        "--pretraining.batch-size", 4, "--pretraining.crop", 32,
        "--pretrain-data.path", slides,
        *(word.replace("--data.", "--pretrain-data.") for word in SLIDES),
    ]  # fmt: skip
    assert abbe("distill", "rckd", *words, "--out", tmp_path / "run") == 0
    with open(tmp_path / "run" / "slides.csv", newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["model"] == "student"]
    tests = {name: rest for name, *rest in ROWS if rest[0] == "test"}
    assert {row["slide"].removesuffix(".tif") for row in rows} == set(tests)
    right = []
    for row in rows:
        _, patient, kind, scanner = tests[row["slide"].removesuffix(".tif")]
        assert (row["group"], row["class"], row["scanner"], row["tiles"]) == (
            patient, kind, scanner, "4",
        )  # fmt: skip
        chances = [float(row[f"probability_{name}"]) for name in ("ductal", "lobular")]
        assert sum(chances) == pytest.approx(1, abs=1e-5)
        assert row["predicted"] == ("ductal", "lobular")[int(np.argmax(chances))]
        right.append(row["predicted"] == kind)
    told = open_run(tmp_path / "run").summary
    assert told.data.class_counts is not None
    assert told.data.test == len(tests) == sum(told.data.class_counts["test"].values())
    student = told.models["student"]
    assert student.metrics["accuracy"].mean == pytest.approx(np.mean(right))
    assert student.metrics["accuracy"].n == len(tests)
    assert told.linear_probe is not None
    probed = [each.metrics["accuracy"].n for each in told.linear_probe.models.values()]
    assert probed == 2 * [len(tests)]
    answers = parquet.read_table(tmp_path / "run" / "predictions.parquet").to_pylist()
    assert Counter(row["model"] for row in answers if row["model"].startswith("linear")) == {
        "linear probe of contrastive": len(tests), "linear probe of random": len(tests),
    }  # fmt: skip
