"""Runs that are refused before they train, through the command line."""

from pathlib import Path

import numpy as np
import pytest
from commands import TINY, TISSUE, abbe, tissue

from abbe.imaging import write_labels
from abbe.targets import Provenance, TargetStore, TargetWriter


def store_of(path: Path, *, outputs: tuple[str, ...] = ("foreground",), ids=None, sha=None) -> Path:
    """A store of random maps for TISSUE's images, or with other ids or pixels."""
    provenance = Provenance(
        teacher="someone",
        weights_sha256=None,
        weights_licence="CC0-1.0",
        training_data_licence="CC0-1.0",
        channels=("membrane",),
        normalisation="none",
        outputs=outputs,
    )
    maps = np.full((len(outputs), 64, 64), 0.6, np.float32)
    with TargetWriter.open(path, provenance) as writer:
        for record in tissue():
            image_sha = sha or record.image.open().sha256(("membrane",))
            id = record.id if ids is None else f"{ids}{record.id}"
            writer.append(id, {"probability": maps}, image_sha256=image_sha)
    return path


def refused(capsys, out: Path, *words) -> str:
    assert abbe("distill", *words, "--out", out) == 1
    assert not (out / "student.safetensors").exists()
    said = capsys.readouterr().err.splitlines()
    (message,) = [line for line in said if line.startswith("abbe distill: ")]
    return message


def from_store(path: Path) -> list:
    return ["cmkd", *TISSUE, *TINY, "--teacher.kind", "store", "--teacher.path", path]


def test_targets_of_other_pixels_are_refused(tmp_path, capsys):
    store = store_of(tmp_path / "targets.zarr", sha="0" * 64)
    message = refused(capsys, tmp_path / "run", *from_store(store))
    assert str(store) in message
    assert f"the target of '{tissue().split('train').ids[0]}' was made from other pixels" in message


def test_targets_of_other_images_are_refused(tmp_path, capsys):
    store = store_of(tmp_path / "targets.zarr", ids="other-")
    message = refused(capsys, tmp_path / "run", *from_store(store))
    assert f"{store}: holds no usable target for any training image" in message


def test_targets_without_a_foreground_are_refused(tmp_path, capsys):
    store = store_of(tmp_path / "targets.zarr", outputs=("nuclei",))
    message = refused(capsys, tmp_path / "run", *from_store(store))
    assert "gives nuclei but no map called 'foreground'" in message


def test_a_store_that_is_not_there_is_named(tmp_path, capsys):
    message = refused(capsys, tmp_path / "run", *from_store(tmp_path / "nothing.zarr"))
    assert "nothing.zarr" in message


def test_a_store_of_another_teacher_is_not_continued(tmp_path, capsys):
    store_of(tmp_path / "run" / "targets.zarr")
    for record in tissue():
        write_labels(tmp_path / "masks" / f"{record.id}.tif", np.ones((64, 64), np.int32))
    teacher = ["--teacher.kind", "masks", "--teacher.path", tmp_path / "masks"]
    input_channels = ["--teacher.input-channels", "nucleus", "membrane"]
    message = refused(capsys, tmp_path / "run", "cmkd", *TISSUE, *TINY, *teacher, *input_channels)
    assert "targets.zarr" in message
    assert len(TargetStore(tmp_path / "run" / "targets.zarr").ids) == 16  # kept


SUPERVISED = ["supervised", *TISSUE, *TINY]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (
            ["--student.input-channels", "nucleus", "dapi"],
            "the student is to see dapi, but the images of",
        ),
        (["--data.fractions", "0.5", "0.5", "0"], "no labelled test image"),
        (["--data.fractions", "0", "0.5", "0.5"], "no training image"),
        (["--data.labelled", "0"], "no labelled training image"),
        (["--data.labelled", "9"], "9 labelled training images were asked for"),
        (["--data.count", "8"], "takes 3 independent images or groups, and there are 2"),
        (["--data.split", "fold"], "no splits in a column 'fold'"),
        (["--student.encoder-weights", "absent.pth"], "absent.pth"),
    ],
)
def test_what_cannot_end_well_is_refused_before_training(tmp_path, capsys, words, reason):
    assert reason in refused(capsys, tmp_path / "run", *SUPERVISED, *words)


def test_the_channels_that_exist_are_named(tmp_path, capsys):
    message = refused(capsys, tmp_path / "run", *SUPERVISED, "--student.input-channels", "dapi")
    assert "channels nucleus, membrane, cytoplasm" in message


@pytest.mark.parametrize("inside", ["", "deeper"])
def test_an_out_folder_that_cannot_be_made_is_named(tmp_path, capsys, inside):
    (tmp_path / "run").write_text("a file")
    out = tmp_path / "run" / inside
    message = refused(capsys, out, *SUPERVISED)
    assert f"out: cannot write to {out}" in message
    assert "--out" in message
    assert (tmp_path / "run").read_text() == "a file"


# -------------------------------------------------------------------------------------------- demo


def test_a_twin_that_would_never_see_a_label_is_refused(tmp_path, capsys):
    words = ["--training.labelled-share", "0", "--data.labelled", "1"]
    store = store_of(tmp_path / "targets.zarr")
    message = refused(capsys, tmp_path / "run", *from_store(store), *words)
    assert "training.labelled_share: 0 keeps the labels from the twin" in message


@pytest.mark.parametrize(
    ("weights", "complaint"), [("nowhere.pt", "nowhere.pt"), ("empty.safetensors", "empty")]
)
def test_weights_that_cannot_be_used_are_refused_before_the_teacher_works(
    tmp_path, capsys, weights, complaint
):
    (tmp_path / "empty.safetensors").write_bytes(b"")
    masks = tmp_path / "masks"
    masks.mkdir()
    for record in tissue():
        write_labels(masks / f"{record.id}.png", np.ones((64, 64), np.int32))
    teacher = ["--teacher.kind", "masks", "--teacher.path", masks]
    words = ["--student.encoder-weights", tmp_path / weights]
    message = refused(capsys, tmp_path / "run", "cmkd", *TISSUE, *TINY, *teacher, *words)
    assert complaint in message
    assert not (tmp_path / "run" / "targets.zarr").exists()


@pytest.mark.parametrize(
    ("key", "value"),
    [("classes", "a"), ("channels", "x"), ("labels", "masks")],
)
def test_keys_that_a_kind_of_data_does_not_read_are_refused(tmp_path, capsys, key, value):
    (tmp_path / "classes" / "a").mkdir(parents=True)
    words = ["--data.kind", "classes", "--data.path", tmp_path / "classes", f"--data.{key}", value]
    teacher = ["--teacher.kind", "masks", "--teacher.path", tmp_path]
    message = refused(
        capsys, tmp_path / "run", "rckd", *teacher, *words, "--student.encoder-weights", "random"
    )
    assert f"data.{key}: is not read of a data set of kind 'classes'" in message
