"""Pictures of validation images while students train."""

from collections.abc import Mapping

import numpy as np
import PIL.Image
import pytest
from torch import nn

from abbe.datasets.training.prepare import Prepared
from abbe.imaging import class_colour
from abbe.imaging.pictures.window import fullest_window
from abbe.tasks import previews
from abbe.tasks.previews import ANSWER, SIDE, TEACHER, TRUTH, ClassPreview, chosen, strips, tinted


def image_of(number: int, label: np.ndarray | None = None, category: int = -1) -> Prepared:
    return Prepared(
        id=str(number),
        pixels=np.full((1, 24, 24), 10 * number, np.uint8),
        channels=("nucleus",),
        limits=np.array([[0, 255]], np.float32),
        shape=(24, 24),
        label=label,
        category=category,
    )


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == np.array(colour)).all(-1).any())


def columns_of(picture: np.ndarray, count: int) -> list[np.ndarray]:
    return np.array_split(picture, count, axis=1)


@pytest.mark.slow
def test_a_run_shows_image_truth_teacher_and_answer(run):
    """The first picture of each network is always there, however slow the machine."""
    for name in ("student", "twin"):
        (first, *_) = sorted((run.folder / "previews").glob(f"{name}-distil-*.png"))
        picture = np.asarray(PIL.Image.open(first).convert("RGB"))
        shown = [[has(column, colour) for colour in (TRUTH, TEACHER, ANSWER)]
                 for column in columns_of(picture, 4)]  # fmt: skip
        assert shown[:3] == [[False] * 3, [True, False, False], [False, True, False]]
        assert shown[3][:2] == [False, False]  # four steps may have found nothing yet


@pytest.mark.slow
def test_a_run_without_a_teacher_shows_three_columns(teacher_run):
    (first, *_) = sorted((teacher_run / "previews").glob("student-supervised-*.png"))
    picture = np.asarray(PIL.Image.open(first).convert("RGB"))
    assert has(columns_of(picture, 3)[1], TRUTH)
    assert not has(picture, TEACHER)


def test_some_images_are_chosen_those_with_objects_first():
    empty, full = np.zeros((24, 24), np.int32), np.ones((24, 24), np.int32)
    images = [image_of(number, full if number % 2 else empty) for number in range(10)]
    assert [image.id for image in chosen(images, 3)] == ["1", "5", "9"]
    assert [image.id for image in chosen(images[::2], 3)] == ["0", "4", "8"]
    assert [image.id for image in chosen(images[1:2], 3)] == ["1"]


def test_a_large_image_is_seen_where_most_is():
    truth = np.zeros((300, 400), np.int32)
    truth[250:290, 10:60] = 1
    rows, columns = fullest_window(truth.shape, truth, 100)
    assert (rows.stop - rows.start, columns.stop - columns.start) == (100, 100)
    assert truth[rows, columns].sum() == truth.sum()
    assert fullest_window((50, 60), None, 100) == (slice(0, 50), slice(0, 60))
    assert fullest_window((300, 400), None, 100) == (slice(100, 200), slice(150, 250))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The captions of every sheet that is drawn."""
    captions: list[str] = []
    real = previews.contact_sheet

    def sheet(tiles, names, *rest, **more):
        captions.extend(names)
        return real(tiles, names, *rest, **more)

    monkeypatch.setattr(previews, "contact_sheet", sheet)
    return captions


def test_a_panel_that_one_image_lacks_says_so(told):
    grey = np.full((20, 20, 3), 90, np.uint8)
    without: Mapping[str, np.ndarray] = {"truth": grey}
    picture = strips([("a", grey, {"truth": grey, "teacher": grey}), ("b", grey, without)])
    assert told == ["a", "truth", "teacher", "b", "truth", "teacher: no answer"]
    assert picture.shape[1] > 3 * SIDE


def test_classes_of_pixels_are_coloured_and_the_image_shines_through():
    picture = np.full((2, 3, 3), 100, np.uint8)
    classes = np.array([[0, 1, -1], [2, 0, 1]])
    drawn = tinted(picture, classes)
    assert drawn[0, 0].tolist() == drawn[0, 2].tolist() == [100, 100, 100]
    for number, place in ((1, (0, 1)), (2, (1, 0))):
        expected = 0.55 * 100 + 0.45 * np.array(class_colour(number))
        np.testing.assert_allclose(drawn[place], expected, atol=0.51)


def test_images_with_classes_say_what_they_are_and_are_taken_for(told):
    images = [image_of(number, category=0) for number in range(9)] + [image_of(9, category=1)]
    draw = ClassPreview(
        images, ("nucleus",), ("benign", "tumour"), lambda network, pixels: np.array([0.75, 0.25])
    )
    picture = draw(nn.Identity())  # which the answer does not ask
    assert picture.dtype == np.uint8
    assert len(told) == ClassPreview.MOST
    assert told[0] == "right: is benign\nanswer: benign (75%)"
    assert told[1] == "WRONG: is tumour\nanswer: benign (75%)"
