"""What a curve compares: weights that are named or given, groups of regions, or nothing."""

import csv

import pyarrow.parquet
import pytest
import torch
from commands import abbe
from curve_tiles import draw_curve_tiles, rows_of, summary_of, words_of_curve

from abbe import config, students
from abbe.curves.initialisations import INITIALISATIONS, choose_initialisations
from abbe.recipes import encoder_probes


@pytest.fixture(scope="module")
def tiles(tmp_path_factory):
    return draw_curve_tiles(tmp_path_factory.mktemp("tiles"))


@pytest.fixture(scope="module")
def base(tiles):
    return words_of_curve(tiles)


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
