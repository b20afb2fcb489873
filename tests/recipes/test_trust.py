"""A teacher counts as far as labels speak for it: noise is not heard, a perfect one is."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import TINY, TISSUE, abbe, doubts, tissue, told
from safetensors.numpy import load_file

from abbe import config
from abbe.errors import ConfigError
from abbe.imaging import write_labels
from abbe.runs.folder import Run, open_run
from abbe.targets import Provenance, TargetWriter

pytestmark = pytest.mark.slow

LONGER = [
    "--training.steps", "40", "--training.batch-size", "4", "--training.crop", "64",
    "--training.validate-every", "20",
]  # fmt: skip
"""So long that labels alone teach something."""


def store_of(path: Path, answer: Callable[[np.ndarray, int], np.ndarray], splits: str = "") -> Path:
    """A store whose teacher makes its foreground (H, W) of the true one and the image's number."""
    provenance = Provenance("simulated", None, "none", "none", ("nucleus",), "none")
    with TargetWriter.open(path, provenance) as writer:
        for number, record in enumerate(tissue()):
            if splits and str(record.split) not in splits:
                continue
            source = record.label or whole_label(record.id)
            maps = answer((source.read() > 0).astype(np.float32), number)
            image = record.image.open()
            digest = image.sha256(("nucleus",))
            writer.append(record.id, {"probability": maps[None]}, image_sha256=digest)
    return path


def whole_label(id: str) -> Any:
    from abbe.runs import build

    data = config.Data(kind="simulated", count=16, size=64, seed=5, fractions=(0.25, 0.25, 0.5))
    return build.build_dataset(data)[id].label


def noise(truth: np.ndarray, number: int) -> np.ndarray:
    return np.random.default_rng(number).random(truth.shape).astype(np.float32)


def words_for(store: Path) -> list[Any]:
    """A run of four steps, of two labels."""
    words = ["distill", "cmkd", *TISSUE, *TINY, "--training.precision", "fp32"]
    return [*words, "--data.labelled", 2, "--teacher.kind", "store", "--teacher.path", store]


AUTO = ("--teacher.trust", "auto")


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("stores")
    answers = {"noise": noise, "perfect": lambda truth, _: truth}
    return {name: store_of(folder / f"{name}.zarr", each) for name, each in answers.items()}


@pytest.fixture(scope="module")
def unheard(stores: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Two seeds beside the twin, with a teacher of noise."""
    out = tmp_path_factory.mktemp("trust") / "noise"
    more = ["--seeds", 2, "--baselines", "supervised", "twin"]
    assert abbe(*words_for(stores["noise"]), *LONGER, *AUTO, *more, "--out", out) == 0
    return open_run(out)


def weights(folder: Path) -> dict[str, bytes]:
    return {
        f"{path.relative_to(folder)} {name}": tensor.tobytes()
        for path in sorted(folder.rglob("*.safetensors"))
        for name, tensor in load_file(path).items()
    }


def test_noise_is_not_heard_and_the_student_is_labels_alone(unheard: Run) -> None:
    trust = unheard.summary.trust
    assert trust is not None
    assert trust.outputs == {"foreground": 0.0, "boundary": 0.0}
    assert (trust.asked, trust.measured_on, trust.images) == ("auto", "validation", 4)
    assert trust.alone["foreground"]["dice"] > trust.teacher["foreground"]["dice"]  # pyright: ignore
    for folder in (unheard.folder, unheard.folder / "seeds" / "1"):
        student, other = (load_file(folder / f"{n}.safetensors") for n in ("student", "supervised"))
        assert all((student[name] == other[name]).all() for name in other)
        assert not (folder / "twin.safetensors").exists()  # it would be the same once more
    gain = unheard.summary.gains["supervised"]["dice"]
    assert gain.mean == 0.0
    seeds = unheard.summary.models["student"].metrics["dice"].by_seed
    assert seeds[0] != seeds[1]


def test_that_it_was_not_heard_is_said_where_the_gain_is(unheard: Run) -> None:
    assert any("trusted 0" in each and "labels alone" in each for each in doubts(unheard.folder))
    page = unheard.report.read_text("utf-8")
    assert "The teacher was not heard" in page.split("<h1", 1)[1][:3000]
    assert unheard.summary.models["student"].about == "labels alone: the teacher was trusted 0"
    log = [json.loads(line) for line in (unheard.folder / "log.jsonl").read_text().splitlines()]
    assert {line["model"] for line in log} == {"supervised"}  # nothing was trained twice


def test_an_evaluation_elsewhere_says_it_too(unheard: Run) -> None:
    words = ["--data.kind", "simulated", "--data.count", 4, "--data.size", 64, "--data.seed", 6]
    assert abbe("evaluate", unheard.folder, "--name", "other", *words) == 0
    page = (unheard.folder / "evaluations/other/report.html").read_text("utf-8")
    assert "The teacher was not heard" in page


def test_a_perfect_teacher_is_heard_and_helps(
    stores: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = words_for(stores["perfect"])
    assert abbe(*words, *AUTO, "--evidence", "quick", "--out", tmp_path / "run") == 0
    shown = capsys.readouterr().out
    assert shown.count("teacher: Dice 1.00 on 4 labelled validation images (labels alone: ") == 1
    run = open_run(tmp_path / "run")
    trust = run.summary.trust
    assert trust is not None
    assert trust.outputs == {"foreground": 1.0, "boundary": 0.0}  # it gives no boundary
    assert trust.agreement is not None
    assert 0 < trust.agreement[0] <= trust.agreement[1] <= trust.agreement[2] <= 1
    assert run.summary.evidence.baselines == ["supervised"]  # trained for it, so shown, too
    log = [json.loads(line) for line in (run.folder / "log.jsonl").read_text().splitlines()]
    student = [line for line in log if line["model"] == "student" and "terms" in line]
    assert {"probability", "target_boundary"} <= set(student[0]["terms"])
    assert [line["model"] for line in log].index("student") > 0  # labels alone came first
    assert "Trust in the teacher" in run.report.read_text("utf-8")


def test_a_run_that_is_resumed_takes_the_same_way(
    stores: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from abbe.runs import session

    words = [*words_for(stores["perfect"]), *AUTO, "--evidence", "quick"]
    assert abbe(*words, "--seeds", 2, "--out", tmp_path / "whole") == 0
    fit, stopped = session.fit, []

    def stopping(stage: Any, accelerator: Any, log: Any, *args: Any, **more: Any) -> Any:
        if log.model == "student" and not stopped:
            stopped.append(log.model)
            raise KeyboardInterrupt
        return fit(stage, accelerator, log, *args, **more)

    monkeypatch.setattr(session, "fit", stopping)
    out = tmp_path / "parts"
    assert abbe(*words, "--out", out) != 0
    assert (out / "trust.json").is_file()
    assert abbe(*words, "--out", out, "--resume") == 0
    assert abbe("distill", out, "--seeds", 2, "--resume") == 0  # evidence that comes later
    assert weights(out) == weights(tmp_path / "whole")
    assert told(open_run(out))["trust"] == told(open_run(tmp_path / "whole"))["trust"]


@pytest.mark.parametrize("trust", ["0", "0.5"])
def test_a_number_is_taken_as_it_is(stores: dict[str, Path], tmp_path: Path, trust: str) -> None:
    words = [*words_for(stores["noise"]), "--baselines", "supervised", "--seeds", 1]
    assert abbe(*words, "--teacher.trust", trust, "--out", tmp_path / "run") == 0
    found = open_run(tmp_path / "run").summary
    assert found.trust is not None
    assert found.trust.outputs == {"foreground": float(trust), "boundary": float(trust)}
    assert (found.trust.measured_on, found.trust.images) == ("training", 2)
    student, other = (
        load_file(tmp_path / f"run/{name}.safetensors") for name in ("student", "supervised")
    )
    same = all((student[name] == other[name]).all() for name in other)
    assert same == (trust == "0")


def test_a_curve_chooses_for_each_training(stores: dict[str, Path], tmp_path: Path) -> None:
    teacher = ["--teacher.kind", "store", "--teacher.path", stores["perfect"], *AUTO]
    more = [*teacher, "--baselines", "supervised", "--fractions", 0.5, 1, "--seeds", 0]
    assert abbe("curve", "cmkd", *TISSUE, *TINY, *more, "--out", tmp_path / "curve") == 0
    found = sorted((tmp_path / "curve/trainings").rglob("trust.json"))
    assert len(found) == 2
    for path in found:
        assert json.loads(path.read_text())["outputs"] == {"foreground": 1.0, "boundary": 0.0}
    summary = json.loads((tmp_path / "curve/summary.json").read_text())
    assert summary["compared"] == ["student", "supervised"]


def test_nothing_is_chosen_where_nothing_is_known(
    stores: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def refused(*words: Any) -> str:
        assert abbe(*words, "--out", tmp_path / "run") == 1
        assert not (tmp_path / "run/log.jsonl").exists()
        return capsys.readouterr().err

    words = words_for(stores["perfect"])
    assert "no labelled validation image" in refused(*words, *AUTO, "--data.validation-labels", 0)
    assert "no labelled training image" in refused(*words, *AUTO, "--data.labelled", 0)
    assert "no labelled training image" in refused(
        *words, "--teacher.trust", "0", "--data.labelled", 0
    )
    store = store_of(tmp_path / "train.zarr", lambda truth, _: truth, splits="train test")
    assert "no answer for any labelled validation image" in refused(*words_for(store), *AUTO)


def test_the_key_is_refused_where_it_means_nothing(tmp_path: Path) -> None:
    student = {"encoder_weights": "random"}
    base = {"out": tmp_path, "student": student, "teacher": {"kind": "masks", "path": tmp_path}}
    for recipe in ("rckd", "supervised"):
        values = {**base, "recipe": recipe}
        values["teacher"] = {**base["teacher"], "trust": "auto"}
        with pytest.raises(ConfigError, match=r"teacher.trust: belongs to recipe cmkd"):
            config.parse(values, "test")
    live = {"kind": "run", "path": tmp_path, "live": True, "trust": "auto"}
    with pytest.raises(ConfigError, match=r"teacher.trust auto needs the teacher's answers"):
        config.parse({**base, "recipe": "cmkd", "teacher": live}, "test")
    with pytest.raises(ConfigError, match=r"teacher.trust"):
        config.parse({**base, "recipe": "cmkd", "teacher": {**live, "trust": 1.5}}, "test")


def test_teaching_has_no_trust(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "masks").mkdir()
    for record in tissue():
        write_labels(tmp_path / "masks" / f"{record.id}.tif", whole_label(record.id).read())
    words = ["teach", *TISSUE, "--teacher.kind", "masks", "--teacher.path", tmp_path / "masks"]
    for key in (["--teacher.trust", "0.5"], ["--teacher.trust", "auto"]):
        assert abbe(*words, *key, "--out", tmp_path / "targets.zarr") == 1
        assert "teacher.trust: belongs to 'abbe distill'" in capsys.readouterr().err
