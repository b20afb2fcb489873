"""`abbe data` and `abbe teach` as a user types them, on a folder of four images."""

import errno
import json
import os
from pathlib import Path

import numpy as np
import pytest
import tifffile
from commands import abbe
from PIL import Image as Picture

from abbe import datasets
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
