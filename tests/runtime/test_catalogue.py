"""What a package tells of itself."""

import json
from pathlib import Path

from made_packages import make_class_package, make_package

from abbe.runtime.package import DESCRIPTION, read_package
from abbe.runtime.package.catalogue import Score, entry_of


def with_training(folder: Path, training: object) -> Path:
    path = folder / DESCRIPTION
    path.write_text(json.dumps(json.loads(path.read_text()) | {"training": training}))
    return folder


def told(folder: Path):
    return entry_of(read_package(folder), "a name", "folder")


def test_scores_stand_with_their_intervals_and_images(tmp_path):
    metrics = {
        "dice": {"mean": 0.926, "ci95": [0.914, 0.937]},
        "f1@0.5": {"mean": 0.864, "ci95": [None, None]},
        "pq": {"mean": None},
        "hd95": {"mean": 3.0},
    }
    training = {"data": {"test": 81}, "models": {"student": {"metrics": metrics}}}
    folder = with_training(make_package(tmp_path / "p", object_diameter=19.8), training)
    entry = told(folder)
    assert entry.scores == {"dice": Score(0.926, 0.914, 0.937), "f1@0.5": Score(0.864)}
    text = str(entry)
    assert "Dice 0.926 [0.914, 0.937], F1 at IoU 0.5 0.864 on 81 test images" in text
    assert "images as they are; trained on objects of about 19.8 px across" in text
    assert entry.to_json()["scores"]["dice"] == {"mean": 0.926, "low": 0.914, "high": 0.937}


def test_a_package_without_figures_or_with_strange_ones_is_listed_too(tmp_path):
    for place, training in enumerate(({}, {"models": 3}, {"models": {"student": {"metrics": []}}})):
        folder = with_training(make_package(tmp_path / str(place)), training)
        assert told(folder).scores == {}
        assert "scores" not in str(told(folder))


def test_a_package_that_holds_a_baseline_tells_the_baselines_scores(tmp_path):
    models = {
        name: {"metrics": {"dice": {"mean": mean}}}
        for name, mean in (("student", 0.9), ("twin", 0.7))
    }
    folder = with_training(make_package(tmp_path / "p"), {"network": "twin", "models": models})
    assert told(folder).scores == {"dice": Score(0.7)}


def test_other_tasks_say_what_they_give(tmp_path):
    entry = told(make_class_package(tmp_path / "c"))
    assert "a class for each image (mostly dark, mostly bright)" in str(entry)
