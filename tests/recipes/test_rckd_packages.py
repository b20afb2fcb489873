"""Runs of RCKD become packages, and are scored elsewhere: through the command line."""

import csv
import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest
from commands import abbe
from drawn import draw_tile
from PIL import Image as Picture
from torch import nn

import abbe as package_of_abbe
from abbe import students
from abbe.imaging import open_image, write_labels
from abbe.runtime.package import read_package
from abbe.tasks.classification import Classification

pytestmark = pytest.mark.slow

TINY = shlex.split(
    "--student.architecture unet-mobilenetv3 --student.encoder-weights random "
    "--student.input-channels red green blue --pretraining.method none --teacher.kind none "
    "--training.steps 4 --training.batch-size 2 --training.crop 32 --training.validate-every 4 "
    "--training.workers 0 --training.ema 0 --training.learning-rate 0.01 --evidence quick"
)
WIDE = shlex.split(
    "--budget-dice 1 --budget-mean-iou 1 --budget-accuracy 1 --budget-probability 1 "
    "--calibration-images 3 --threads 1"
)
"""What is tested is the way from the run to the package, not what four steps have learned."""


@pytest.fixture(scope="module")
def tiles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Tiles in folders of classes, and tiles with labels."""
    root, random = tmp_path_factory.mktemp("tiles"), np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 2), ("test", 3)):
        for name, discs in (("dense", 12), ("sparse", 3)):
            folder = root / "classes" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Picture.fromarray(draw_tile(random, discs)[0]).save(folder / f"{number}.png")
    (root / "regions/images").mkdir(parents=True)
    rows = ["id,split"]
    for number in range(6):
        picture, label = draw_tile(random, 5 + number)
        Picture.fromarray(picture).save(root / "regions/images" / f"t{number}.png")
        write_labels(root / "regions/labels" / f"t{number}.png", label)
        rows.append(f"t{number},{('train', 'val', 'test')[number // 2]}")
    (root / "regions/index.csv").write_text("\n".join(rows))
    return root


@pytest.fixture(scope="module")
def classifier(tiles, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "classes"
    assert abbe("distill", "rckd", *TINY, "--data.path", tiles / "classes", "--out", out) == 0
    return out


@pytest.fixture(scope="module")
def regions(tiles, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "regions"
    data = "--data.kind", "folder", "--data.path", tiles / "regions"
    words = "--fine-tuning.task", "segmentation", "--out", out
    assert abbe("distill", "rckd", *TINY, *data, *words) == 0
    return out


def test_a_classifier_becomes_a_package_that_answers_as_it_was_scored(
    classifier, tiles, tmp_path, monkeypatch
):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "types"
    assert abbe("export", classifier, "--out", out, *WIDE) == 0
    description = read_package(out).description
    assert description.task == "classification"
    assert description.classes == ("dense", "sparse")
    assert description.channels == ("red", "green", "blue")
    assert (description.tile, description.divisor, description.halo) == (64, 1, 0)
    assert description.architecture == "mobilenetv3"
    assert description.normalisation.kind == "range"
    assert description.parity["openvino/fp32"]["images"] == 4
    assert description.parity["openvino/fp32"]["images_of"] == "val"
    assert "balanced_accuracy" in str(description.training)
    assert description.lineage.recipe == "rckd"
    words = "--out", tmp_path / "found", "--precision", "fp32"
    assert abbe("predict", out, tiles / "classes" / "test", *words) == 0
    with open(tmp_path / "found" / "classes.csv", encoding="utf-8", newline="") as file:
        found = {row["image"]: row for row in csv.DictReader(file)}
    assert len(found) == 6
    # The package's accuracy is that of the run's own scores on the same test images.
    right = np.mean([name.split("/")[0] == row["class"] for name, row in found.items()])
    summary = json.loads((classifier / "summary.json").read_text())
    known = summary["calibration"]["student"]["classes"]
    assert known["images"] == 4
    assert description.temperature == (known["temperature"],)
    assert "Probabilities" in (classifier / "report.html").read_text("utf-8")
    assert right == pytest.approx(summary["models"]["student"]["metrics"]["accuracy"]["mean"])


def test_a_linear_probe_becomes_one_too(tiles, tmp_path):
    words = "--fine-tuning.trains", "linear", "--out", tmp_path / "probe"
    assert abbe("distill", "rckd", *TINY, "--data.path", tiles / "classes", *words) == 0
    out = tmp_path / "package"
    assert abbe("export", tmp_path / "probe", "--out", out, "--int8", "none", *WIDE) == 0
    description = read_package(out).description
    assert description.architecture == "mobilenetv3, linear probe"
    probe, _ = students.load_classifier(read_package(out).file("weights"))
    assert isinstance(probe, students.LinearProbe)


def test_a_student_of_regions_becomes_a_package(regions, tiles, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "glands"
    assert abbe("export", regions, "--out", out, "--tile", 160, *WIDE) == 0
    description = read_package(out).description
    assert description.task == "regions"
    assert description.classes == ("background", "foreground")
    assert (description.tile, description.halo, description.context) == (160, 0, 64)
    assert len(description.temperature) == 1
    assert description.parity["openvino/fp32"]["measured_against"] == "eager"
    assert description.instances.rule == "components"
    image = tiles / "regions" / "images" / "t4.png"
    found = package_of_abbe.predict(out, image, precision="fp32")
    student, _ = students.load(regions / "student.safetensors")
    assert description.normalisation.kind == "range"  # stained tissue is a picture
    pixels = open_image(image).read().astype(np.float32) / 255
    expected = students.predict(student, pixels, logits=True).argmax(0)
    assert np.mean(found == expected) > 0.999
    assert abbe("bench", out, "--side", 96, "--repeats", 1, "--no-cold", "--compare") == 0


def test_an_option_that_is_not_for_classes_is_refused(classifier, tmp_path, capsys):
    for words, complaint in (
        (["--bioimageio", tmp_path / "a.zip"], "written for students that find objects"),
        (["--halo", 32], "for students that find objects"),
        (["--context", 32], "tiles that are classified have none"),
    ):
        assert abbe("export", classifier, "--out", tmp_path / "x", *words) == 1
        assert complaint in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "x").exists()


def test_a_run_is_scored_on_another_set_by_its_own_metrics(classifier, regions, tiles, tmp_path):
    shutil.copytree(tiles / "classes" / "test", tmp_path / "elsewhere")
    words = "--data.kind", "classes", "--data.path", tmp_path / "elsewhere", "--name", "there"
    assert abbe("evaluate", classifier, *words) == 0
    summary = json.loads((classifier / "evaluations" / "there" / "summary.json").read_text())
    own = json.loads((classifier / "summary.json").read_text())
    # The same images, so the same scores.
    for metric, value in own["models"]["student"]["metrics"].items():
        assert summary["models"]["student"]["metrics"][metric]["mean"] == value["mean"]
    assert summary["evaluation_of"] == "classes"
    assert (classifier / "evaluations" / "there" / "predictions.parquet").exists()
    for model in summary["models"].values():
        assert sum(map(sum, model["confusion"])) == model["metrics"]["accuracy"]["n"]
    assert (classifier / "evaluations" / "there" / "report.html").exists()
    words = "--data.kind", "folder", "--data.path", tiles / "regions", "--name", "again"
    assert abbe("evaluate", regions, *words) == 0
    summary = json.loads((regions / "evaluations" / "again" / "summary.json").read_text())
    own = json.loads((regions / "summary.json").read_text())
    assert summary["models"]["student"]["metrics"] == own["models"]["student"]["metrics"]
    assert list((regions / "evaluations" / "again" / "examples").glob("*.npz"))


def test_classes_that_the_run_does_not_know_are_named(classifier, tiles, tmp_path, capsys):
    shutil.copytree(tiles / "classes" / "test" / "dense", tmp_path / "set" / "mucous")
    words = "--data.kind", "classes", "--data.path", tmp_path / "set", "--name", "x"
    assert abbe("evaluate", classifier, *words) == 1
    assert "has images of mucous, which the run does not know" in capsys.readouterr().err
    assert abbe("evaluate", classifier, *words, "--distil") == 1
    assert "evaluated as it is" in capsys.readouterr().err
    assert not (classifier / "evaluations" / "x").exists()


def test_tiles_of_another_pixel_size_are_resampled_or_refused(
    classifier, tiles, monkeypatch, capsys
):
    """The networks' files say 0.5 µm here; the tiles had no pixel size when they were trained."""
    load, answer, sides = students.load_any, Classification.predict_together, []

    def load_sized(path: Path) -> tuple[object, dict]:
        network, facts = load(path)
        return network, {**facts, "pixel_size": 0.5}

    def answer_seen(task: Classification, network: nn.Module, images: list[np.ndarray]) -> object:
        sides.extend(image.shape[-2:] for image in images)
        return answer(task, network, images)

    monkeypatch.setattr(students, "load_any", load_sized)
    monkeypatch.setattr(Classification, "predict_together", answer_seen)
    data = "--data.kind", "classes", "--data.path", tiles / "classes" / "test", "--name"
    assert abbe("evaluate", classifier, *data, "same", "--data.pixel-size", "0.5") == 0
    assert set(sides) == {(64, 64)}
    sides.clear()
    assert abbe("evaluate", classifier, *data, "finer", "--data.pixel-size", "0.25") == 0
    assert sides.count((32, 32)) == 6  # the others were timed
    capsys.readouterr()
    assert abbe("evaluate", classifier, *data, "unknown") == 1
    assert "its pixel size is not known, and the network was trained at 0.5 µm. Give it with" in (
        capsys.readouterr().err
    )
    assert not (classifier / "evaluations" / "unknown" / "summary.json").exists()
