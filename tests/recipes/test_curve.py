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
import torch
from commands import abbe
from PIL import Image as Picture

from abbe import config, students
from abbe.cluster import Lost
from abbe.cluster.tries import MOST_TRIES, Tries
from abbe.curves import curve as curves
from abbe.curves.initialisations import INITIALISATIONS, choose_initialisations
from abbe.curves.on_workers import TRIES
from abbe.curves.trainings import load_outcome
from abbe.imaging import write_labels
from abbe.recipes import encoder_probes
from abbe.runs import session

TINY = shlex.split(
    "--student.architecture unet-mobilenetv3 --student.encoder-weights random "
    "--student.input-channels red green blue --pretraining.steps 2 --pretraining.batch-size 2 "
    "--pretraining.crop 32 --training.steps 2 --training.batch-size 2 --training.crop 32 "
    "--training.validate-every 2 --training.workers 0 --training.ema 0 "
    "--training.learning-rate 0.01"
)
FEW = shlex.split("--fractions 0.1 0.2 1 --seeds 0 1 --initialisations rckd random contrastive")


def draw(random, discs):
    grid, label = np.mgrid[:64, :64], np.zeros((64, 64), np.int32)
    for number in range(discs):
        centre = random.integers(6, 58, 2)
        label[np.hypot(grid[0] - centre[0], grid[1] - centre[1]) < 5] = number + 1
    pink = np.array([230, 170, 200]) - random.integers(0, 20, (64, 64, 1))
    return np.where(label[..., None] > 0, np.array([110, 70, 140]), pink).astype(np.uint8), label


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    """Tiles in folders of classes; tiles without labels and a teacher's masks; regions."""
    root, random = tmp_path_factory.mktemp("tiles"), np.random.default_rng(0)
    for split, count in (("train", 5), ("val", 1), ("test", 3)):
        for name, discs in (("dense", 12), ("sparse", 3)):
            folder = root / "classes" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Picture.fromarray(draw(random, discs)[0]).save(folder / f"{number}.png")
    rows = ["id,split,group"]
    for folder in ("tiles/images", "masks", "regions/images"):
        (root / folder).mkdir(parents=True)
    for number in range(8):
        picture, label = draw(random, 5 + number)
        for folder in ("tiles", "regions"):
            Picture.fromarray(picture).save(root / folder / "images" / f"t{number}.png")
        write_labels(root / "regions/labels" / f"t{number}.png", label)
        write_labels(root / "masks" / f"t{number}.png", label)
        split = "test" if number > 4 else "train"
        rows.append(f"t{number},{split},{split} slide {number % 2}")
    (root / "regions/index.csv").write_text("\n".join(rows))
    return root


@pytest.fixture(scope="module")
def base(tiles):
    return [
        "curve", "rckd", *TINY, "--data.path", str(tiles / "classes"),
        "--pretrain-data.kind", "folder", "--pretrain-data.path", str(tiles / "tiles"),
        "--teacher.kind", "masks", "--teacher.path", str(tiles / "masks"),
    ]  # fmt: skip


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


def rows_of(folder):
    return list(csv.DictReader((folder / "curve.csv").open()))


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())


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


@pytest.mark.parametrize(
    ("weights", "wanted", "chosen"),
    [
        ("imagenet", None, INITIALISATIONS),
        ("imagenet", ["random", "rckd"], ("random", "given", "rckd")),
        ("imagenet", ["given", "rckd"], ("given", "rckd")),
        ("random", None, ("random", "contrastive", "rckd", "rckd+contrastive")),
        ("random", ["random", "rckd"], ("random", "rckd")),
    ],
)
def test_weights_that_are_named_are_always_compared(weights, wanted, chosen):
    values = {
        "recipe": "rckd",
        "out": "a",
        "student": {"encoder_weights": weights, "input_channels": ["red", "green", "blue"]},
        "teacher": {"kind": "run", "path": "b"},
    }
    assert choose_initialisations(wanted, config.parse(values, "a test")) == chosen


@pytest.mark.slow
def test_weights_that_were_given_are_compared_fine_tuned_and_probed(
    base, tmp_path, monkeypatch, capsys
):
    torch.manual_seed(1)
    given, out = tmp_path / "given.safetensors", tmp_path / "curve"
    network = students.build_classifier(
        "mobilenetv3", in_channels=3, classes=("a", "b"), encoder_weights="random"
    )
    students.save_encoder(given, network, {})
    looked, features_of = [], encoder_probes.features_of

    def counted(model, images, *rest):
        looked.append(len(images))
        return features_of(model, images, *rest)

    monkeypatch.setattr(encoder_probes, "features_of", counted)
    words = [*base, "--teacher.kind", "none", "--student.encoder-weights", given, "--out", out]
    few = ["--fractions", 0.2, 1, "--seeds", 0, 1]
    assert abbe(*words, *few) == 0
    summary = summary_of(out)
    assert summary["compared"] == ["random", "given", "contrastive"]
    # Training, validation and test images: once by what was given, once by what was pretrained,
    # and once a seed by random weights, which are others at each seed.
    assert looked == 4 * [10, 2, 6]
    probes = {
        name: [level["metrics"]["auroc"]["by_seed"] for level in levels]
        for name, levels in summary["linear_probe"]["scores"].items()
    }
    # With all labels, a probe of the same features is the same at every seed.
    assert probes["given"][1][0] == probes["given"][1][1]
    assert probes["contrastive"][1][0] == probes["contrastive"][1][1]
    shown = capsys.readouterr().out
    assert shown.index("given") < shown.index("linear probe on frozen features")
    rows = rows_of(out)
    assert abbe(*words, *few, "--resume") == 0
    assert len(looked) == 12  # nothing is looked at again
    assert rows_of(out) == rows
    assert summary_of(out) == summary


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


@pytest.mark.slow
def test_regions_over_groups_with_a_pretraining_a_seed(base, tiles, tmp_path):
    out = tmp_path / "regions"
    arguments = [
        "--data.kind", "folder", "--data.path", tiles / "regions", "--data.group", "group",
        "--fine-tuning.task", "segmentation", "--initialisations", "random", "rckd",
        "--fractions", 0.4, 1, "--seeds", 3, 4, "--pretrain-per-seed", "--out", out,
    ]  # fmt: skip
    assert abbe(*base, *arguments) == 0
    summary = summary_of(out)
    assert [level["labelled"] for level in summary["levels"]] == [2, 5]
    assert set(summary["metric_names"]) == {"mean_iou", "dice", "pixel_accuracy"}
    assert summary["grouped"]
    assert summary["data"]["validation"] == 0
    folders = {path.name for path in (out / "pretraining").iterdir()}
    assert folders == {"rckd-seed-3", "rckd-seed-4"}
    labels = list(csv.DictReader((out / "labels.csv").open()))
    for seed in ("seed 3", "seed 4"):  # of three and two images, one group comes first
        assert len({row["group"] for row in labels if row[seed] == "0.4"}) == 1
    page = (out / "report.html").read_text()
    assert "whole groups of test images (patients, slides; 2 groups, 3 im" in page
    assert "The test images are of 2 groups only" in page
    assert "Pretraining was done anew for each seed" in page
    assert "no labelled validation images" in page
    scores = pyarrow.parquet.read_table(out / "scores.parquet").to_pylist()
    assert len(scores) == 2 * 2 * 2 * 3 * 3


@pytest.mark.slow
def test_one_initialisation_and_one_seed_are_a_curve_without_differences(base, tmp_path, capsys):
    out = tmp_path / "alone"
    arguments = ["--initialisations", "random", "--fractions", 0.5, "--seeds", 7]
    assert abbe(*base, *arguments, "--teacher.kind", "none", "--out", out) == 0
    summary = summary_of(out)
    assert summary["differences"] == {}
    assert summary["teacher"] is None
    page = (out / "report.html").read_text()
    assert "Nothing was compared with random" in page
    assert "There is one seed only" in page
    assert not (out / "targets.zarr").exists()
    capsys.readouterr()
    assert abbe("report", out) == 0
    assert abbe("export", out) == 1
    assert "holds a label-efficiency curve, not a run" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--fractions", "5"], "fractions: 5 is no share of the labels"),
        (["--fractions", "0.1", "0"], "fractions: 0 is no share of the labels"),
        (["--fractions", "0.1", "0.1"], "fractions: 0.1 is named twice"),
        (["--seeds", "1", "1"], "seeds: 1 is named twice"),
        (["--seeds", "-1"], "seeds: -1 is negative"),
        (["--initialisations", "simclr"], "there is no 'simclr'; choose from random, given"),
        (["--initialisations", "rckd", "rckd"], "initialisations: rckd is named twice"),
        (["--initialisations", "random", "given"], "'given' begins with the weights of"),
        (
            ["--teacher.kind", "none", "--initialisations", "random", "rckd"],
            "initialisation 'rckd': experiment: recipe 'rckd' with pretraining.method 'rckd' needs",
        ),
        (["--pretraining.method", "rckd"], "name them with --initialisations"),
        (["--data.labelled", "0.5"], "data.labelled is 0.5, but the fractions say"),
        (
            ["--initialisations", "contrastive", "rckd", "--pretraining.batch-size", "9"],
            "there are 8 tiles only",
        ),
        (["--student.encoder-weights", "choose"], "encoder_weights must be chosen"),
    ],
)
def test_what_does_not_fit_fails_before_any_work(base, tmp_path, capsys, arguments, complaint):
    assert abbe(*base, "--out", tmp_path / "x", *arguments) in (1, 2)
    shown = capsys.readouterr()
    assert complaint in " ".join((shown.err + shown.out).split())
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("counts", "complaint"),
    [((2, 0), "images of one class only"), ((2, 1), "fewer of sparse (1)")],
)
def test_classes_that_cannot_be_learned_are_named(base, tiles, tmp_path, capsys, counts, complaint):
    for split in ("train", "test"):
        for name, count in zip(("dense", "sparse"), counts, strict=True):
            folder = tmp_path / "few" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                source = tiles / "classes" / split / name / f"{number}.png"
                (folder / f"{number}.png").write_bytes(source.read_bytes())
    assert abbe(*base, "--data.path", tmp_path / "few", "--out", tmp_path / "x") == 1
    assert complaint in capsys.readouterr().err


def test_other_recipes_have_no_curve(tmp_path, capsys):
    words = ["--data.kind", "simulated", "--student.encoder-weights", "random"]
    assert abbe("curve", "supervised", *words, "--out", tmp_path / "x") == 1
    assert "recipe 'supervised' has no label-efficiency curve" in capsys.readouterr().err


def test_the_help_shows_examples_and_every_key(capsys):
    assert abbe("curve", "--help") == 0
    shown = capsys.readouterr().out
    assert "abbe curve rckd --data.path tiles_by_class/" in shown
    assert "abbe curve cmkd" in shown
    assert abbe("curve", "rckd", "--help-all") == 0
    shown = capsys.readouterr().out
    for key in ("--fractions", "--seeds", "--initialisations", "--pretrain-per-seed", "--resume",
                "--fine-tuning.task", "--training.steps"):  # fmt: skip
        assert key in shown
