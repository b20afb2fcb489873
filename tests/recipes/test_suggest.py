"""What to label next: where the models differ, and unlike what is known."""

import csv
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from commands import abbe, tissue

import abbe as package_of_abbe
from abbe.errors import ConfigError, InputError
from abbe.imaging import open_image
from abbe.suggesting import suggest as room
from abbe.suggesting.suggest import choose, disagreement
from abbe.targets import TargetStore as open_store
from abbe.tasks.maps import Maps


def maps(*rows: Sequence[float], edges: Sequence[float] | None = None) -> Maps:
    return Maps(np.array(rows), None if edges is None else np.array([edges]))


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        (maps([0, 0, 0]), maps([0, 0, 0]), 0),
        (maps([1, 0, 0.5]), maps([1, 0, 0.5]), 0),
        (maps([1, 0, 0]), maps([0, 1, 0]), 1),
        (maps([1, 1, 0, 0]), maps([0, 1, 1, 0]), 2 / 3),  # 1 − IoU of masks
        (maps([1, 1, 0] + 97 * [0]), maps([0, 1, 1] + 97 * [0]), 2 / 3),  # more background
        (maps([0.5]), maps([1]), 0.5),
        (maps([1] + 99 * [0.1]), maps([1] + 99 * [0.3]), 0),  # what neither takes for an object
        (maps([0.4, 1]), maps([0.6, 1]), 0.2 / 1.6),
        (maps([1, 0], edges=[0, 1]), maps([1, 0], edges=[1, 0]), 0.5),  # boundaries count as much
        (maps([1, 0], edges=[0, 1]), maps([1, 0]), 0),  # …where both have them
    ],
)
def test_disagreement_is_a_soft_jaccard_distance(first, second, expected):
    assert disagreement(first, second) == pytest.approx(expected)
    assert disagreement(second, first) == pytest.approx(expected)


def test_images_alike_are_not_chosen_together():
    """Two heaps: the second choice is the best of the other heap."""
    features = np.array([[0.0, 0], [0.01, 0], [0.02, 0], [5, 0], [5.01, 0]])
    order, distances = choose(np.array([0.9, 0.89, 0.88, 0.3, 0.2]), features, 3)
    assert order[:2] == [0, 3]
    assert distances[0] == 0
    assert distances[1] > 1 > distances[2]


def test_what_is_like_labelled_images_comes_late():
    unlabelled = np.array([[0.0, 1], [4, 1], [8, 1]])
    labelled = np.array([[0.1, 1]])
    order, _ = choose(np.array([0.5, 0.4, 0.4]), np.concatenate([unlabelled, labelled]), 3)
    assert order == [2, 1, 0]


@pytest.mark.parametrize("count", [1, 3, 9])
def test_each_image_is_chosen_once_and_no_more_than_there_are(count):
    features = np.random.default_rng(0).random((3, 4))
    order, _ = choose(np.array([0.0, 0.2, 0.1]), features, count)
    assert sorted(order) == sorted(set(order))
    assert len(order) == min(count, 3)
    assert order[0] == 1


def test_images_that_are_all_alike_go_by_disagreement():
    order, distances = choose(np.array([0.1, 0.3, 0.2]), np.ones((4, 2)), 3)
    assert len(order) == 3
    assert distances == [0, 0, 0]


# -------------------------------------------------------------------------------------- on a run


@pytest.mark.slow
def test_a_run_names_its_unlabelled_training_images(run, tmp_path, capsys):
    out = tmp_path / "next"
    assert abbe("suggest", run.folder, "--count", 5, "--out", out) == 0
    said = capsys.readouterr().out
    assert "2 of 2 unlabelled images, chosen by how much" in said
    assert "the teacher and the student differ on them" in said
    with open(out / "suggestions.csv", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["rank"] for row in rows] == ["1", "2"]
    train = tissue().split("train")
    assert {row["image"] for row in rows} == set(train.unlabelled.ids)
    assert all(0 < float(row["disagreement"]) <= 1 for row in rows)
    assert open_image(out / "suggestions.png").shape[0] > 200

    found = package_of_abbe.suggest(run, count=1, out=out, progress=False)
    assert [each.image for each in found.chosen] == [rows[0]["image"]]
    assert found.chosen[0].disagreement == pytest.approx(float(rows[0]["disagreement"]), abs=1e-3)


@pytest.mark.slow
def test_disagreement_is_what_teacher_and_student_say(run, tmp_path, monkeypatch):
    """A student that says what the teacher says leaves nothing to ask."""
    monkeypatch.setattr(
        room._Committee, "predictions", lambda self, record: dict.fromkeys("ab", maps([1.0, 0.0]))
    )
    monkeypatch.setattr(
        room._Committee, "drawn", lambda self, record: (1, np.zeros((4, 4, 3), np.uint8))
    )
    found = package_of_abbe.suggest(run, out=tmp_path, progress=False)
    assert [each.disagreement for each in found.chosen] == [0, 0]


@pytest.mark.slow
def test_what_cannot_be_compared_is_said(run, teacher_run, tmp_path, capsys):
    assert abbe("suggest", teacher_run) == 1
    assert "has no unlabelled training image" in capsys.readouterr().err
    assert abbe("suggest", run.folder, "--channels", "nucleus") == 1
    assert "--channels names those of --data" in capsys.readouterr().err
    bare = package_of_abbe.datasets.simulated_tissue(4, size=64, seed=9)
    bare = bare.having(record.without_labels() for record in bare)
    taught = open_store(run.folder / "targets.zarr").ids
    namesakes = bare.having(
        replace(record, id=id) for record, id in zip(bare, taught, strict=False)
    )  # other images by the names of those that were taught
    with pytest.raises(ConfigError, match="no answer but the student's"):
        package_of_abbe.suggest(run, data=namesakes, out=tmp_path, progress=False)
    with pytest.raises(InputError, match="no unlabelled image: name others with --data"):
        package_of_abbe.suggest(run, data=bare.having([]), out=tmp_path, progress=False)
    with pytest.raises(ConfigError, match="no answer but the student's"):
        package_of_abbe.suggest(run, data=bare, out=tmp_path, progress=False)
    with pytest.raises(ConfigError, match="--count 0: at least 1 is needed"):
        package_of_abbe.suggest(run, count=0)
    with pytest.raises(InputError, match="finished run"):
        package_of_abbe.suggest(tmp_path / "nothing")
