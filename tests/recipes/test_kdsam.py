"""KD SAM through the command line, with a tiny teacher whose weights are random."""

import json
from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from commands import abbe
from drawn import SIDE
from golden import hold
from safetensors.torch import save_file
from tiny_kdsam import TINY, WITH_TWIN, dice_of

import abbe as in_python
from abbe import datasets, scoring, students
from abbe.datasets.training.eval_prompts import objects_of
from abbe.files.tensors import read_tensors
from abbe.recipes.kdsam import AFTER_FIRST, ZERO_SHOT
from abbe.sam import Letterbox, load_sam
from abbe.summary import SHAPE
from abbe.targets import TargetStore
from abbe.tasks.each import Here
from abbe.tasks.previews import TRUTH
from abbe.tasks.promptable.task import PromptedModel, score_prompted


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


def test_the_student_between_its_stages_is_scored(run, pictures):
    """The first stage's weights, whose decoder is the teacher's: once more from its checkpoint."""
    student, _ = students.load_promptable(run / "student.safetensors")
    first = torch.load(run / "checkpoints/student-encoder.pt", weights_only=True)["network"]
    student.load_state_dict(first)
    summary = json.loads((run / "summary.json").read_text())
    found = summary["models"][AFTER_FIRST]["metrics"]["dice"]["mean"]
    assert found == pytest.approx(dice_of(student, pictures), abs=1e-6)


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
