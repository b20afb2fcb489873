"""A teacher asked eight times: the mean has the symmetry that the teacher lacks."""

import numpy as np
import pytest
from helpers_of_teachers import BrightTeacher, dataset_of

from abbe import config
from abbe.errors import ConfigError, InputError
from abbe.imaging import Image
from abbe.targets import Provenance
from abbe.teachers import Prediction, turned
from abbe.teachers.turned import MOVES, moved_back, moved_by


def test_moves_are_the_eight_of_a_square_and_go_back():
    array = np.arange(24).reshape(2, 3, 4)
    assert len({moved_by(array, *move).tobytes() + bytes(moved_by(array, *move).shape)
                for move in MOVES}) == 8  # fmt: skip
    for move in MOVES:
        assert np.array_equal(moved_back(moved_by(array, *move), *move), array)


class LeftTeacher(BrightTeacher):
    """Says that the left half is foreground, whatever it sees."""

    def predict(self, image: Image, id: str) -> Prediction:
        maps = np.zeros((1, *image.shape), np.float32)
        maps[:, :, : image.shape[1] // 2] = 1
        return Prediction({"probability": maps})


def test_a_pointwise_teacher_answers_as_before_and_a_one_sided_one_is_levelled():
    image = dataset_of(1).records[0].image.open()
    plain, levelled = BrightTeacher(), turned(LeftTeacher())
    before = plain.predict(image, "a").maps["probability"]
    after = turned(plain).predict(image, "a")
    assert np.allclose(after.maps["probability"], before, atol=1e-6)
    assert len(plain.asked) == 9
    assert np.unique(levelled.predict(image, "a").maps["probability"]).tolist() == [0.5]
    assert levelled.provenance.settings["tta"] == "mean of 8 turns and mirror images"


class ObjectTeacher(BrightTeacher):
    def predict(self, image: Image, id: str) -> Prediction:
        return Prediction({"instances": (image.read()[0] > 127).astype(np.int32)})


class PromptedTeacher(BrightTeacher):
    def __init__(self) -> None:
        self.provenance = Provenance(
            "sam", None, "MIT", "CC0", ("nucleus",), "none", prompt_mode="boxes"
        )


def test_of_objects_and_prompts_there_is_no_mean():
    image = dataset_of(1).records[0].image.open()
    with pytest.raises(InputError, match="gives instances of 'a', but a mean"):
        turned(ObjectTeacher()).predict(image, "a")
    with pytest.raises(ConfigError, match="answers prompts"):
        turned(PromptedTeacher())
    with pytest.raises(ConfigError, match="has answered already"):
        config.Teacher(kind="masks", path="masks", tta=True)  # pyright: ignore
    with pytest.raises(ConfigError, match="one teacher as it is runs live"):
        config.Teacher(kind="run", path="run", tta=True, live=True)  # pyright: ignore
