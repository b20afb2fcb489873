"""The verbs as a user types them; what needs a trained run is in tests/recipes."""

import errno
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest
import tifffile
from commands import TINY, abbe
from PIL import Image as Picture

from abbe import config, datasets
from abbe.cli import VERBS
from abbe.imaging import write_labels
from abbe.targets import TargetStore

CHANNELS = ["--data.channels", "nucleus", "membrane"]


@pytest.fixture
def tissue(tmp_path: Path) -> Path:
    """A folder of four images in two channels (TIFF), three of them labelled, and an index."""
    root = tmp_path / "tissue"
    (root / "images").mkdir(parents=True)
    made = datasets.simulated_tissue(4, size=64, seed=5, channels=("nucleus", "membrane"))
    rows = ["id,split,group"]
    for name, split, record in zip("abcd", ("train", "train", "val", "test"), made, strict=True):
        tifffile.imwrite(root / "images" / f"{name}.tif", record.image.open().read())
        rows.append(f"{name},{split},patient {name}")
        if name != "b":
            assert record.label is not None
            write_labels(root / "labels" / f"{name}.tif", record.label.read())
    (root / "index.csv").write_text("\n".join(rows))
    return root


@pytest.fixture
def masks(tissue: Path) -> Path:
    """Another program's masks of all four images; those of c are empty."""
    folder = tissue.parent / "masks"
    made = datasets.simulated_tissue(4, size=64, seed=5)
    for name, record in zip("abcd", made, strict=True):
        assert record.label is not None
        write_labels(folder / f"{name}.png", record.label.read() * (name != "c"))
    return folder


def teach(tissue: Path, masks: Path, *more: str | Path) -> int:
    source = ["--data.path", tissue, *CHANNELS, "--teacher.kind", "masks", "--teacher.path", masks]
    input_channels = ["--teacher.input-channels", "nucleus", "membrane"]
    return abbe("teach", "--out", tissue.parent / "targets.zarr", *source, *input_channels, *more)


# ------------------------------------------------------------------------------------------ help

HELP = [[name] for name in VERBS] + [["data", part] for part in ("list", "fetch", "check")]


@pytest.mark.parametrize("words", [*HELP, ["distill", "cmkd"], ["curve", "rckd"]], ids=" ".join)
def test_help_of_every_verb_succeeds_and_shows_an_example(capsys, words):
    assert abbe(*words, "--help") == 0
    shown = capsys.readouterr().out
    # 'abbe data list' takes no argument: its own name is all there is to type
    assert "example" in shown or words[0] == "data"
    assert f"abbe {' '.join(words[:2] if words[0] == 'data' else words[:1])} " in shown


OWN = {
    "cmkd": {"loss.probability", "training.labelled_share", "teacher.live"},
    "imagenet": {"fine_tuning.colour"},
    "kdsam": {"promptable.side", "promptable.mask_step", "teacher.live"},
    "rckd": {"pretraining.method", "fine_tuning.task", "pretrain_data.stride"},
    "supervised": {"loss.boundary"},
}
"""Some keys that each recipe reads, and most others do not."""


def keys_shown(text: str) -> set[str]:
    """Keys of the experiment file in a help text, each by the option that begins its entry."""
    options = re.findall(r"^(?:│|\|| ) --([a-z][\w.-]*)", text, re.MULTILINE)
    known = {key for key, _ in config.keys_within(config.Experiment)}
    return {option.replace("-", "_") for option in options} & known


@pytest.mark.parametrize("recipe", sorted(OWN))
def test_help_shows_the_ten_keys_that_matter_first_and_help_all_those_of_the_recipe(capsys, recipe):
    assert abbe("distill", recipe, "--help") == 0
    short = capsys.readouterr().out
    assert keys_shown(short) == set(config.RECIPES[recipe].important)
    assert "--resume" in short
    assert f"abbe distill {recipe} --help-all" in short
    assert abbe("distill", recipe, "--help-all") == 0
    known = {key for key, _ in config.keys_within(config.Experiment)} - {"recipe"}
    own = keys_shown(capsys.readouterr().out)
    assert own == {key for key in known if config.RECIPES[recipe].reads(key)}
    assert own >= OWN[recipe]


@pytest.mark.parametrize("recipe", ["cmkd", "rckd"])
def test_help_of_a_curve_leaves_out_what_its_own_options_stand_for(capsys, recipe):
    assert abbe("curve", recipe, "--help") == 0
    short = capsys.readouterr().out
    shown = keys_shown(short) - {"seeds"}  # the curve's own
    assert shown == set(config.RECIPES[recipe].important) - {"pretraining.method"}
    assert abbe("curve", recipe, "--help-all") == 0
    whole = capsys.readouterr().out
    assert "--fractions" in whole
    assert "--data.labelled" not in whole
    assert "training.crop" in keys_shown(whole)


@pytest.mark.parametrize(
    ("recipe", "option", "readers"),
    [
        ("cmkd", "--promptable.side=512", "recipe kdsam"),
        ("cmkd", "--pretrain-data.path", "recipe rckd"),
        ("kdsam", "--loss.boundary", "recipes cmkd, supervised"),
        ("rckd", "--training.watch", "recipes cmkd, supervised"),
        ("supervised", "--no-twin", "recipes cmkd, kdsam, rckd"),
        ("rckd", "--teacher.no-live", "recipes cmkd, kdsam"),
    ],
)
@pytest.mark.parametrize("verb", ["distill", "curve"])
def test_an_option_of_another_recipe_is_refused_with_the_recipes_it_belongs_to(
    capsys, verb, recipe, option, readers
):
    assert abbe(verb, recipe, option, "x") == 1
    said = capsys.readouterr().err
    assert said.startswith(f"abbe {verb}: ")
    assert f"belongs to {readers}" in said
    assert f"recipe '{recipe}' does not read it" in said


def test_the_overview_names_every_verb(capsys):
    assert abbe("--help") == 0
    shown = capsys.readouterr().out
    for name, summary in VERBS.items():
        assert f"  {name} " in shown
        assert summary in shown


def test_no_verb_at_all_is_wrong_usage_and_shows_the_overview(capsys):
    assert abbe() == 2
    assert "abbe demo" in capsys.readouterr().out


def test_an_unknown_verb_is_wrong_usage_and_names_the_verbs(capsys):
    assert abbe("distil") == 2
    said = capsys.readouterr().err
    assert "no verb 'distil'" in said
    assert "distill" in said


def test_the_version_is_told(capsys):
    assert abbe("--version") == 0
    assert capsys.readouterr().out.startswith("abbe 0.")


@pytest.mark.parametrize(
    "words", [["data"], ["data", "show"], ["distill"], ["distill", "--resume"]]
)
def test_wrong_usage_shows_help_and_exits_with_two(capsys, words):
    assert abbe(*words) == 2
    assert "usage" in capsys.readouterr().out


def test_an_unknown_option_is_wrong_usage_and_close_ones_are_named(capsys):
    assert abbe("distill", "cmkd", "--training.stepz", 3) == 2
    said = capsys.readouterr()
    assert "--training.steps" in said.out + said.err


# ------------------------------------------------------------------------------------------ data


def test_the_known_sets_are_listed_with_licences(capsys):
    assert abbe("data", "list") == 0
    assert "bbbc038" in capsys.readouterr().out


def test_an_unknown_set_is_not_fetched(tmp_path, capsys):
    assert abbe("data", "fetch", "cellpics", tmp_path) == 1
    said = capsys.readouterr().err
    assert said.startswith("abbe data: ")
    assert "cellpics" in said
    assert "bbbc038" in said


def test_a_folder_is_checked_with_a_contact_sheet_and_json(tissue, tmp_path, capsys):
    sheet, found = tmp_path / "out" / "sheet.png", tmp_path / "out" / "found.json"
    wanted = ["--contact-sheet", sheet, "--json", found, "--crop", 64]
    assert abbe("data", "check", tissue, *CHANNELS, *wanted) == 0
    shown = capsys.readouterr().out
    assert "tissue: 4 images" in shown
    assert "nucleus, membrane (4 images)" in shown
    assert "64×64 (4)" in shown
    facts = json.loads(found.read_text("utf-8"))
    assert facts["ok"] is True
    assert facts["splits"]["train"] == {"images": 2, "labelled": 1}
    label = datasets.simulated_tissue(4, size=64, seed=5).records[0].label
    assert label is not None
    areas = facts["images"]["a"]["label"]["areas"]
    assert sum(areas) == np.count_nonzero(label.read())
    with Picture.open(sheet) as picture:
        assert min(picture.size) >= 64
        assert len(np.unique(np.asarray(picture.convert("L")))) > 20  # there is something on it


def test_a_folder_of_png_is_checked(tmp_path, capsys):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (3, 40, 50), dtype=np.uint8)
    for name, each in zip("abc", pixels, strict=True):
        Picture.fromarray(each).save(tmp_path / "images" / f"{name}.png")
        Picture.fromarray((each > 200).astype(np.uint8)).save(tmp_path / "labels" / f"{name}.png")
    assert abbe("data", "check", tmp_path, "--data.channels", "nucleus") == 0
    shown = capsys.readouterr().out
    assert "channels      nucleus (3 images)" in shown
    assert "crop          32 px is recommended: the smallest image has 40 px" in shown


def test_an_error_in_the_data_exits_with_one_and_names_the_file(tissue, capsys):
    write_labels(tissue / "labels" / "d.tif", np.ones((10, 12), np.int32))
    (tissue / "images" / "b.tif").write_bytes((tissue / "images" / "b.tif").read_bytes()[:300])
    assert abbe("data", "check", tissue, *CHANNELS) == 1
    shown = capsys.readouterr().out
    assert shown.count("ERROR") == 2
    assert "d: " in shown
    assert "b: " in shown


def test_a_folder_that_is_not_there_is_named_with_the_layout(tmp_path, capsys):
    assert abbe("data", "check", tmp_path / "nothing") == 1
    said = capsys.readouterr().err
    assert said.startswith("abbe data: ")
    assert "nothing" in said
    assert "images/" in said


def test_check_without_a_folder_asks_for_one(capsys):
    assert abbe("data", "check") == 1
    assert "data: kind 'folder' needs a path: give --data.path FOLDER" in capsys.readouterr().err


def test_data_from_python_cannot_be_checked_here(capsys):
    assert abbe("data", "check", "--data.kind", "given") == 1
    assert "names no data set" in capsys.readouterr().err


def test_a_place_that_cannot_be_written_is_named(tissue, capsys):
    inside_a_file = tissue / "index.csv" / "found.json"
    assert abbe("data", "check", tissue, *CHANNELS, "--json", inside_a_file) == 1
    said = capsys.readouterr().err
    assert said.startswith("abbe data: ")
    assert "index.csv" in said
    assert "a file, and a folder is needed here. Name another place" in said
    assert abbe("data", "check", tissue, *CHANNELS, "--json", tissue) == 1
    assert "is a folder, and a file is to be written here" in capsys.readouterr().err


@pytest.mark.parametrize(("number", "told"), [(errno.ENOSPC, True), (errno.EIO, False)])
def test_a_full_disk_ends_with_a_sentence_and_a_broken_one_with_a_traceback(
    tissue, tmp_path, capsys, monkeypatch, number, told
):
    def fail(path, value):
        raise OSError(number, os.strerror(number), str(path))

    monkeypatch.setattr("abbe.files.write_json", fail)
    words = ["data", "check", tissue, *CHANNELS, "--json", tmp_path / "found.json"]
    if told:
        assert abbe(*words) == 1
        said = capsys.readouterr().err
        assert "found.json: No space left on device. Free the disk" in said
    else:
        with pytest.raises(OSError, match="found"):
            abbe(*words)


# ----------------------------------------------------------------------------------------- teach


def test_masks_teach_and_a_second_call_goes_on(tissue, masks, capsys):
    assert teach(tissue, masks) == 0
    shown = capsys.readouterr().out
    assert "teacher: masks\n  sees nucleus, membrane; gives foreground" in shown
    assert "licence of its weights: not stated" in shown
    assert "licence of its training data: not stated" in shown
    assert "4 images taught (1 of them empty), 0 already there, 0 failed" in shown
    store = TargetStore(tissue.parent / "targets.zarr")
    assert sorted(store.ids) == list("abcd")
    assert store.empty_ids == ("c",)
    made = datasets.simulated_tissue(4, size=64, seed=5)
    for name, record in zip("abd", [made.records[i] for i in (0, 1, 3)], strict=True):
        assert record.label is not None
        np.testing.assert_array_equal(store.read(name, "instances"), record.label.read())
    assert teach(tissue, masks) == 0
    assert "0 images taught (0 of them empty), 4 already there" in capsys.readouterr().out


def test_a_plan_is_printed_and_nothing_is_taught(tissue, masks, capsys):
    assert teach(tissue, masks, "--plan") == 0
    shown = capsys.readouterr().out
    assert "images: 4 to teach, 0 in the store already" in shown
    assert "time: about" in shown
    assert not (tissue.parent / "targets.zarr").exists()
    assert teach(tissue, masks, "--plan", "--json") == 0
    assert json.loads(capsys.readouterr().out)["images"] == 4
    assert teach(tissue, masks, "--json") == 1
    assert "--json belongs to --plan" in capsys.readouterr().err


def test_an_image_that_fails_is_named_and_the_rest_go_on(tissue, masks, capsys):
    (masks / "b.png").unlink()
    write_labels(masks / "d.png", np.ones((10, 12), np.int32))
    assert teach(tissue, masks) == 1
    shown = capsys.readouterr().out
    assert "2 images taught" in shown
    assert "no mask for the image 'b'" in shown
    assert "InputError" not in shown
    assert "10 x 12 px but the image" in shown
    assert teach(tissue, masks, "--allow-failed", "1") == 1
    assert teach(tissue, masks, "--allow-failed", "2") == 0
    assert "2 failed" in capsys.readouterr().out
    assert sorted(TargetStore(tissue.parent / "targets.zarr").ids) == ["a", "c"]


def test_another_teacher_is_refused_and_the_store_is_kept(tissue, masks, capsys):
    assert teach(tissue, masks) == 0
    assert teach(tissue, masks, "--teacher.options", "name", "mesmer") == 1
    said = capsys.readouterr().err
    assert "targets.zarr" in said
    assert "teacher: 'masks' here, 'mesmer' now" in said
    assert len(TargetStore(tissue.parent / "targets.zarr").ids) == 4


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            ["--teacher.options", "size", "3"],
            "has no option size; it has: suffix, types, classes, name, licence",
        ),
        (["--teacher.input-channels", "membrane", "dapi"], "dapi"),
        (["--teacher.path", "nowhere"], "nowhere: there is no such folder"),
        (["--teacher.kind", "none"], "teacher.kind: choose from masks, onnx"),
        (["--teacher.kind", "store"], "teacher.kind: choose from masks, onnx"),
        (["--teacher.live"], "live: true works with kind torch, run or sam only"),
        (["--data.where", "kind", "fluo"], "no column 'kind'"),
    ],
)
def test_what_cannot_teach_is_said(tissue, masks, capsys, words, reason):
    assert teach(tissue, masks, *words) == 1
    said = capsys.readouterr().err
    assert said.startswith("abbe teach: ")
    assert reason in said
    assert not (tissue.parent / "targets.zarr").exists()


def test_masks_cannot_be_asked_again_for_equivariance(tissue, masks, capsys):
    assert teach(tissue, masks, "--check-equivariance") == 1
    assert "nothing to ask again" in capsys.readouterr().err


@pytest.mark.slow
def test_equivariance_is_measured_before_teaching(tissue, capsys, monkeypatch):
    module = "import torch\ndef brightness(): return torch.nn.AvgPool2d(1)\n"
    (tissue.parent / "bright.py").write_text(module)
    monkeypatch.syspath_prepend(tissue.parent)
    teacher = ["--teacher.kind", "torch", "--teacher.path", "bright:brightness", "--trust-code"]
    options = ["--teacher.input-channels", "nucleus", "--teacher.options", "activation", "none"]
    out = tissue.parent / "targets.zarr"
    source = ["--data.path", tissue, *CHANNELS]
    assert abbe("teach", "--out", out, *source, *teacher, *options, "--check-equivariance") == 0
    shown = capsys.readouterr().out
    for movement in ("horizontal flip", "vertical flip", "rotation by 90°"):
        (line,) = [line for line in shown.splitlines() if line.strip().startswith(movement)]
        assert float(line.split()[-1]) == 1.0  # a pixel's own value moves with it
    assert len(TargetStore(out).ids) == 4


# ------------------------------------------------------------- distill, evaluate, report: refusals


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["cmdk"], "'cmdk' is neither a shipped recipe (cmkd, "),
        (["absent.yaml"], "'absent.yaml' is neither a shipped recipe"),
        (["cmkd", "--student.encoder-weights", "random"], "data: kind 'folder' needs a path"),
        (["cmkd", "--data.path", "a"], "encoder_weights must be chosen: 'imagenet'"),
        (
            ["cmkd", "--data.path", "a", "--student.encoder-weights", "random"],
            "recipe 'cmkd' needs a teacher: give --teacher.kind",
        ),
        (
            ["supervised", "--data.path", "a", *TINY, "--training.crop", "33"],
            "training.crop: Input should be a multiple of 32 (it is 33)",
        ),
        (["supervised", "--data.path", "no tissue", *TINY], "no tissue is not a folder"),
    ],
)
def test_what_cannot_be_distilled_is_said_before_any_work(
    tmp_path, monkeypatch, capsys, words, reason
):
    monkeypatch.chdir(tmp_path)
    assert abbe("distill", *words) == 1
    said = capsys.readouterr().err
    assert said.startswith("abbe distill: ")
    assert reason in said
    assert list(tmp_path.iterdir()) == []


def test_an_experiment_file_with_a_wrong_key_is_named(tmp_path, capsys):
    path = tmp_path / "mine.yaml"
    path.write_text("recipe: cmkd\ntraining: {step: 3}\n")
    assert abbe("distill", path) == 1
    said = capsys.readouterr().err
    assert "mine.yaml" in said
    assert "training.step: unknown key; allowed here: steps, passes, minimum_steps, batch" in said


@pytest.mark.parametrize(
    "words", [["report"], ["evaluate", "--name", "x", "--data.kind", "simulated"]]
)
def test_a_folder_without_a_finished_run_is_refused(tmp_path, capsys, words):
    assert abbe(words[0], tmp_path / "run", *words[1:]) == 1
    said = capsys.readouterr().err
    assert str(tmp_path / "run") in said
    assert "finished run" in said


@pytest.mark.parametrize("words", ["--student.sees dapi", "--student.sees=dapi"])
def test_options_by_their_earlier_names_are_read_and_todays_are_told(tmp_path, capsys, words):
    rest = "distill supervised --data.kind simulated --student.encoder-weights random --out"
    assert abbe(*rest.split(), tmp_path / "run", *words.split()) == 1
    note, error = capsys.readouterr().err.splitlines()[:2]
    assert note == "note: --student.sees is --student.input-channels today"
    assert "the student is to see dapi" in error


# --------------------------------------------------------------------------------------- recipes


def test_recipes_are_listed_with_what_they_are(capsys):
    assert abbe("recipes") == 0
    shown = capsys.readouterr().out
    for name in ("cmkd", "supervised", "demo", "demo-teacher"):
        (line,) = [line for line in shown.splitlines() if line.split()[0] == name]
        assert len(line.split()) > 5


def test_a_recipe_is_copied_to_be_edited_and_never_over_a_file(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert abbe("recipes", "copy", "cmkd", "mine.yaml") == 0
    assert "mine.yaml" in capsys.readouterr().out
    text = Path("mine.yaml").read_text("utf-8")
    assert "recipe: cmkd" in text
    assert text.startswith("#")  # with its comments
    Path("mine.yaml").write_text("edited")
    assert abbe("recipes", "copy", "cmkd", "mine.yaml") == 1
    assert "mine.yaml: exists already" in capsys.readouterr().err
    assert Path("mine.yaml").read_text() == "edited"
    assert abbe("recipes", "copy", "demo") == 0
    assert Path("demo.yaml").exists()


def test_an_unknown_recipe_is_not_copied(capsys):
    assert abbe("recipes", "copy", "kd") == 1
    assert "recipe 'kd' is not shipped; choose one of cmkd, " in capsys.readouterr().err
    assert abbe("recipes", "copy") == 1
    assert "name the recipe to copy" in capsys.readouterr().err
