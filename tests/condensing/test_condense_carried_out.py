"""From a folder to a package, the whole way and however often it is killed."""

import os
import shlex
import signal
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import programs
import pytest
from commands import abbe

from abbe.condensing import carry, page
from abbe.exporting import write
from abbe.exporting.request import ExportRequest
from abbe.imaging import read_labels
from abbe.runs.export import export_run
from abbe.runs.folder import open_run
from abbe.runtime.bench.speed import bench
from abbe.runtime.package import read_package
from abbe.training import fit

pytestmark = pytest.mark.slow

SHORT = shlex.split(
    "--training.steps 4 --training.batch-size 2 --training.crop 32 --training.workers 0 "
    "--training.precision fp32 --training.learning-rate 0.01 --training.ema 0 "
    "--student.architecture unet-timm-test_efficientnet --student.depth 3 "
    "--evidence quick --baselines supervised"
)

SMALL = ExportRequest(int8="none", tile=(64,), context=0, images=2, budget_pq=1.0)


@pytest.fixture
def small_export(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exports in windows of 64 px, checked on two images and without int8: seconds each."""
    monkeypatch.setattr(carry, "export_run", partial(export_run, request=SMALL))
    monkeypatch.setattr(carry, "bench", partial(bench, side=64, repeats=3))


def test_a_plan_is_run_by_distill_and_the_same_command_goes_on_to_a_package(
    tissue, small_export, capsys
):
    words = ["condense", "tissue", "--teacher", "masks", "--out", "a", *SHORT]
    assert abbe(*words, "--plan-only") == 0
    assert "measured" in capsys.readouterr().out
    assert abbe("distill", "a/plan.yaml") == 0
    trained = Path("a/student.safetensors").read_bytes()
    assert abbe(*words) == 0
    assert Path("a/student.safetensors").read_bytes() == trained
    shown = capsys.readouterr().out
    evidence = open_run("a").summary.evidence
    best = max(evidence.validation, key=lambda name: evidence.validation[name][0] or 0.0)
    holds = {"student": "the student was", "supervised": "the supervised network was better"}
    assert holds[best] in shown
    package = read_package("a/package")
    assert Path("a/bench.json").is_file()
    for command in ("abbe predict a/package", "abbe evaluate a ", "--evidence standard --resume"):
        assert command in shown
    assert abbe("predict", "a/package", "tissue/images", "--out", "results") == 0
    assert read_labels(next(Path("results").glob("0*.tif"))).shape == (64, 64)
    holder = replace(open_run("a"), network="supervised")
    other = export_run(holder, "other", SMALL).description
    assert other.lineage.teacher == "none"
    assert "which no teacher taught" in " ".join(other.lineage.notes)
    assert other.training["network"] == "supervised"
    told = "supervised" if best == "supervised" else "student"
    assert package.description.training.get("network", "student") == told


def killed(*arguments, **keys):
    os.kill(os.getpid(), signal.SIGKILL)


def killed_somewhere() -> None:
    """``abbe``, killed in the place that the first word names."""
    save, saved = fit.save_checkpoint, []

    def save_twice(path, state):
        save(path, state)
        saved.extend([path] if path.parts[0] == "a" else [])  # the trial of the plan lies elsewhere
        if len(saved) == 2:
            killed()

    place = sys.argv.pop(1)
    if place == "planning":
        page.write_text = killed
    elif place == "training":
        fit.save_checkpoint = save_twice
    elif place == "export":
        carry.export_run = partial(export_run, request=ExportRequest(int8="none"))
        write.check_parity = killed
    programs.abbe()


def test_killed_in_planning_in_training_and_in_export_the_same_command_goes_on(
    tissue, small_export, capsys
):
    words = ["condense", "tissue", "--teacher", "masks", "--out", "a", *SHORT]
    left = {
        "planning": ("condense.json", "plan.yaml"),
        "training": ("checkpoints", "summary.json"),
        "export": ("summary.json", "package"),
    }
    for place, (there, lacking) in left.items():
        code, said = programs.run(killed_somewhere, place, *words, output=Path("said.txt"))
        assert code == -signal.SIGKILL, said
        assert Path("a", there).exists()
        assert not Path("a", lacking).exists()
    assert len(list(Path("a").glob(".package.*.part"))) == 1
    trained = Path("a/student.safetensors").read_bytes()
    capsys.readouterr()
    assert abbe(*words) == 0
    shown = capsys.readouterr().out
    assert "going on with a/plan.yaml" in shown
    assert Path("a/student.safetensors").read_bytes() == trained
    assert read_package("a/package").description.title == open_run("a").summary.title
    assert not list(Path("a").rglob("*.part"))
    assert abbe("distill", "a/plan.yaml", "--out", "b") == 0
    assert Path("b/student.safetensors").read_bytes() == trained
    capsys.readouterr()
    assert abbe(*words) == 0  # nothing is left to do
    assert "writing networks" not in capsys.readouterr().out
