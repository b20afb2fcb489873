"""What is planned for student and twin, and teachers that answer while training."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from array_source import ArraySource
from torch import nn

from abbe import config, students
from abbe.datasets import Dataset, Record
from abbe.datasets.training.batches import Batches
from abbe.datasets.training.prepare import Prepared
from abbe.recipes import unets
from abbe.recipes.cmkd import Cmkd
from abbe.recipes.recipe import Trained, fit_plan
from abbe.runs import session, teaching
from abbe.runs.lost import Lost
from abbe.targets import Provenance, TargetWriter
from abbe.training.fit import Fitted
from abbe.training.stage import Stage

ALL_TERMS = ["supervised", "probability", "boundary", "target_boundary"]


BASELINES = ("supervised", "twin", "self-training")
STEPS = 8
"""Batches that are looked at."""


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What is planned where the teacher is believed in full."""
    return plans_of(tmp_path_factory.mktemp("planned"), trust=1)


def plans_of(folder: Path, trust: float) -> dict[str, Any]:
    """What `abbe distill` plans for student and baselines, with weights as they are at the start.

    Training adds 0.3 to the student's last bias, 0.6 to that of the network after it, and so on.
    """
    plans: dict[str, Any] = {}

    def remember(stage: Stage, accelerator: Accelerator, log: Any, *_: Any, **more: Any) -> Fitted:
        plans[log.model] = stage, copy.deepcopy(stage.trains.state_dict()), more
        with torch.no_grad():
            stage.trains.get_parameter("head.bias").add_(0.3 * len(plans))
        return Fitted(0, None, 0.0, 0.0)

    random = np.random.default_rng(0)
    label = np.zeros((40, 40), np.int32)
    label[4:20, 4:20] = 1
    in_a_corner = np.full((40, 40), -1, np.int32)
    in_a_corner[:4, :4] = 1
    labels = ArraySource(label), ArraySource(in_a_corner), None, None
    records = [
        Record(
            str(number),
            ArraySource(random.integers(0, 255, (40, 40)).astype(np.uint8)),
            labels[number],
            split="train",
        )
        for number in range(4)
    ]
    path = folder / "targets.zarr"
    provenance = Provenance("tutor", None, "not stated", "not stated", ("nucleus",), "none")
    with TargetWriter.open(path, provenance) as writer:
        for record in records:
            maps = {"probability": np.full((1, 40, 40), 0.5, np.float32)}
            writer.append(record.id, maps, image_sha256=record.image.open().sha256())
    experiment = config.parse(
        {
            "recipe": "cmkd",
            "out": folder / "run",
            "seed": 4,
            "teacher": {"kind": "store", "path": path, "trust": trust},
            "evidence": "full",
            "student": {
                "input_channels": ["nucleus"],
                "architecture": "unet-mobilenetv3",
                "depth": 3,
                "decoder_widths": [8, 8, 8],
                "encoder_weights": "random",
                "normalisation": "percentile",
            },
            "training": {
                "crop": 32,
                "batch_size": 4,
                "steps": 3,
                "workers": 0,
                "learning_rate": 1e-3,
                "augmentation": {"scale": [0.9, 1.1], "noise": 0.01},
            },
        },
        "test",
    )
    dataset, recipe = Dataset("set", tuple(records), ("nucleus",)), Cmkd()
    here = session.Session(
        folder, Accelerator(cpu=True), Lost(), experiment.seed, 0,
        resume=False, trust_code=False, progress=False,
    )  # fmt: skip
    material = recipe.prepare(experiment, dataset, None, here)
    trained: dict[str, Trained] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "fit", remember)
        for name, plan in recipe.plans(experiment, dataset, material, here, trained):
            trained |= fit_plan(name, plan, recipe.task(experiment), {}, here)
    return plans


def test_all_begin_with_equal_weights(planned: dict[str, Any]) -> None:
    assert tuple(planned) == ("student", *BASELINES)
    stage, weights, how = planned["student"]
    for name in BASELINES:
        other, others_weights, others_how = planned[name]
        assert stage.trains is not other.trains
        assert weights.keys() == others_weights.keys()
        assert all(torch.equal(weights[key], others_weights[key]) for key in weights), name
        assert stage.schedule == other.schedule
        assert how["seed"] == others_how["seed"] == 4


def test_each_has_the_terms_that_it_is_named_for(planned: dict[str, Any]) -> None:
    for name in ("student", "self-training"):
        assert [term.name for term in planned[name][0].terms] == ALL_TERMS
    for name in ("supervised", "twin"):
        assert [term.name for term in planned[name][0].terms] == ["supervised", "boundary"]


def test_all_see_crops_that_are_made_alike(planned: dict[str, Any]) -> None:
    """Those of student, twin and self-training are the same; supervised draws other images."""
    batches = {name: planned[name][0].batches for name in planned}
    assert batches["student"] is batches["twin"]
    own = batches["self-training"]
    for step in range(STEPS):
        assert torch.equal(batches["student"][step]["image"], own[step]["image"])
    alike = ("batch_size", "crop", "seed", "scale", "flips", "light", "stain", "colour")
    for name in alike:
        assert getattr(batches["supervised"], name) == getattr(batches["student"], name), name
    assert batches["student"].scale == (0.9, 1.1)
    assert batches["student"].light["noise"] == 0.01


def test_self_training_sees_the_students_crops_where_the_teacher_is_half_believed(
    tmp_path: Path,
) -> None:
    """The student's share of labelled crops grows with its doubt; the rival had the usual one."""
    plans = plans_of(tmp_path, trust=0.5)
    student, own = (plans[name][0].batches for name in ("student", "self-training"))
    for step in range(STEPS):
        assert torch.equal(student[step]["image"], own[step]["image"])
        assert int((own[step]["label"] >= 0).flatten(1).any(1).sum()) >= 3  # of four


def test_every_crop_of_the_supervised_network_holds_a_known_pixel(planned: dict[str, Any]) -> None:
    for name, expected in (("supervised", 4), ("twin", 2)):
        known = [
            int((planned[name][0].batches[step]["label"] >= 0).flatten(1).any(1).sum())
            for step in range(STEPS)
        ]
        assert min(known) == expected, name  # of four
    named = [image.id for image in planned["supervised"][0].batches.images]
    assert named == ["0", "1"]


def test_self_training_learns_from_the_supervised_networks_answers(planned: dict[str, Any]) -> None:
    """The fixture's store says 0.5 everywhere, and no two networks answer alike."""
    images = planned["self-training"][0].batches.images
    assert [image.id for image in images] == ["0", "1", "2", "3"]
    given = {
        name: [students.predict(planned[name][0].trains, image.whole()) for image in images]
        for name in ("student", "supervised", "twin")
    }
    for place, image in enumerate(images):
        assert image.probability.shape == (2, 40, 40)
        targets = image.probability / 255
        assert abs(targets - given["supervised"][place]).max() <= 0.5 / 255 + 1e-6
        for other in ("student", "twin"):
            assert abs(targets - given[other][place]).max() > 0.02, other
    stored = planned["student"][0].batches.images
    assert all(abs(image.probability / 255 - 0.5).max() < 0.01 for image in stored)


def test_a_live_teacher_says_what_its_stored_targets_say() -> None:
    """One convolution of 1 x 1 px gives the same for a crop as for the whole image."""
    torch.manual_seed(0)
    teacher = nn.Conv2d(2, 1, 1)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 40, 40), dtype=np.uint8)
    image = Prepared(
        id="a",
        pixels=pixels,
        channels=("nucleus", "membrane"),
        limits=np.array([[0, 255], [0, 255]], np.float32),
        shape=(40, 40),
    )
    with torch.inference_mode():
        answer = teacher(torch.from_numpy(image.whole())[None])[0].sigmoid().numpy()
    stored = replace(image, probability=np.round(answer * 255).astype(np.uint8))
    options: dict[str, Any] = {
        "input_channels": ("nucleus",),
        "batch_size": 3,
        "crop": 32,
        "seed": 0,
    }
    cached = Batches([stored], **options)
    live = Batches([image], teacher_channels=("nucleus", "membrane"), **options)
    for step in range(4):
        with torch.inference_mode():
            recomputed = teacher(live[step]["teacher_image"]).sigmoid()
        assert (recomputed - cached[step]["target"]).abs().max() <= 0.5 / 255 + 1e-5
        assert torch.equal(live[step]["image"], cached[step]["image"])


def test_the_teacher_is_asked_for_what_somebody_looks_at():
    """Test images without a label are scored by nobody; unlabelled training images teach."""
    label = ArraySource(np.ones((8, 8), np.int32))
    records = [
        Record(f"{split} {kept is None}", ArraySource(np.zeros((1, 8, 8), np.uint8)), kept, split)
        for split in ("train", "val", "test")
        for kept in (label, None)
    ]
    dataset = Dataset("six", tuple(records), ("nucleus",))
    for live, expected in ((False, "train train val val test"), (True, "val val test")):
        experiment = config.Experiment.model_construct(
            teacher=config.Teacher.model_construct(kind="run", live=live)
        )
        found = teaching.asked(experiment, dataset)
        assert " ".join(str(record.split) for record in found) == expected
        assert all(record.label is label for record in found if record.split == "test")


def test_self_training_keeps_no_more_answers_in_memory_than_of_a_teacher(
    planned: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two images of 40 x 40 px and two maps are 6,400 bytes; the others go to a nameless file."""
    monkeypatch.setattr(unets, "MEMORY_LIMIT", 6_400)
    own = plans_of(tmp_path, trust=1.0)["self-training"][0].batches
    kept = [isinstance(image.probability, np.memmap) for image in own.images]
    assert kept == [False, False, True, True]
    before = planned["self-training"][0].batches
    for step in range(STEPS):
        for name, told in before[step].items():
            assert torch.equal(own[step][name], told), name
