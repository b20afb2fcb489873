import numpy as np
import pytest

from abbe.reporting import tables
from abbe.reporting.colours import colours_of
from abbe.reporting.curves import panels_of
from abbe.reporting.facts import data_facts
from abbe.reporting.numbers import (
    bounds_of,
    decimal,
    interval,
    p_value,
    percent,
    quantity,
    significant,
)
from abbe.reporting.pictures import outline_path, picture_of
from abbe.reporting.run_folder import Example
from abbe.reporting.words import equality
from abbe.summary import Data, Evidence, Labels, Model, RunSummary, Score, Teacher
from abbe.tasks.instances import Instances
from abbe.tasks.promptable.task import Promptable


@pytest.mark.parametrize(
    ("found", "wanted"),
    [
        (decimal(-0.0004), "0.000"),
        (decimal(-0.01234), "−0.012"),
        (decimal(0.5, 1, signed=True), "+0.5"),
        (decimal(float("nan")), "–"),
        (decimal(None), "–"),
        (interval(bounds_of([0.1, float("inf")])), ""),
        (interval((-0.1, 0.25), 2), "[−0.10, 0.25]"),
        (quantity(11_173_962), "11.2 M"),
        (quantity(999_999), "1.00 M"),
        (quantity(640), "640"),
        (quantity(None), "–"),
        (significant(0), "0"),
        (significant(3.14159), "3.14"),
        (significant(12345.6), "12\u202f346"),
        (percent(0.9634, 1), "96.3 %"),
        (p_value(0.0), "< 0.001"),
        (p_value(0.0312), "= 0.031"),
        (p_value(None), ""),
    ],
)
def test_numbers_read_as_people_write_them(found: str, wanted: str) -> None:
    assert found == wanted


def test_notes_on_images_stand_among_the_facts_of_the_data() -> None:
    ids = [f"i{number}" for number in range(7)]
    facts = data_facts(Data(name="set", image_notes={"It was turned.": ids, "B.": ["x"]}))
    assert facts[-1].name == "Noted when images were read"
    assert facts[-1].value == (
        "7 images (i0, i1, i2, i3, i4 and 2 more): It was turned, 1 image (x): B"
    )
    of_labels = data_facts(Data(name="set", label_notes={"It was turned.": ["x", "y"]}))[-1]
    assert of_labels == ("Noted when labels were read", "2 labels (x, y): It was turned")
    assert [fact.name for fact in data_facts(Data(name="set", image_notes={}))] == ["Data set"]


def test_each_model_keeps_its_colour() -> None:
    colours = colours_of(["student", "student distilled here", "student elsewhere"])
    assert len(set(colours.values())) == len(colours) == 8
    assert colours["twin"] == colours_of([])["twin"]


def test_stages_follow_each_other_and_a_resumed_step_counts_once() -> None:
    def line(stage: str, step: int, loss: float) -> dict:
        return {"model": "student", "stage": stage, "step": step, "steps": 10, "loss": loss}

    log = [
        line("pretrain", 5, 3.0),
        line("pretrain", 10, 9.0),
        line("pretrain", 10, 2.0),
        line("finetune", 5, 1.0),
        {"model": "student", "stage": "finetune", "step": 6, "validation": {"dice": 0.5}},
        line("finetune", 10, float("nan")),
    ]
    loss, validation = panels_of(log)
    assert loss.title == "Loss"
    assert loss.curves["student"].steps.tolist() == [5, 10, 15]
    assert loss.curves["student"].values.tolist() == [3, 2, 1]
    assert validation.title == "Validation: dice"
    assert validation.curves["student"].steps.tolist() == [16]


def test_long_curves_are_thinned_by_means() -> None:
    log = [{"model": "twin", "step": step, "loss": float(step % 2)} for step in range(3000)]
    curve = panels_of(log)[0].curves["twin"]
    assert len(curve.steps) == 300
    assert np.allclose(curve.values, 0.5)


def test_outline_runs_along_the_pixels_edges() -> None:
    labels = np.zeros((5, 6), np.int64)
    labels[1:3, 1:4] = 7
    assert sorted(outline_path(labels).split("M")[1:]) == ["1 1h3", "1 1v2", "1 3h3", "4 1v2"]
    labels[1:3, 4:6] = 9  # touches the first, and the image's edge
    assert sorted(outline_path(labels).split("M")[1:]) == ["1 1h5", "1 1v2", "1 3h5", "4 1v2"]
    assert outline_path(np.zeros((3, 3), np.int64)) == ""


def test_large_image_is_shown_where_the_truth_is() -> None:
    truth = np.zeros((700, 500), np.int32)
    truth[600:640, 20:60] = 3
    image = np.zeros((700, 500, 3), np.uint8)
    image[600:640, 20:60] = 255
    unknown = np.where(truth > 0, -1, 0).astype(np.int32)
    example = Example(0, "worst", "a", image, {"truth": truth, "student": unknown})
    picture = picture_of(example, ["teacher", "student"], {"student": {"a": 0.25}})
    assert (picture.width, picture.height, picture.window_of) == (320, 320, (700, 500))
    assert [panel.name for panel in picture.panels] == ["truth", "student"]
    assert picture.panels[0].objects == 1
    assert picture.panels[0].path.count("h40") == picture.panels[0].path.count("v40") == 2
    assert picture.panels[1].objects == 0
    assert picture.panels[1].unknown
    assert picture.panels[1].score == 0.25


def test_metrics_of_prompts_are_known_by_direction_family_and_unit():
    summary = RunSummary(evidence=Evidence(seeds=[0, 1]))
    closer = Score(mean=0.07, ci95=(0.05, 0.1))
    assert tables.verdict_of(summary, "dice_1_point", closer) == "better"
    further = Score(mean=1.5, ci95=(1.0, 2.0))
    assert tables.verdict_of(summary, "hd95_3_points", further) == "worse"
    assert tables.verdict_of(summary, "type_pq", closer) == "better"
    assert tables.family("type_pq") == "Types"
    assert tables.family("dice_1_point") == "Asked by one point"
    assert (tables.family("dice"), tables.family("f1@0.5")) == ("Pixels", "Instances")
    assert tables.is_fraction("iou_3_points")
    assert not tables.is_fraction("hd95_1_point")


def test_a_teacher_that_abbe_has_trained_says_on_how_many_labels():
    note = "trained by Abbe on 20 labelled images of us, with adapters (LoRA), from mobile_sam"
    summary = RunSummary(
        teacher=Teacher(notes=["three channels of one", note]), models={"teacher": Model()}
    )
    assert tables.labels_in_words(summary, "teacher") == "its own"
    assert tables.abouts(summary) == [("teacher", note)]
    summary.models["teacher"].labels = Labels(choosing=4)
    assert tables.labels_in_words(summary, "teacher") == "its own + 4 for choosing"
    assert summary.teacher is not None
    summary.teacher.notes.remove(note)
    assert tables.labels_in_words(summary, "teacher") == "4 for choosing"
    assert not tables.abouts(summary)


def test_what_promptable_networks_score_on_validation_is_said():
    evidence = Evidence(differs={"twin": "no teacher"})
    told = [
        equality(RunSummary(validation_score=task.validation_score, evidence=evidence))
        for task in (Promptable, Instances)
    ]
    assert "the score is the mean of Dice by box and by one point" in told[0]
    assert "the score is" not in told[1]
