"""Label-efficiency curves of RCKD through the command line, on drawn tiles."""

import csv
import json
import shlex
import signal
import subprocess
import time
from collections import Counter
from contextlib import nullcontext
from itertools import product

import numpy as np
import programs
import pyarrow.parquet
import pytest
from commands import abbe
from curve_tiles import draw_curve_tiles, rows_of, summary_of, words_of_curve
from PIL import Image as Picture

from abbe import students
from abbe.cluster import Lost
from abbe.cluster.tries import MOST_TRIES, Tries
from abbe.curves import curve as curves
from abbe.curves.on_workers import TRIES
from abbe.curves.trainings import load_outcome
from abbe.runs import session

FEW = shlex.split("--fractions 0.1 0.2 1 --seeds 0 1 --initialisations rckd random contrastive")


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    return draw_curve_tiles(tmp_path_factory.mktemp("tiles"))


@pytest.fixture(scope="module")
def base(tiles):
    return words_of_curve(tiles)


@pytest.fixture(scope="module")
def curve(base, tmp_path_factory):
    """Three initialisations, two shares that differ, two seeds."""
    out = tmp_path_factory.mktemp("curves") / "tiles"
    assert abbe(*base, *FEW, "--out", out) == 0
    return out


@pytest.fixture
def fits(monkeypatch):
    """The stages that are trained, by the names that the log gives them."""
    names, fit = [], session.fit

    def counted(stage, accelerator, log, *rest, **options):
        names.append(f"{log.model} · {stage.name}")
        return fit(stage, accelerator, log, *rest, **options)

    monkeypatch.setattr(session, "fit", counted)
    return names


def timeless(rows):
    """Rows but for how long each took."""
    return [{key: value for key, value in row.items() if key != "seconds"} for row in rows]


@pytest.mark.slow
def test_a_row_is_a_training_and_means_and_differences_are_those_of_the_rows(curve):
    rows, summary = rows_of(curve), summary_of(curve)
    assert "All of it" in (curve / "report.html").read_text()  # how long it took
    found = {(row["initialisation"], row["labelled"], row["seed"]) for row in rows}
    arms = ("random", "contrastive", "rckd")
    assert found == {(arm, n, seed) for arm in arms for n in ("2", "10") for seed in "01"}
    assert len(rows) == 12
    assert {(row["labelled"], row["fraction"]) for row in rows} == {("2", "0.2"), ("10", "1.0")}
    assert summary["levels"][0] == {"fraction": 0.2, "labelled": 2, "merged": [0.1]}
    assert summary["compared"] == list(arms)
    assert summary["reference"] == "random"

    def mean(arm, labelled, metric):
        return np.mean([
            float(row[metric]) for row in rows
            if row["initialisation"] == arm and row["labelled"] == labelled
        ])  # fmt: skip

    metrics = ("balanced_accuracy", "accuracy", "macro_f1", "auroc")
    parts = [(summary, ""), (summary["linear_probe"], "linear_probe_")]
    for (part, prefix), metric in product(parts, metrics):
        difference = {}
        for arm in arms:
            for number, labelled in enumerate(("2", "10")):
                score = part["scores"][arm][number]["metrics"][metric]
                assert score["mean"] == pytest.approx(mean(arm, labelled, prefix + metric))
                assert score["ci95"][0] <= score["ci95"][1]
                difference[arm, labelled] = mean(arm, labelled, prefix + metric) - mean(
                    "random", labelled, prefix + metric
                )
        for arm in arms[1:]:
            told = part["differences"][arm]
            for number, labelled in enumerate(("2", "10")):
                value = told["levels"][number]["metrics"][metric]["mean"]
                assert value == pytest.approx(difference[arm, labelled])
            both = (difference[arm, "2"] + difference[arm, "10"]) / 2
            assert told["all"][metric]["mean"] == pytest.approx(both)
    assert "random" not in summary["differences"]


@pytest.mark.slow
def test_everything_that_was_promised_is_in_the_folder(curve):
    with Picture.open(curve / "curve.png") as picture:
        assert min(picture.size) > 400
    assert "labelled training images" in (curve / "curve.svg").read_text()
    page = (curve / "report.html").read_text()
    for text in (
        "Balanced accuracy over labelled images", "Differences to random",
        "the luck of the 2 seeds",
        "the choice of the 6 test images", "pretrained once for all seeds",
        "Balanced accuracy of linear probes", 'href="#probes"',
        "10 %: keeps the same 2 images as 20 %", "Trainings of rckd", "Pretraining contrastive",
    ):  # fmt: skip
        assert text in page
    scores = pyarrow.parquet.read_table(curve / "scores.parquet").to_pylist()
    assert len(scores) == 2 * 12 * 6
    assert {row["metric"] for row in scores} == {"accuracy", "linear_probe_accuracy"}
    own = [row for row in scores if (row["initialisation"], row["seed"]) == ("rckd", 1)]
    mine = [row for row in own if row["metric"] == "accuracy"]
    by_count = Counter(row["labelled"] for row in mine)
    assert by_count == {2: 6, 10: 6}
    (row,) = [
        row for row in rows_of(curve)
        if (row["initialisation"], row["labelled"], row["seed"]) == ("rckd", "10", "1")
    ]  # fmt: skip
    right = np.mean([each["value"] for each in mine if each["labelled"] == 10])
    assert float(row["accuracy"]) == pytest.approx(right)
    probed = [row for row in own if row["metric"] == "linear_probe_accuracy"]
    right = np.mean([each["value"] for each in probed if each["labelled"] == 10])
    assert float(row["linear_probe_accuracy"]) == pytest.approx(right)
    network, facts = students.load_classifier(curve / "trainings/rckd-10-seed-1.safetensors")
    assert facts["classes"] == ["dense", "sparse"]
    assert network is not None
    assert list((curve / "trainings/checkpoints").iterdir()) == []


@pytest.mark.slow
def test_pretraining_is_done_once_and_labels_are_the_same_for_all_at_a_seed(curve):
    assert {path.name for path in (curve / "pretraining").iterdir()} == {"contrastive", "rckd"}
    hashes = {}
    for path in (curve / "trainings").glob("*.npz"):
        arm, labelled, _, seed = path.stem.rsplit("-", 3)
        hashes.setdefault((labelled, seed), {})[arm] = load_outcome(path).labels_sha256
    assert len(hashes) == 4
    for each in hashes.values():
        assert len(each) == 3
        assert len(set(each.values())) == 1
    assert len({each["rckd"] for each in hashes.values()}) == 3  # all labels are the same labels
    rows = list(csv.DictReader((curve / "labels.csv").open()))
    assert len(rows) == 10
    for seed in ("seed 0", "seed 1"):
        assert Counter(row["class"] for row in rows if row[seed] == "0.2") == {
            "dense": 1, "sparse": 1,
        }  # fmt: skip
        assert {row[seed] for row in rows} == {"0.2", "1.0"}
    logs = list((curve / "trainings").glob("*.jsonl"))
    told = {path.stem: path.read_text().splitlines() for path in logs}
    assert len(told) == 12
    for name, lines in told.items():
        assert {json.loads(line)["model"] for line in lines} == {name}


@pytest.mark.slow
def test_what_is_finished_is_not_trained_again_and_seeds_can_be_added(
    curve, tmp_path, fits, capsys
):
    copy = tmp_path / "copy"
    subprocess.run(["cp", "-r", str(curve), str(copy)], check=True)
    assert abbe("curve", copy / "config.yaml", "--out", copy) == 1
    assert "already holds a run. Give --resume" in capsys.readouterr().err
    before, rows = summary_of(copy), rows_of(copy)
    assert abbe("curve", copy, "--resume", "--seed", 9) == 1
    assert "these keys differ: seed" in capsys.readouterr().err
    assert abbe("curve", copy, "--resume") == 0  # a folder goes on where it is now
    shown = capsys.readouterr().out
    assert "done already: 12 trainings" in shown
    assert fits == []
    assert summary_of(copy) == before
    assert abbe("curve", copy, "--resume", "--seeds", 5, "--fractions", 1) == 0
    assert {"random-10-seed-5 · task", "rckd-10-seed-5 · task"} < set(fits)
    assert len(fits) == 6  # three initialisations at two shares, and no pretraining
    assert all(name.endswith("-seed-5 · task") for name in fits)
    assert summary_of(copy)["seeds"] == [0, 1, 5]
    assert [row for row in rows_of(copy) if row["seed"] != "5"] == rows
    shown = capsys.readouterr()
    assert "6 trainings of 2 steps at most; 12 steps in all" in shown.out
    assert "18 of 18 trainings done" in shown.err
    assert abbe("curve", copy, "--resume", "--pretrain-per-seed") == 1
    assert "begun with one pretraining for all seeds" in capsys.readouterr().err


@pytest.mark.slow
def test_a_killed_curve_ends_like_one_that_was_not(base, curve, tmp_path, fits):
    out = tmp_path / "killed"
    fewer = ["--fractions", 1, "--seeds", 0, 1, "--initialisations", "random", "rckd"]
    words = [str(word) for word in [*base, *fewer, "--out", out]]
    process = programs.start(programs.abbe, *words)
    ended = time.monotonic() + 900
    while len(list(out.glob("trainings/*.npz"))) < 2 and time.monotonic() < ended:
        assert process.exitcode is None
        time.sleep(0.02)
    process.kill()
    assert programs.ended(process) == -signal.SIGKILL
    done = {path.stem for path in out.glob("trainings/*.npz")}
    assert 2 <= len(done) < 4
    assert abbe(*words, "--resume") == 0
    assert not any(name.split(" · ")[0] in done for name in fits)
    assert len(fits) == 4 - len(done)  # the pretraining was over, too
    assert timeless(rows_of(out)) == timeless(
        row for row in rows_of(curve)
        if row["labelled"] == "10" and row["initialisation"] != "contrastive"
    )  # fmt: skip
    for arm in ("random", "rckd"):
        assert summary_of(out)["scores"][arm] == summary_of(curve)["scores"][arm][1:]


class Inline:
    """Workers in this process, which die of items, or whose client is stopped after a few."""

    share = 1

    def __init__(self, *, stops_after: int | None = None, dies_of: str = "nothing") -> None:
        self.left, self.dies_of = stops_after, dies_of
        self.names: list[str] = []

    def run(self, function, items, *, long, count):
        assert count is None or count > 0
        hand = []
        for item in items:
            if item is not None:
                hand.append(item)
            while hand and (item is None or len(hand) > 2):
                yield self.carry(function, hand.pop(0))
                item = 0
        while hand:
            yield self.carry(function, hand.pop(0))

    def carry(self, function, item):
        if "rckd" in item.name or "seed" in item.name:  # no tile for the teacher
            if self.left is not None and len(self.names) == self.left:
                raise KeyboardInterrupt
            self.names.append(item.name)
        return item, (Lost(10) if item.name == self.dies_of else function(item))


@pytest.mark.slow
def test_on_workers_trainings_wait_for_their_pretraining_and_none_is_done_twice(
    base, curve, tmp_path, fits, monkeypatch, capsys
):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    opened = []
    monkeypatch.setattr(curves, "open_cluster", lambda *_, **__: nullcontext(opened[-1]))
    out = tmp_path / "workers"
    fewer = ["--fractions", 1, "--seeds", 0, 1, "--initialisations", "random", "rckd"]
    words = [*base, *fewer, "--out", out, "--cluster", "x"]
    opened.append(Inline(dies_of="pretraining rckd"))
    assert abbe(*words) == 1
    told = capsys.readouterr().err
    assert "3 of the trainings were given up:\n  pretraining rckd: its workers died" in told
    assert "rckd, 10 labelled images, seed 1: its pretraining was given up" in told
    opened.append(Inline(stops_after=2))
    for _ in range(MOST_TRIES):  # clients that were killed are no deaths of workers
        with Tries(out / TRIES).begin("pretraining rckd"):
            pass
    assert abbe(*words, "--resume") == 130
    assert opened[-1].names == ["pretraining rckd", "rckd-10-seed-0"]
    opened.append(Inline())
    assert abbe(*words, "--resume") == 0
    assert opened[-1].names == ["rckd-10-seed-1"]
    names = [f"{arm}-10-seed-{seed} · task" for arm in ("random", "rckd") for seed in (0, 1)]
    assert sorted(fits) == sorted(["rckd · pretrain", *names])
    assert timeless(rows_of(out)) == timeless(
        row for row in rows_of(curve)
        if row["labelled"] == "10" and row["initialisation"] != "contrastive"
    )  # fmt: skip
