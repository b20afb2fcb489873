"""Evidence of RCKD and KD SAM: several seeds, more of it later, and a run that is killed."""

import shlex
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import abbe, figures, told, weights_below
from drawn import SIDE

from abbe import reporting
from abbe.runs.folder import open_run
from abbe.training import fit

pytestmark = pytest.mark.slow

TINY = shlex.split(
    "--student.encoder-weights random --training.steps 2 --training.batch-size 2 "
    "--training.validate-every 2 --training.workers 0 --training.ema 0"
)
BASELINES = {"rckd": ("supervised", "twin"), "kdsam": ("twin",)}
STEPS = {
    "rckd": {
        "student · pretrain": 2,
        "student · task": 2,
        "supervised · task": 4,
        "twin · task": 2,
    },
    "kdsam": {"student · encoder": 2, "student · decoder": 2, "twin · masks": 4},
}
"""Of one seed, by network and stage: as long as the student in all, but for RCKD's twin."""
LABELS = {
    "rckd": {"training": 6, "choosing": 4, "weights": 4, "thresholds": 0},
    "kdsam": {"training": 3, "choosing": 3, "weights": 3, "thresholds": 0},
}


@pytest.fixture(scope="module", autouse=True)
def without_pages() -> Iterator[None]:
    """Drawing six pages would take as long as all training."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reporting, "write_report", lambda folder: folder)
        yield


@pytest.fixture(scope="module", params=list(BASELINES))
def recipe(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def words(recipe: str, tiles: Path, pictures: Path, sam_file: Path) -> list[str]:
    """The smallest run of a recipe, but for its evidence."""
    if recipe == "rckd":
        own = (
            "--student.architecture unet-mobilenetv3 --student.input-channels red green blue "
            "--pretraining.steps 2 --pretraining.batch-size 2 --pretraining.crop 32 "
            f"--training.crop 32 --data.path {tiles}/classes --pretrain-data.kind folder "
            f"--pretrain-data.path {tiles}/tiles --teacher.kind masks --teacher.path {tiles}/masks"
        )
    else:
        own = (
            "--student.architecture promptable-timm-mobilenetv3_small_050 "
            f"--promptable.side {SIDE} --promptable.decoder-steps 2 --promptable.objects 1 "
            "--promptable.rounds 1 "
            f"--promptable.perceptual 0 --data.path {pictures} --teacher.path {sam_file}"
        )
    return ["distill", recipe, *TINY, *shlex.split(own)]


@pytest.fixture(scope="module")
def at_once(recipe: str, words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seeds of everything."""
    out = tmp_path_factory.mktemp("evidence") / "run"
    evidence = ["--baselines", *BASELINES[recipe], "--seeds", 2]
    assert abbe(*words, *evidence, "--out", out) == 0
    return out


def test_each_network_is_trained_from_each_seed(recipe: str, at_once: Path) -> None:
    run = open_run(at_once)
    evidence, models = run.summary.evidence, told(run)["models"]
    assert evidence.seeds == [0, 1]
    assert tuple(evidence.baselines) == BASELINES[recipe]
    assert evidence.complete
    names = ("student", *BASELINES[recipe])
    metric = {"rckd": "auroc", "kdsam": "dice"}[recipe]
    for name in names:
        score = models[name]["metrics"][metric]
        assert len(score["by_seed"]) == 2
        assert score["mean"] == pytest.approx(sum(score["by_seed"]) / 2)
        assert models[name]["labels"] == LABELS[recipe]
        found = [at_once / f"{name}.safetensors", at_once / "seeds/1" / f"{name}.safetensors"]
        assert len({path.read_bytes() for path in found}) == 2
    for name in BASELINES[recipe]:
        gain = run.summary.gains[name][metric]
        assert gain.mean == pytest.approx(
            models["student"]["metrics"][metric]["mean"] - models[name]["metrics"][metric]["mean"]
        )


def test_evidence_added_later_by_a_run_that_is_killed_is_that_made_at_once(
    recipe: str,
    words: list[str],
    at_once: Path,
    steps_taken: Counter[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It is killed in the second seed, within a stage; only what is missing is trained."""
    out, stages = tmp_path / "run", STEPS[recipe]
    students = {name: steps for name, steps in stages.items() if name.startswith("student")}
    assert abbe(*words, "--evidence", "quick", "--out", out) == 0
    assert steps_taken == Counter(students)
    steps_taken.clear()
    *_, last = stages
    network, stage = last.split(" · ")
    killed_in, counted = f"{network}, seed 1 · {stage}", fit._Run.train_step

    def killing(self: Any, batch: Any) -> float:
        seconds = counted(self, batch)
        if steps_taken[killed_in]:
            raise KeyboardInterrupt
        return seconds

    monkeypatch.setattr(fit._Run, "train_step", killing)
    more = ["--baselines", *BASELINES[recipe], "--seeds", 2, "--resume"]
    assert abbe("distill", out, *more) == 130
    second = {name.replace(" · ", ", seed 1 · "): steps for name, steps in stages.items()}
    missing = stages | second | {killed_in: 1} | dict.fromkeys(students, 0)
    assert steps_taken == Counter(missing)
    steps_taken.clear()
    monkeypatch.setattr(fit._Run, "train_step", counted)
    assert abbe("distill", out, "--resume") == 0
    assert steps_taken == Counter({killed_in: stages[last]})
    assert weights_below(out) == weights_below(at_once)
    assert figures(out) == figures(at_once)
