"""Pretraining on an image folder in ImageNet's layout, through the command line."""

import json
import shlex
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import PIL.Image
import programs
import pytest
import timm
import torch
from commands import abbe, doubts

from abbe import config, students
from abbe.errors import ConfigError
from abbe.files.tensors import read_tensors
from abbe.recipes.imagenet import interval_of, right_answers

TINY = shlex.split(
    "--student.architecture unet-mobilenetv3 --training.steps 4 --training.batch-size 4 "
    "--training.crop 32 --training.validate-every 2 --training.workers 0 --training.ema 0 "
    "--training.precision fp32 --training.learning-rate 0.01"
)
CLASSES = [f"n{number:08}" for number in range(7)]


@pytest.fixture(scope="module")
def photographs(tmp_path_factory):
    """Seven classes of one colour each; names, folders and endings as in ImageNet."""
    root, random = tmp_path_factory.mktemp("imagenet"), np.random.default_rng(0)
    for number, name in enumerate(CLASSES):
        for part, count in (("train", 4), ("val", 2)):
            (root / part / name).mkdir(parents=True)
            for index in range(count):
                pixels = random.integers(0, 60, (48, 64, 3)) + np.array([25 * number, 90, 10])
                file = root / part / name / f"{name}_{index}.JPEG"
                PIL.Image.fromarray(pixels.astype(np.uint8)).save(file, "JPEG")
    return root


@pytest.fixture(scope="module")
def run(photographs, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "encoder"
    assert abbe("distill", "imagenet", *TINY, "--data.path", photographs, "--out", out) == 0
    return out


@pytest.mark.slow
def test_a_run_leaves_an_encoder_scores_and_a_page(run, photographs):
    summary = json.loads((run / "summary.json").read_text())
    metrics = summary["models"]["student"]["metrics"]
    assert metrics["accuracy"]["n"] == metrics["top5_accuracy"]["n"] == 14
    assert 0 <= metrics["accuracy"]["mean"] <= metrics["top5_accuracy"]["mean"] <= 1
    assert summary["data"]["train_labelled"] == 28
    assert summary["schedule"]["training"]["samples"] == 28
    assert summary["schedule"]["training"]["passes"] == pytest.approx(4 * 4 / 28)
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    watched = [line["validation"]["accuracy"] for line in lines if "validation" in line]
    assert len(watched) == 2
    assert metrics["accuracy"]["mean"] == pytest.approx(max(watched))  # the best weights are kept
    page = (run / "report.html").read_text()
    for text in ("Top-5 accuracy", "7 classes", "they flatter a little", "It took "):
        assert text in page
    told = students.encoder_facts(run / "encoder.safetensors")
    assert told["pretrained_cfg"]["mean"] == [0.485, 0.456, 0.406]
    assert told["pretrained_cfg"]["std"] == [0.229, 0.224, 0.225]
    facts = told["facts"]
    assert facts["photographs"] == 28
    assert facts["passes"] == pytest.approx(4 * 4 / 28)
    assert facts["accuracy"] == metrics["accuracy"]["mean"]


@pytest.mark.slow
def test_the_encoder_goes_into_other_recipes_and_into_timm(run, photographs, tmp_path):
    file = run / "encoder.safetensors"
    learned = read_tensors(file)
    network = timm.create_model(
        "mobilenetv3_small_100", features_only=True, pretrained=True,
        pretrained_cfg_overlay=students.pretrained_cfg(file),
    )  # fmt: skip
    assert torch.equal(network.state_dict()["conv_stem.weight"], learned["conv_stem.weight"])
    words = shlex.split(
        "--data.kind classes --fine-tuning.task classification --pretraining.method none "
        "--teacher.kind none --student.architecture unet-mobilenetv3 --training.steps 2 "
        "--training.batch-size 2 --training.crop 32 --training.workers 0 --training.ema 0 "
        " --data.fractions 0.5 0.25 0.25 --data.split fraction"
    )
    given = ["--student.encoder-weights", file, "--data.path", photographs]
    out = tmp_path / "task"
    assert abbe("distill", "rckd", *words, *given, "--out", out) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["initialisations"] == {"student": "given"}
    assert list(summary["linear_probe"]["models"]) == ["random", "given"]


@pytest.mark.slow
def test_photographs_that_cannot_be_read_may_be_lost(photographs, tmp_path, capsys):
    root = tmp_path / "copy"
    shutil.copytree(photographs, root)
    gone = [f"train/{CLASSES[2]}/{CLASSES[2]}_1.JPEG", f"val/{CLASSES[0]}/{CLASSES[0]}_0.JPEG"]
    for name in gone:
        (root / name).write_bytes((root / name).read_bytes()[:100])
    words = ["distill", "imagenet", *TINY, "--data.path", root, "--out", tmp_path / "run"]
    assert abbe(*words, "--allow-failed", 1) == 1
    said = capsys.readouterr().err
    assert "2 images were lost, and 1 may be:" in said
    assert f"  {gone[0]}: " in said
    assert f"and so 1 more: {gone[1]}\n" in said
    assert not (tmp_path / "run").exists()
    assert abbe(*words, "--allow-failed", 2) == 0
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["lost"] == summary["left_out"] == gone
    assert summary["data"]["train_labelled"] == 27
    assert summary["models"]["student"]["metrics"]["accuracy"]["n"] == 13
    assert any(
        "2 images could not be used and were left" in text for text in doubts(tmp_path / "run")
    )


@pytest.mark.slow
def test_a_killed_run_ends_like_one_that_was_not(run, photographs, tmp_path, capsys):
    out = tmp_path / "killed"
    words = ["distill", "imagenet", *TINY, "--data.path", str(photographs), "--out", str(out)]
    process = programs.start(programs.abbe, *words)
    checkpoint, ended = out / "checkpoints" / "student-photographs.pt", time.monotonic() + 300
    while not checkpoint.exists() and time.monotonic() < ended:
        assert process.exitcode is None
        time.sleep(0.005)
    process.kill()
    assert programs.ended(process) == -signal.SIGKILL
    assert not (out / "summary.json").exists()
    assert abbe(*words) == 1
    assert "Give --resume to finish it" in capsys.readouterr().err
    assert abbe(*words, "--resume") == 0
    whole, resumed = (read_tensors(each / "encoder.safetensors") for each in (run, out))
    assert all(torch.equal(whole[name], resumed[name]) for name in whole)


@pytest.mark.slow
def test_two_processes_train_together(photographs, tmp_path):
    out = tmp_path / "two"
    words = ["distill", "imagenet", *TINY, "--data.path", str(photographs), "--out", str(out)]
    launch = "launch --cpu --num_processes 2 --num_machines 1 --mixed_precision no"
    done = subprocess.run(
        [sys.executable, "-m", "accelerate.commands.accelerate_cli", *launch.split(),
         "--dynamo_backend", "no", "--main_process_port", "0", "-m", "abbe", *words],
        capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert json.loads((out / "summary.json").read_text())["models"]["student"]["metrics"]
    assert done.stdout.count("28 photographs of 7 classes, 14 to validate on") == 1


def test_first_and_fifth_answers_are_counted(photographs):
    class Fixed(torch.nn.Module):
        """Class 6 is the likeliest, then 5, 4, 3 and 2."""

        def __init__(self):
            super().__init__()
            self.logits = torch.nn.Parameter(torch.arange(7.0))

        def forward(self, image):
            assert image.dtype == torch.float32
            assert 0 <= image.min() <= image.max() <= 1
            return self.logits.expand(len(image), 7)

    from abbe.datasets.imagenet import imagenet_folder

    network = Fixed().train()
    assert right_answers(network, imagenet_folder(photographs).val, 32, 0) == (2, 10, 14)
    assert network.training


def test_the_interval_of_a_share_is_wilsons():
    found = interval_of(8, 10)  # Wilson (1927): (0.490, 0.943)
    assert found.mean == 0.8
    assert found.ci95 == pytest.approx([0.4902, 0.9433], abs=1e-4)


@pytest.mark.slow
def test_a_run_has_no_package_and_is_not_evaluated_elsewhere(run, photographs, capsys):
    assert abbe("export", run, "--out", run / "package") == 1
    assert "leaves an encoder for other runs, no student" in capsys.readouterr().err
    words = ["--data.kind", "classes", "--data.path", photographs]
    assert abbe("evaluate", run, "--name", "elsewhere", *words) == 1
    assert f"--student.encoder-weights {run / 'encoder.safetensors'}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--data.split fraction", "data.split: recipe 'imagenet' reads data.path alone"),
        ("--data.labelled 10", "data.labelled: recipe 'imagenet' reads data.path alone"),
        ("--data.kind folder", "recipe 'imagenet' reads folders of classes: data.kind classes"),
        (
            "--student.input-channels nucleus",
            "recipe 'imagenet': student.input_channels is red green blue",
        ),
        ("--student.normalisation percentile", "recipe 'imagenet': student.normalisation is range"),
        ("--teacher.kind masks --teacher.path x", "recipe 'imagenet' does not read it"),
        ("--training.batch-size 3 --student.encoder-weights gone.pt", "gone.pt"),
    ],
)
def test_what_does_not_go_with_the_recipe_is_refused(
    words, complaint, photographs, tmp_path, capsys
):
    out = ["--data.path", photographs, "--out", tmp_path / "x"]
    assert abbe("distill", "imagenet", *TINY, *out, *shlex.split(words)) == 1
    assert complaint in capsys.readouterr().err


def test_a_data_set_from_python_is_refused(tmp_path):
    from abbe.datasets import class_folder
    from abbe.runs.distill import distill

    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    (tmp_path / "c").mkdir()
    PIL.Image.new("RGB", (8, 8)).save(tmp_path / "c" / "a.png")
    values = {
        "recipe": "imagenet", "out": str(tmp_path / "x"),
        "data": {"kind": "classes", "path": str(tmp_path)},
        "student": {
            "encoder_weights": "random", "input_channels": ["red", "green", "blue"],
            "normalisation": "range",
        },
    }  # fmt: skip
    with pytest.raises(ConfigError, match="recipe 'imagenet' reads a folder"):
        distill(config.parse(values, "test"), dataset=class_folder(tmp_path))
