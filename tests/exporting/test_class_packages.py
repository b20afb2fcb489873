"""Packages that tell classes apart: what they are held to, and what is in them."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from class_students import (
    CLASS_FACTS,
    CLASSES,
    REGION_FACTS,
    REGIONS,
    Levels,
    Shares,
    class_images,
    region_images,
)
from small_students import equal_but_for_times, number, weights_of
from torch import nn

from abbe import scoring
from abbe.errors import PackageError
from abbe.exporting import write
from abbe.exporting.comparison import Images
from abbe.exporting.networks.eager import eager_softmax
from abbe.exporting.parity import check, classes, semantic
from abbe.exporting.request import Budget, ExportRequest
from abbe.exporting.write import write_package
from abbe.imaging import open_image
from abbe.runtime.package import Package
from abbe.runtime.package.engine import open_engine
from abbe.runtime.predictors.predict import predict

KINDS = {
    "classification": (Shares, CLASS_FACTS, class_images),
    "regions": (Levels, REGION_FACTS, region_images),
}


def make(kind: str, folder: Path, request: ExportRequest, shift: float = 0.0) -> Package:
    student, facts, images = KINDS[kind]
    weights = weights_of(student(), folder / "weights.safetensors")
    return write_package(
        folder / "out", student(), weights, facts, images(), request, lambda text: None
    )


@pytest.fixture(scope="module", params=KINDS)
def package(request, tmp_path_factory) -> Package:
    return make(request.param, tmp_path_factory.mktemp(request.param), ExportRequest())


@pytest.mark.slow
def test_every_engine_answers_as_eager_does(package, tmp_path):
    task = package.description.task
    eager = eager_softmax(KINDS[task][0]())
    sizes = [(1, 64, 96), (2, 16, 32)] if task == "regions" else [(1, 50, 33), (3, 32, 90)]
    for batch, height, width in sizes:
        pixels = np.random.default_rng(0).random((batch, 1, height, width), np.float32)
        for engine in ("openvino", "onnxruntime"):
            opened = open_engine(package, engine=engine, precision="fp32", cache=tmp_path)
            np.testing.assert_allclose(opened.probabilities(pixels), eager(pixels), atol=1e-4)


@pytest.mark.slow
def test_two_exports_are_equal_but_for_times(package, tmp_path):
    again = make(package.description.task, tmp_path, ExportRequest())
    assert {"model.onnx", "model.bin"} < set(equal_but_for_times(package.folder, again.folder))


@pytest.mark.slow
def test_the_package_tells_its_classes_its_parity_and_its_lineage(package):
    description = package.description
    assert description.format == 2
    assert description.classes == (CLASSES if description.task == "classification" else REGIONS)
    assert set(description.files) >= {"onnx", "openvino_xml", "weights", "test_image", "expected"}
    for name in ("openvino/fp32", "onnxruntime/fp32"):
        figures = description.parity[name]
        assert figures["kept"] is True
        assert figures["measured_against"] == "eager"
        assert number(figures, "max_difference") < 1e-3
    int8 = description.parity["openvino/int8"]
    assert int8["measured_against"] == "labels"
    assert int8["kept"] is package.has("int8_xml")
    card = package.file("card").read_text("utf-8")
    for line in ("CC-BY-NC-4.0", "stand-in", "simulated images", *description.classes,
                 "| openvino/fp32 | yes |", "abbe.predict"):  # fmt: skip
        assert line in card
    assert "objects" not in card.split("## Does it answer")[1].split("## Speed")[0]


@pytest.mark.slow
def test_the_test_image_gives_what_is_expected_of_it(package, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    expected = np.load(package.file("expected"), allow_pickle=False)
    image = open_image(package.file("test_image"))
    found = predict(package, image, precision="fp32")
    if package.description.task == "regions":
        np.testing.assert_array_equal(found, expected["classes"])
        assert len(np.unique(found)) == 3
    else:
        np.testing.assert_allclose(found, expected["probabilities"], atol=1e-4)
        assert CLASSES[int(found.argmax())] == "dense"


def another_network(monkeypatch: pytest.MonkeyPatch, student: nn.Module) -> None:
    """Have the exporter write another student than the one that was trained."""
    exact = write._write_networks
    monkeypatch.setattr(
        write,
        "_write_networks",
        lambda builder, _, *, compact: exact(builder, student, compact=compact),
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "student", "lost"),
    [
        ("classification", Shares(shift=0.15), "accuracy .* lost"),
        ("regions", Levels(shift=0.2), "mean IoU .* and Dice .* lost"),
    ],
)
def test_an_export_that_answers_otherwise_fails_and_says_where(
    tmp_path, monkeypatch, kind, student, lost
):
    another_network(monkeypatch, student)
    with pytest.raises(PackageError, match=rf"onnxruntime/fp32.*{lost}.*worst image: image-\d"):
        make(kind, tmp_path, ExportRequest(int8="none"))
    assert [path.name for path in tmp_path.iterdir()] == ["weights.safetensors"]


@pytest.mark.slow
def test_rounding_beyond_the_budget_is_left_out_or_fails(tmp_path, monkeypatch):
    from abbe.exporting.networks import openvino_files
    from abbe.exporting.networks.graphs import classification_graphs
    from abbe.exporting.networks.onnx_files import write_onnx

    path = tmp_path / "bad.onnx"
    write_onnx(classification_graphs(Shares(shift=0.3), 1, 1)[0], path)
    bad = openvino_files.convert(path)
    path.unlink()
    monkeypatch.setattr(check, "quantise", lambda model, batches, preset: bad)
    made = make("classification", tmp_path, ExportRequest())
    assert not made.has("int8_xml")
    assert "accuracy" in str(made.description.parity["openvino/int8"]["reason"])
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(PackageError, match=r"--budget-accuracy and --budget-probability"):
        make("classification", tmp_path, ExportRequest(int8="required"))


def softmax(logits: np.ndarray) -> np.ndarray:
    return torch.from_numpy(logits).softmax(1).numpy()


def test_classes_are_compared_with_eager_or_with_what_is_known():
    images = class_images().parity
    random = np.random.default_rng(1)
    known = softmax(np.eye(3)[[0, 1, 2, 0, 1, 0]] * 3)  # the last is wrong
    found = softmax(np.log(known) + random.normal(0, 0.1, known.shape))
    found[1] = known[1][[1, 0, 2]]
    strict = classes.compare(found, known, images, strict=True, images_of="val")
    assert strict.lost["accuracy"] == pytest.approx(1 / 6)
    assert strict.lost["probability"] == pytest.approx(np.abs(found - known).max(1).mean())
    assert strict.worst == "image-1"
    loose = classes.compare(found, known, images, strict=False, images_of="val")
    assert loose.figures["accuracy_eager"] == pytest.approx(5 / 6)
    assert loose.lost["accuracy"] == pytest.approx(1 / 6)
    found[5] = np.eye(3)[2]  # right where eager was wrong
    assert classes.compare(found, known, images, strict=False, images_of="val").lost[
        "accuracy"
    ] == pytest.approx(0)


def test_what_is_no_number_is_beyond_every_budget():
    images = class_images().parity
    known = softmax(np.zeros((6, 3)))
    compared = classes.compare(known * np.nan, known, images, strict=True, images_of="val")
    assert compared.excess(Budget(accuracy=1, probability=1)) is not None


def test_regions_are_compared_over_all_pixels_of_all_images():
    images = region_images()
    against = semantic.semantic_check(Levels(), images, REGION_FACTS)
    rough = eager_softmax(Levels(shift=0.1))
    strict, loose = (against.compare(rough, strict=each) for each in (True, False))
    tables = []
    for image, known in zip(images.parity, against.known, strict=True):
        ours = rough(image.pixels[None])[0].argmax(0)
        tables.append(scoring.confusion(ours, known.argmax(0), 3))
    scores = scoring.region_scores(np.sum(tables, axis=0)[None])
    assert strict.lost["mean_iou"] == pytest.approx(1 - scores["mean_iou"][0])
    assert strict.lost["dice"] == pytest.approx(1 - scores["dice"][0])
    assert strict.lost["dice"] > 0.01
    # The labels are eager's own classes where they are known.
    assert loose.figures["measured_against"] == "labels"
    assert loose.figures["mean_iou_eager"] == 1
    assert loose.lost["mean_iou"] == pytest.approx(strict.lost["mean_iou"], abs=0.02)
    same = against.compare(eager_softmax(Levels()), strict=True)
    assert same.lost == {"mean_iou": 0, "dice": 0}


def test_without_labels_rounded_engines_are_measured_against_eager():
    images = region_images()
    bare = [type(each)(each.id, each.pixels) for each in images.parity]
    against = semantic.semantic_check(
        Levels(), Images(bare, "test", [], images.example), REGION_FACTS
    )
    compared = against.compare(eager_softmax(Levels(shift=0.1)), strict=False)
    assert compared.figures["measured_against"] == "eager"
    assert compared.lost["mean_iou"] > 0
