"""An image is shown to a student once for its thresholds, temperatures, scores and examples."""

import pickle
from dataclasses import replace

import numpy as np
import pytest
from commands import tissue

from abbe import students
from abbe.imaging import Image, Scaling
from abbe.tasks.maps import NetworkModel


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the images that the network is shown."""
    names: list[str] = []

    def spy(self: NetworkModel, image: Image, predict=NetworkModel.predict_image):
        names.append(image.name)
        return predict(self, image)

    monkeypatch.setattr(NetworkModel, "predict_image", spy)
    return names


@pytest.fixture
def model() -> NetworkModel:
    network = students.build("unet-timm-test_efficientnet", in_channels=1, encoder_weights="random")
    return NetworkModel(network, network.outputs, ("nucleus",), Scaling("percentile"), None)


def test_an_image_that_is_asked_for_again_has_the_same_answer(model, asked):
    first, second, *_ = tissue()
    answers = [model.predict(record) for record in (first, second, first)]
    assert len(asked) == 2
    assert answers[2] is answers[0]
    assert not np.array_equal(answers[0].foreground, answers[1].foreground)
    fresh = model.predict_image(first.image.open())
    np.testing.assert_array_equal(answers[0].foreground, fresh.foreground)


def test_another_image_of_the_same_name_is_no_old_acquaintance(model, asked):
    first, second, *_ = tissue()
    model.predict(first)
    namesake = replace(first, image=second.image)
    found, fresh = model.predict(namesake), model.predict_image(second.image.open())
    np.testing.assert_array_equal(found.foreground, fresh.foreground)
    assert len(asked) == 3


def test_what_is_kept_has_a_limit_and_goes_to_no_other_process(model, asked, monkeypatch):
    (first, second, *_), bare = tissue(), len(pickle.dumps(model))
    maps = model.predict(first)
    assert len(pickle.dumps(model)) < bare + maps.foreground.nbytes
    pickle.loads(pickle.dumps(model)).predict(first)
    assert len(asked) == 2
    monkeypatch.setattr("abbe.tasks.maps._Kept.MOST", 0)
    forgetful = replace(model)
    for record in (second, second):
        forgetful.predict(record)
    assert len(asked) == 4
