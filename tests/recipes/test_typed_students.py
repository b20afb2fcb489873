"""Students that tell types of objects apart: labels, terms, targets, runs, scores and report."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from commands import TINY, abbe

from abbe import losses
from abbe.datasets import check, folder
from abbe.datasets.training.batches import Batches
from abbe.datasets.training.prepare import prepare
from abbe.errors import InputError
from abbe.object_types import type_maps
from abbe.recipes.cmkd import cmkd
from abbe.recipes.terms import probability_term, type_term
from abbe.runs.folder import open_run
from abbe.students import load
from abbe.teachers.masks import masks
from abbe.teachers.type_tables import TypeTables
from abbe.training.stage import Schedule

CLASSES = ("tumour", "immune cell", "other")
NAMES = ("tumour", "immune cell")
OUTPUTS = ("foreground", "boundary", *type_maps(NAMES))
SPLITS = ["train"] * 4 + ["val"] * 2 + ["test"] * 2


@pytest.fixture(scope="module")
def typed(tmp_path_factory) -> Path:
    """Eight grey images of squares; bright ones are tumour, the others immune cells."""
    root = tmp_path_factory.mktemp("typed")
    random = np.random.default_rng(1)
    for name in ("images", "labels", "types", "tables"):
        (root / name).mkdir()
    index = ["id,split"]
    for number, split in enumerate(SPLITS):
        pixels = random.integers(0, 20, (64, 64)).astype(np.uint8)
        label, types = np.zeros((64, 64), np.uint8), np.zeros((64, 64), np.uint8)
        rows = ["label,class"]
        places = [(top, left) for top in (3, 19, 35, 51) for left in (3, 19, 35, 51)]
        for object_, (top, left) in enumerate(places, start=1):
            kind = int(random.integers(1, 3))
            square = np.s_[top : top + 9, left : left + 9]
            pixels[square], label[square], types[square] = (220, 110)[kind - 1], object_, kind
            rows.append(f"{object_},{CLASSES[kind - 1]}")
        index.append(f"i{number},{split}")
        for name, array in (("images", pixels), ("labels", label), ("types", types)):
            tifffile.imwrite(root / name / f"i{number}.tif", array)
        (root / "tables" / f"i{number}.csv").write_text("\n".join(rows) + "\n")
    (root / "index.csv").write_text("\n".join(index) + "\n")
    return root


def dataset_of(root: Path, types: str = "types"):
    return folder(root, channels=["nucleus"], types=types, classes=CLASSES)


def words_of(root: Path, *more: object) -> list:
    return [
        "--data.kind", "folder", "--data.path", root, "--data.channels", "nucleus",
        "--data.types", "types", "--data.classes", *CLASSES, *TINY, *more,
    ]  # fmt: skip


def test_types_are_cut_and_turned_with_the_labels(typed):
    images = prepare(dataset_of(typed), ["nucleus"], types=NAMES, classes=CLASSES)
    batches = Batches(
        images, input_channels=["nucleus"], batch_size=4, crop=48, seed=3, scale=(0.8, 1.2)
    )
    for step in range(4):
        batch = batches[step]
        known = batch["valid"]
        assert batch["types"].dtype == torch.int64
        torch.testing.assert_close((batch["types"] > 0)[known], (batch["label"] > 0)[known])
        bright = batch["image"][:, 0] > 0.7
        assert ((batch["types"] == 1) & bright).sum() > 0.8 * (batch["types"] == 1).sum()


def test_types_that_are_not_asked_for_are_unknown(typed):
    first = prepare(dataset_of(typed), ["nucleus"], types=["immune cell"], classes=CLASSES)[0]
    whole = prepare(dataset_of(typed), ["nucleus"], types=NAMES, classes=CLASSES)[0]
    assert first.types is not None
    assert whole.types is not None
    np.testing.assert_array_equal(first.types == 1, whole.types == 2)
    assert prepare(dataset_of(typed), ["nucleus"])[0].types is None


def test_the_type_term_looks_at_objects_of_a_known_type_alone():
    types = torch.zeros(1, 8, 8, dtype=torch.int64)
    types[0, :4, :4], types[0, 4:, 4:] = 1, 2
    batch = {"types": types, "valid": torch.ones(1, 8, 8, dtype=torch.bool)}
    term = type_term(OUTPUTS)
    logits = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(0))
    value = term.loss(logits, batch)
    known = types > 0
    expected = torch.stack([
        losses.supervised(logits[:, 2 + k], (types == k + 1).float(), known) for k in range(2)
    ]).mean()  # fmt: skip
    torch.testing.assert_close(value, expected)
    elsewhere = torch.where(known[:, None], logits, logits + 7)
    elsewhere[:, :2] = 100
    torch.testing.assert_close(term.loss(elsewhere, batch), value)
    assert term.loss(logits, batch | {"types": types * 0}) is None


def test_a_teachers_types_count_where_it_sees_objects():
    target = torch.rand(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    target[:, 0] = 0
    target[:, 0, :4] = 1
    batch = {
        "target": target, "valid": torch.ones(1, 8, 8, dtype=torch.bool),
        "has_target": torch.ones(1, dtype=torch.bool),
    }  # fmt: skip
    term = probability_term(OUTPUTS, OUTPUTS, losses.PROBABILITY_LOSSES["mse"])
    logits = torch.zeros(1, 4, 8, 8)
    value = term.loss(logits, batch)
    changed = target.clone()
    changed[:, 2:, 4:] = 1 - changed[:, 2:, 4:]
    torch.testing.assert_close(term.loss(logits, batch | {"target": changed}), value)
    changed[:, 2:, :4] = 1 - changed[:, 2:, :4] ** 2
    other = term.loss(logits, batch | {"target": changed})
    assert value is not None
    assert other is not None
    assert not torch.isclose(other, value)


def test_stages_learn_types_and_the_twin_does_too():
    stages = cmkd(
        torch.nn.Conv2d(1, 4, 1), [], Schedule(steps=1, learning_rate=0.1),  # type: ignore[arg-type]
        outputs=OUTPUTS, target_outputs=("foreground", "boundary"),
    )  # fmt: skip
    names = [term.name for term in stages[0].terms]
    assert names == ["supervised", "types", "probability", "boundary", "target_boundary"]
    assert [term.name for term in stages[0].terms if not term.distils] == [
        "supervised", "types", "boundary",
    ]  # fmt: skip


def test_masks_with_a_table_of_types_give_maps(typed):
    record = dataset_of(typed)["i0"]
    teacher = masks(
        typed / "labels", ["nucleus"], types=typed / "tables", classes="tumour, immune cell"
    )
    assert teacher.provenance.outputs == OUTPUTS
    maps = teacher.predict(record.image.open(), "i0").maps["probability"]
    assert record.label is not None
    assert record.types is not None
    labels = torch.from_numpy(record.label.read())[None]
    np.testing.assert_array_equal(maps[0], losses.foreground_of(labels)[0])
    np.testing.assert_array_equal(maps[1], losses.boundary_of(labels)[0])
    np.testing.assert_array_equal(maps[2], record.types.read() == 1)
    np.testing.assert_array_equal(maps[3], record.types.read() == 2)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (None, "the table of types of i0.tif is missing"),
        ("label,class\n1,tumour\n", r"says nothing of object 2 of i0.tif \(15 are missing\)"),
        ("label,class\n99,tumour\n", "line 2: '99' in the column label is no object"),
        ("label,class\n1,tumor\n", "line 2: 'tumor' in the column class is none of tumour"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(typed, tmp_path, rows, message):
    if rows is not None:
        (tmp_path / "i0.csv").write_text(rows)
    teacher = masks(typed / "labels", ["nucleus"], types=tmp_path, classes=NAMES)
    with pytest.raises(InputError, match=message):
        teacher.predict(dataset_of(typed)["i0"].image.open(), "i0")


def test_unknown_pixels_make_no_boundary_beside_a_table_either(tmp_path):
    (tmp_path / "i0.csv").write_text("label,class\n1,tumour\n")
    labels = np.zeros((8, 8), np.int32)
    labels[2:6, 2:], labels[:, 6:] = 1, -1
    maps = TypeTables(tmp_path, ("tumour",)).maps("i0", labels, tmp_path / "i0.tif")
    np.testing.assert_array_equal(maps[1], losses.boundary_of(torch.from_numpy(labels)[None])[0])


def test_a_run_from_typed_masks_to_the_report(typed, tmp_path, capsys):
    out = tmp_path / "run"
    words = words_of(
        typed, "--student.types", *NAMES, "--teacher.kind", "masks", "--teacher.path",
        typed / "labels", "--teacher.input-channels", "nucleus", "--teacher.options",
        "types", typed / "tables", "classes", ",".join(NAMES), "--baselines", "twin",
        "--seeds", "1", "--data.labelled", "2", "--training.steps", "40",
    )  # fmt: skip
    assert abbe("distill", "cmkd", *words, "--out", out) == 0, capsys.readouterr().err
    run = open_run(out)
    assert load(run.student)[0].outputs == OUTPUTS
    models = run.summary.models
    for name in ("student", "twin", "teacher"):
        assert set(models[name].metrics) >= {"type_pq", "type_f1", "type_accuracy"}
        assert list(models[name].types) == list(NAMES)
    assert models["teacher"].metrics["type_pq"].mean == 1
    assert (models["student"].metrics["type_accuracy"].mean or 0) > 0.9
    confusion = np.array(models["teacher"].type_confusion)
    assert confusion.sum() == np.trace(confusion) == 32
    assert run.summary.task_title == "instance segmentation with types"
    page = (out / "report.html").read_text("utf-8")
    assert "Which types are mixed up" in page
    assert "Panoptic quality by type, mean over types" in page


@pytest.mark.parametrize("classes", ["Tumour,Immune", "tumour,Immune"])
def test_a_teacher_whose_types_are_called_otherwise_is_told(typed, tmp_path, capsys, classes):
    """The tables have neither name, so that no image is answered and nothing is trained."""
    words = words_of(
        typed, "--student.types", *NAMES, "--teacher.kind", "masks", "--teacher.path",
        typed / "labels", "--teacher.input-channels", "nucleus", "--teacher.options",
        "types", typed / "tables", "classes", classes,
    )  # fmt: skip
    assert abbe("distill", "cmkd", *words, "--out", tmp_path / "run") == 1
    warned = "warning: the teacher tells the types Tumour, Immune and the student is to tell tumour"
    assert (warned in capsys.readouterr().out) == (classes == "Tumour,Immune")


def test_a_supervised_run_tells_all_types_of_a_set(typed, tmp_path, capsys):
    """The third class has one object: a line says so, and nothing is made up for it."""
    root = tmp_path / "data"
    shutil.copytree(typed, root)
    label, types = (tifffile.imread(root / name / "i0.tif") for name in ("labels", "types"))
    types[label == 7] = 3
    tifffile.imwrite(root / "types" / "i0.tif", types)
    words = words_of(root, "--student.types", "auto")
    assert abbe("distill", "supervised", *words, "--out", tmp_path / "run") == 0
    assert "note: type 'other': 1 of the 64 training objects" in capsys.readouterr().out
    run = open_run(tmp_path / "run")
    config = json.loads(json.dumps((tmp_path / "run" / "config.yaml").read_text()))
    assert "immune cell" in config
    assert run.summary.models["student"].types["other"].f1 is None


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--student.types", "tumour", "stroma"], "student.types stroma: the classes of data set"),
        (["--student.types", "tumour"], "student.types tumour: there is nothing to tell apart"),
        (["--student.types", "tumour", "tumour"], "types: a name stands twice"),
    ],
)
def test_types_that_cannot_be_are_refused(typed, tmp_path, capsys, words, message):
    assert abbe("distill", "supervised", *words_of(typed, *words), "--out", tmp_path / "run") == 1
    assert message in capsys.readouterr().err


def test_a_set_without_types_says_how_to_name_them(typed, tmp_path, capsys):
    words = [*words_of(typed), "--student.types", "auto"]
    place = words.index("--data.types")
    del words[place : place + 2]
    assert abbe("distill", "supervised", *words, "--out", tmp_path / "run") == 1
    assert "Name the folder of their types (data.types)" in capsys.readouterr().err


def test_types_that_lie_beside_the_objects_are_refused(typed, tmp_path, capsys):
    root = tmp_path / "data"
    shutil.copytree(typed, root)
    label = tifffile.imread(root / "labels" / "i0.tif")
    tifffile.imwrite(root / "types" / "i0.tif", (label == 0).astype(np.uint8))
    words = words_of(root, "--student.types", "auto")
    assert abbe("distill", "supervised", *words, "--out", tmp_path / "run") == 1
    assert "i0: none of its objects has a type" in capsys.readouterr().err
    tifffile.imwrite(root / "types" / "i1.tif", np.zeros_like(label))
    told = {each.what: each for each in check(dataset_of(root)).problems}
    assert told["types name no object"].severity == "error"
    assert [id for id, _ in told["types name no object"].where] == ["i0"]
    assert [id for id, _ in told["objects have no type"].where] == ["i1"]


def test_types_of_no_labelled_object_are_refused(typed, tmp_path, capsys):
    words = words_of(typed, "--student.types", "immune cell", "other")
    root = tmp_path / "data"
    shutil.copytree(typed, root)
    for path in (root / "types").iterdir():
        tifffile.imwrite(path, np.minimum(tifffile.imread(path), 1))
    words[words.index("--data.path") + 1] = root
    assert abbe("distill", "supervised", *words, "--out", tmp_path / "run") == 1
    assert "has one of the types immune cell, other" in capsys.readouterr().err


def test_a_package_of_a_run_names_types(typed, tmp_path):
    run = tmp_path / "run"
    words = words_of(typed, "--student.types", *NAMES)
    assert abbe("distill", "supervised", *words, "--out", run) == 0
    package = tmp_path / "package"
    assert abbe("export", run, "--out", package, "--int8", "none") == 0
    told = json.loads((package / "package.json").read_text("utf-8"))
    assert told["outputs"] == list(OUTPUTS)
    assert told["classes"] == list(NAMES)
    words = "--results", "table", "geojson", "--out", tmp_path / "out"
    assert abbe("predict", package, typed / "images", *words) == 0
    with open(tmp_path / "out" / "i0.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert all(row["class"] in NAMES for row in rows)
