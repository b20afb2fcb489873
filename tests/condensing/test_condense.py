"""Plans of ``abbe condense``, as a user types it, on a few small images."""

import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from commands import abbe

import abbe as python
from abbe import config, datasets
from abbe.condensing import answers, budget, carry, derive, plan, trial
from abbe.condensing.trial import Trial
from abbe.datasets.fingerprints import channel_digests, write_digests
from abbe.errors import ConfigError
from abbe.imaging import read_labels, write_labels
from abbe.runs import folder as run_folder
from abbe.runtime.package import located
from abbe.summary import TRAINED_ON, Evidence, RunSummary
from abbe.targets import TargetStore


@pytest.fixture
def quick_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """Times as of a machine that takes 0.1 s a step; nothing is measured."""

    def measure(experiment: config.Experiment, dataset: datasets.Dataset, *, fixed: bool) -> Trial:
        return Trial(experiment.training.batch_size, 8, 0.1, "cpu", 1 << 28)

    times = {"unet-mobilenetv3": 4.0, "unet-mobilenetv3-large": 9.0, "unet-resnet18": 21.0}
    monkeypatch.setattr(trial, "measure", measure)
    monkeypatch.setattr(trial, "milliseconds", lambda *arguments: times)


def plan_of(folder: str) -> tuple[dict[str, str], config.Experiment]:
    """The lines of a plan by their last key, and the experiment that it is."""
    path = Path(folder, "plan.yaml")
    lines = [line.strip() for line in path.read_text("utf-8").splitlines() if "  # " in line]
    return {line.partition(":")[0]: line for line in lines}, config.load(path)


# ---------------------------------------------------------------------------------------- plans


def test_a_plan_has_a_reason_behind_every_value(tissue, quick_trial, capsys):
    words = ["condense", "tissue", "--teacher", "masks", "--hours", "1", "--plan-only"]
    assert abbe(*words, "--training.crop", "32", "--loss.no-supervised") == 0
    lines, plan = plan_of("runs/condensed-tissue")
    body = Path("runs/condensed-tissue/plan.yaml").read_text("utf-8").splitlines()
    values = [line for line in body if line[:1] != "#" and not line.endswith(":") and line]
    assert all(line.rpartition("  # ")[2] for line in values)
    assert lines["crop"].endswith("# you said so")
    assert lines["supervised"].endswith("# you said so")
    assert (plan.training.crop, plan.loss.supervised) == (32, False)
    assert plan.student.input_channels == ("grey",)  # one channel needs no name
    assert (plan.recipe, plan.teacher.kind) == ("cmkd", "masks")
    # 3600 s, a tenth to spare, 0.105 s a step: ten trainings of at most 2000 steps are within it
    assert (plan.evidence, plan.training.steps) == ("full", 2000)
    assert plan.data.fractions == (0.5, 0.25, 0.25)
    shown = capsys.readouterr().out
    # every image is labelled: twin and supervised network are one
    assert "evidence standard: 6 trainings of 2,000 steps, about 21 min\n" in shown
    assert "evidence full: 10 trainings of 2,000 steps, about 35 min   <- planned" in shown
    assert re.search(r"of 60 min: planning \d+ s, export and bench 30 s, to spare 6 min\n", shown)
    assert "the smallest; ms for 256 px" in shown


def test_little_time_means_one_seed_beside_a_supervised_network(tissue, quick_trial):
    words = ["condense", "tissue", "--teacher", "masks", "--plan-only"]
    assert abbe(*words, "--hours", "0.05", "--target-ms", "10") == 0
    lines, plan = plan_of("runs/condensed-tissue")
    assert (plan.evidence, plan.baselines) == ("quick", ("supervised",))
    # 180 s, a fifth kept, some for planning, two trainings, 0.11 s a step
    assert 600 < (plan.training.steps or 0) <= 654
    assert "one seed, which proves little: 'standard' would leave its 6 train" in lines["evidence"]
    assert "2 trainings, 0.1 s a step, measured" in lines["steps"]
    assert plan.student.architecture == "unet-mobilenetv3-large"


def test_steps_that_take_longer_than_the_hours_are_told(tissue, quick_trial, capsys):
    words = ["condense", "tissue", "--teacher", "masks", "--plan-only", "--hours", "0.5"]
    assert abbe(*words, "--training.steps", "20000") == 0
    shown = capsys.readouterr().out
    told = r"note: with these steps all of it takes about \d+ min, and not the 30 min of --hours\n"
    assert re.search(told, shown)
    assert abbe(*words, "--training.steps", "200", "--out", "b") == 0
    assert "and not the" not in capsys.readouterr().out


def test_without_a_teacher_labels_alone_teach(tissue, quick_trial):
    assert abbe("condense", "tissue", "--plan-only", "--out", "a") == 0
    _, plan = plan_of("a")
    assert (plan.recipe, plan.teacher.kind) == ("supervised", "none")
    assert plan.loss.weighting == "fixed"


def test_without_labels_the_teachers_objects_choose_and_test(tissue, quick_trial):
    for file in (tissue / "labels").iterdir():
        file.unlink()
    (tissue / "labels").rmdir()
    assert abbe("condense", "tissue", "--teacher", "masks", "--plan-only", "--out", "a") == 0
    assert "6 images (grey), none labelled" in Path("a/plan.yaml").read_text("utf-8")
    lines, plan = plan_of("a")
    assert plan.data.labelled == 0
    assert plan.data.labels == str(Path("masks").absolute())
    assert "the teacher's objects stand in" in lines["labels"]
    assert "agreement with the teacher" in plan.title
    assert (plan.evidence, plan.compared_with) == ("quick", ())
    assert lines["evidence"].endswith("no labels to hold the student against")


def test_answers_in_a_store_stand_in_for_labels_too(tissue, quick_trial):
    teacher = python.teachers.masks("masks", ["grey"])
    python.teach(teacher, python.datasets.folder(tissue), "targets.zarr", progress=False)
    (tissue / "labels").rename("kept")
    assert abbe("condense", "tissue", "--teacher", "targets.zarr", "--plan-only", "--out", "a") == 0
    _, plan = plan_of("a")
    assert (plan.teacher.kind, plan.data.labelled) == ("store", 0)
    for number in range(6):
        stored = read_labels(Path(plan.data.labels, f"{number}.tif"))
        assert np.array_equal(stored > 0, read_labels(Path("kept", f"{number}.png")) > 0)


def test_objects_of_another_teacher_or_of_images_that_are_gone_do_not_stay(tissue, quick_trial):
    teacher = python.teachers.masks("masks", ["grey"])
    python.teach(teacher, python.datasets.folder(tissue), "first.zarr", progress=False)
    for file in Path("masks").iterdir():
        write_labels(file, read_labels(file)[::-1].copy())
    python.teach(teacher, python.datasets.folder(tissue), "second.zarr", progress=False)
    (tissue / "labels").rename("kept")
    words = ["condense", "tissue", "--plan-only", "--out", "a", "--teacher"]
    assert abbe(*words, "first.zarr") == 0
    for name in ("plan.yaml", "condense.json"):
        Path("a", name).unlink()
    (tissue / "images" / "5.tif").unlink()
    assert abbe(*words, "second.zarr") == 0
    found = {file.stem: read_labels(file) > 0 for file in Path("a/teacher-objects").iterdir()}
    assert sorted(found) == ["0", "1", "2", "3", "4"]
    for name, objects in found.items():
        assert np.array_equal(objects, read_labels(Path("masks", f"{name}.png")) > 0)


def test_a_plan_that_is_edited_after_its_run_is_refused(tissue, quick_trial, monkeypatch):
    words = ["condense", "tissue", "--teacher", "masks", "--out", "a"]
    assert abbe(*words, "--plan-only") == 0
    plan = config.load(Path("a/plan.yaml"))
    settled = plan.student.model_copy(update={"normalisation": "range"})
    with run_folder.opened(plan.model_copy(update={"student": settled}), resume=False) as folder:
        for name in ("log.jsonl", "summary.json"):
            (folder / name).touch()
    summary = RunSummary.model_construct(evidence=Evidence(complete=True))
    run = run_folder.Run(Path("a"), summary)
    monkeypatch.setattr(run_folder, "open_run", lambda folder: run)
    assert carry._finished(plan, None, trust_code=False, progress=False) is run
    training = plan.training.model_copy(update={"crop": 48})
    edited = plan.model_copy(update={"training": training})
    with pytest.raises(
        ConfigError, match=r"plan\.yaml: the run is finished.*training\.crop differ"
    ):
        carry._finished(edited, None, trust_code=False, progress=False)


def test_masks_whose_names_end_otherwise_are_found_by_an_option(tissue, quick_trial, capsys):
    for file in Path("masks").iterdir():
        file.rename(file.with_name(f"{file.stem}_drawn.png"))
    words = ["condense", "tissue", "--teacher", "masks", "--plan-only"]
    assert abbe(*words) == 1
    assert "--teacher.options suffix _masks" in capsys.readouterr().err
    assert abbe(*words, "--teacher.options", "suffix", "_drawn") == 0
    _, plan = plan_of("runs/condensed-tissue")
    assert plan.teacher.options == {"suffix": "_drawn"}


def test_a_teacher_that_takes_longer_than_the_hours_is_told_after_two_images(
    tissue, quick_trial, capsys
):
    shutil.rmtree(tissue / "labels")
    teach = answers.teachers.teach

    def slowly(*arguments, **keys):
        report = teach(*arguments, **keys)
        report.images_per_second = 0.01
        return report

    words = ["condense", "tissue", "--teacher", "nuclei", "--plan-only", "--out", "a"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(answers.teachers, "teach", slowly)
        assert abbe(*words, "--hours", "0.1") == 1
    told = capsys.readouterr().err
    assert "answers for 6 images take about 7 min on this machine, going by 2 of them" in told
    assert "Give --hours 0.3 or more" in told
    assert len(TargetStore("a/targets.zarr").ids) == 2
    assert abbe(*words) == 0
    assert len(TargetStore("a/targets.zarr").ids) == 6


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("x: can't allocate memory: y")])
def test_a_batch_is_halved_until_a_step_fits(tissue, monkeypatch, error):
    tried = []

    def timed(experiment, images, batch):
        tried.append(batch)
        if batch > 2:
            raise error
        return 0.1, "cpu"

    monkeypatch.setattr(trial, "_timed", timed)
    monkeypatch.setattr(trial, "milliseconds", lambda *arguments: dict.fromkeys(derive.STUDENTS, 1))
    assert abbe("condense", "tissue", "--teacher", "masks", "--plan-only", "--out", "a") == 0
    lines, plan = plan_of("a")
    assert tried == [8, 4, 2]
    assert plan.training.batch_size == 2
    assert "8 did not fit" in lines["batch_size"]
    monkeypatch.setattr(trial, "free_memory", lambda: 1)
    assert abbe("condense", "tissue", "--teacher", "masks", "--plan-only", "--out", "b") == 0
    assert tried == [8, 4, 2, 1]  # not even tried, where the processor's memory is short


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_beside_a_gpu_scoring_and_export_take_the_processors_time(tissue, monkeypatch, device):
    tried = []

    def pace(step, pixel, processor, **pixels):
        tried.append((pixel, processor))
        return budget.pace_of(step, pixel, processor, **pixels)

    monkeypatch.setattr(plan, "pace_of", pace)
    monkeypatch.setattr(trial, "_timed", lambda experiment, images, batch: (0.003, device))
    monkeypatch.setattr(trial, "_milliseconds", lambda network, channels: 65.536)
    assert abbe("condense", "tissue", "--teacher", "masks", "--plan-only", "--out", "a") == 0
    crops = plan_of("a")[1].training
    own = 0.001 / crops.batch_size / crops.crop**2
    assert tried == [(pytest.approx(own), pytest.approx(own if device == "cpu" else 1e-6))]


def test_python_makes_the_same_plan(tissue, quick_trial):
    words = ["condense", "tissue", "--teacher", "masks", "--plan-only", "--out", "a"]
    assert abbe(*words, "--training.crop", "32", "--seed", "3") == 0
    done = python.condense(
        tissue, "masks", out="b", plan_only=True, progress=False, training={"crop": 32}, seed=3
    )
    assert (done.run, done.package) == (None, None)
    _, typed = plan_of("a")
    called = config.load(done.plan)
    assert called.data.path == Path("tissue")  # as one would type it here
    assert called.model_copy(update={"out": typed.out}) == typed


def test_what_cannot_be_read_is_told_counted_and_done_without(tissue, quick_trial, capsys):
    (tissue / "images" / "2.tif").write_bytes(b"II*\0 broken")
    Path("masks/4.png").unlink()
    words = ["condense", "tissue", "--teacher", "masks", "--plan-only"]
    assert abbe(*words) == 0
    told = capsys.readouterr().out
    assert "1 image was lost:\n  2: " in told
    assert "5 images (grey), 5 labelled" in told
    lines, plan = plan_of("runs/condensed-tissue")
    assert plan.allow_failed == 2  # that without a mask, and a tenth of the others
    assert "1 image has no mask, such as 4; 1 image has failed already, such as 2" in told
    assert "1 image has no mask, such as 4" in lines["allow_failed"]
    (tissue / "images" / "3.tif").write_bytes(b"II*\0 broken")
    (tissue / "images" / "5.tif").write_bytes(b"II*\0 broken")
    assert abbe(*words, "--out", "a") == 1
    told = capsys.readouterr().err
    assert "3 images were lost, and 2 may be" in told
    assert "--allow-failed 3" in told


def test_a_teacher_that_has_seen_the_test_images_is_refused_by_the_plan(
    tissue, quick_trial, capsys
):
    nuclei = located(Path("nuclei"))
    shutil.copytree(nuclei, "seen")
    every = [
        channel_digests(record.image.open(), ("grey",)) for record in python.datasets.folder(tissue)
    ]
    write_digests(Path("seen", TRAINED_ON), every)
    assert abbe("condense", "tissue", "--teacher", "seen", "--plan-only") == 1
    assert "teacher.path: seen was trained or validated on 1 of the 1 test" in (
        capsys.readouterr().err
    )
    words = ["condense", "tissue", "--teacher", "seen", "--plan-only", "--allow-overlap"]
    assert abbe(*words) == 0
    _, plan = plan_of("runs/condensed-tissue")
    assert (plan.teacher.kind, plan.allow_overlap) == ("package", True)


# --------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("nowhere", "nowhere is not a folder"),
        ("masks", "no folder images/, but there are 6 images in it: move them into masks/images"),
        ("tissue --teacher absent", "--teacher absent: is not there"),
        ("tissue --teacher other", "no mask is named like an image"),
        ("tissue --hours 0", "give hours above 0"),
        ("tissue --hours 0.005", "leave nothing to train on this machine. Give --hours 0."),
        ("tissue --recipe rckd", "condense plans cmkd and supervised"),
        ("tissue --recipe cmkd", "goes with a teacher"),
        ("tissue --teacher masks --recipe supervised", "goes without a teacher"),
        ("tissue --teacher masks --promptable.side 512", "belongs to recipe kdsam"),
        ("--teacher masks tissue", "the folder comes first"),
        (
            "tissue --teacher masks --teacher.input-channels red green",
            "the teacher is to see red, green",
        ),
    ],
)
def test_what_cannot_be_planned_is_refused_with_the_reason(
    tissue, quick_trial, capsys, words, said
):
    write_labels(Path("other", "x.png"), np.ones((64, 64), np.int32))
    assert abbe("condense", *words.split()) == 1
    assert said in capsys.readouterr().err
    assert not Path("runs").exists()


def test_no_label_and_no_teacher_and_a_single_image_are_refused(tissue, capsys):
    for number in range(1, 6):
        (tissue / "images" / f"{number}.tif").unlink()
        (tissue / "labels" / f"{number}.png").unlink()
    assert abbe("condense", "tissue", "--teacher", "masks") == 1
    assert "1 independent images with a label, and 3 are the least" in capsys.readouterr().err
    (tissue / "labels" / "0.png").rename(tissue / "0.png")
    (tissue / "labels").rmdir()
    assert abbe("condense", "tissue") == 1
    assert "has no labels, and no teacher was named" in capsys.readouterr().err
    (tissue / "images" / "0.tif").unlink()
    assert abbe("condense", "tissue", "--teacher", "masks") == 1
    assert "holds no image" in capsys.readouterr().err


def test_another_request_does_not_pass_over_a_plan(tissue, quick_trial, capsys):
    words = ["condense", "tissue", "--teacher", "masks", "--plan-only"]
    assert abbe(*words) == 0
    assert abbe(*words) == 0
    assert "which is there already" in capsys.readouterr().out
    assert abbe(*words, "--hours", "2", "--training.crop", "32") == 1
    assert "(hours, training.crop differ)" in capsys.readouterr().err
    assert abbe(*words, "--allow-failed", "3", "--evidence", "standard") == 0  # these may grow


def test_large_objects_are_pointed_out_with_the_factor():
    facts = derive.Facts(9, 9, 9, False, False, ("grey",), 0.25, 512, 80.0, 50, 2, 1 << 33, "")
    said = derive.scale(facts)
    assert said is not None
    assert "shrunk to 0.25 times their side, 1 µm a pixel" in said
    assert derive.scale(replace(facts, diameter=25.0)) is None


@pytest.mark.parametrize("whole", [False, True])
def test_a_plan_holds_from_anywhere_and_when_all_of_it_was_moved(
    tissue, quick_trial, monkeypatch, capsys, whole
):
    here = Path.cwd()
    given = [here / "tissue", here / "masks"] if whole else ["tissue", "masks"]
    words = ["condense", given[0], "--teacher", given[1], "--plan-only"]
    assert abbe(*words, "--out", "runs/a") == 0
    text = Path("runs/a/plan.yaml").read_text("utf-8")
    assert re.search(r"(?m)^  path: \.\./\.\./tissue +# the folder that was named$", text)
    assert re.search(r"(?m)^  path: \.\./\.\./masks ", text)
    assert re.search(r"(?m)^out: \./ ", text)
    assert f"paths_from: {here}/runs/a " in text
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    plan = config.load(Path("../runs/a/plan.yaml"))
    assert (plan.out.resolve(), plan.data.path) == (here / "runs" / "a", here / "tissue")
    from_there = ["condense", "../tissue", "--teacher", "../masks", "--plan-only"]
    capsys.readouterr()
    assert abbe(*from_there, "--out", "../runs/a") == 0  # the same request, typed otherwise
    assert "which is there already" in capsys.readouterr().out
    (here / "moved").mkdir()
    for name in ("tissue", "masks", "runs"):
        shutil.move(here / name, here / "moved" / name)
    plan = config.load(here / "moved/runs/a/plan.yaml")
    assert (plan.out, plan.data.path) == (here / "moved/runs/a", here / "moved/tissue")
    assert plan.teacher.path == here / "moved/masks"
    there = [str(word).replace("../", "../moved/") for word in from_there]
    assert abbe(*there, "--out", "../moved/runs/a") == 0
    assert "which is there already" in capsys.readouterr().out
    shutil.move(here / "moved/runs/a", here / "b")  # alone: data are where they were at the time
    shutil.move(here / "moved/tissue", here / "tissue")
    shutil.move(here / "moved/masks", here / "masks")
    plan = config.load(here / "b/plan.yaml")
    assert (plan.out, plan.data.path) == (here / "b", here / "tissue")
