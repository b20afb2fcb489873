"""A score without an object in the report's example pictures is explained where it happens."""

from pathlib import Path

import numpy as np
import pytest
from made_run import make_run

from abbe.reporting.pictures import picture_of
from abbe.reporting.run_folder import Example
from abbe.reporting.write import write_report
from abbe.runtime.postprocess.instances import instances_from_maps
from abbe.summary import Thresholds

SIDE = 400
"""Wider than the window of a picture."""
CUT = Thresholds(mask=0.25, foreground=0.5, boundary=0.5, chosen_on="validation")


def example(**labels: np.ndarray) -> Example:
    image = np.zeros((SIDE, SIDE, 3), np.uint8)
    truth = np.zeros((SIDE, SIDE), np.int32)
    truth[10:60, 10:60] = 1
    return Example(0, "worst", "a", image, {"truth": truth, **labels})


def notes(found: Example, score: float = 0.619, **cuts: Thresholds) -> tuple[str, ...]:
    scores = {name: {"a": score} for name in found.labels if name != "truth"}
    return picture_of(found, [*scores], scores, (), cuts or {"student": CUT}, "Dice").notes


def test_pixels_below_the_threshold_of_objects() -> None:
    shy = np.full((SIDE, SIDE), 0.3, np.float32)
    objects = instances_from_maps(shy, shy, threshold=CUT.foreground)
    assert notes(example(student=objects)) == (
        "student: no object was kept, but Dice counts every pixel with a foreground of 0.25 or "
        "more, whereas an object takes enough of 0.5 or more.",
    )


def test_a_teacher_may_have_objects_of_its_own() -> None:
    none = np.zeros((SIDE, SIDE), np.int32)
    (note,) = notes(example(teacher=none), teacher=CUT)
    assert note.endswith("counts every pixel with a foreground of 0.25 or more.")


def test_objects_beside_the_part_that_is_shown() -> None:
    elsewhere = np.zeros((SIDE, SIDE), np.int32)
    elsewhere[390:, 390:] = 1
    (note,) = notes(example(student=elsewhere))
    assert note == "student: its objects lie outside this part of the image."


@pytest.mark.parametrize("why", ["objects", "no score", "no truth", "no thresholds"])
def test_nothing_is_said_where_there_is_nothing_to_explain(why: str) -> None:
    drawn = example(student=np.zeros((SIDE, SIDE), np.int32))
    if why == "objects":
        drawn.labels["student"][20:40, 20:40] = 1
    if why == "no truth":
        drawn.labels["truth"][:] = 0
    cuts = {"student": CUT} if why != "no thresholds" else {"twin": CUT}
    assert notes(drawn, 0.0 if why == "no score" else 0.619, **cuts) == ()


def test_the_report_says_it_below_the_picture(tmp_path: Path) -> None:
    cuts = {"student": CUT.model_dump()}
    run = make_run(tmp_path / "run", images=6, examples=1, steps=2, thresholds=cuts)
    assert "no object was kept" not in write_report(run).read_text("utf-8")
    for file in (run / "examples").iterdir():
        arrays = dict(np.load(file))
        arrays["student"][:] = 0
        np.savez(file, **arrays)
    assert '<p class="note">student: no object was kept' in write_report(run).read_text("utf-8")
