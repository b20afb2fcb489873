"""A task and a recipe of another package that take nothing over but the base classes.

The task is none of Abbe's: one number an image, the share of it that is covered by objects, from a
network that is no U-Net and has files of its own.
"""

import json
import shlex
from pathlib import Path

import numpy as np
import pytest
from test_plugins import abbe, lay_out

FILES = {
    "covered_plugin.py": """
from abbe.config.recipes import RECIPES, RecipeKeys
from abbe.registry import DATASETS, TASKS

DATASETS["tissues"] = "covered_task:tissues"
TASKS["coverage"] = "covered_task:Coverage"
RECIPES["covered"] = RecipeKeys(
    "covered_recipe:Covered", ("evidence", "seeds", "baselines", "evaluation")
)
""",
    "covered_task.py": '''
"""How much of an image is covered."""
import json

import numpy as np
import torch
from abbe.datasets import simulated_tissue
from abbe.errors import InputError
from abbe.scoring import Metric
from abbe.tasks.scores import Scores, compare
from abbe.tasks.task import Scored, Task
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn


def tissues(path, *, count, seed=0):
    return simulated_tissue(count, size=64, seed=seed)


class Covers(nn.Module):
    """(B, C, H, W) to the logit (B,) of the covered share."""

    def __init__(self, channels):
        super().__init__()
        self.pixels = nn.Conv2d(channels, 1, 1)

    def forward(self, image):
        return self.pixels(image).sigmoid().mean(dim=(1, 2, 3)).logit(1e-4)


def pixels_of(record, channels):
    pixels = record.image.open().read(channels=channels).astype(np.float32)
    return torch.from_numpy(pixels / max(float(pixels.max()), 1e-6))


def share_of(record):
    return float((record.label.read() > 0).mean())


class Coverage(Task):
    name = "coverage"
    metrics = {"error": Metric("Error of the share", False)}
    watch = "accuracy"

    def check(self, experiment, dataset):
        if not self.labelled(dataset.split("test")):
            raise InputError(f"data set '{dataset.name}': no test image has a label")

    def save(self, path, network, metadata):
        save_file(network.state_dict(), path, {"covered": json.dumps(dict(metadata))})

    def load(self, path):
        with safe_open(path, "pt") as file:
            metadata = json.loads(file.metadata()["covered"])
        network = Covers(len(metadata["channels"]))
        with safe_open(path, "pt") as file:
            network.load_state_dict({name: file.get_tensor(name) for name in file.keys()})
        return network, metadata

    def model(self, network, metadata, channels):
        return network.eval(), channels

    def score(
        self, models, dataset, evaluation, *, given=None, teacher=None, progress=True, each=None
    ):
        rows = []
        for record in self.labelled(dataset.split("test")):
            for name, by_seed in models.items():
                for seed, (network, channels) in by_seed.items():
                    with torch.inference_mode():
                        share = network(pixels_of(record, channels)[None]).sigmoid().item()
                    rows.append({
                        "image": record.id, "group": record.unit, "model": name, "seed": seed,
                        "metric": "error", "value": abs(share - share_of(record)),
                    })
        scores = Scores(rows)
        compared = compare(scores.models, self.metrics, scores.measured)
        return Scored(rows, compared, {name: {} for name in models}, None)
''',
    "covered_recipe.py": '''
"""Learn the covered share from labels."""
import torch
from abbe.recipes.recipe import Plan, Recipe
from abbe.registry import TASKS
from abbe.runs import build
from abbe.runs.schedules import Amount
from abbe.training.stage import Stage, Term
from covered_task import Covers, pixels_of, share_of


class Together:
    """All images in every batch."""

    def __init__(self, records, channels):
        self.batch_size = len(records)
        self.images = torch.stack([pixels_of(record, channels) for record in records])
        self.shares = torch.tensor([share_of(record) for record in records])

    def __getitem__(self, step):
        return {"image": self.images, "share": self.shares}


def distance(logits, batch):
    return torch.nn.functional.mse_loss(logits.sigmoid(), batch["share"])


class Covered(Recipe):
    name = "covered"

    def task(self, experiment):
        return TASKS["coverage"]

    def amounts(self, experiment, dataset, tiles):
        count = len(self.task(experiment).labelled(dataset.split("train")))
        return {"training": Amount(count, count)}

    def plans(self, experiment, dataset, material, session, trained):
        channels = experiment.student.input_channels
        records = self.task(experiment).labelled(dataset.split("train"))
        torch.manual_seed(experiment.seed)
        network = Covers(len(channels))
        stage = Stage(
            "covering", network, Together(records, channels),
            terms=(Term("share", distance, distils=False),),
            weighting=build.build_weighting(experiment.loss),
            schedule=build.build_schedule(experiment.training),
        )
        yield "student", Plan(network, [stage])
        yield "supervised", Plan(network, [stage], same_as=trained["student"])
''',
    "covered-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: covered\nVersion: 1.0\n",
    "covered-1.0.dist-info/entry_points.txt": "[abbe.plugins]\ncovered = covered_plugin\n",
    "covered.yaml": "recipe: covered\n",
}
RUN = shlex.split(
    "--data.kind tissues --data.path . --data.count 16 --data.seed 5 "
    "--data.fractions 0.5 0.0 0.5 --baselines supervised --seeds 2 "
    "--student.architecture unet-timm-test_efficientnet --student.encoder-weights random "
    "--student.input-channels nucleus --training.steps 60 --training.learning-rate 0.1 "
    "--training.batch-size 8 --training.workers 0 --training.precision fp32 --out run"
)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of that task by that recipe, from the command line."""
    folder = lay_out(tmp_path_factory.mktemp("covered"), FILES)
    done = abbe(folder, "distill", "covered.yaml", *RUN)
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.mark.slow
def test_a_task_that_is_none_of_ours_is_trained_and_scored(run):
    summary = json.loads((run / "summary.json").read_text())
    assert (summary["recipe"], summary["task"]) == ("covered", "coverage")
    error = summary["models"]["student"]["metrics"]["error"]
    assert error["n"] == 8
    assert len(error["by_seed"]) == 2
    losses = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    values = [line["loss"] for line in losses if "loss" in line]
    assert values[-1] < 0.25 * values[0]
    assert "Error of the share" in (run / "report.html").read_text()


@pytest.mark.slow
def test_its_run_is_evaluated_elsewhere_from_its_own_files(run):
    other = shlex.split(
        "--name other --data.kind tissues --data.path . --data.count 4 --data.seed 5 "
        "--allow-overlap"
    )
    there = abbe(run.parent, "evaluate", "run", *other)
    assert there.returncode == 0, there.stderr
    told = json.loads((run / "evaluations/other/summary.json").read_text())
    assert told["task"] == "coverage"
    assert told["data"]["test"] == 4
    assert np.isfinite(told["models"]["student"]["metrics"]["error"]["mean"])


@pytest.mark.slow
def test_a_package_of_it_is_refused_in_words(run):
    done = abbe(run.parent, "export", "run")
    assert done.returncode == 1
    assert "a student of the task 'coverage' becomes no package" in done.stderr
