"""Teachers and weights that were trained on images of the test."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import TINY, TISSUE, abbe, doubts, tissue, told

from abbe import config
from abbe.datasets.fingerprints import (
    channel_digests,
    read_digests,
    trained_on,
    write_digests,
)
from abbe.errors import InputError
from abbe.imaging import Image
from abbe.runs.accounts.overlap import hand_on
from abbe.runs.folder import open_run
from abbe.runtime.package import places
from abbe.summary import TRAINED_ON

OTHER_SPLITS = ["--data.split", "fraction", "--data.split-seed", 1]
"""Other images of the same set to test on."""


def from_run(folder, out, *more):
    teacher = ["--teacher.kind", "run", "--teacher.path", folder]
    return abbe("distill", "cmkd", *TISSUE, *TINY, *teacher, "--no-twin", *more, "--out", out)


# ----------------------------------------------------------------------------------------- digests


def pixels(rng, dtype=np.uint16):
    return rng.integers(0, 200, (2, 30, 40)).astype(dtype)


def test_digests_do_not_depend_on_names_or_order_and_are_of_each_channel(rng):
    both = pixels(rng)
    digests = channel_digests(Image.from_array(both, ["a", "b"]))
    assert len(digests) == 2
    assert channel_digests(Image.from_array(both[::-1], ["x", "y"])) == digests
    (one,) = channel_digests(Image.from_array(both[1], ["b"]))
    assert one in digests
    assert channel_digests(Image.from_array(both, ["a", "b"]), ["b"]) == (one,)


def test_other_values_types_or_shapes_are_other_images(rng):
    one = pixels(rng)[0]
    changed = one.copy()
    changed[-1, -1] += 1
    others = [one, changed, one.astype(np.uint8), one.reshape(40, 30), one[:, :-1]]
    assert len({channel_digests(Image.from_array(each)) for each in others}) == len(others)


def test_a_blank_channel_tells_nothing(rng):
    image = pixels(rng)
    image[1] = 7
    assert len(channel_digests(Image.from_array(image))) == 1


def test_large_images_are_read_in_bands_with_the_same_digest(rng, monkeypatch):
    image = Image.from_array(pixels(rng))
    whole = channel_digests(image)
    monkeypatch.setattr("abbe.datasets.fingerprints._BAND", 1000)
    assert channel_digests(image) == whole


def test_a_list_is_read_as_it_was_written(tmp_path):
    first, second, third = ("0" * 16, "a" * 16, "f" * 16)
    write_digests(tmp_path / TRAINED_ON, [(third,), (), (first, second)])
    assert (tmp_path / TRAINED_ON).read_text() == f"{first} {second}\n{third}\n"
    assert read_digests(tmp_path / TRAINED_ON) == {first, second, third}
    (tmp_path / TRAINED_ON).write_text("0" * 15)
    with pytest.raises(InputError, match="no digest of an image"):
        read_digests(tmp_path / TRAINED_ON)


# ------------------------------------------------------------------------------------------ stores


def store_beside(tmp_path, *teachers):
    store = tmp_path / "answers.zarr"
    store.mkdir(exist_ok=True)
    hand_on(store, *teachers)
    return read_digests(store / TRAINED_ON) if (store / TRAINED_ON).exists() else None


def test_a_package_that_is_named_hands_on_what_it_was_trained_on(tmp_path):
    seen = trained_on(places.shipped()["nuclei"])
    assert seen
    assert store_beside(tmp_path, config.Teacher(kind="package", path=Path("nuclei"))) == seen


def test_a_package_that_is_named_beside_another_teacher_does_too(tmp_path):
    first, second = ("0" * 16, "a" * 16)
    for name, digest in (("a.zarr", first), ("b.zarr", second)):
        (tmp_path / name).mkdir()
        write_digests(tmp_path / name / TRAINED_ON, [(digest,)])
    both = config.Teacher(kind="store", path=tmp_path / "a.zarr", also=(tmp_path / "b.zarr",))
    assert store_beside(tmp_path, both) == {first, second}
    named = config.Teacher(kind="store", path=tmp_path / "a.zarr", also=(Path("nuclei"),))
    assert store_beside(tmp_path, named) == {first, *(trained_on(places.shipped()["nuclei"]) or ())}


def test_a_network_of_another_program_is_not_the_package_of_its_name(tmp_path):
    """Cellpose has a network called nuclei, too."""
    assert store_beside(tmp_path, config.Teacher(kind="cellpose", path=Path("nuclei"))) is None


# -------------------------------------------------------------------------------------------- runs


@pytest.mark.slow
def test_a_run_leaves_the_digests_of_what_it_trained_and_validated_on(teacher_run, run):
    lines = (teacher_run / TRAINED_ON).read_text().splitlines()
    assert len(lines) == 4 + 4  # to train and to validate, and none of the eight to test
    assert {len(line.split()) for line in lines} == {len(tissue().channels)}
    assert not told(run)["overlaps"]
    assert not any("trained or validated on" in doubt for doubt in doubts(run.folder))
    # what a teacher saw goes with its answers
    assert read_digests(run.folder / "targets.zarr" / TRAINED_ON) == read_digests(
        teacher_run / TRAINED_ON
    )


@pytest.mark.slow
def test_a_teacher_that_saw_test_images_is_refused_before_any_work(teacher_run, tmp_path, capsys):
    assert from_run(teacher_run, tmp_path / "run", *OTHER_SPLITS) == 1
    said = capsys.readouterr().err
    assert f"teacher.path: {teacher_run} was trained or validated on" in said
    assert "of the 8 test images of data set 'simulated-tissue', such as '" in said
    assert "--allow-overlap" in said
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_what_was_allowed_is_a_doubt_after_a_resumed_run_too(teacher_run, tmp_path):
    out = tmp_path / "run"
    assert from_run(teacher_run, out, *OTHER_SPLITS, "--allow-overlap") == 0
    for _ in range(2):
        (overlap,) = told(open_run(out))["overlaps"]
        assert overlap["source"] == "teacher.path"
        assert 0 < overlap["images"] <= 8
        (doubt,) = (d for d in doubts(out) if "trained or validated on" in d)
        assert f"{overlap['images']} of the test images (such as {overlap['example']})" in doubt
        listed = (out / TRAINED_ON).read_text()
        assert from_run(teacher_run, out, *OTHER_SPLITS, "--allow-overlap", "--resume") == 0
        assert (out / TRAINED_ON).read_text() == listed


@pytest.mark.slow
def test_stored_answers_of_such_a_teacher_are_refused_likewise(run, tmp_path, capsys):
    store = ["--teacher.kind", "store", "--teacher.path", run.folder / "targets.zarr"]
    words = ["distill", "cmkd", *TISSUE, *TINY, *store, *OTHER_SPLITS, "--out", tmp_path / "run"]
    assert abbe(*words) == 1
    assert "targets.zarr was trained or validated on" in capsys.readouterr().err


@pytest.mark.slow
def test_weights_to_begin_with_are_looked_at_too(teacher_run, tmp_path, capsys):
    weights = tmp_path / "earlier" / "encoder.safetensors"
    shutil.copytree(teacher_run, weights.parent)
    shutil.copyfile(teacher_run / "student.safetensors", weights)
    student = [
        "--student.encoder-weights",
        weights,
        "--student.input-channels",
        "nucleus",
        "membrane",
    ]
    words = ["supervised", *TISSUE, *TINY, *OTHER_SPLITS, *student]
    assert abbe("distill", *words, "--out", tmp_path / "run") == 1
    said = capsys.readouterr().err
    assert f"student.encoder_weights: {weights} was trained or validated on" in said


@pytest.mark.slow
def test_a_package_to_begin_from_may_be_named(teacher_run, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(places, "FOLDER", tmp_path / "shipped")
    package = tmp_path / "shipped" / "discs"
    quick = "--int8", "none", "--images", 2, "--threads", 1, "--tile", 160
    assert abbe("export", teacher_run, "--out", package, *quick) == 0
    student = ["--student.encoder-weights", "discs"]
    student += ["--student.input-channels", "nucleus", "membrane"]
    words = ["supervised", *TISSUE, *TINY, *OTHER_SPLITS, *student]
    assert abbe("distill", *words, "--out", tmp_path / "run") == 1
    assert f"encoder_weights: {package} was trained or validated on" in capsys.readouterr().err


@pytest.mark.slow
def test_of_an_older_run_it_is_said_that_it_cannot_be_known(teacher_run, tmp_path):
    older, out = tmp_path / "older", tmp_path / "run"
    shutil.copytree(teacher_run, older)
    (older / TRAINED_ON).unlink()
    assert from_run(older, out, *OTHER_SPLITS) == 0
    assert told(open_run(out))["overlaps"] == [{"source": "teacher.path"}]
    assert sum("cannot be known" in doubt for doubt in doubts(out)) == 1


@pytest.mark.slow
def test_a_package_says_what_it_was_trained_on(teacher_run, tmp_path, monkeypatch, capsys):
    package = tmp_path / "shipped" / "discs"
    quick = "--int8", "none", "--images", 2, "--threads", 1, "--tile", 160
    assert abbe("export", teacher_run, "--out", package, *quick) == 0
    assert (package / TRAINED_ON).read_text() == (teacher_run / TRAINED_ON).read_text()
    capsys.readouterr()
    network = ["--teacher.kind", "onnx", "--teacher.path", package / "model.onnx"]
    network += ["--teacher.input-channels", "nucleus", "membrane"]
    shown = ["--teacher.options", "outputs", "foreground,boundary"]
    words = ["distill", "cmkd", *TISSUE, *TINY, *OTHER_SPLITS, *network, *shown]
    assert abbe(*words, "--out", tmp_path / "run") == 1
    assert "model.onnx was trained or validated on" in capsys.readouterr().err
    # a package as such, by its folder and by the name of one that comes with Abbe
    monkeypatch.setattr(places, "FOLDER", package.parent)
    for named in (package, "discs"):
        words = [*TISSUE, *TINY, "--teacher.kind", "package", "--teacher.path", named]
        out = tmp_path / "taught"
        assert abbe("distill", "cmkd", *words, *OTHER_SPLITS, "--out", out) == 1
        said = capsys.readouterr().err
        assert f"teacher.path: {package} was trained or validated on" in said
        assert not out.exists()


@pytest.mark.slow
def test_a_curve_refuses_such_a_teacher(teacher_run, tmp_path, capsys):
    teacher = ["--teacher.kind", "run", "--teacher.path", teacher_run]
    words = ["curve", "cmkd", *TISSUE, *TINY, *teacher, *OTHER_SPLITS, "--out", tmp_path / "curve"]
    assert abbe(*words, "--seeds", 0, "--fractions", "1.0") == 1
    assert "was trained or validated on" in capsys.readouterr().err


@pytest.mark.slow
def test_an_evaluation_on_what_the_run_was_trained_on_is_refused_or_told(run, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    words = ["evaluate", folder, *TISSUE, *OTHER_SPLITS, "--name", "seen"]
    assert abbe(*words) == 1
    said = capsys.readouterr().err
    assert f"the run: {folder} was trained or validated on" in said
    assert "--allow-overlap" in said
    assert not (folder / "evaluations" / "seen").exists()
    assert abbe(*words, "--allow-overlap") == 0
    seen = folder / "evaluations" / "seen"
    overlaps = told(open_run(seen))["overlaps"]
    assert [each["source"] for each in overlaps] == ["the run", "teacher.path"]
    assert 0 < overlaps[0]["images"] == overlaps[1]["images"] <= 8
    for each in overlaps:
        words = f"The network of {each['source']} was trained or validated on {each['images']} of"
        assert sum(words in doubt for doubt in doubts(seen)) == 1
        assert words in (seen / "report.html").read_text("utf-8")


@pytest.mark.slow
def test_an_evaluation_asks_what_the_teacher_was_trained_on_too(run, teacher_run, tmp_path, capsys):
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    (folder / TRAINED_ON).unlink()
    kept = folder / "targets.zarr"
    words = ["evaluate", folder, *TISSUE, *OTHER_SPLITS, "--name", "seen"]
    assert abbe(*words) == 1
    assert f"teacher.path: {kept} was trained or validated on" in capsys.readouterr().err
    (kept / TRAINED_ON).unlink()
    assert abbe(*words) == 1
    assert f"teacher.path: {teacher_run} was trained or validated on" in capsys.readouterr().err


@pytest.mark.slow
def test_of_several_teachers_one_that_does_not_tell_is_not_known_by_the_others(run, tmp_path):
    """The list beside their mean holds what any of them has told."""
    folder, older = tmp_path / "run", tmp_path / "older"
    shutil.copytree(run.folder, folder)
    shutil.copytree(run.folder, older)
    (older / TRAINED_ON).unlink()
    settings = config.load(folder / "config.yaml")
    teacher = settings.teacher.model_copy(update={"also": (older,)})
    config.save(settings.model_copy(update={"teacher": teacher}), folder / "config.yaml")
    own_splits = ["--data.split", "fraction"]
    assert abbe("evaluate", folder, *TISSUE, *own_splits, "--name", "there") == 0
    overlaps = told(open_run(folder / "evaluations" / "there"))["overlaps"]
    assert overlaps == [{"source": "teacher.also"}]
