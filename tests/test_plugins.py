"""One of each kind from another package: found by its entry point, run through the command line."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

MODULES = {
    "toy_plugin": '''
"""The light module that the entry point names: a line for each kind."""
from abbe.config.recipes import RECIPES, RecipeKeys
from abbe.registry import DATASETS, ENCODERS, EXPORTS, TASKS, TEACHERS

DATASETS["toys"] = "toy_parts:toys"
TEACHERS["brightness"] = "toy_parts:Brightness"
ENCODERS["toy"] = "toy_net:toy_net"
TASKS["brightest"] = "toy_task:Brightest"
EXPORTS["brightest"] = "abbe.runs.export_inputs.instances:EXPORT"



def short(experiment):
    if experiment.training.crop > 64:
        yield "training.crop: recipe 'toy' looks at 64 px at most"


RECIPES["toy"] = RecipeKeys("toy_task:Toy", RECIPES["cmkd"].reads_also, check=short)
''',
    "toy_parts": '''
import numpy as np
from abbe.datasets import simulated_tissue
from abbe.registry import TeacherTraits, declares
from abbe.targets import Provenance
from abbe.teachers import Prediction


def toys(path, *, count, seed=0):
    """A data set that is read by two keys of ``data``, beside the path."""
    assert path.is_dir()
    return simulated_tissue(count, size=64, seed=seed)


@declares(TeacherTraits(keeps_answers=True))
class Brightness:
    """A teacher: whatever is brighter than its image."""

    def __init__(self, source, channels):
        self.provenance = Provenance(
            "brightness", None, "none", "none", tuple(channels or ("nucleus",)), "none"
        )

    def predict(self, image, id):
        pixels = image.read(channels=self.provenance.channels)[:1]
        return Prediction({"probability": (pixels > pixels.mean()).astype(np.float32)})
''',
    "toy_net": """
from timm.models import register_model
from timm.models.resnet import test_resnet


@register_model
def toy_net(pretrained=False, **options):
    return test_resnet(pretrained=False, **options)
""",
    "toy_task": '''
from abbe.recipes.cmkd import Cmkd
from abbe.registry import TASKS
from abbe.scoring import METRICS, Metric
from abbe.summary import Score
from abbe.tasks.instances import Instances


class Brightest(Instances):
    """A task: instances, with a metric of its own."""

    name = "brightest"
    metrics = {**METRICS, "toy": Metric("Toy score", True)}

    def title(self, experiment):
        return "finding what is bright"

    def score(self, models, dataset, evaluation, **options):
        found = super().score(models, dataset, evaluation, **options)
        for scores in found.compared.scores.values():
            scores["toy"] = Score(mean=0.25, ci95=(0.2, 0.3), n=3)
        return found


class Toy(Cmkd):
    """A recipe: CMKD for that task."""

    name = "toy"

    def task(self, experiment):
        return TASKS["brightest"]
''',
}
FILES = {
    **{f"{name}.py": text for name, text in MODULES.items()},
    "toy-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: toy\nVersion: 1.0\n",
    "toy-1.0.dist-info/entry_points.txt": "[abbe.plugins]\ntoy = toy_plugin\n",
    "toy.yaml": "recipe: toy\n",
}
RUN = shlex.split(
    "--data.kind toys --data.path . --data.count 16 --data.seed 5 "
    "--data.fractions 0.25 0.25 0.5 --baselines twin --seeds 1 "
    "--teacher.kind brightness --teacher.path . "
    "--student.architecture unet-toy --student.encoder-weights random "
    "--student.input-channels membrane "
    "--training.steps 2 --training.batch-size 2 --training.crop 32 --training.workers 0 "
    "--training.precision fp32 --out run"
)


ONE_SETTING = ("--threads", "1", "--tile", "160")


def lay_out(folder: Path, files: dict[str, str]) -> Path:
    """A folder on Python's path with a package in it, as pip leaves one."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    return folder


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package ``toy``."""
    return lay_out(tmp_path_factory.mktemp("toy"), FILES)


def abbe(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    paths = [str(folder), os.environ.get("PYTHONPATH", "")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.run(
        [sys.executable, "-m", "abbe", *words],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_a_data_set_teacher_student_task_and_recipe_of_another_package_make_a_run(installed):
    done = abbe(installed, "distill", "toy.yaml", *RUN)
    assert done.returncode == 0, done.stderr
    summary = json.loads((installed / "run/summary.json").read_text())
    assert summary["recipe"] == "toy"
    assert (summary["task"], summary["task_title"]) == ("brightest", "finding what is bright")
    assert summary["teacher"]["teacher"] == "brightness"
    assert list(summary["models"]) == ["teacher", "student", "twin"]
    assert summary["models"]["student"]["metrics"]["toy"]["mean"] == 0.25
    assert summary["data"]["name"] == "simulated-tissue"
    assert "Toy score" in (installed / "run/report.html").read_text()
    other = ["--data.kind", "toys", "--data.path", ".", "--data.count", "4", "--allow-overlap"]
    there = abbe(installed, "evaluate", "run", "--name", "other", *other)
    assert there.returncode == 0, there.stderr
    assert not (installed / "run/evaluations/other/targets.zarr").exists()  # as it declares
    told = json.loads((installed / "run/evaluations/other/summary.json").read_text())
    assert told["task"] == "brightest"
    assert told["data"]["test"] == 4
    assert "finding what is bright" in (installed / "run/evaluations/other/report.html").read_text()


@pytest.mark.slow
def test_its_run_becomes_a_package(installed):
    done = abbe(installed, "export", "run", "--int8", "none", "--images", "2", *ONE_SETTING)
    assert done.returncode == 0, done.stderr
    told = json.loads((installed / "run/package/package.json").read_text())
    assert (told["task"], told["architecture"]) == ("segmentation", "unet-toy")


def test_keys_that_such_a_set_does_not_read_are_refused(installed):
    done = abbe(installed, "distill", "toy.yaml", *RUN, "--data.group", "slide")
    assert done.returncode == 1
    assert "data.group: is not read of a data set of kind 'toys'" in done.stderr


def test_its_recipe_and_teacher_say_what_does_not_fit(installed):
    done = abbe(installed, "distill", "toy.yaml", *RUN, "--training.crop", "128")
    assert done.returncode == 1
    assert "training.crop: recipe 'toy' looks at 64 px at most" in done.stderr
    done = abbe(installed, "distill", "toy.yaml", *RUN, "--teacher.live")
    assert done.returncode == 1
    assert "teacher: live: true works with kind torch, run or sam only" in done.stderr


def test_what_another_package_adds_is_among_the_choices(installed):
    shown = abbe(installed, "distill", "cmkd", "--help").stdout
    assert {"toys", "brightness", "unet-toy"} <= set(re.findall(r"[\w-]+", shown))
    wrong = abbe(installed, "data", "check", "there", "--data.kind", "toyz")
    assert wrong.returncode == 2
    assert "toys" in wrong.stdout + wrong.stderr


def test_a_name_that_is_taken_is_refused(installed, tmp_path):
    (tmp_path / "toy_plugin.py").write_text(
        'from abbe.registry import TASKS\nTASKS["instances"] = "elsewhere:Instances"\n'
    )
    (tmp_path / "toy.yaml").write_text("recipe: cmkd\n")
    (tmp_path / "toy-1.0.dist-info").mkdir()
    for name in ("METADATA", "entry_points.txt"):
        path = f"toy-1.0.dist-info/{name}"
        (tmp_path / path).write_text(FILES[path])
    done = abbe(tmp_path, "distill", "toy.yaml", "--out", "run")
    assert done.returncode == 1
    assert "task 'instances': elsewhere:Instances would take the place of" in done.stderr
