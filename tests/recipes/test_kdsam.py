"""KD SAM through the command line, with a tiny teacher whose weights are random."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from commands import TWIN_ALONE, abbe, doubts
from drawn import SIDE, random_sam
from golden import hold
from safetensors.torch import save_file

import abbe as in_python
from abbe import config, datasets, scoring, students
from abbe.datasets.training.eval_prompts import objects_of
from abbe.files.tensors import read_tensors
from abbe.recipes.kdsam import AFTER_FIRST, ZERO_SHOT, fitted_parts, load_baseline, longest_side
from abbe.reporting.colours import colours_of
from abbe.sam import Letterbox, load_sam
from abbe.summary import SHAPE
from abbe.targets import TargetStore
from abbe.tasks.each import Here
from abbe.tasks.previews import TRUTH
from abbe.tasks.promptable.task import PromptedModel, score_prompted
from abbe.teachers.sam.teacher import SamTeacher
from abbe.training.stage import Schedule

TINY = shlex.split(
    "--student.architecture promptable-resnet18 --student.encoder-weights random "
    "--promptable.side 64 --promptable.decoder-steps 2 --promptable.objects 1 "
    "--promptable.perceptual-mode decoder --promptable.rounds 2 --training.steps 2 "
    "--training.batch-size 2 --training.validate-every 2 --training.workers 0 --training.ema 0 "
    "--teacher.options stand_in true"
)
WITH_TWIN = [*TINY, *TWIN_ALONE]


@pytest.fixture(scope="module")
def other_sam(tmp_path_factory):
    return random_sam(tmp_path_factory.mktemp("sam") / "other_random.safetensors", seed=3)


def test_answers_to_boxes_are_drawn_while_it_trains(run):
    for name in ("student-encoder", "student-decoder", "twin-masks"):
        (first, *_) = sorted((run / "previews").glob(f"{name}-*.png"))
        drawn = np.asarray(PIL.Image.open(first).convert("RGB"))
        _, truth, answer = np.array_split(drawn, 3, axis=1)
        assert (truth == np.array(TRUTH)).all(-1).any()
        assert not (answer == np.array(TRUTH)).all(-1).any()


@pytest.fixture(scope="module")
def run(pictures, sam_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "kdsam"
    arguments = ["--data.path", pictures, "--teacher.path", sam_file, "--out", out, *WITH_TWIN]
    assert abbe("distill", "kdsam", *arguments) == 0
    return out


def test_figures_are_those_of_before(run):
    hold("kdsam", run)


def test_a_run_scores_every_model_by_every_kind_of_prompt(run):
    summary = json.loads((run / "summary.json").read_text())
    assert list(summary["models"]) == ["teacher", AFTER_FIRST, "student", "twin", SHAPE]
    assert "before any label" in summary["models"][AFTER_FIRST]["about"]
    shape = summary["models"].pop(SHAPE)
    assert "the ellipse that fills the box; around the points a disc" in shape["about"]
    assert set(shape["metrics"]) == set(scoring.PROMPTED_METRICS) == set(summary["gains"][SHAPE])
    assert shape["metrics"]["dice"]["n"] == 2
    for model in summary["models"].values():
        assert set(model["metrics"]) == set(scoring.PROMPTED_METRICS)
        assert model["metrics"]["dice"]["n"] == 2  # the third test image has nothing to ask for
        assert model["ms_per_prompt"] > 0
    assert summary["teacher"]["stand_in"] is True
    assert any("prompts made from the labels" in text for text in summary["warnings"])
    assert summary["retention"]["dice"] is not None
    assert summary["gain"]["dice_1_point"]["n"] == 2
    page = (run / "report.html").read_text()
    assert "Dice, one point" in page
    assert "no network: the ellipse that fills the box" in page
    assert "A shape that no network has a part in" in page  # two steps teach less than a box says
    assert "the student&#39;s encoder with the teacher&#39;s own decoder" in page
    assert summary["teacher"]["outputs"] == ["embedding"]
    assert summary["teacher"]["prompt_mode"] is None


def test_each_stage_changed_its_own_part_alone(run, sam_file):
    teacher = read_tensors(sam_file)
    student, facts = students.load_promptable(run / "student.safetensors")
    twin, _ = students.load_promptable(run / "twin.safetensors")
    assert facts["teacher_stand_in"] is True
    for network in (student, twin):
        for name, value in network.prompt_encoder.state_dict().items():
            assert torch.equal(value, teacher[f"prompt_encoder.{name}"]), name
    changed = [
        name
        for name, value in student.mask_decoder.state_dict().items()
        if not torch.equal(value, teacher[f"mask_decoder.{name}"])
    ]
    assert changed
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    terms = {
        (line["model"], line["stage"]): set(line["terms"]) for line in lines if "terms" in line
    }
    assert terms[("student", "encoder")] == {"mse", "decoder", "decoder/image", "decoder/masks"}
    assert terms[("student", "decoder")] == {"dice", "iou"}
    assert terms[("twin", "masks")] == {"dice", "iou"}
    assert {line["steps"] for line in lines if line["model"] == "twin" and "steps" in line} == {4}


def test_the_encoder_rests_in_the_second_stage(run):
    first = torch.load(run / "checkpoints/student-encoder.pt", weights_only=True)["network"]
    second = torch.load(run / "checkpoints/student-decoder.pt", weights_only=True)["network"]
    for name, value in first.items():
        if "image_encoder" in name:
            assert torch.equal(value, second[name]), name
    assert any(not torch.equal(v, second[k]) for k, v in first.items() if "mask_decoder" in k)


def dice_of(network, pictures) -> float:
    """Mean Dice by box on the test images, scored here."""
    tests = list(datasets.folder(pictures).split("test").labelled)
    scores = score_prompted(
        {"it": {0: PromptedModel(network.eval(), ("red", "green", "blue"))}},
        tests,
        each=Here(False),
    )
    return float(np.mean(list(scores.values("it", "dice").values())))


def test_the_student_between_its_stages_is_scored(run, pictures):
    """The first stage's weights, whose decoder is the teacher's: once more from its checkpoint."""
    student, _ = students.load_promptable(run / "student.safetensors")
    first = torch.load(run / "checkpoints/student-encoder.pt", weights_only=True)["network"]
    student.load_state_dict(first)
    summary = json.loads((run / "summary.json").read_text())
    found = summary["models"][AFTER_FIRST]["metrics"]["dice"]["mean"]
    assert found == pytest.approx(dice_of(student, pictures), abs=1e-6)


@pytest.mark.parametrize(
    ("live", "side", "kept"), [(False, 512, 853), (True, 512, 1024), (True, 768, 1280)]
)
def test_a_live_teacher_sees_pictures_as_large_as_it_reads_them(live, side, kept):
    """They were shrunk to what the student sees, and blown up to the teacher's 1024 px."""
    values = {
        "recipe": "kdsam",
        "out": "x",
        "data": {"path": "x"},
        "teacher": {"kind": "sam", "path": "sam.pt", "live": live},
        "student": {"architecture": "promptable-resnet18", "encoder_weights": "random"},
        "promptable": {"side": side},
    }
    assert longest_side(config.parse(values, "test"), 1024) == kept


def test_a_live_teacher_a_baseline_and_a_feature_network(
    pictures, sam_file, other_sam, tmp_path, capsys
):
    arguments = [
        "--data.path", pictures, "--teacher.path", sam_file, "--out", tmp_path / "live", *TINY,
        "--teacher.live", "--promptable.baseline", other_sam, "--no-twin",
        "--promptable.decoder-steps", "1", "--training.steps", "1",
        "--promptable.decoder-learning-rate", "0.1", "--promptable.train-neck",
        "--promptable.perceptual-mode", "triplets", "--promptable.vgg-weights", "random",
    ]  # fmt: skip
    assert abbe("distill", "kdsam", *arguments) == 0
    shown = capsys.readouterr().out
    assert "sees red, green, blue; is asked for its embedding of each image\n" in shown
    assert "amg" not in shown
    summary = json.loads((tmp_path / "live/summary.json").read_text())
    models = ["teacher", AFTER_FIRST, "student", ZERO_SHOT, "baseline", SHAPE]
    assert list(summary["models"]) == models
    page = (tmp_path / "live/report.html").read_text()
    assert all(f"</span>{name}" in page for name in models)
    assert "other_random.safetensors at 64 px as it comes" in page
    curves = page[page.index('<section id="training">') : page.index('<section id="cost">')]
    assert f"stroke: {colours_of(summary['models'])['baseline']}" in curves
    assert not (tmp_path / "live/targets.zarr").exists()
    # The baseline as it comes is the file, whatever the second stage made of it afterwards.
    first, second = (summary["models"][name]["metrics"] for name in (ZERO_SHOT, "baseline"))
    assert first["dice"]["mean"] == pytest.approx(dice_of(load_sam(other_sam)[0], pictures))
    assert first != second
    # Its second stage is the student's, which fits the neck here, and nothing else of the encoder.
    trained = torch.load(tmp_path / "live/checkpoints/baseline-decoder.pt", weights_only=True)
    given = read_tensors(other_sam)
    changed = {k for k, value in trained["network"].items() if not torch.equal(value, given[k])}
    assert {".".join(k.split(".")[:2]) for k in changed if "encoder" in k} == {"image_encoder.neck"}
    lines = [json.loads(line) for line in (tmp_path / "live/log.jsonl").read_text().splitlines()]
    (terms,) = [line["terms"] for line in lines if line["stage"] == "encoder" and "terms" in line]
    layers = [terms[f"perceptual/{name}"] for name in ("relu1_2", "relu2_2", "relu3_3")]
    assert set(terms) == {"mse", "perceptual"} | {k for k in terms if k.startswith("perceptual/")}
    assert terms["perceptual"] == pytest.approx(np.mean(layers), rel=1e-5)
    (line,) = [line for line in lines if line["stage"] == "encoder" and "terms" in line]
    assert set(line["weights"]) == {"mse", "perceptual"}
    # taken up again, the finished run has the same rows
    assert abbe("distill", "kdsam", *arguments, "--resume") == 0
    again = json.loads((tmp_path / "live/summary.json").read_text())
    for name in models:
        assert again["models"][name]["metrics"] == summary["models"][name]["metrics"], name


def test_the_second_stage_can_fit_the_whole_encoder(pictures, sam_file, other_sam, tmp_path):
    arguments = [
        "--data.path", pictures, "--teacher.path", sam_file, "--out", tmp_path / "all", *TINY,
        "--promptable.baseline", other_sam, "--no-twin", "--promptable.train-encoder",
        "--training.learning-rate", "0.02", "--promptable.decoder-learning-rate", "0.01",
    ]  # fmt: skip
    assert abbe("distill", "kdsam", *arguments) == 0
    for before, after in (("student-encoder", "student-decoder"), (None, "baseline-decoder")):
        given = read_tensors(other_sam) if before is None else weights_of(tmp_path, before)
        found = weights_of(tmp_path, after)
        changed = {".".join(k.split(".")[:2]) for k in found if not torch.equal(found[k], given[k])}
        assert {"image_encoder.neck", "mask_decoder.transformer"} < changed
        assert sum(name.startswith("image_encoder") for name in changed) > 1
        assert not any(name.startswith("prompt_encoder") for name in changed)
    summary = json.loads((tmp_path / "all/summary.json").read_text())
    after_first, last = (summary["models"][name]["metrics"] for name in (AFTER_FIRST, "student"))
    assert after_first != last
    settings = config.Promptable(train_encoder=True)
    first, second = (Schedule(steps=1, learning_rate=rate) for rate in (0.02, 0.01))
    assert fitted_parts(settings, first, second) == {"image_encoder": 2.0}


def weights_of(folder: Path, name: str) -> dict[str, torch.Tensor]:
    return torch.load(folder / f"all/checkpoints/{name}.pt", weights_only=True)["network"]


def test_without_a_second_stage_a_baseline_of_any_side_is_scored_as_it_comes(
    run, pictures, sam_file, tmp_path
):
    """A promptable student's file is a baseline too."""
    arguments = [
        "--data.path", pictures, "--teacher.path", sam_file, "--out", tmp_path / "one", *TINY,
        "--promptable.baseline", run / "student.safetensors", "--no-twin",
        "--promptable.decoder-steps", "0", "--promptable.side", "96", "--training.steps", "1",
    ]  # fmt: skip
    assert abbe("distill", "kdsam", *arguments) == 0
    summary = json.loads((tmp_path / "one/summary.json").read_text())
    assert list(summary["models"]) == ["teacher", "student", ZERO_SHOT, SHAPE]


@pytest.mark.parametrize(("steps", "side"), [(1, 96), (0, 64)])
def test_a_baseline_of_sams_family_sees_the_students_square_where_both_are_trained(
    other_sam, steps, side
):
    settings = config.Promptable(baseline=other_sam, side=96, decoder_steps=steps)
    found = load_baseline(settings)
    assert found is not None
    assert found[0].side == side


def test_a_baseline_that_saw_test_images_is_refused(run, pictures, sam_file, tmp_path, capsys):
    arguments = [
        "--data.path", pictures, "--teacher.path", sam_file, "--out", tmp_path / "seen", *TINY,
        "--promptable.baseline", run / "student.safetensors", "--no-twin",
        "--data.split", "fraction", "--data.split-seed", 1,
    ]  # fmt: skip
    assert abbe("distill", "kdsam", *arguments) == 1
    said = capsys.readouterr().err
    assert f"promptable.baseline: {run}/student.safetensors was trained or validated on" in said
    assert not (tmp_path / "seen").exists()


def test_a_student_teaches_a_smaller_one(run, pictures, tmp_path):
    second = in_python.distill(
        "kdsam", pictures, run / "student.safetensors", out=tmp_path / "second",
        student="promptable-mobilenetv3-large", encoder_weights="random", evidence="quick",
        promptable={"side": 64, "decoder_steps": 2, "objects": 1, "perceptual_mode": "decoder",
                    "rounds": 2, "prompts": "box"},
        training={"steps": 2, "batch_size": 2, "validate_every": 2, "workers": 0, "ema": 0},
    )  # fmt: skip
    assert set(second.summary.models) == {"teacher", AFTER_FIRST, "student", SHAPE}
    # The first student's teacher was a stand-in, and so is what came of it.
    assert second.summary.teacher is not None
    assert second.summary.teacher.stand_in is True
    assert second.summary.teacher.teacher == "promptable-resnet18 at 64 px"
    # Weights are chosen by what a network is taught with.
    assert {next(iter(each)) for each in validations(second.folder)} == {"dice"}
    assert {next(iter(each)) for each in validations(run)} == {"dice_mean"}


def validations(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [line["validation"] for line in lines if "validation" in line]


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--student.architecture", "unet-resnet18"], "does not go with recipe 'kdsam'"),
        (["--teacher.kind", "masks"], "needs a teacher of SAM's family"),
        (["--promptable.mse", "0", "--promptable.perceptual", "0"], "nothing is distilled"),
        (["--promptable.side", "100"], "multiple"),
    ],
)
def test_what_does_not_fit_fails_before_any_work(
    pictures, sam_file, tmp_path, capsys, arguments, complaint
):
    base = [
        "--data.path",
        pictures,
        "--teacher.path",
        sam_file,
        "--out",
        tmp_path / "x",
        *WITH_TWIN,
    ]
    assert abbe("distill", "kdsam", *base, *arguments) in (1, 2)
    shown = capsys.readouterr()
    assert complaint in shown.err + shown.out
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (
            ["--teacher.live", "--teacher.input-channels", "green", "blue"],
            "this one reads green, blue (auto)",
        ),
        (["--promptable.baseline", "nowhere.pt"], "promptable.baseline: there is no file"),
        (
            ["--promptable.baseline", "STUDENT", "--promptable.side", "96"],
            "is a student that sees squares of 64 px, and promptable.side is 96",
        ),
        (["--promptable.baseline", "VGG"], "vgg.safetensors: "),
        (
            ["--promptable.perceptual-mode", "triplets", "--promptable.vgg-weights", "SAM"],
            "not the weights of the feature network",
        ),
        (["--promptable.vgg-weights", "nowhere.pth"], "promptable.vgg_weights: there is no file"),
        (["--student.encoder-weights", "nowhere.pt"], "nowhere.pt"),
        (["--promptable.zoom", "1.0", "0.5"], "the smaller share comes first"),
    ],
)
def test_what_cannot_end_well_fails_before_the_teacher_works(
    run, pictures, sam_file, tmp_path, capsys, arguments, complaint
):
    base = [
        "--data.path",
        pictures,
        "--teacher.path",
        sam_file,
        "--out",
        tmp_path / "x",
        *WITH_TWIN,
    ]
    save_file({"features.0.bias": torch.zeros(64)}, tmp_path / "vgg.safetensors")
    files = {"SAM": sam_file, "VGG": tmp_path / "vgg.safetensors"}
    files["STUDENT"] = run / "student.safetensors"
    arguments = [files.get(word, word) for word in arguments]
    assert abbe("distill", "kdsam", *base, *arguments) in (1, 2)
    shown = capsys.readouterr()
    assert complaint in " ".join((shown.err + shown.out).split())
    assert not (tmp_path / "x" / "targets.zarr").exists()


def test_crumbs_are_not_asked_for_unless_there_is_nothing_else():
    label = np.zeros((20, 20), np.int32)
    label[2:10, 2:10], label[15, 15] = 1, 2
    assert len(objects_of(label)) == 1
    label[2:10, 2:10] = 0
    assert len(objects_of(label)) == 1
    assert len(objects_of(np.zeros((4, 4), np.int32))) == 0


def test_the_union_of_all_answers_is_scored(pictures, sam_file):
    dataset = datasets.folder(pictures)
    network, _ = load_sam(sam_file)
    model = PromptedModel(network, ("red", "green", "blue"))
    record = dataset["2"]
    assert record.label is not None
    objects = objects_of(record.label.read())
    assert len(objects) == 2
    both = model.masks(record, objects)["box"]
    alone = [model.masks(record, [each])["box"] for each in objects]
    assert np.array_equal(both, alone[0] | alone[1])
    scores = score_prompted({"teacher": {None: model}}, [record], each=Here(False))
    assert 0 <= scores.values("teacher", "dice")["2"] <= 1
    assert Letterbox.of((50, 70), SIDE).resized == (46, 64)


def test_the_teachers_stored_embeddings_are_not_computed_again(
    pictures, sam_file, tmp_path, monkeypatch
):
    dataset, store = datasets.folder(pictures), tmp_path / "targets.zarr"
    words = ["--teacher.kind", "sam", "--teacher.path", sam_file]
    words += ["--teacher.options", "gives", "embedding", "--data.path", pictures]
    assert abbe("teach", "--out", store, *words) == 0
    network, _ = load_sam(sam_file)
    record = dataset["2"]
    assert record.label is not None
    objects = objects_of(record.label.read())
    channels = ("red", "green", "blue")
    expected = PromptedModel(network, channels).masks(record, objects)
    monkeypatch.setattr(network, "encode", None)
    found = PromptedModel(network, channels, embeddings=TargetStore(store)).masks(record, objects)
    for kind, mask in expected.items():
        assert np.mean(mask == found[kind]) > 0.99  # embeddings are stored as float16


@pytest.mark.slow
def test_a_run_becomes_a_promptable_package(run, pictures, tmp_path, capsys):
    from abbe.runtime.package import read_package

    out = tmp_path / "discs"
    assert abbe("export", run, "--out", out, "--tile", 64) == 1
    assert "--tile: not for a promptable package" in capsys.readouterr().err
    assert abbe("export", run, "--out", out, "--images", 2) == 0
    package = read_package(out)
    description = package.description
    assert (description.task, description.image_size) == ("promptable", (SIDE, SIDE))
    assert description.three_channels == "colour"
    assert description.lineage.stand_in
    assert description.lineage.teacher == "tiny_random"
    assert description.parity["openvino/fp32"]["images_of"] == "val"
    assert "**The teacher is a stand-in** (tiny_random)" in package.file("card").read_text("utf-8")
    words = ["predict", out, pictures / "images" / "4.png", "--prompts", pictures / "labels"]
    assert abbe(*words, "--out", tmp_path / "found") == 0
    assert (tmp_path / "found" / "4.labels.tif").exists()


@pytest.fixture
def failing(monkeypatch):
    """A teacher that has no memory for picture 1, which is one to train on."""
    predict = SamTeacher.predict

    def some(self, image, id):
        if id == "1":
            raise RuntimeError("out of memory")
        return predict(self, image, id)

    monkeypatch.setattr(SamTeacher, "predict", some)


@pytest.mark.usefixtures("failing")
def test_a_picture_that_the_teacher_fails_on_ends_the_run_before_it_trains(
    pictures, sam_file, tmp_path, capsys
):
    out = tmp_path / "run"
    words = ["distill", "kdsam", "--data.path", pictures, "--teacher.path", sam_file, *WITH_TWIN]
    assert abbe(*words, "--out", out) == 1
    said = capsys.readouterr().err
    assert "1 image was lost, and 0 may be:\n  1: RuntimeError: out of memory" in said
    assert sorted(TargetStore(out / "targets.zarr").ids) == ["0", "2", "6", "7", "8"]
    assert not (out / "log.jsonl").exists()
    assert abbe(*words, "--out", out, "--resume", "--allow-failed", 1) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert summary["targets"] == {"images": 5, "empty": 0, "missing": 1}
    assert summary["lost"] == ["1"]
    assert "The teacher gave no answer for 1 image." in (out / "report.html").read_text()


def test_a_picture_that_cannot_be_read_may_be_lost_too(pictures, sam_file, tmp_path, capsys):
    copied = tmp_path / "discs"
    shutil.copytree(pictures, copied)
    for name in ("2", "7"):  # one to train on, one to test on
        file = copied / "images" / f"{name}.png"
        file.write_bytes(file.read_bytes()[:60])
    words = ["distill", "kdsam", "--data.path", copied, "--teacher.path", sam_file, *WITH_TWIN]
    assert abbe(*words, "--out", tmp_path / "a") == 1
    assert "2.png" in capsys.readouterr().err
    assert abbe(*words, "--out", tmp_path / "a", "--allow-failed", 1) == 1
    said = capsys.readouterr().err
    assert "2 images were lost, and 1 may be:" in said
    assert "2.png" in said
    assert "and so 1 more: 7\n" in said
    assert abbe(*words, "--out", tmp_path / "a", "--allow-failed", 2) == 0
    summary = json.loads((tmp_path / "a" / "summary.json").read_text())
    assert summary["lost"] == ["2", "7"]
    assert summary["targets"]["missing"] == 0  # it was not asked about what cannot be read
    other = ["--name", "other", "--data.path", copied]
    assert abbe("evaluate", tmp_path / "a", *other) == 1
    assert abbe("evaluate", tmp_path / "a", *other, "--allow-failed", 2) == 0
    there = json.loads((tmp_path / "a" / "evaluations" / "other" / "summary.json").read_text())
    assert there["lost"] == ["2", "7"]
    assert any(
        "2 images could not be used and were left" in text
        for text in doubts(tmp_path / "a/evaluations/other")
    )
