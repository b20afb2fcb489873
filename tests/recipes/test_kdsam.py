"""KD SAM through the command line, with a tiny teacher whose weights are random."""

import json
import shlex

import numpy as np
import pytest
import torch
from commands import abbe
from PIL import Image as Picture
from safetensors.torch import save_file

from abbe import scoring, students
from abbe.imaging import write_labels
from abbe.recipes.promptable_scores import (
    PromptedModel,
    objects_of,
    score_prompted,
)
from abbe.sam import Frame, Layout, build_sam
from abbe.tensors import read_tensors

SIDE = 64
TINY = shlex.split(
    "--student.architecture promptable-resnet18 --student.encoder-weights random "
    "--promptable.side 64 --promptable.decoder-steps 2 --promptable.objects 1 "
    "--promptable.perceptual-mode decoder --promptable.rounds 2 --training.steps 2 "
    "--training.batch-size 2 --training.validate-every 2 --training.workers 0 --training.ema 0 "
    "--evaluation.resamples 100 "
    "--teacher.options stand_in true"
)


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    """Nine colour pictures of one or two bright discs, with binary masks; one without an object."""
    root = tmp_path_factory.mktemp("discs")
    (root / "images").mkdir()
    random = np.random.default_rng(0)
    rows = ["id,split"]
    for number in range(9):
        label = np.zeros((50, 70), np.int32)
        grid = np.mgrid[:50, :70]
        for disc in range(number % 3):
            centre = random.integers(12, 38), 18 + 34 * disc
            label[np.hypot(grid[0] - centre[0], grid[1] - centre[1]) < 9] = disc + 1
        picture = random.integers(0, 60, (50, 70, 3)) + 150 * (label > 0)[..., None]
        Picture.fromarray(picture.astype(np.uint8)).save(root / "images" / f"{number}.png")
        write_labels(root / "labels" / f"{number}.png", (label > 0).astype(np.int32) * 255)
        rows.append(f"{number},{('train', 'val', 'test')[number // 3]}")
    (root / "index.csv").write_text("\n".join(rows))
    return root


@pytest.fixture(scope="module")
def sam_file(tmp_path_factory):
    layout = Layout("vit", image_size=SIDE, width=32, depth=2, heads=2, global_layers=(1,))
    path = tmp_path_factory.mktemp("sam") / "tiny_random.safetensors"
    network = build_sam(layout, seed=2)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path)
    return path


@pytest.fixture(scope="module")
def run(pictures, sam_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "kdsam"
    arguments = ["--data.path", pictures, "--teacher.path", sam_file, "--out", out, *TINY]
    assert abbe("distill", "kdsam", *arguments) == 0
    return out


def test_a_run_scores_every_model_by_every_kind_of_prompt(run):
    summary = json.loads((run / "summary.json").read_text())
    assert set(summary["models"]) == {"teacher", "student", "twin"}
    for model in summary["models"].values():
        assert set(model["metrics"]) == set(scoring.PROMPTED_METRICS)
        assert model["metrics"]["dice"]["n"] == 2  # the third test image has nothing to ask for
        assert model["ms_per_prompt"] > 0
    assert summary["stand_in"] == ["tiny_random"]
    assert any("prompts made from the labels" in text for text in summary["warnings"])
    assert summary["retention"]["dice"] is not None
    assert summary["gain"]["dice_1_point"]["n"] == 2
    assert "Dice, one point" in (run / "report.html").read_text()


def test_each_stage_changed_its_own_part_alone(run, sam_file):
    teacher = read_tensors(sam_file)
    student, facts = students.load_promptable(run / "student.safetensors")
    twin, _ = students.load_promptable(run / "twin.safetensors")
    assert facts["teacher_stand_in"] is True
    for network in (student, twin):
        for name, value in network.prompt_encoder.state_dict().items():
            assert torch.equal(value, teacher[f"prompt_encoder.{name}"]), name
    changed = [
        name
        for name, value in student.mask_decoder.state_dict().items()
        if not torch.equal(value, teacher[f"mask_decoder.{name}"])
    ]
    assert changed
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    terms = {
        (line["model"], line["stage"]): set(line["terms"]) for line in lines if "terms" in line
    }
    assert terms[("student", "encoder")] == {"mse", "decoder"}
    assert terms[("student", "decoder")] == {"dice", "iou"}
    assert terms[("twin", "masks")] == {"dice", "iou"}
    assert {line["steps"] for line in lines if line["model"] == "twin" and "steps" in line} == {4}


def test_the_encoder_rests_in_the_second_stage(run):
    first = torch.load(run / "checkpoints/student-encoder.pt", weights_only=True)["trained"]
    second = torch.load(run / "checkpoints/student-decoder.pt", weights_only=True)["trained"]
    for name, value in first.items():
        if "image_encoder" in name:
            assert torch.equal(value, second[name]), name
    assert any(not torch.equal(v, second[k]) for k, v in first.items() if "mask_decoder" in k)


def test_a_live_teacher_a_baseline_and_no_second_stage(pictures, sam_file, tmp_path):
    arguments = [
        "--data.path", pictures, "--teacher.path", sam_file, "--out", tmp_path / "live", *TINY,
        "--teacher.live", "--promptable.baseline", sam_file, "--no-twin",
        "--promptable.decoder-steps", "1", "--training.steps", "1",
    ]  # fmt: skip
    assert abbe("distill", "kdsam", *arguments) == 0
    summary = json.loads((tmp_path / "live/summary.json").read_text())
    assert set(summary["models"]) == {"teacher", "student", "baseline"}
    assert not (tmp_path / "live/targets.zarr").exists()


def test_a_student_teaches_a_smaller_one(run, pictures, tmp_path):
    arguments = [
        "--data.path", pictures, "--teacher.path", run / "student.safetensors",
        "--out", tmp_path / "second", *TINY[:-3],
        "--student.architecture", "promptable-mobilenetv3-large", "--no-twin",
    ]  # fmt: skip
    assert abbe("distill", "kdsam", *arguments) == 0
    summary = json.loads((tmp_path / "second/summary.json").read_text())
    # The first student's teacher was a stand-in, and so is what came of it.
    assert summary["stand_in"] == ["promptable-resnet18 at 64 px"]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--student.architecture", "unet-resnet18"], "does not go with recipe 'kdsam'"),
        (["--teacher.kind", "masks"], "needs a teacher of SAM's family"),
        (["--promptable.mse", "0", "--promptable.perceptual", "0"], "nothing is distilled"),
        (["--promptable.side", "100"], "multiple"),
    ],
)
def test_what_does_not_fit_fails_before_any_work(
    pictures, sam_file, tmp_path, capsys, arguments, complaint
):
    base = ["--data.path", pictures, "--teacher.path", sam_file, "--out", tmp_path / "x", *TINY]
    assert abbe("distill", "kdsam", *base, *arguments) in (1, 2)
    shown = capsys.readouterr()
    assert complaint in shown.err + shown.out
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["--teacher.live", "--teacher.sees", "green", "blue"],
            "this one reads green, blue (auto)",
        ),
        (["--promptable.baseline", "nowhere.pt"], "promptable.baseline: there is no file"),
        (["--promptable.vgg-weights", "nowhere.pth"], "promptable.vgg_weights: there is no file"),
        (["--student.encoder-weights", "nowhere.pt"], "nowhere.pt"),
        (["--promptable.zoom", "1.0", "0.5"], "the smaller share comes first"),
    ],
)
def test_what_cannot_end_well_fails_before_the_teacher_works(
    pictures, sam_file, tmp_path, capsys, arguments, complaint
):
    base = ["--data.path", pictures, "--teacher.path", sam_file, "--out", tmp_path / "x", *TINY]
    assert abbe("distill", "kdsam", *base, *arguments) in (1, 2)
    shown = capsys.readouterr()
    assert complaint in " ".join((shown.err + shown.out).split())
    assert not (tmp_path / "x" / "targets.zarr").exists()


def test_crumbs_are_not_asked_for_unless_there_is_nothing_else():
    label = np.zeros((20, 20), np.int32)
    label[2:10, 2:10], label[15, 15] = 1, 2
    assert len(objects_of(label)) == 1
    label[2:10, 2:10] = 0
    assert len(objects_of(label)) == 1
    assert len(objects_of(np.zeros((4, 4), np.int32))) == 0


def test_the_union_of_all_answers_is_scored(pictures, sam_file):
    from abbe import datasets
    from abbe.sam import load_sam

    dataset = datasets.folder(pictures)
    network, _ = load_sam(sam_file)
    model = PromptedModel(network, ("red", "green", "blue"))
    record = dataset["2"]
    assert record.label is not None
    objects = objects_of(record.label.read())
    assert len(objects) == 2
    both = model.masks(record, objects)["box"]
    alone = [model.masks(record, each[None])["box"] for each in objects]
    assert np.array_equal(both, alone[0] | alone[1])
    scores = score_prompted({"teacher": model}, [record], progress=False)
    assert 0 <= scores.values("teacher", "dice")["2"] <= 1
    assert Frame.of((50, 70), SIDE).resized == (46, 64)


@pytest.mark.slow
def test_a_run_becomes_a_promptable_package(run, pictures, tmp_path, capsys):
    from abbe.runtime.package import read_package

    out = tmp_path / "discs"
    assert abbe("export", run, "--out", out, "--tile", 64) == 1
    assert "--tile: not for a promptable package" in capsys.readouterr().err
    assert abbe("export", run, "--out", out, "--images", 2) == 0
    package = read_package(out)
    description = package.description
    assert (description.task, description.image_size) == ("promptable", (SIDE, SIDE))
    assert description.three_channels == "colour"
    assert description.lineage.stand_in
    assert description.lineage.teacher == "tiny_random"
    assert description.parity["openvino/fp32"]["images_of"] == "val"
    assert "**The teacher is a stand-in** (tiny_random)" in package.file("card").read_text("utf-8")
    words = ["predict", out, pictures / "images" / "4.png", "--prompts", pictures / "labels"]
    assert abbe(*words, "--out", tmp_path / "found") == 0
    assert (tmp_path / "found" / "4.labels.tif").exists()
