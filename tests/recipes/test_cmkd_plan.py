"""What is planned for student and twin, and teachers that answer while training."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from accelerate import Accelerator
from torch import nn

from abbe import config, students
from abbe.datasets import Dataset, Record
from abbe.datasets.training.batches import Batches
from abbe.datasets.training.prepare import Prepared
from abbe.imaging import Image
from abbe.recipes.cmkd import Cmkd
from abbe.recipes.recipe import fit_plan
from abbe.runs import session, teaching
from abbe.runs.lost import Lost
from abbe.targets import Provenance, TargetWriter
from abbe.training.fit import Fitted
from abbe.training.stage import Stage

ALL_TERMS = ["supervised", "probability", "boundary", "target_boundary"]


class OneConvolution(nn.Conv2d):
    """A student of one convolution."""

    divisor = 1
    outputs = ("foreground", "boundary")

    def __init__(self) -> None:
        super().__init__(1, len(self.outputs), 3, padding=1)


class ArraySource:
    """An image or a label in memory."""

    def __init__(self, array: np.ndarray) -> None:
        self.array = array

    def open(self) -> Image:
        return Image.from_array(self.array, ["nucleus"])

    def read(self) -> np.ndarray:
        return self.array


@pytest.fixture
def planned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What `abbe distill` plans for student and twin, with weights as they are at the start."""
    plans: dict[str, Any] = {}

    def remember(stage: Stage, accelerator: Accelerator, log: Any, *_: Any, **more: Any) -> Fitted:
        plans[log.model] = stage, copy.deepcopy(stage.trains.state_dict()), more
        with torch.no_grad():
            for weight in stage.trains.parameters():
                weight += 1  # as training would change them, before the twin's turn comes
        return Fitted(0, None, 0.0, 0.0)

    monkeypatch.setattr(session, "fit", remember)
    monkeypatch.setattr(students, "build", lambda *_, **__: OneConvolution())
    monkeypatch.setattr(students, "save", lambda *_: None)
    random = np.random.default_rng(0)
    label = np.zeros((40, 40), np.int32)
    label[4:20, 4:20] = 1
    records = [
        Record(
            str(number),
            ArraySource(random.integers(0, 255, (40, 40)).astype(np.uint8)),
            ArraySource(label) if number < 2 else None,
            split="train",
        )
        for number in range(4)
    ]
    path = tmp_path / "targets.zarr"
    provenance = Provenance("tutor", None, "not stated", "not stated", ("nucleus",), "none")
    with TargetWriter.open(path, provenance) as writer:
        for record in records:
            maps = {"probability": np.full((1, 40, 40), 0.5, np.float32)}
            writer.append(record.id, maps, image_sha256=record.image.open().sha256())
    experiment = config.parse(
        {
            "recipe": "cmkd",
            "out": tmp_path / "run",
            "seed": 4,
            "teacher": {"kind": "store", "path": path},
            "student": {
                "encoder_weights": "random",
                "normalisation": "percentile",
            },
            "training": {
                "crop": 32,
                "batch_size": 4,
                "steps": 3,
                "workers": 0,
                "learning_rate": 1e-3,
            },
        },
        "test",
    )
    dataset, recipe = Dataset("set", tuple(records), ("nucleus",)), Cmkd()
    here = session.Session(
        tmp_path, Accelerator(cpu=True), Lost(), experiment.seed, 0,
        resume=False, trust_code=False, progress=False,
    )  # fmt: skip
    material = recipe.prepare(experiment, dataset, None, here)
    for name, plan in recipe.plans(experiment, dataset, material, here, {}):
        fit_plan(name, plan, recipe.task(experiment), {}, here)
    return plans


def test_student_and_twin_start_from_equal_weights_on_equal_batches(
    planned: dict[str, Any],
) -> None:
    (stage, weights, how), (twin, twins_weights, twins_how) = planned["student"], planned["twin"]
    assert stage.trains is not twin.trains
    assert weights.keys() == twins_weights.keys()
    assert all(torch.equal(weights[name], twins_weights[name]) for name in weights)
    assert stage.batches is twin.batches
    assert stage.schedule == twin.schedule
    assert how["seed"] == twins_how["seed"] == 4
    assert [term.name for term in stage.terms] == ALL_TERMS
    assert [term.name for term in twin.terms] == ["supervised", "boundary"]


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
    options: dict[str, Any] = {"sees": ("nucleus",), "batch_size": 3, "crop": 32, "seed": 0}
    cached = Batches([stored], **options)
    live = Batches([image], teacher_sees=("nucleus", "membrane"), **options)
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
