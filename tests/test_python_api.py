"""The verbs as Python calls: what a script or a notebook writes."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from commands import told

import abbe
from abbe.errors import AbbeError, ConfigError, InputError, StoreError
from abbe.imaging import write_labels

SHORT = {
    "training": {
        "steps": 3,
        "batch_size": 2,
        "crop": 32,
        "validate_every": 2,
        "workers": 0,
        "ema": 0,
    },
    "evaluation": {"resamples": 100},
}
SPLITS = {"train": 0.5, "val": 0.25, "test": 0.25}


@pytest.fixture
def tissue(tmp_path: Path) -> Path:
    """A folder of eight labelled images of 64 px in two channels, and masks/ beside it."""
    made = abbe.datasets.simulated_tissue(8, size=64, seed=5, channels=("nucleus", "membrane"))
    (tmp_path / "tissue" / "images").mkdir(parents=True)
    for record in made:
        assert record.label is not None
        pixels = record.image.open().read()
        tifffile.imwrite(tmp_path / "tissue" / "images" / f"{record.id}.tif", pixels)
        for folder in ("tissue/labels", "masks"):
            write_labels(tmp_path / folder / f"{record.id}.tif", record.label.read())
    return tmp_path / "tissue"


@pytest.mark.slow
def test_from_a_folder_and_masks_to_gain_and_retention(tissue, tmp_path):
    data = abbe.datasets.folder(tissue, channels=["nucleus", "membrane"])
    data = abbe.datasets.assign_splits(data, fractions=SPLITS)
    teacher = abbe.teachers.masks(tmp_path / "masks", ["nucleus", "membrane"], sees_labels=True)
    targets = abbe.teach(teacher, data, tmp_path / "targets.zarr", progress=False)
    assert sorted(targets.ids) == sorted(data.ids)
    run = abbe.distill(
        "cmkd",
        data,
        targets,
        student="unet-mobilenetv3",
        sees=["nucleus"],
        encoder_weights="random",
        out=tmp_path / "run",
        changes={**SHORT, "seed": 3, "title": "from Python"},
        progress=False,
    )
    gain = run.gain["dice"]
    low, high = gain.ci95 or (None, None)
    assert low is not None
    assert gain.mean is not None
    assert high is not None
    assert low <= gain.mean <= high
    assert 0 <= (run.retention["dice"] or -1) <= 1  # masks that are the truth cannot be surpassed
    assert told(run)["models"]["teacher"]["metrics"]["dice"]["mean"] == 1
    assert told(run)["title"] == "from Python"
    assert told(run)["seed"] == 3
    assert run.report.is_file()
    network, facts = abbe.students.load(run.student)
    assert facts["channels"] == ["nucleus"]
    image = data.split("test").records[0].image.open().read(channels=["nucleus"])
    limits = abbe.imaging.percentile_limits(image)
    maps = abbe.students.predict(network, abbe.imaging.normalise(image, limits))
    assert maps.shape == (2, 64, 64)
    again = abbe.evaluate(run.folder, folder_of(tissue), name="again")
    assert set(told(again)["models"]) == {"student", "twin"}  # a store cannot answer again


def folder_of(tissue: Path):
    from abbe import config

    return config.Data(path=tissue, channels=("nucleus", "membrane"))


def distill(tmp_path: Path, **changes):
    data = abbe.datasets.assign_splits(abbe.datasets.simulated_tissue(16, size=64))
    given = {
        "student": "unet-mobilenetv3",
        "sees": ["nucleus"],
        "encoder_weights": "random",
        "out": tmp_path / "run",
    }
    recipe, targets = changes.pop("recipe", "cmkd"), changes.pop("targets", tmp_path / "t.zarr")
    return abbe.distill(recipe, changes.pop("dataset", data), targets, **{**given, **changes})


@pytest.mark.parametrize(
    ("changes", "error", "reason"),
    [
        ({"recipe": "kd"}, ConfigError, "'kd' is neither a shipped recipe"),
        ({"student": "unet"}, ConfigError, "student.architecture: Input should be 'unet-swin"),
        ({"changes": {"training": {"step": 1}}}, ConfigError, "training.step: unknown key"),
        ({"changes": {"twins": False}}, ConfigError, "twins: unknown key"),
        ({"sees": ["dapi"]}, InputError, "the student is to see dapi"),
        ({"encoder_weights": "choose"}, ConfigError, "encoder_weights must be chosen"),
        ({}, StoreError, "t.zarr"),
        (
            {"dataset": abbe.datasets.simulated_tissue(4, size=64)},
            InputError,
            "no labelled test image",
        ),
    ],
)
def test_wrong_arguments_are_said_in_the_words_of_the_file(tmp_path, changes, error, reason):
    with pytest.raises(error) as caught:
        distill(tmp_path, **changes)
    assert reason in str(caught.value)
    assert isinstance(caught.value, AbbeError)


def test_teaching_raises_for_images_that_fail_and_keeps_the_rest(tissue, tmp_path):
    data = abbe.datasets.folder(tissue, channels=["nucleus", "membrane"])
    (tmp_path / "masks" / f"{data.ids[1]}.tif").unlink()
    teacher = abbe.teachers.masks(tmp_path / "masks", ["nucleus"])
    with pytest.raises(InputError, match=rf"targets\.zarr: 7 images taught.*\n.*{data.ids[1]}"):
        abbe.teach(teacher, data, tmp_path / "targets.zarr", progress=False)
    write_labels(tmp_path / "masks" / f"{data.ids[1]}.tif", np.zeros((64, 64), np.int32))
    targets = abbe.teach(teacher_of(tmp_path), data, tmp_path / "targets.zarr", progress=False)
    assert len(targets.ids) == 8
    assert targets.empty_ids == (data.ids[1],)


def teacher_of(tmp_path: Path):
    return abbe.teachers.masks(tmp_path / "masks", ["nucleus"])


def test_rooms_and_verbs_are_there_by_name():
    verbs = {"curve", "distill", "evaluate", "export", "predict", "teach"}
    assert set(abbe.__all__) == verbs | {"PromptablePredictor"}
    for verb in abbe.__all__:
        assert callable(getattr(abbe, verb))
    assert abbe.scoring.METRICS
    with pytest.raises(AttributeError, match="module 'abbe' has no attribute 'predict_all'"):
        abbe.predict_all  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue]
