"""Where a model's thresholds come from: validation, training, earlier ones, or nowhere."""

from dataclasses import replace

import numpy as np
from made_answers import Answer, Label, scored, tissue

from abbe import datasets
from abbe.datasets import Dataset, Record
from abbe.summary import Thresholds
from abbe.tasks.each import Here
from abbe.tasks.instances import score, thresholds_of
from abbe.tasks.maps import Maps, choose_thresholds, threshold_records


def test_thresholds_of_before_are_kept():
    before = Thresholds(mask=0.9, chosen_on="validation")
    half = Answer(np.where(Label().read() > 0, 0.7, 0.1))
    given = thresholds_of({"a": {1: half}}, tissue(), {"a": {1: before}})
    assert given["a"] == {1: before}
    kept = score({"a": {1: half}}, tissue(), given, each=Here(False))
    assert kept.values("a", "dice")["b"] == 0  # nothing reaches 0.9
    assert scored({"a": half}, tissue()).values("a", "dice")["b"] == 1


def test_without_validation_labels_thresholds_come_from_training_images():
    answer = Answer(np.where(Label().read() > 0, 0.3, 0.1))
    assert choose_thresholds(answer, tissue("train test test test")).chosen_on == "training"
    assert 0.1 < choose_thresholds(answer, tissue("train test test test")).mask <= 0.3


def test_without_any_label_to_choose_on_thresholds_are_a_half():
    assert (
        choose_thresholds(Answer(np.ones((20, 30))), tissue("test test test test")) == Thresholds()
    )
    assert Thresholds() == Thresholds(mask=0.5, foreground=0.5, boundary=0.5, chosen_on="default")


def test_a_model_without_an_answer_where_thresholds_are_chosen_keeps_the_defaults():
    half = np.where(Label().read() > 0, 0.3, 0.1)
    assert choose_thresholds(Answer(half, known="abc"), tissue()) == Thresholds()  # d validates
    assert choose_thresholds(Answer(half, known="bd"), tissue()).chosen_on == "validation"


def test_bare_instances_have_nothing_to_choose():
    answer = Answer(Label().read() > 0)
    answer.maps = Maps((Label().read() > 0).astype(np.float32), None, Label().read(), bare=True)
    assert choose_thresholds(answer, tissue()) == Thresholds(chosen_on="objects")


def test_of_instances_beside_maps_the_mask_is_cut_as_any_other_model_s_is():
    half = np.where(Label().read() > 0, 0.3, 0.1).astype(np.float32)
    answer = Answer(half)
    answer.maps = Maps(half, None, np.maximum(Label().read(), 0))
    chosen, alone = (choose_thresholds(each, tissue()) for each in (answer, Answer(half)))
    assert 0.1 < chosen.mask <= 0.3
    assert (chosen.mask, chosen.chosen_on) == (alone.mask, "validation")
    assert (chosen.foreground, chosen.boundary) == (0.5, 0.5)


class Touching:
    """Two objects side by side."""

    def read(self) -> np.ndarray:
        label = np.zeros((40, 60), np.int32)
        label[8:32, 6:30], label[8:32, 30:54] = 1, 2
        return label


def test_a_line_of_which_a_student_is_never_sure_parts_touching_objects():
    label = Touching().read()
    line = np.full(label.shape, 0.02, np.float32)
    line[8:32, 28:32] = 0.16
    answer = Answer(label > 0)
    answer.maps = Maps(answer.maps.foreground, line)
    data = tissue()
    data = data.having(replace(record, label=Touching()) for record in data)
    chosen = choose_thresholds(answer, data)
    assert chosen.boundary <= 0.15
    assert answer.maps.objects(chosen, 16).max() == 2


def test_the_search_drops_the_objects_that_scoring_drops():
    foreground = np.where(Label().read() > 0, 0.9, 0.0)
    foreground[13:17, 16:21] = 0.6  # 20 px that are none
    thresholds = {
        least: thresholds_of({"a": {0: Answer(foreground)}}, tissue(), {}, least)["a"][0].foreground
        for least in (16, 20, 21)
    }
    assert thresholds == {16: 0.65, 20: 0.65, 21: 0.5}


def test_thresholds_are_chosen_on_images_of_every_group():
    images = datasets.simulated_tissue(4, size=32).records
    groups = ["many"] * 100 + [f"alone {n}" for n in range(10)]
    records = [
        Record(f"{n:03}", images[0].image, Label(), split="val", group=group)
        for n, group in enumerate(groups)
    ]
    chosen_on, chosen = threshold_records(Dataset("made up", tuple(records), ("nucleus",)))
    assert (chosen_on, len(chosen)) == ("validation", 48)
    assert len({record.group for record in chosen}) == 11
