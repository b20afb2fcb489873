"""KD SAM done otherwise: a teacher that answers live, a baseline, a whole encoder to fit."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from commands import abbe
from drawn import random_sam
from tiny_kdsam import TINY, dice_of

from abbe import config
from abbe.files.tensors import read_tensors
from abbe.recipes.kdsam import AFTER_FIRST, ZERO_SHOT, fitted_parts, load_baseline, longest_side
from abbe.reporting.colours import colours_of
from abbe.sam import load_sam
from abbe.summary import SHAPE
from abbe.training.stage import Schedule


@pytest.fixture(scope="module")
def other_sam(tmp_path_factory):
    return random_sam(tmp_path_factory.mktemp("sam") / "other_random.safetensors", seed=3)


@pytest.mark.parametrize(
    ("live", "side", "kept"), [(False, 512, 853), (True, 512, 1024), (True, 768, 1280)]
)
def test_a_live_teacher_sees_pictures_as_large_as_it_reads_them(live, side, kept):
    """They were shrunk to what the student sees, and blown up to the teacher's 1024 px."""
    values = {
        "recipe": "kdsam",
        "out": "x",
        "data": {"path": "x"},
        "teacher": {"kind": "sam", "path": "sam.pt", "live": live},
        "student": {"architecture": "promptable-resnet18", "encoder_weights": "random"},
        "promptable": {"side": side},
    }
    assert longest_side(config.parse(values, "test"), 1024) == kept


def test_a_live_teacher_a_baseline_and_a_feature_network(
    pictures, sam_file, other_sam, tmp_path, capsys
):
    arguments = [
        "--data.path", pictures, "--teacher.path", sam_file, "--out", tmp_path / "live", *TINY,
        "--teacher.live", "--promptable.baseline", other_sam, "--no-twin",
        "--promptable.decoder-steps", "1", "--training.steps", "1",
        "--promptable.decoder-learning-rate", "0.1", "--promptable.train-neck",
        "--promptable.perceptual-mode", "triplets", "--promptable.vgg-weights", "random",
    ]  # fmt: skip
    assert abbe("distill", "kdsam", *arguments) == 0
    shown = capsys.readouterr().out
    assert "sees red, green, blue; is asked for its embedding of each image\n" in shown
    assert "amg" not in shown
    summary = json.loads((tmp_path / "live/summary.json").read_text())
    models = ["teacher", AFTER_FIRST, "student", ZERO_SHOT, "baseline", SHAPE]
    assert list(summary["models"]) == models
    page = (tmp_path / "live/report.html").read_text()
    assert all(f"</span>{name}" in page for name in models)
    assert "other_random.safetensors at 64 px as it comes" in page
    curves = page[page.index('<section id="training">') : page.index('<section id="cost">')]
    assert f"stroke: {colours_of(summary['models'])['baseline']}" in curves
    assert not (tmp_path / "live/targets.zarr").exists()
    # The baseline as it comes is the file, whatever the second stage made of it afterwards.
    first, second = (summary["models"][name]["metrics"] for name in (ZERO_SHOT, "baseline"))
    assert first["dice"]["mean"] == pytest.approx(dice_of(load_sam(other_sam)[0], pictures))
    assert first != second
    # Its second stage is the student's, which fits the neck here, and nothing else of the encoder.
    trained = torch.load(tmp_path / "live/checkpoints/baseline-decoder.pt", weights_only=True)
    given = read_tensors(other_sam)
    changed = {k for k, value in trained["network"].items() if not torch.equal(value, given[k])}
    assert {".".join(k.split(".")[:2]) for k in changed if "encoder" in k} == {"image_encoder.neck"}
    lines = [json.loads(line) for line in (tmp_path / "live/log.jsonl").read_text().splitlines()]
    (terms,) = [line["terms"] for line in lines if line["stage"] == "encoder" and "terms" in line]
    layers = [terms[f"perceptual/{name}"] for name in ("relu1_2", "relu2_2", "relu3_3")]
    assert set(terms) == {"mse", "perceptual"} | {k for k in terms if k.startswith("perceptual/")}
    assert terms["perceptual"] == pytest.approx(np.mean(layers), rel=1e-5)
    (line,) = [line for line in lines if line["stage"] == "encoder" and "terms" in line]
    assert set(line["weights"]) == {"mse", "perceptual"}
    # taken up again, the finished run has the same rows
    assert abbe("distill", "kdsam", *arguments, "--resume") == 0
    again = json.loads((tmp_path / "live/summary.json").read_text())
    for name in models:
        assert again["models"][name]["metrics"] == summary["models"][name]["metrics"], name


def test_the_second_stage_can_fit_the_whole_encoder(pictures, sam_file, other_sam, tmp_path):
    arguments = [
        "--data.path", pictures, "--teacher.path", sam_file, "--out", tmp_path / "all", *TINY,
        "--promptable.baseline", other_sam, "--no-twin", "--promptable.train-encoder",
        "--training.learning-rate", "0.02", "--promptable.decoder-learning-rate", "0.01",
    ]  # fmt: skip
    assert abbe("distill", "kdsam", *arguments) == 0
    for before, after in (("student-encoder", "student-decoder"), (None, "baseline-decoder")):
        given = read_tensors(other_sam) if before is None else weights_of(tmp_path, before)
        found = weights_of(tmp_path, after)
        changed = {".".join(k.split(".")[:2]) for k in found if not torch.equal(found[k], given[k])}
        assert {"image_encoder.neck", "mask_decoder.transformer"} < changed
        assert sum(name.startswith("image_encoder") for name in changed) > 1
        assert not any(name.startswith("prompt_encoder") for name in changed)
    summary = json.loads((tmp_path / "all/summary.json").read_text())
    after_first, last = (summary["models"][name]["metrics"] for name in (AFTER_FIRST, "student"))
    assert after_first != last
    settings = config.Promptable(train_encoder=True)
    first, second = (Schedule(steps=1, learning_rate=rate) for rate in (0.02, 0.01))
    assert fitted_parts(settings, first, second) == {"image_encoder": 2.0}


def weights_of(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return torch.load(folder / f"all/checkpoints/{name}.pt", weights_only=True)["network"]


@pytest.mark.parametrize(("steps", "side"), [(1, 96), (0, 64)])
def test_a_baseline_of_sams_family_sees_the_students_square_where_both_are_trained(
    other_sam, steps, side
):
    settings = config.Promptable(baseline=other_sam, side=96, decoder_steps=steps)
    found = load_baseline(settings)
    assert found is not None
    assert found[0].side == side
