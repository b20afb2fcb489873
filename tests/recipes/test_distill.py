"""Whole runs through the command line, four steps each, on simulated tissue."""

import hashlib
import json
import re
import shutil
from pathlib import Path

import numpy as np
import programs
import pytest
import torch
from commands import TINY, TISSUE, TWIN_ALONE, abbe, doubts, tissue, told
from golden import hold
from pyarrow import parquet

from abbe import config, datasets, students
from abbe.imaging import write_labels
from abbe.machine.precision import choose_precision
from abbe.reporting.numbers import quantity
from abbe.runs.folder import open_run
from abbe.scoring import METRICS
from abbe.targets import TargetStore

BOUNDED = ("dice", "iou", "precision", "recall", "boundary_f1", "nsd", "f1@0.5", "pq")


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def lines_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


# ------------------------------------------------------------------------------- what a run leaves


@pytest.mark.slow
def test_figures_are_those_of_before(tmp_path):
    # Four steps each: after more of them at this rate, rounding decides.
    seen = ["--student.input-channels", "nucleus", "membrane"]
    assert abbe("distill", "supervised", *TISSUE, *TINY, *seen, "--out", tmp_path / "teacher") == 0
    hold("supervised", tmp_path / "teacher")
    teacher = ["--teacher.kind", "run", "--teacher.path", tmp_path / "teacher", *TWIN_ALONE]
    words = ["distill", "cmkd", *TISSUE, *TINY, *teacher, "--data.labelled", "2"]
    assert abbe(*words, "--out", tmp_path / "student") == 0
    hold("cmkd", tmp_path / "student")


@pytest.mark.slow
def test_a_supervised_run_has_a_student_and_no_twin(teacher_run):
    assert (teacher_run / "student.safetensors").is_file()
    assert not (teacher_run / "twin.safetensors").exists()
    finished = open_run(teacher_run)
    assert set(told(finished)["models"]) == {"student"}
    assert finished.gain == {}
    assert finished.retention == {}
    assert told(finished)["teacher"] is None
    assert {line["model"] for line in lines_of(teacher_run / "log.jsonl")} == {"student"}


@pytest.mark.slow
def test_the_folder_holds_everything_that_the_design_names(run):
    for name in (
        "config.yaml",
        "environment.json",
        "log.jsonl",
        "student.safetensors",
        "twin.safetensors",
        "scores.parquet",
        "summary.json",
        "report.html",
    ):
        assert (run.folder / name).stat().st_size > 0
    for name in ("checkpoints", "examples", "tensorboard"):
        assert any((run.folder / name).iterdir())
    assert not list(run.folder.rglob("*.part"))


@pytest.mark.slow
def test_the_summary_says_what_was_run_on_what(run):
    summary = told(run)
    assert summary["recipe"] == "cmkd"
    assert summary["data"]["name"] == "simulated-tissue"
    assert summary["data"]["simulated"] is True
    counts = {key: summary["data"][key] for key in ("train_labelled", "train_unlabelled", "test")}
    assert counts == {"train_labelled": 2, "train_unlabelled": 2, "test": 8}
    assert summary["student_channels"] == ["nucleus"]
    assert summary["teacher_channels"] == ["nucleus", "membrane"]
    assert summary["targets"] == {"images": 16, "empty": 0, "missing": 0}
    page = run.report.read_text(encoding="utf-8")
    assert page.count("The images come from a simulator") == 1  # each doubt once
    assert page.count("started from random weights") == 1
    assert summary["speed"]["teach_images_per_s"] > 0
    assert summary["speed"]["train_images_per_s"] > 0
    assert 0 <= summary["speed"]["train_share_waiting_for_data"] <= 1


@pytest.mark.slow
def test_every_model_has_every_metric_and_two_groups_give_no_interval(run):
    assert list(told(run)["models"]) == ["teacher", "student", "twin"]
    for model in told(run)["models"].values():
        assert set(model["metrics"]) == set(METRICS) == set(told(run)["metric_names"])
        for name in BOUNDED:
            metric = model["metrics"][name]
            assert metric["n"] == 8
            assert 0 <= metric["mean"] <= 1
            assert metric["ci95"] == [None, None]
    assert any("are of 2 groups only" in doubt for doubt in doubts(run.folder))


@pytest.mark.slow
def test_the_page_says_how_long_it_took_and_that_weights_began_at_random(run):
    page = (run.folder / "report.html").read_text("utf-8")
    assert re.search(r"It took \d+ (s|min) on the machine below", page)
    assert "Random initial weights" in page
    assert "Simulated" in page


@pytest.mark.slow
def test_means_gain_and_retention_follow_from_the_scores_of_the_images(run):
    rows = parquet.read_table(run.folder / "scores.parquet").to_pylist()
    assert set(rows[0]) == {"image", "group", "model", "seed", "metric", "value"}
    assert len(rows) == 8 * 3 * len(METRICS)
    assert {row["image"] for row in rows} == set(tissue().split("test").ids)
    assert len({row["group"] for row in rows}) == 2
    for metric in ("dice", "recall", "f1@0.5"):
        means = {
            model: np.mean(
                [r["value"] for r in rows if (r["model"], r["metric"]) == (model, metric)]
            )
            for model in told(run)["models"]
        }
        for model, mean in means.items():
            assert told(run)["models"][model]["metrics"][metric]["mean"] == pytest.approx(mean)
        gain = told(run)["gain"][metric]
        assert gain["mean"] == pytest.approx(means["student"] - means["twin"])
        assert gain["ci95"] == [None, None]
        assert gain["p"] is None
        if means["teacher"]:
            assert run.retention[metric] == pytest.approx(means["student"] / means["teacher"])
    assert told(run)["models"]["teacher"]["metrics"]["dice"]["mean"] > 0.3
    assert "hd95" not in run.retention  # a ratio of distances retains nothing


@pytest.mark.slow
def test_size_and_speed_of_the_networks_are_told(run):
    network, facts = students.load(run.student)
    size = students.count(network, 1, 256)
    for name in ("student", "twin"):
        model = told(run)["models"][name]
        assert model["parameters"] == sum(p.numel() for p in network.parameters())
        assert model["macs"] == size.macs
        assert model["encoder_parameters"] < model["parameters"]
        assert model["ms_per_image"] > 0
    assert facts["channels"] == ["nucleus"]
    assert facts["simulated"] is True
    assert facts["pixel_size"] == pytest.approx(0.377)
    assert set(facts["thresholds"]) == {"mask", "foreground", "boundary"}


@pytest.mark.slow
def test_size_and_speed_of_the_teacher_are_told_beside_the_students(run, from_teacher):
    folder = Path(from_teacher[from_teacher.index("--teacher.path") + 1])
    teacher, _ = students.load(folder / "student.safetensors")
    model = told(run)["models"]["teacher"]
    assert model["parameters"] == sum(p.numel() for p in teacher.parameters())
    assert model["macs"] == students.count(teacher, 2, 256).macs
    assert model["macs_image_size"] == 256
    assert model["ms_per_image"] > 0
    timing = told(run)["timing"]
    assert timing["image_size"] == [64, 64]
    assert timing["repeats"] == 9
    assert timing["whole_answers"]
    computed = choose_precision("auto", torch.device("cpu"))
    apart = {"teacher": computed, "student": "fp32", "twin": "fp32"}
    assert timing.get("precision") == (None if computed == "fp32" else apart)
    sizes = [quantity(told(run)["models"][name]["parameters"]) for name in ("student", "teacher")]
    page = (run.folder / "report.html").read_text("utf-8")
    assert f"{sizes[0]} instead of {sizes[1]} parameters" in page


@pytest.mark.slow
def test_thresholds_come_from_validation_images(run):
    for model in ("teacher", "student", "twin"):
        assert told(run)["thresholds"][model]["chosen_on"] == "validation"
        assert 0 < told(run)["thresholds"][model]["mask"] < 1
    assert told(run)["thresholds_chosen_on"] == "4 validation images"


@pytest.mark.slow
def test_the_twin_learned_without_the_teacher_and_became_another_network(run):
    terms = {
        model: {
            name
            for line in lines_of(run.folder / "log.jsonl")
            if line["model"] == model and "terms" in line
            for name in line["terms"]
        }
        for model in ("student", "twin")
    }
    assert terms["student"] == {"supervised", "probability", "boundary", "target_boundary"}
    assert terms["twin"] == {"supervised", "boundary"}
    student, twin = (students.load(run.folder / f"{n}.safetensors")[0] for n in terms)
    pairs = zip(student.parameters(), twin.parameters(), strict=True)
    assert any(not torch.equal(one, other) for one, other in pairs)


@pytest.mark.slow
def test_config_and_surroundings_are_kept(run, from_teacher):
    experiment = config.load(run.folder / "config.yaml")
    assert experiment.training.steps == 4
    assert experiment.data.labelled == 2
    assert str(experiment.teacher.path) == from_teacher[from_teacher.index("--teacher.path") + 1]
    environment = json.loads((run.folder / "environment.json").read_text("utf-8"))
    assert environment["abbe"] == told(run)["abbe"]
    assert environment["torch"] == torch.__version__.partition("+")[0]
    assert environment["seed"] == 0
    assert environment["threads"] >= 1
    assert environment["device"]
    assert environment["precision"] == choose_precision("auto", torch.device(environment["device"]))


@pytest.mark.slow
def test_examples_hold_every_outline(run):
    examples = sorted((run.folder / "examples").glob("*.npz"))
    assert {path.name.split("-")[1] for path in examples} == {"best", "median", "worst"}
    with np.load(examples[0], allow_pickle=False) as example:
        assert example["image"].shape == (64, 64, 3)
        for key in ("truth", "teacher", "student", "twin"):
            assert example[key].shape == (64, 64)


# ------------------------------------------------------------------------------ again, and resumed


@pytest.mark.slow
def test_a_run_is_not_written_over(run, from_teacher, capsys):
    before = {path: sha256(path) for path in run.folder.rglob("*") if path.is_file()}
    assert abbe(*from_teacher, "--out", run.folder) == 1
    said = capsys.readouterr().err
    assert f"{run.folder}: already holds a run" in said
    assert "--resume" in said
    assert before == {path: sha256(path) for path in run.folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_another_experiment_is_not_resumed_and_the_keys_are_named(run, from_teacher, capsys):
    other = ["--data.labelled", 3, "--training.augmentation.no-flips", "--resume"]
    assert abbe(*from_teacher, "--out", run.folder, *other) == 1
    said = capsys.readouterr().err
    assert "these keys differ: data.labelled, training.augmentation.flips." in said
    assert f"Resume with {run.folder} alone" in said


@pytest.mark.slow
def test_a_finished_run_is_resumed_to_the_same_end_in_a_process_of_its_own(run, tmp_path):
    folder = tmp_path / "copy"
    shutil.copytree(run.folder, folder)
    written = (folder / "config.yaml").read_text("utf-8")
    (folder / "config.yaml").write_text(written.replace(str(run.folder), str(folder)), "utf-8")
    (folder / "summary.json").unlink()  # as if it had been killed while it scored
    (folder / "twin.safetensors").unlink()
    words = ["distill", folder / "config.yaml", "--resume"]
    code, said = programs.run(programs.abbe, *words, output=tmp_path / "said.txt")
    assert code == 0, said
    assert f"report: {folder / 'report.html'}" in said
    again = told(open_run(folder))
    for key in ("models", "gain", "retention", "thresholds", "data", "targets"):
        assert without_time(again[key]) == without_time(told(run)[key])
    for name in ("student", "twin"):
        first, second = (students.load(f / f"{name}.safetensors")[0] for f in (run.folder, folder))
        for key, value in first.state_dict().items():
            assert torch.equal(value, second.state_dict()[key])
    assert lines_of(folder / "log.jsonl") == lines_of(run.folder / "log.jsonl")
    assert again["models"]["teacher"]["ms_per_image"] > 0
    assert "teach_images_per_s" not in again["speed"]  # nothing was taught, and 0 would be a lie


def without_time(value):
    if isinstance(value, dict):
        return {key: without_time(each) for key, each in value.items() if key != "ms_per_image"}
    return value


# ------------------------------------------------------------------------------ the other teachers


@pytest.mark.slow
def test_a_target_store_teaches_without_its_teacher(run, tmp_path, capsys):
    store = run.folder / "targets.zarr"
    teacher = ["--teacher.kind", "store", "--teacher.path", store, "--no-twin"]
    out = tmp_path / "run"
    assert abbe("distill", "cmkd", *TISSUE, *TINY, *teacher, "--out", out) == 0
    assert "teacher" in capsys.readouterr().out
    finished = open_run(out)
    assert told(finished)["teacher"] == told(run)["teacher"]
    there, here = (told(each)["models"]["teacher"]["metrics"] for each in (run, finished))
    assert here == there
    assert set(told(finished)["models"]["teacher"]) == {"metrics", "labels"}  # no cost known
    assert not (out / "targets.zarr").exists()
    assert "teach_images_per_s" not in told(finished)["speed"]
    assert not (out / "twin.safetensors").exists()
    assert finished.gain == {}


@pytest.mark.slow
def test_masks_teach_without_any_label_and_what_is_missing_is_told(tmp_path, capsys):
    folder, out = tmp_path / "masks", tmp_path / "run"
    train = tissue().split("train").ids
    for record in datasets.simulated_tissue(16, size=64, seed=5):
        assert record.label is not None
        if record.id != train[0]:
            write_labels(folder / f"{record.id}.tif", record.label.read() * (record.id != train[1]))
    teacher = [
        "--teacher.kind",
        "masks",
        "--teacher.path",
        folder,
        "--teacher.input-channels",
        "membrane",
    ]
    unlabelled = ["--data.labelled", 0, "--teacher.options", "sees_labels", "true"]
    words = ["distill", "cmkd", *TISSUE, *TINY, *teacher, *unlabelled, "--out", out]
    assert abbe(*words) == 1
    said = capsys.readouterr().err
    assert "1 image was lost, and 0 may be:" in said
    assert f"{train[0]}: {folder}: no mask for the image '{train[0]}'" in said
    assert "--allow-failed 1" in said
    assert not (out / "log.jsonl").exists()  # nothing was trained
    before = {
        id: TargetStore(out / "targets.zarr").entry(id) for id in tissue().ids if id != train[0]
    }
    assert abbe(*words, "--resume", "--allow-failed", 1) == 0
    assert f"no mask for the image '{train[0]}'" in capsys.readouterr().out
    assert {id: TargetStore(out / "targets.zarr").entry(id) for id in before} == before
    summary = told(open_run(out))
    assert summary["lost"] == [train[0]]
    assert summary["targets"] == {"images": 15, "empty": 1, "missing": 1}
    assert summary["models"]["teacher"]["metrics"]["dice"]["mean"] == 1  # they are the truth
    assert summary["gain"] == {}
    assert not (out / "twin.safetensors").exists()
    assert "The teacher gave no answer for 1 image." in doubts(out)
    page = (out / "report.html").read_text(encoding="utf-8")
    for part in (
        "The teacher gave no answer for 1 image",
        "The teacher found nothing on 1 of 15 images",
        "prompted with the true labels",
        "No gain was measured",
    ):
        assert page.count(part) == 1, part
    logged = [line["terms"] for line in lines_of(out / "log.jsonl") if "terms" in line]
    assert all(set(terms) == {"probability", "target_boundary"} for terms in logged)


@pytest.mark.slow
def test_a_live_teacher_answers_inside_training(from_teacher, tmp_path):
    out = tmp_path / "run"
    assert abbe(*from_teacher, "--teacher.live", "--out", out) == 0
    assert set(TargetStore(out / "targets.zarr").ids).isdisjoint(tissue().split("train").ids)
    finished = open_run(out)
    assert told(finished)["targets"] == {"images": 12, "empty": 0, "missing": 0}
    assert "dice" in finished.gain
    terms = [line["terms"] for line in lines_of(out / "log.jsonl") if "terms" in line]
    assert terms[0]["probability"] > 0
