"""Statistics and page of a curve, from answers that are made up."""

import json

import numpy as np
import pytest

from abbe import config
from abbe.curves import results as curve_results
from abbe.curves.label_subsets import Level
from abbe.curves.trainings import (
    Outcome,
    Training,
    image_scores_of,
    load_outcome,
    path_of,
    save_outcome,
    scores_of,
)
from abbe.errors import InputError
from abbe.reporting import write_report
from abbe.scoring import METRICS
from abbe.summary import Data, Targets, Teacher

LEVELS = (Level(0.1, 5), Level(1.0, 50))


def outcome(values, *, images=None, groups=None, metrics=("dice",)):
    values = np.asarray(values, float).reshape(-1, len(metrics))
    images = images or [f"test {number}" for number in range(len(values))]
    arrays = {"values": values, "metrics": np.array(metrics)}
    return Outcome(7, None, 3.0, "0" * 64, images, groups or images, arrays)


def made(random, *, gain, seeds, images=40, seed_spread=0.1, image_spread=0.1):
    """Student and twin whose scores differ by a seed's and an image's own amount, beside noise."""
    found = {}
    for level in LEVELS:
        of_image = random.normal(0, image_spread, images)
        for seed in range(seeds):
            of_seed = random.normal(0, seed_spread)
            twin = 0.5 + random.normal(0, 0.1, images)
            own = twin + gain + of_seed + of_image + random.normal(0, 0.02, images)
            found[Training("student", level, seed)] = outcome(own)
            found[Training("twin", level, seed)] = outcome(twin)
    return found


def summarise(outcomes, *, compared=("student", "twin"), seeds=(0,)):
    return curve_results.summarise(outcomes, LEVELS, compared, seeds, METRICS)


@pytest.mark.parametrize(("seed_spread", "image_spread"), [(0.1, 0.02), (0.02, 0.1), (0.1, 0.1)])
def test_intervals_of_a_difference_cover_it_as_often_as_they_say(seed_spread, image_spread):
    covered = []
    for number in range(80):
        random = np.random.default_rng(number)
        outcomes = made(
            random, gain=0.2, seeds=8, seed_spread=seed_spread, image_spread=image_spread
        )
        found = summarise(outcomes, seeds=range(8)).differences["student"]
        for level in found.levels:
            low, high = level.metrics["dice"].ci95 or (None, None)
            assert low is not None
            assert high is not None
            covered.append(low <= 0.2 <= high)
    assert 0.91 <= np.mean(covered) <= 0.99


def test_equal_answers_differ_by_nothing_whatever_is_left_out():
    random = np.random.default_rng(0)
    outcomes = {}
    for level in LEVELS:
        for seed in range(3):
            same = outcome(random.uniform(size=20))
            outcomes |= {Training(name, level, seed): same for name in ("student", "twin")}
    found = summarise(outcomes, seeds=(0, 1, 2)).differences["student"]
    for value in (found.all["dice"], found.levels[0].metrics["dice"]):
        assert value.mean == 0
        assert value.ci95 == (0, 0)
        assert value.p == 1


def test_means_are_over_seeds_and_the_whole_is_the_mean_of_the_shares():
    outcomes = {}
    for shift, level in zip((0.1, 0.3), LEVELS, strict=True):
        for seed in (0, 1):
            twin = np.array([0.2, 0.4, 0.2, 0.4]) + 0.1 * seed
            outcomes[Training("twin", level, seed)] = outcome(twin)
            outcomes[Training("student", level, seed)] = outcome(twin + shift)
    found = summarise(outcomes, seeds=(0, 1))
    first = found.scores["twin"][0].metrics["dice"]
    assert first.by_seed == pytest.approx([0.3, 0.4])
    assert first.mean == pytest.approx(0.35)
    assert first.n == 4
    whole = found.differences["student"].all["dice"]
    assert whole.mean == pytest.approx(0.2)
    assert whole.ci95 == pytest.approx((0.2, 0.2))  # paired: nothing else varies


def test_whole_groups_are_left_out():
    values = np.repeat([0.2, 0.8, 0.4, 0.6], 5)
    alone, together = (
        {
            Training(name, level, 0): outcome(values, groups=groups)
            for name in ("student", "twin")
            for level in LEVELS
        }
        for groups in (None, np.repeat(list("abcd"), 5).tolist())
    )
    widths = []
    for outcomes in (alone, together):
        low, high = summarise(outcomes).scores["twin"][0].metrics["dice"].ci95 or (None, None)
        assert low is not None
        assert high is not None
        widths.append(high - low)
    assert widths[1] > 3 * widths[0]


def test_undefined_images_are_left_out_of_a_mean():
    values = np.array([[0.5, np.nan], [np.nan, np.nan], [1.0, 3.0]])
    arrays = {"values": values, "metrics": np.array(["dice", "hd95"])}
    scores = scores_of(arrays)
    assert scores["dice"] == pytest.approx([0.75])
    assert scores["hd95"] == pytest.approx([3.0])
    drawn = scores_of(arrays, np.array([[1.0, 2.0, 3.0], [0.0, 3.0, 0.0]]))
    assert drawn["dice"][0] == pytest.approx(3.5 / 4)
    assert np.isnan(drawn["dice"][1])


def test_classes_and_regions_have_scores_of_sets_and_of_images():
    truth = np.array([0, 1, 1])
    table = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9]])
    assert scores_of({"truth": truth, "table": table})["accuracy"] == pytest.approx([2 / 3])
    assert image_scores_of({"truth": truth, "table": table})["accuracy"].tolist() == [1, 0, 1]
    confusions = np.array([[[8, 0], [0, 2]], [[5, 5], [0, 0]]])
    regions = image_scores_of({"table": confusions})
    assert regions["mean_iou"] == pytest.approx([1.0, 0.25])
    assert scores_of({"table": confusions})["pixel_accuracy"] == pytest.approx([15 / 20])


EXPERIMENT = config.parse(
    {
        "recipe": "cmkd",
        "out": "x",
        "teacher": {"kind": "masks", "path": "x"},
        "student": {"encoder_weights": "random"},
    },
    "test",
)
FACTS = {
    "compared_as": "model",
    "metric": "dice",
    "metric_names": {"dice": "Dice", "hd95": "Hausdorff <95 %>"},
    "task": "instances",
    "data": Data(name="<tissue>", test=40, validation=3, simulated=True),
    "teacher": Teacher(teacher="masks & co"),
    "targets": Targets(images=4, empty=1, missing=0),
    "pretraining": {},
}


def write(folder, outcomes, planned):
    folder.mkdir(exist_ok=True)
    return curve_results.write_results(
        folder,
        EXPERIMENT,
        outcomes,
        LEVELS,
        ("student", "twin"),
        planned=planned,
        facts=FACTS,
        metrics=METRICS,
    )


def both_metrics(outcomes):
    return {
        training: outcome(
            np.stack([each.arrays["values"][:, 0], np.full(len(each.images), np.nan)], 1),
            metrics=("dice", "hd95"),
        )
        for training, each in outcomes.items()
    }


@pytest.mark.slow
def test_the_page_says_what_was_found_and_no_more(tmp_path):
    random = np.random.default_rng(0)
    outcomes = both_metrics(made(random, gain=0.3, seeds=2, seed_spread=0.01))
    summary = write(tmp_path, outcomes, planned=12)
    page = (tmp_path / "report.html").read_text()
    assert "student scored +" in page
    assert "points of Dice" in page
    assert "against twin" in page
    assert "Unfinished: 8 of 12 trainings are done" in page
    assert "&lt;tissue&gt;" in page
    assert "Simulated." in page
    assert "found nothing on 1 of 4 images" in page
    assert summary is not None
    assert summary.differences["student"].all["hd95"].mean is None
    told = json.loads((tmp_path / "summary.json").read_text())
    assert told["differences"]["student"]["all"]["hd95"]["mean"] is None
    (tmp_path / "report.html").unlink()
    assert write_report(tmp_path).read_text() == page
    nothing = both_metrics(made(random, gain=0.0, seeds=6, seed_spread=0.2))
    write(tmp_path, nothing, planned=24)
    page = (tmp_path / "report.html").read_text()
    assert "no difference between student and twin is shown" in page
    assert "Unfinished" not in page


def test_a_seed_that_is_not_whole_is_kept_in_the_table_alone(tmp_path):
    outcomes = made(np.random.default_rng(0), gain=0.1, seeds=1)
    del outcomes[Training("twin", LEVELS[1], 0)]
    assert write(tmp_path, outcomes, planned=4) is None
    assert len((tmp_path / "curve.csv").read_text().splitlines()) == 1 + 3
    assert not (tmp_path / "summary.json").exists()


def test_an_outcome_comes_back_as_it_was_written(tmp_path):
    training = Training("student", LEVELS[0], 3)
    before = outcome([0.5, np.nan], groups=["a", "b"])
    save_outcome(path_of(tmp_path, training.name), before)
    after = load_outcome(path_of(tmp_path, training.name))
    assert after.images == list(before.images)
    assert after.groups == ["a", "b"]
    assert (after.steps, after.best_step, after.seconds) == (7, None, 3.0)
    np.testing.assert_array_equal(after.arrays["values"], before.arrays["values"])


def test_a_damaged_outcome_is_named(tmp_path):
    path = path_of(tmp_path, "student-5-seed-0")
    save_outcome(path, outcome([0.5]))
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(InputError, match=r"student-5-seed-0\.npz: damaged .* Delete it"):
        load_outcome(path)


def test_other_test_images_are_noticed(tmp_path):
    trainings = [Training("student", LEVELS[0], seed) for seed in (0, 1)]
    for training, images in zip(trainings, (["a", "b"], ["a", "c"]), strict=True):
        save_outcome(path_of(tmp_path, training.name), outcome([0.5, 0.6], images=images))
    with pytest.raises(InputError, match="not all trainings were scored on the same test images"):
        curve_results.load_outcomes(tmp_path, trainings)
