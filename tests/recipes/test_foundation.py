"""The protocol of benchmarks/foundation.py: its folds, its resumption, its tables."""

import re
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import abbe
from abbe import datasets
from abbe.datasets import assign_splits
from abbe.summary import (
    SHAPE,
    CurveSummary,
    Evidence,
    Level,
    LevelScores,
    Model,
    RunSummary,
    Score,
)
from abbe.tasks.promptable.shapes import ShapeAlone
from abbe.tasks.scores import Row, Scores, save_scores

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))
import foundation
import foundation_folds as folds
import foundation_sets as sets
import foundation_shapes as shapes
import foundation_tables as tables
import tables as plain_tables
from foundation_items import Item, Places, Sizes, answers_copied


@pytest.fixture(scope="module")
def polyps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 videos of 12 frames in the set's own layout, divided."""
    data, out = (tmp_path_factory.mktemp(name) for name in ("data", "out"))
    rows = [{"id": f"{n:03}", "sequence": str(n // 12)} for n in range(24 * 12)]
    for part in ("images", "labels"):
        (data / "polyp_cvc" / part).mkdir(parents=True)
        for each in rows:
            black = Image.fromarray(np.zeros((4, 4, 3) if part == "images" else (4, 4), np.uint8))
            black.save(data / "polyp_cvc" / part / f"{each['id']}.png")
    sets.write_index(data / "polyp_cvc", rows)
    sets.polyp_folds(data, out)
    return out


def test_each_video_is_tested_by_one_fold_that_saw_none_of_it(polyps: Path) -> None:
    tested: list[str | None] = []
    for fold in range(sets.POLYP_FOLDS):
        whole = datasets.folder(polyps, group="sequence")
        divided = assign_splits(whole, column=sets.split_column(fold))
        videos = Counter(record.group for record in divided.split("test"))
        assert list(videos.values()) == [4] * 4
        assert len(divided.split("train")) == 20 * 12
        assert not videos.keys() & {record.group for record in divided.split("train")}
        assert len(divided.split("val")) == 0
        tested += videos
    assert len(tested) == len(set(tested)) == 24


def test_pictures_rotate_and_none_that_chooses_is_tested() -> None:
    rows = sets.rotated([f"p{n}" for n in range(15)], 5, choosing=2)
    columns = [sets.split_column(fold) for fold in range(5)]
    for column in columns:
        assert Counter(row[column] for row in rows) == {"test": 3, "val": 2, "train": 10}
    assert all([row[c] for c in columns].count("test") == 1 for row in rows)


def test_what_is_done_is_not_done_again_and_what_fails_is_not_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    called: list[list[str]] = []
    codes = iter((3, 0))

    def start(words: list[str]) -> subprocess.Popen[bytes]:
        called.append(words)
        return started([sys.executable, "-c", f"raise SystemExit({next(codes)})"])

    started = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", start)
    item, done = (
        Item("one", ("distill", "cmkd", "--seeds", 1)),
        tmp_path / "done" / "one",
    )
    with pytest.raises(SystemExit) as ended:
        foundation.carry_out(item, done)
    assert ended.value.code == 3
    assert not done.exists()
    foundation.carry_out(item, done)
    foundation.carry_out(item, done)
    assert len(called) == 2
    assert called[1][1:] == ["-m", "abbe", "distill", "cmkd", "--seeds", "1", "--threads", "1"]
    assert min(map(int, done.read_text().split())) >= 0


def test_every_item_is_named_once_and_begins_where_its_set_is_made(tmp_path: Path) -> None:
    places, sizes = Places(tmp_path, tmp_path, tmp_path), Sizes()
    items = [item for make in foundation.PARTS for item in make(places, sizes)]
    names = [item.name for item in items]
    assert len(set(names)) == len(names)
    made: set[str] = set()
    for item in items:
        paths = {str(word) for word in item.words if str(word).startswith(str(tmp_path / "sets"))}
        made |= {item.name} if item.make else set()
        assert not paths or any(name.endswith("-set") for name in made), item.name


def test_what_came_up_on_the_way_is_run_when_asked_for(tmp_path: Path) -> None:
    places, sizes = Places(tmp_path, tmp_path, tmp_path), Sizes()
    parts = [list(make(places, sizes)) for make in foundation.PARTS]
    usual, all_of_it = (
        [item.name for part in foundation.chosen(parts, ["nuclei"], more=more) for item in part]
        for more in (False, True)
    )
    assert {"nuclei-05", "nuclei-20", "nuclei-suggested"} < set(usual) < set(all_of_it)
    assert {"nuclei-05-cwd", "nuclei-02-0"} <= set(all_of_it) - set(usual)
    assert all(name.startswith("nuclei") for name in all_of_it)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_part_that_fails_ends_all(tmp_path: Path, jobs: int) -> None:
    made: list[int] = []
    ended = threading.Event()

    def fail() -> None:
        ended.set()
        raise SystemExit("no disk")

    last = Item("last", make=lambda: made.append(1))
    first = [Item("fails", make=fail), last]
    second = [Item("waits", make=lambda: ended.wait(9) and time.sleep(0.1)), last]
    with pytest.raises(SystemExit, match="no disk"):
        foundation.carry_out_all([first, second], tmp_path, jobs)
    assert not made


def test_answers_whose_copy_was_stopped_are_copied_anew(tmp_path: Path) -> None:
    (tmp_path / "one" / "shards").mkdir(parents=True)
    (tmp_path / "one" / "shards" / "0").write_text("all")
    (tmp_path / "run" / "targets.zarr").mkdir(parents=True)
    (tmp_path / "run" / "targets.zarr" / "half").write_text("a part")
    answers_copied(tmp_path / "one", tmp_path / "run")()
    copied = tmp_path / "run" / "targets.zarr"
    assert [path.name for path in copied.iterdir()] == ["shards"]
    assert (copied / "shards" / "0").read_text() == "all"


def test_what_took_time_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "one").write_text("7 5\n")
    (tmp_path / "two").write_text("8 6\n")
    tables.print_times(["one", "two", "three"], tmp_path, more=False)
    assert "| two | 8 | 6 |\n| **2 of 3 items** | **15** | **11** |" in capsys.readouterr().out


STUDENT = {"a": 0.9, "b": 0.8, "c": 0.7, "d": 0.6, "e": 0.8, "f": 0.7}
TWIN = {"a": 0.8, "b": 0.7, "c": 0.5, "d": 0.4, "e": 0.5, "f": 0.4}


def write_fold(out: Path, number: int, images: str, name: str = "polyp-folds") -> Path:
    """A finished run of one seed that tested these images, as `abbe distill` leaves it."""
    folder = out / f"{name}-{number:02}"
    folder.mkdir()
    rows: list[Row] = []
    for model, scores in (("teacher", {}), ("student", STUDENT), ("twin", TWIN)):
        for image in images:
            row = {"image": image, "group": f"video-{image}", "model": model, "metric": "dice"}
            seed = None if model == "teacher" else number
            rows.append({**row, "seed": seed, "value": scores.get(image, 0.5)})
    save_scores(Scores(rows), folder / "scores.parquet")
    evidence = Evidence(seeds=[number], baselines=["twin"], against="twin", complete=True)
    RunSummary(
        recipe="kdsam",
        evidence=evidence,
        models={name: Model(parameters=10**6, ms_per_image=5.0) for name in ("teacher", "student")},
    ).write(folder)
    return folder


def test_folds_are_one_table_with_the_fold_as_unit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number, images in enumerate(("ab", "cd", "ef")):
        write_fold(tmp_path, number, images)
    tables.print_folds(tmp_path, "polyps", "polyp-folds-??", ("dice",))
    told = capsys.readouterr().out
    assert "polyps: 3 folds, 3 trainings of each network" in told
    assert "| student | 6 | 0.750" in told
    # Of three folds' differences 0.1, 0.2, 0.3: mean 0.2, standard error 0.0577, t of 2 is 4.303.
    assert "| **student − twin** | 6 | +0.200 [-0.048, +0.448] |" in told
    # Of six videos' 0.1, 0.1, 0.2, 0.2, 0.3, 0.3: standard error 0.0365, t of 5 is 2.571.
    assert "| **student − twin**, by video or picture | 6 | +0.200 [+0.106, +0.294] |" in told
    assert "| student ÷ teacher |  | 150.0 %" in told


def test_folds_taught_otherwise_are_held_against_the_plain_ones(tmp_path: Path) -> None:
    plain = [write_fold(tmp_path, n, images) for n, images in enumerate(("ab", "cd"))]
    other = [write_fold(tmp_path, n, images, "cwd") for n, images in enumerate(("ab", "cd"))]
    for folder in other:  # each student is 0.05 better
        rows = abbe.open_run(folder).scores.to_pylist()
        better = [
            {**row, "value": row["value"] + 0.05 * (row["model"] == "student")} for row in rows
        ]
        save_scores(Scores(better), folder / "scores.parquet")
    together = folds.taught_otherwise(folds.gathered(plain), folds.gathered(other))
    assert together.minus(folds.PLAIN, ["dice"])["dice"].mean == pytest.approx(0.05)
    assert together.minus("twin", ["dice"])["dice"].mean == pytest.approx(0.2)
    assert together.compared(["dice"]).retention["dice"] == pytest.approx(0.8 / 0.5)


def test_an_image_that_two_folds_test_is_refused(tmp_path: Path) -> None:
    both = [write_fold(tmp_path, number, images) for number, images in enumerate(("ab", "bc"))]
    with pytest.raises(SystemExit, match="b is tested by polyp-folds-00 and polyp-folds-01"):
        folds.gathered(both)


def test_folds_of_curves_are_units(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for fold, gain in enumerate((0.1, 0.2, 0.3)):
        folder = tmp_path / f"regions-random-{fold:02}"
        folder.mkdir()
        scores = {
            begun: [LevelScores(labelled=4, metrics={key: Score(mean=mean) for key in keys})]
            for begun, mean in (("random", 0.4), ("rckd", 0.4 + gain))
            for keys in [tables.REGIONS]
        }
        CurveSummary(
            kind="curve", recipe="rckd", scores=scores, compared=["random", "rckd"],
            compared_as="initialisation", metric="mean_iou", reference="random",
            levels=[Level(fraction=0.4, labelled=4)], seeds=[fold], planned=2, finished=2,
        ).write(folder)  # fmt: skip
    tables.print_folds_of_curves("regions", tables.finished(tmp_path, "regions-random-??"))
    told = capsys.readouterr().out
    assert "| random | 3 | 0.400" in told
    # Differences 0.1, 0.2, 0.3: mean 0.2, standard error 0.0577, t of 2 is 4.303.
    assert "| rckd − random | 3 | +0.200 [-0.048, +0.448] | +0.200 [-0.048, +0.448] |" in told


def test_draws_tested_on_the_same_images_count_as_seeds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [write_fold(tmp_path, number, "abcdef", "nuclei-02") for number in (0, 1)]
    rows = abbe.open_run(runs[1]).scores.to_pylist()
    for row in rows:  # in the second draw the twin is as good as the student, the teacher better
        row["value"] = STUDENT[row["image"]] if row["model"] == "twin" else row["value"]
        row["value"] = 0.7 if row["model"] == "teacher" else row["value"]
    save_scores(Scores(rows), runs[1] / "scores.parquet")
    tables.print_draws("two draws", runs, ("dice",), best=folds.baselines_of(runs)[0])
    told = capsys.readouterr().out
    assert "| teacher | 6 | 0.600 " in told
    assert "| student | 6 | 0.750 " in told
    (gain,) = (line for line in told.splitlines() if line.startswith("| **student − twin** | 6 |"))
    # By draw 0.2 and 0: two draws leave about one degree of freedom, and t of 1 is 12.7.
    mean, low, high = map(float, re.findall(r"[+-]\d\.\d+", gain))
    assert mean == pytest.approx(0.1)
    assert low < -1
    assert high > 1


def test_another_run_is_compared_seed_by_seed(tmp_path: Path) -> None:
    for run, added in (("one", 0.1), ("two", 0.0)):
        rows: list[Row] = [
            {"image": image, "group": image, "model": "student", "metric": "dice", "seed": seed}
            | {"value": 0.5 + added * (1 + seed)}
            for seed in (0, 1)
            for image in "abc"
        ]
        (tmp_path / run).mkdir()
        save_scores(Scores(rows), tmp_path / run / "scores.parquet")
    found = plain_tables.differences(tmp_path / "one", ["dice"], str(tmp_path / "two"))
    assert found["dice"].mean == pytest.approx(0.15)
    assert found["dice"].by_seed == pytest.approx([0.1, 0.2])


def test_runs_of_other_seeds_or_images_are_refused(tmp_path: Path) -> None:
    for run, image, seed in (("one", "a", 0), ("seed", "a", 1), ("image", "b", 0)):
        row: Row = {"image": image, "group": image, "model": "student", "metric": "dice"}
        (tmp_path / run).mkdir()
        save_scores(
            Scores([{**row, "seed": seed, "value": 0.5}]), tmp_path / run / "scores.parquet"
        )
    for run, said in (("seed", "no pairs"), ("image", "different images")):
        with pytest.raises(SystemExit, match=said):
            plain_tables.differences(tmp_path / "one", ["dice"], str(tmp_path / run))


def test_an_ellipse_fills_its_box_and_a_disc_lies_around_the_point(tmp_path: Path) -> None:
    for part in ("images", "labels"):
        (tmp_path / part).mkdir()
    y, x = np.ogrid[:40, :80]
    oval = ((y - 19.5) / 10) ** 2 + ((x - 39.5) / 20) ** 2 <= 1
    for name in "ab":
        for part in ("images", "labels"):
            Image.fromarray(np.uint8(255 * oval)).save(tmp_path / part / f"{name}.png")
    sets.write_index(tmp_path, [{"id": "a", "split": "val"}, {"id": "b", "split": "test"}])
    found = shapes.scored(tmp_path, [{"image": "b", "group": None, "model": "student"}])
    dice = {(row["model"], row["metric"]): row["value"] for row in found}
    assert dice[SHAPE, "dice"] == 1
    # An ellipse has pi / 4 of its box: Dice is 2 * pi / 4 / (1 + pi / 4).
    assert dice[shapes.BOX, "dice"] == pytest.approx(0.88, abs=0.01)
    # The best disc is between the axes, so it misses the ends and takes too much beside.
    assert 0.7 < dice[SHAPE, "dice_1_point"] < 0.9
    alone = shapes.scores_of(next(iter(datasets.folder(tmp_path))), ShapeAlone({}))
    assert (SHAPE, "dice_1_point") not in alone
