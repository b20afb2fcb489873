"""A finished run on another data set: as it is, and beside a student distilled there."""

import os
import pickle
import shutil
import signal
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import tifffile
import torch
from commands import TISSUE, abbe, doubts, figures, told
from programs import forked_workers
from pyarrow import parquet

import abbe as package
from abbe import config, datasets, students, teachers
from abbe.cluster import Died
from abbe.errors import InputError
from abbe.imaging import Image, write_labels
from abbe.registry import TASKS
from abbe.runs.elsewhere.evaluate import evaluate_run
from abbe.runs.elsewhere.teacher import own_answers
from abbe.runs.folder import Run, open_run
from abbe.runs.lost import Lost
from abbe.targets import TargetStore
from abbe.tasks import each
from abbe.tasks.maps import NetworkModel
from abbe.tasks.task import BySeed
from abbe.teachers.run import RunTeacher

OTHER = ["--data.kind=simulated", "--data.count=4", "--data.size=64", "--data.seed=6"]
"""Four images of one other slide, without splits."""


def refused(capsys, run: Run, name: str, *words) -> str:
    assert abbe("evaluate", run.folder, "--name", name, *words) == 1
    return capsys.readouterr().err


@pytest.mark.slow
def test_a_run_is_scored_on_another_set_as_it_is(run, capsys):
    assert abbe("evaluate", run.folder, "--name", "other", *OTHER) == 0
    out = run.folder / "evaluations" / "other"
    shown = capsys.readouterr().out
    assert f"report: {out / 'report.html'}" in shown
    assert (out / "report.html").is_file()
    summary = told(open_run(out))
    assert summary["evaluation_of"] == run.folder.name
    assert list(summary["models"]) == ["teacher", "student", "twin"]
    assert summary["data"]["test"] == 4  # without splits of its own, all of it is tested on
    assert summary["data"]["train_labelled"] == 0
    assert summary["thresholds"] == told(run)["thresholds"]
    for name in ("teacher", "student", "twin"):
        assert summary["models"][name]["parameters"] == told(run)["models"][name]["parameters"]
        assert summary["models"][name]["ms_per_image"] > 0
    for metric in ("dice", "f1@0.5"):
        assert summary["models"]["student"]["metrics"][metric]["n"] == 4
        assert summary["gain"][metric]["n"] == 4
    rows = parquet.read_table(out / "scores.parquet").to_pylist()
    others = datasets.simulated_tissue(4, size=64, seed=6).ids
    assert {row["image"] for row in rows} == set(others)
    assert sorted(TargetStore(out / "targets.zarr").ids) == sorted(others)
    assert any("keep the thresholds" in warning for warning in summary["warnings"])


@pytest.mark.slow
def test_an_evaluation_is_not_written_over(run, capsys):
    if not (run.folder / "evaluations" / "other").exists():
        assert abbe("evaluate", run.folder, "--name", "other", *OTHER) == 0
    message = refused(capsys, run, "other", *OTHER)
    assert "evaluations/other: exists already; give another --name" in message


@pytest.mark.slow
def test_a_run_scored_on_its_own_test_images_gets_the_scores_it_has(run):
    data = config.load(run.folder / "config.yaml").data.model_copy(update={"split": "fraction"})
    again = evaluate_run(run.folder, data, name="itself")
    for model in ("teacher", "student", "twin"):
        here, there = (told(each)["models"][model]["metrics"] for each in (again, run))
        for metric in ("dice", "f1@0.5", "nsd"):
            assert here[metric]["mean"] == pytest.approx(there[metric]["mean"])


@pytest.mark.slow
def test_a_student_distilled_there_stands_beside_the_one_that_came(run):
    other = [*TISSUE, "--data.seed", "6", "--data.labelled", "2"]
    assert abbe("evaluate", run.folder, "--name", "distilled", *other, "--distil") == 0
    out = run.folder / "evaluations" / "distilled"
    summary = told(open_run(out))
    here = ["student distilled here", "twin trained here"]
    assert list(summary["models"]) == ["teacher", "student", "twin", *here]
    assert all("ms_per_image" in model for model in summary["models"].values())
    local = open_run(out / "distilled")
    for name, model in zip(("student", "twin"), here, strict=True):
        for metric in ("dice", "f1@0.5"):
            scores = [told(r)["models"][m]["metrics"][metric]["mean"]
                      for r, m in ((open_run(out), model), (local, name))]  # fmt: skip
            assert scores[0] == pytest.approx(scores[1])
    assert told(local)["teacher"]["weights_sha256"] == told(run)["teacher"]["weights_sha256"]
    for model in ("teacher", "student", "twin"):
        assert summary["thresholds"][model] == told(run)["thresholds"][model]
    assert summary["thresholds"][here[0]] == told(local)["thresholds"]["student"]
    assert config.load(out / "distilled" / "config.yaml").training.steps == 4  # the same settings


@pytest.mark.slow
def test_channels_of_the_other_set_may_have_other_names(run, monkeypatch):
    shown = []

    def spy(self, record, predict=NetworkModel.predict):
        shown.append(self.input_channels)
        return predict(self, record)

    monkeypatch.setattr(NetworkModel, "predict", spy)
    input_channels = [
        "--student-channels",
        "membrane",
        "--teacher-channels",
        "membrane",
        "membrane",
    ]
    assert abbe("evaluate", run.folder, "--name", "membrane", *OTHER, *input_channels) == 0
    out = run.folder / "evaluations" / "membrane"
    summary = told(open_run(out))
    assert summary["student_channels"] == ["membrane"]
    assert set(shown) == {("membrane",)}
    assert summary["teacher_channels"] == ["membrane", "membrane"]
    assert summary["models"]["teacher"]["metrics"]["dice"]["n"] == 4
    path = config.load(run.folder / "config.yaml").teacher.path
    assert path is not None
    teacher = teachers.run(path)
    image = datasets.simulated_tissue(1, size=64, seed=6).records[0].image.open()
    pixels = image.read(channels=("membrane", "membrane"))
    names = "nucleus", "membrane"  # as the teacher calls them
    twice = Image.from_array(pixels, names, image.pixel_size)
    expected = teacher.predict(twice, "").maps["probability"]
    stored = TargetStore(out / "targets.zarr").read("simulated-6-00000", "probability")
    np.testing.assert_allclose(stored, expected, atol=0.51 / 255)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--student-channels", "dapi"], "the student is to see dapi"),
        (["--student-channels", "nucleus", "membrane"], "name as many channels"),
        (["--teacher-channels", "nucleus"], "was trained on the channels nucleus, membrane"),
        (["--data.kind", "folder"], "data: kind 'folder' needs a path"),
    ],
)
def test_channels_that_do_not_fit_are_refused(run, capsys, words, reason):
    message = refused(capsys, run, "never", *OTHER, *words)
    (said,) = [line for line in message.splitlines() if line.startswith("abbe evaluate: ")]
    assert reason in said
    assert not (run.folder / "evaluations" / "never" / "summary.json").exists()


@pytest.mark.slow
def test_without_labels_nothing_is_scored(run, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    pixels = np.random.default_rng(0).integers(0, 999, (2, 64, 64), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "images" / "a.tif", pixels)
    data = ["--data.path", tmp_path, "--data.channels", "nucleus", "membrane"]
    assert "no labelled test image" in refused(capsys, run, "unlabelled", *data)


@pytest.mark.slow
def test_images_that_the_teacher_fails_on_are_told(run, tmp_path, capsys, monkeypatch):
    def fail(self, image, id):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(RunTeacher, "predict", fail)
    words = ["evaluate", run.folder, "--name", "failing", *OTHER]
    assert abbe(*words, "--allow-failed", 3) == 1
    said = capsys.readouterr().err
    assert "4 images were lost, and 3 may be:" in said
    assert said.count("RuntimeError: out of memory") == 1
    assert "and so 3 more: " in said
    assert not (run.folder / "evaluations" / "failing" / "summary.json").exists()
    assert abbe(*words, "--allow-failed", 4) == 0
    assert "4 images were lost" in capsys.readouterr().out
    summary = told(open_run(run.folder / "evaluations" / "failing"))
    assert list(summary["models"]) == ["student", "twin"]
    failing = run.folder / "evaluations" / "failing"
    assert "The teacher gave no answer for 4 images." in doubts(failing)
    assert len(summary["lost"]) == 4


@pytest.mark.slow
def test_a_run_without_a_teacher_is_scored_alone(teacher_run):
    assert abbe("evaluate", teacher_run, "--name", "other", *OTHER) == 0
    summary = told(open_run(teacher_run / "evaluations" / "other"))
    assert list(summary["models"]) == ["student"]
    assert summary["teacher"] is None
    assert summary["student_channels"] == ["nucleus", "membrane"]


@pytest.mark.slow
def test_finished_answers_cannot_teach_elsewhere(teacher_run, capsys):
    words = ["--name", "never", *TISSUE, "--distil"]
    assert abbe("evaluate", teacher_run, *words) == 1
    assert "a teacher of kind 'none' has no answers for other images" in capsys.readouterr().err


def test_the_run_s_own_answers_count_where_only_the_labels_are_others(run):
    made = datasets.simulated_tissue(16, size=64, seed=5)
    same = made.with_splits(dict.fromkeys(made.ids, "test"))
    store = own_answers(run, same)
    assert store is not None
    assert store.path == run.folder / "targets.zarr"
    other = datasets.simulated_tissue(4, size=64, seed=6)
    assert own_answers(run, other.with_splits(dict.fromkeys(other.ids, "test"))) is None
    fewer = datasets.simulated_tissue(16, size=64, seed=5, channels=("membrane",))
    assert own_answers(run, fewer.with_splits(dict.fromkeys(fewer.ids, "test"))) is None


def nuclei_alone(
    folder: Path, labelled: int = 2, times: int = 1, pixel_size: float | None = 0.5
) -> list[str | Path]:
    """Three images of the nuclei alone, as the student sees them, ``times`` as large.

    Some have labels.
    """
    larger = np.ones((times, times), int)
    (folder / "images").mkdir()
    (folder / "labels").mkdir()
    for number, record in enumerate(datasets.simulated_tissue(3, size=64, seed=6)):
        nuclei = record.image.open().read(channels=["nucleus"])[0]
        tifffile.imwrite(
            folder / "images" / f"{number}.tif", np.kron(nuclei, larger).astype(np.uint16)
        )
        if number < labelled:
            assert record.label is not None
            labels = np.kron(record.label.read(), larger)
            write_labels(folder / "labels" / f"{number}.png", labels.astype(np.int32))
    size = [] if pixel_size is None else ["--data.pixel-size", str(pixel_size)]
    return ["--data.path", folder, "--data.channels", "nucleus", *size]


@pytest.mark.slow
def test_images_of_another_pixel_size_are_scored_at_the_students(run, tmp_path, monkeypatch):
    """The student was trained at 0.377 µm; so it sees images of half that at half their sides."""
    predict, sides = students.predict, []

    def seen(network: Any, pixels: np.ndarray, **others: Any) -> np.ndarray:
        sides.append(pixels.shape[-2:])
        return predict(network, pixels, **others)

    monkeypatch.setattr(students, "predict", seen)
    for times in (1, 2):
        (tmp_path / str(times)).mkdir()
        data = nuclei_alone(tmp_path / str(times), times=times, pixel_size=0.377 / times)
        assert abbe("evaluate", run.folder, "--name", f"times {times}", *data) == 0
        assert set(sides) == {(64, 64)}
        sides.clear()


@pytest.mark.slow
def test_images_without_a_pixel_size_are_not_scored_where_the_student_has_one(
    run, tmp_path, capsys
):
    said = refused(capsys, run, "unknown", *nuclei_alone(tmp_path, pixel_size=None))
    assert "its pixel size is not known" in said
    assert "data.pixel_size" in said
    assert not (run.folder / "evaluations" / "unknown" / "summary.json").exists()


@pytest.mark.slow
def test_a_student_that_knows_no_pixel_size_says_so_once(run, tmp_path, monkeypatch, capsys):
    """Its files are read without theirs, as runs have them whose images had none."""
    load = students.load_any

    def load_unsized(path: Path) -> tuple[Any, dict[str, Any]]:
        network, facts = load(path)
        return network, {**facts, "pixel_size": None}

    monkeypatch.setattr(students, "load_any", load_unsized)
    for name, size, times in (("calibrated", 0.25, 1), ("not calibrated", None, 0)):
        (tmp_path / name).mkdir()
        data = nuclei_alone(tmp_path / name, pixel_size=size)
        assert abbe("evaluate", run.folder, "--name", name, *data) == 0
        said = " ".join(capsys.readouterr().out.split())
        note = f"note: {run.folder} does not say for which pixel size its student was made: images"
        assert said.count(note) == times
        assert said.count("whatever theirs (0.25 µm)") == times


@pytest.mark.slow
def test_a_teacher_that_cannot_answer_is_left_out_and_that_is_said(run, tmp_path, capsys):
    data = nuclei_alone(tmp_path)
    assert abbe("evaluate", run.folder, "--name", "nuclei", *data) == 0
    said = "it sees nucleus, membrane, and the images of"
    assert said in capsys.readouterr().out
    summary = told(open_run(run.folder / "evaluations" / "nuclei"))
    assert list(summary["models"]) == ["student", "twin"]
    assert any(said in doubt and "--teacher-channels" in doubt for doubt in summary["warnings"])
    assert not (run.folder / "evaluations" / "nuclei" / "targets.zarr").exists()


@pytest.mark.slow
def test_a_run_whose_teacher_is_gone_has_its_answers_where_it_gave_some(run, tmp_path, capsys):
    moved = tmp_path / "moved"
    shutil.copytree(run.folder, moved, ignore=shutil.ignore_patterns("evaluations"))
    experiment = config.load(moved / "config.yaml")
    gone = experiment.teacher.model_copy(update={"path": tmp_path / "gone"})
    config.save(experiment.model_copy(update={"teacher": gone}), moved / "config.yaml")
    assert abbe("evaluate", moved, "--name", "same", *TISSUE, "--allow-overlap") == 0
    said = "The teacher's answers are those that the run keeps of these images, for it cannot"
    assert said in capsys.readouterr().out
    summary = told(open_run(moved / "evaluations" / "same"))
    assert any(said in doubt and "gone" in doubt for doubt in summary["warnings"])
    there, here = (
        {(row["image"], row["metric"]): row["value"] for row in rows if row["model"] == "teacher"}
        for rows in (
            parquet.read_table(folder / "scores.parquet").to_pylist()
            for folder in (run.folder, moved / "evaluations" / "same")
        )
    )
    assert len(there) > 0
    assert {key: here[key] for key in there} == pytest.approx(there, nan_ok=True)
    assert abbe("evaluate", moved, "--name", "others", *OTHER) == 0
    assert "note: The teacher is left out, for it cannot answer here" in capsys.readouterr().out
    assert "teacher" not in told(open_run(moved / "evaluations" / "others"))["models"]


@pytest.mark.slow
def test_a_teacher_shown_one_channel_twice_is_doubted_and_answers_for_what_is_scored(run, tmp_path):
    data = nuclei_alone(tmp_path)
    twice = ["--teacher-channels", "nucleus", "nucleus"]
    assert abbe("evaluate", run.folder, "--name", "twice", *data, *twice) == 0
    folder = run.folder / "evaluations" / "twice"
    summary = told(open_run(folder))
    assert list(summary["models"]) == ["teacher", "student", "twin"]
    assert any("shown nucleus more than once" in doubt for doubt in summary["warnings"])
    assert sorted(TargetStore(folder / "targets.zarr").ids) == ["0", "1"]  # 2 has no label


@pytest.mark.slow
def test_the_hint_names_the_option_that_evaluate_has(run, tmp_path, capsys):
    data = ["--data.path", tmp_path, "--data.channels", "dapi", "membrane"]
    (tmp_path / "images").mkdir()
    tifffile.imwrite(tmp_path / "images" / "a.tif", np.ones((2, 64, 64), np.uint16))
    message = refused(capsys, run, "hint", *data)
    assert "the student is to see nucleus" in message
    assert "say what it is shown with --student-channels" in message


# ---------------------------------------------------------------------------------------- workers


@dataclass(frozen=True)
class Deadly:
    """A label that ends the first worker that reads it."""

    label: Any
    notes: Path
    client: int

    def read(self) -> np.ndarray:
        if os.getpid() != self.client and not self.notes.exists():
            self.notes.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.label.read()


@pytest.mark.slow
def test_workers_give_the_summary_and_the_tables_of_one_machine(run, tmp_path):
    other = datasets.simulated_tissue(4, size=64, seed=6)
    healthy, *others = other.records
    deadly = replace(healthy, label=Deadly(healthy.label, tmp_path / "notes", os.getpid()))
    other = other.having((deadly, *others))
    one = package.evaluate(run, other, name="alone")
    with forked_workers():
        many = package.evaluate(run, other, name="workers", cluster="local:2")
    assert (tmp_path / "notes").exists()
    assert figures(many.folder) == figures(one.folder)
    assert many.scores == one.scores
    stores = [TargetStore(each.folder / "targets.zarr") for each in (one, many)]
    assert len(set(stores[1].ids)) == len(other)
    for id in other.ids:
        first, second = (store.read(id, "probability") for store in stores)
        np.testing.assert_array_equal(first, second)
    assert {path.name for path in (many.folder / "examples").iterdir()} == {
        path.name for path in (one.folder / "examples").iterdir()
    }
    assert {path.name for path in many.folder.rglob(".[a-z]*")} <= {".lock"}  # of the store


def test_an_image_that_workers_die_of_is_lost(monkeypatch, tmp_path):
    records = datasets.simulated_tissue(3, size=32).records

    def some_die(workers, scratch, work, items, moved):
        return [Died(3) if id == records[1].id else work(item) for id, item in items.items()]

    monkeypatch.setattr(each, "in_order", some_die)
    on_workers = each.OnWorkers(cast(Any, None), tmp_path, Lost(allowed=1))
    groups = [[record] for record in records]
    assert on_workers(len, groups) == [(groups[0], 1), (groups[2], 1)]
    assert "3 workers died while they had this image" in on_workers.lost.reasons[records[1].id]
    with pytest.raises(InputError, match="1 image was lost, and 0 may be"):
        each.OnWorkers(cast(Any, None), tmp_path, Lost())(len, groups)
    with pytest.raises(InputError, match="no image is left to be scored"):
        on_workers(len, groups[1:2])


def sent(work, groups):
    """As workers get it."""
    for group in groups:
        yield group, pickle.loads(pickle.dumps(work))(pickle.loads(pickle.dumps(group)))


@pytest.mark.parametrize("name", ["classification", "semantic"])
def test_groups_of_images_have_the_answers_of_all(name, tiles):
    task = TASKS[name]
    kind, folder = ("classes", "classes") if name == "classification" else ("folder", "regions")
    dataset = task.collect(config.Data(kind=kind, path=tiles / folder))
    torch.manual_seed(0)
    student = config.Student(architecture="unet-mobilenetv3", encoder_weights="random",
                             input_channels=("red", "green", "blue"))  # fmt: skip
    network = task.build(student, task.classes(dataset)).eval()
    model = task.model(network, {}, student.input_channels)
    models: dict[str, BySeed] = {"student": {0: model}}
    one, many = (task.score(models, dataset, config.Evaluation(), each=each)
                 for each in (None, sent))  # fmt: skip
    assert many.rows == one.rows
    assert many.compared == one.compared
    assert many.predictions == one.predictions
    some = one.rows[0]["image"]
    for key, array in many.example(some).items():
        np.testing.assert_array_equal(array, one.example(some)[key])
