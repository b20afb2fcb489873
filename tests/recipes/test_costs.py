"""Sizes and times of teacher, student and twin: on one image, in turn, and what is said of them."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from commands import tissue
from safetensors.torch import save_file

from abbe import students, teachers
from abbe.datasets import Dataset
from abbe.imaging import Image, Scaling
from abbe.sam import Layout, build_sam
from abbe.targets import TargetStore
from abbe.tasks import costs, timing
from abbe.tasks.maps import Model, NetworkModel, StoredModel
from abbe.tasks.promptable import task as promptable
from abbe.teachers import Cost, Prediction, Teacher
from abbe.teachers.run import RunTeacher
from abbe.teachers.sam.teacher import SamTeacher

CHANNELS = ("nucleus", "membrane")


@pytest.fixture(scope="module")
def dataset() -> Dataset:
    return tissue()


@pytest.fixture(scope="module")
def small() -> NetworkModel:
    network = students.build("unet-mobilenetv3", in_channels=1, encoder_weights="random")
    return NetworkModel(network, network.outputs, ("membrane",), Scaling("percentile"), None)


def run_teacher(folder: Path) -> RunTeacher:
    network = students.build("unet-resnet18", in_channels=2, encoder_weights="random")
    facts = {"channels": list(CHANNELS), "normalisation": Scaling("percentile").words}
    students.save(folder / "student.safetensors", network, facts)
    return teachers.run(folder, device="cpu", precision="fp32")


def oracle_sam(folder: Path, labels: Dataset) -> SamTeacher:
    layout = Layout("vit", image_size=64, width=32, depth=2, heads=2, global_layers=(1,))
    weights = {k: v.contiguous() for k, v in build_sam(layout, seed=1).state_dict().items()}
    save_file(weights, folder / "sam.safetensors")
    return teachers.sam(
        folder / "sam.safetensors", CHANNELS, prompts="oracle_box", labels=labels, device="cpu",
        precision="bf16",
    )  # fmt: skip


def costs_of(
    teacher: Teacher, student: NetworkModel, dataset: Dataset, folder: Path
) -> dict[str, Any]:
    """The summary of teacher, student and a twin that is built alike."""
    tests = dataset.split("test")
    teachers.teach(teacher, dataset.having(list(tests)[1:3]), folder / "a.zarr", progress=False)
    models: Mapping[str, Model] = {
        "teacher": StoredModel(TargetStore(folder / "a.zarr")),
        "student": student,
        "twin": student,
    }
    return summary_of(models, dataset, teacher)


def summary_of(models: Mapping[str, Model], dataset: Dataset, teacher: Teacher) -> dict[str, Any]:
    found, timing = costs.costs_of(models, dataset, teacher)
    return {"models": found, "timing": timing.model_dump(mode="json", exclude_unset=True)}


def test_all_answer_the_same_test_image_in_turn(tmp_path, dataset, small, monkeypatch):
    asked: list[tuple[str, Image, str]] = []
    teacher = run_teacher(tmp_path)

    def teaching(self, image, id, predict=RunTeacher.predict):
        asked.append(("teacher", image, id))
        return predict(self, image, id)

    def studying(self, image, predict=NetworkModel.predict_image):
        asked.append(("student", image, ""))
        return predict(self, image)

    monkeypatch.setattr(RunTeacher, "predict", teaching)
    monkeypatch.setattr(NetworkModel, "predict_image", studying)
    monkeypatch.setattr(costs, "LARGEST", 48)
    summary = costs_of(teacher, small, dataset, tmp_path)
    del asked[:2]  # when the teacher taught
    assert [name for name, _, _ in asked] == ["teacher", "student"] * 10
    first = dataset.split("test").ids[1]  # the first test image that the teacher answered
    assert {id for _, _, id in asked} == {first, ""}
    pixels = dataset[first].image.open()
    for name, image, _ in asked:
        channels = CHANNELS if name == "teacher" else ("membrane",)
        assert image.channels == channels
        assert image.pixel_size == pixels.pixel_size
        np.testing.assert_array_equal(image.read(), pixels.read(channels=channels)[:, :48, :48])
    models = summary["models"]
    assert models["student"]["ms_per_image"] == models["twin"]["ms_per_image"] > 0
    assert models["teacher"]["ms_per_image"] > 0
    assert models["teacher"]["parameters"] == sum(p.numel() for p in teacher.network.parameters())
    assert models["student"]["parameters"] == sum(p.numel() for p in small.network.parameters())
    timing = summary["timing"]
    assert timing["image_size"] == [48, 48]
    assert (timing["repeats"], timing["runs"]) == (9, {})
    assert "precision" not in timing  # all in fp32


def test_prompts_by_image_are_timed_on_the_whole_image_or_not_at_all(
    tmp_path, dataset, small, monkeypatch
):
    teacher = oracle_sam(tmp_path, dataset)
    summary = costs_of(teacher, small, dataset, tmp_path)
    assert summary["models"]["teacher"]["ms_per_image"] > 0
    assert summary["models"]["teacher"]["macs_image_size"] == 64
    assert summary["timing"]["precision"] == {
        "teacher": "bf16", "student": "fp32", "twin": "fp32",
    }  # fmt: skip
    monkeypatch.setattr(costs, "LARGEST", 63)
    models = {"teacher": StoredModel(TargetStore(tmp_path / "a.zarr")), "student": small}
    again = summary_of(models, dataset, teacher)
    assert again["models"]["teacher"] == teacher.cost().sizes()  # and no time
    assert again["models"]["student"]["ms_per_image"] > 0
    assert "prompts are of whole images" in again["timing"]["teacher_not_timed"]
    assert "precision" not in again["timing"]


class Elsewhere(RunTeacher):
    """A teacher that says it computes on a GPU; it must not be asked for its time."""

    def cost(self) -> Cost:
        return replace(super().cost(), device="cuda")


class FailingOnParts(RunTeacher):
    """Answers images of 64 px alone."""

    def predict(self, image: Image, id: str) -> Prediction:
        if image.shape != (64, 64):
            raise RuntimeError("an object is cut")
        return super().predict(image, id)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        (Elsewhere, "it computes on cuda, and the others were timed on the CPU"),
        (FailingOnParts, "it failed on the part of the image that was timed: an object is cut"),
    ],
)
def test_a_time_that_says_nothing_is_left_out_with_the_reason(
    tmp_path, dataset, small, monkeypatch, kind, reason
):
    teacher = run_teacher(tmp_path)
    teacher.__class__ = kind
    monkeypatch.setattr(costs, "LARGEST", 48)
    summary = costs_of(teacher, small, dataset, tmp_path)
    assert "ms_per_image" not in summary["models"]["teacher"]
    assert summary["models"]["teacher"]["parameters"] > 0
    assert summary["models"]["student"]["ms_per_image"] > 0
    assert summary["timing"]["teacher_not_timed"] == reason


def test_masks_of_another_program_cost_nothing_that_is_known(tmp_path, dataset, small):
    from abbe.imaging import write_labels

    for record in dataset:
        assert record.label is not None or record.split == "train"
        write_labels(tmp_path / "m" / f"{record.id}.tif", np.eye(64, dtype=np.int32))
    summary = costs_of(teachers.masks(tmp_path / "m", CHANNELS), small, dataset, tmp_path)
    assert summary["models"]["teacher"] == {}
    assert "teacher_not_timed" not in summary["timing"]
    assert summary["models"]["student"]["ms_per_image"] > 0
    assert torch.get_num_threads() == summary["timing"]["threads"]


def test_networks_that_see_one_square_are_timed_on_it(monkeypatch):
    """Of promptable networks of several sides none is the image that was timed."""
    small, large = (
        students.build_promptable("promptable-resnet18", side=side, encoder_weights="random")
        for side in (64, 96)
    )
    monkeypatch.setattr(
        timing, "time_in_turn", lambda calls: {name: timing.Timed(1.0, 9) for name in calls}
    )
    _, circumstances = promptable.costs_of({"student": small, "twin": small})
    assert circumstances.image_size == (64, 64)
    _, circumstances = promptable.costs_of({"student": small, "baseline": large})
    assert circumstances.image_size is None
