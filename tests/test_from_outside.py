"""Another package adds a data set, a teacher, a student and a recipe, without a change here."""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

PLUGIN = """
from abbe.config.recipes import RECIPES, RecipeKeys
from abbe.registry import DATASETS, ENCODERS, TEACHERS

DATASETS["dots"] = "toy_for_abbe:dots"
TEACHERS["bright"] = "toy_for_abbe:bright"
ENCODERS["toy"] = "toy_for_abbe:tiny_toy"
RECIPES["plain"] = RecipeKeys("toy_for_abbe:Plain", ("loss", "evaluation"))
"""
MODULE = '''
import numpy as np
from timm.models import register_model
from timm.models.mobilenetv3 import mobilenetv3_small_075

from abbe import datasets
from abbe.recipes.supervised import Supervised
from abbe.targets import Provenance
from abbe.teachers import Prediction


def dots(path, *, group=None):
    """A data set: the simulator's tissue, as many images as the file at the path says."""
    return datasets.simulated_tissue(int(open(path).read()), size=64, seed=1)


class Bright:
    """A teacher: what is brighter than a threshold is foreground."""

    def __init__(self, channels, above):
        self.above = above
        self.provenance = Provenance(
            teacher="bright", weights_sha256=None, weights_licence="none",
            training_data_licence="none", channels=tuple(channels), normalisation="none",
        )

    def predict(self, image, id):
        pixels = image.read(channels=self.provenance.channels)[:1].astype(np.float32)
        return Prediction({"probability": (pixels > self.above * pixels.max()).astype(np.float32)})


def bright(source, channels, above=0.5):
    return Bright(channels, above)


@register_model
def tiny_toy(pretrained=False, **options):
    return mobilenetv3_small_075(pretrained=pretrained, **options)


class Plain(Supervised):
    """A recipe: labels alone, under another name."""

    name = "plain"
'''
ENTRY_POINTS = "[abbe.plugins]\ntoy = toy_plugin\n"
SHORT = shlex.split(
    "--training.steps 2 --training.batch-size 2 --training.crop 32 --training.workers 0 "
    "--training.validate-every 2 --training.ema 0 "
    "--student.encoder-weights random --student.architecture unet-toy"
)


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A folder on the path of Python with the module, as an installer leaves it."""
    folder = tmp_path / "site"
    about = folder / "toy_for_abbe-1.0.dist-info"
    about.mkdir(parents=True)
    (folder / "toy_for_abbe.py").write_text(MODULE)
    (folder / "toy_plugin.py").write_text(PLUGIN)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-for-abbe\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(ENTRY_POINTS)
    (tmp_path / "count.txt").write_text("16")
    return folder


def abbe(installed: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(installed), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "abbe", *words],
        env={**os.environ, "PYTHONPATH": path},
        cwd=installed.parent,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_a_data_set_a_teacher_and_a_student_of_another_package(installed, tmp_path):
    words = ["--data.kind", "dots", "--data.path", "count.txt", "--teacher.kind", "bright"]
    words += shlex.split("--teacher.path x --teacher.sees nucleus --teacher.options above 0.4")
    done = abbe(installed, "distill", "cmkd", *words, *SHORT, "--out", "run")
    assert done.returncode == 0, done.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert summary["teacher"]["teacher"] == "bright"
    assert summary["models"]["student"]["parameters"] > 0
    assert summary["data"]["name"] == "simulated-tissue"


@pytest.mark.slow
def test_a_recipe_of_another_package(installed, tmp_path):
    (tmp_path / "plain.yaml").write_text("recipe: plain\ndata: {kind: dots, path: count.txt}\n")
    done = abbe(installed, "distill", "plain.yaml", *SHORT, "--out", "run")
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "run" / "summary.json").read_text())["recipe"] == "plain"


def test_what_another_package_adds_is_among_the_choices(installed):
    shown = abbe(installed, "distill", "cmkd", "--help").stdout
    assert "dots" in shown
    assert "bright" in shown
    assert "unet-toy" in shown
    wrong = abbe(installed, "data", "check", "there", "--data.kind", "dotz")
    assert wrong.returncode == 2
    assert "dots" in wrong.stdout + wrong.stderr
