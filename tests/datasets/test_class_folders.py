"""Any folder of classes: its splits and groups, and classes that cannot be learned."""

import re
from pathlib import Path

import pytest
from pictures_of_sets import RGB, picture

from abbe.datasets import Dataset, Record, class_folder, class_numbers, require_classes
from abbe.errors import InputError


def classes_at(root: Path, **counts: int) -> Path:
    for name, count in counts.items():
        for number in range(count):
            picture(root / name / f"{name}-{number}.png")
    return root


def test_any_folder_of_classes(tmp_path):
    dataset = class_folder(classes_at(tmp_path, benign=2, malignant=3), pixel_size=0.5)
    assert dataset.classes == ("benign", "malignant")
    assert dataset["benign/benign-0"].columns["class"] == "benign"
    assert list(class_numbers(dataset).values()) == [0, 0, 1, 1, 1]
    require_classes(dataset)
    with pytest.raises(InputError, match="class 'malignant', which is not in the list"):
        class_folder(tmp_path, classes=("benign", "other"))
    with pytest.raises(InputError, match="holds no images in folders of classes"):
        class_folder(tmp_path / "benign")


def test_a_folder_of_classes_may_have_splits(tmp_path):
    for split in ("train", "test"):
        classes_at(tmp_path / split, a=1, b=2)
    dataset = class_folder(tmp_path)
    assert {r.split for r in dataset} == {"train", "test"}
    assert "test/b/b-1" in dataset
    with pytest.raises(InputError, match=r"2 training images of each class.*fewer of a \(1\)"):
        require_classes(dataset)


def test_groups_of_a_folder_of_classes_stand_in_a_table_or_in_the_names(tmp_path):
    for split in ("train", "test"):
        classes_at(tmp_path / split, a=2, b=1)
    rows = ["image,group", "train/a/a-0.png,p1", "train/a/a-1.png,p2", "train/b/b-0,p2"]
    (tmp_path / "index.csv").write_text("\n".join(rows))
    dataset = class_folder(tmp_path)
    groups = {record.id: record.group for record in dataset}
    assert groups["train/a/a-0"] == "p1"
    assert groups["train/a/a-1"] == groups["train/b/b-0"] == "p2"
    assert groups["test/a/a-0"] is None
    assert dataset.problems == (
        "index.csv: 3 images without a row: test/a/a-0, test/a/a-1, test/b/b-0",
    )
    named = class_folder(tmp_path, group=r"(\w)-\d")
    assert {record.group for record in named} == {"a", "b"}
    for pattern, words in (
        (r"(\d\d)", "is not found in the file's name 'a-0.png'"),
        (r"(a)-(\d)", "has 2 pairs of brackets"),
        (r"(a", "is no regular expression"),
    ):
        with pytest.raises(InputError, match=re.escape(words)):
            class_folder(tmp_path, group=pattern)


def test_file_names_that_are_not_alike_are_enough_for_a_table(tmp_path):
    classes_at(tmp_path, a=1, b=1)
    (tmp_path / "index.csv").write_text("name,patient,split\na-0.png,7,train\nb-0.png,8,test\n")
    dataset = class_folder(tmp_path, group="patient")
    assert [(record.group, record.split) for record in dataset] == [("7", "train"), ("8", "test")]


def test_one_class_a_class_with_one_sample_and_none_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"one class only \(a\)"):
        require_classes(class_folder(classes_at(tmp_path / "one", a=3)))
    with pytest.raises(InputError, match=r"2 images of each class.*fewer of b \(1\)"):
        require_classes(class_folder(classes_at(tmp_path / "few", a=3, b=1)))
    with pytest.raises(InputError, match="has no classes"):
        require_classes(Dataset("plain", (), RGB))


def test_validation_images_of_one_class_cannot_choose_weights(tmp_path):
    for split, counts in (("train", {"a": 2, "b": 2}), ("val", {"a": 3}), ("test", {"b": 1})):
        classes_at(tmp_path / split, **counts)
    with pytest.raises(InputError, match=r"validation images of one class only \(a\)"):
        require_classes(class_folder(tmp_path))


def test_a_patient_in_two_splits_is_refused(tmp_path):
    image = class_folder(classes_at(tmp_path, a=1)).records[0].image
    records = tuple(
        Record(f"{label}{split}", image, None, split, "patient-1", {"class": label})
        for split in ("train", "test")
        for label in "ab"
    )
    with pytest.raises(InputError, match="group 'patient-1' is in train and test"):
        require_classes(Dataset("leak", records, RGB, classes=("a", "b")), minimum=1)
