"""Linear probes: features, the choice of how strongly the layer is held back, and rare cases."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from abbe import config, students
from abbe.datasets.training.prepare import Prepared
from abbe.recipes.encoder_probes import initialisations_of, is_probed
from abbe.recipes.linear_probe import STRENGTHS, UNCHOSEN, Features, features_of, probe


def features(random, count, *, shift=2.0, noise=20, classes=2):
    """Features of which the first tells classes apart and many others are noise."""
    truth = np.arange(count) % classes
    table = random.normal(size=(count, 1 + noise))
    table[:, 0] += shift * truth
    return Features(tuple(f"i{n}" for n in range(count)), table, truth)


def accuracy(probed, truth):
    return (probed.table.argmax(1) == truth).mean()


def test_the_strength_is_the_one_that_validation_images_like_best():
    random = np.random.default_rng(0)
    train, validation, tests = (features(random, n, noise=60) for n in (24, 400, 400))
    found = probe(train, validation, tests.table, classes=2, balanced=False)
    scale = StandardScaler().fit(train.table)

    def layer(strength):
        fitted = LogisticRegression(C=strength, max_iter=1000)
        return fitted.fit(scale.transform(train.table), train.truth)

    scores = {
        c: layer(c).score(scale.transform(validation.table), validation.truth) for c in STRENGTHS
    }
    assert found.strength == max(scores, key=scores.__getitem__)
    assert found.strength != UNCHOSEN  # the data was made so that the choice matters
    own = layer(found.strength).predict_proba(scale.transform(tests.table))
    np.testing.assert_allclose(found.table, own, atol=1e-9)


def test_without_validation_images_the_usual_strength_is_taken():
    random = np.random.default_rng(1)
    train, tests = (features(random, 60, shift=4.0, noise=2, classes=3) for _ in range(2))
    found = probe(train, None, tests.table, classes=4, balanced=False)
    assert found.strength == UNCHOSEN
    assert found.table.shape == (60, 4)
    np.testing.assert_allclose(found.table.sum(1), 1)
    assert (found.table[:, 3] == 0).all()  # no training image is of it
    assert accuracy(found, tests.truth) > 0.8


def test_images_of_one_class_teach_that_class_alone():
    train = features(np.random.default_rng(0), 4)
    alone = Features(train.ids, train.table, np.full(4, 2))
    found = probe(alone, None, train.table, classes=3, balanced=True)
    np.testing.assert_array_equal(found.table, np.eye(3)[[2, 2, 2, 2]])


def test_rare_classes_count_as_much_where_they_are_to():
    random = np.random.default_rng(0)
    whole = features(random, 400, shift=1.0, noise=1)
    rare = whole.of({id for n, id in enumerate(whole.ids) if n % 2 == 0 or n % 20 == 1})
    recalls = [
        probe(rare, None, whole.table, classes=2, balanced=balanced).table.argmax(1)[1::2].mean()
        for balanced in (False, True)
    ]
    assert recalls[0] < 0.3 < 0.5 < recalls[1]


def test_some_images_keep_their_order_and_their_classes():
    whole = features(np.random.default_rng(0), 6)
    some = whole.of(["i4", "i1"])
    assert some.ids == ("i1", "i4")
    np.testing.assert_array_equal(some.table, whole.table[[1, 4]])
    assert some.truth.tolist() == [1, 0]


def test_features_are_the_encoders_whatever_the_images_sizes():
    torch.manual_seed(0)
    model = students.build_classifier(
        "mobilenetv3", in_channels=1, classes=("a", "b"), encoder_weights="random"
    ).train()
    random, images = np.random.default_rng(0), []
    for number, side in enumerate([64, 64, 32, 64, *[32] * 40]):
        pixels = random.integers(0, 255, (2, side, side), dtype=np.uint8)
        limits = np.array([[0.0, 255.0]] * 2)
        images.append(
            Prepared(f"{number}", pixels, ("x", "y"), limits, (side, side), category=number % 2)
        )
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = features_of(model, images, ["y"])
    assert found.ids == tuple(str(number) for number in range(44))
    assert found.truth.tolist() == [number % 2 for number in range(44)]
    for image, row in zip(images, found.table, strict=True):
        pixels = torch.from_numpy(np.asarray(image.pixels)[1:2] / 255).float()
        with torch.inference_mode():
            np.testing.assert_allclose(row, model.eval().embed(pixels[None])[0], atol=1e-4)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())


@pytest.mark.parametrize(
    ("weights", "method", "twin", "expected"),
    [
        ("random", "rckd", True, {"student": "rckd", "twin": "random"}),
        ("imagenet", "rckd", True, {"student": "rckd", "twin": "given"}),
        ("some.pt", "contrastive", False, {"student": "contrastive"}),
        ("imagenet", "none", True, {"student": "given"}),
        ("random", "none", True, {"student": "random"}),
    ],
)
def test_the_twin_begins_with_the_weights_that_were_given(weights, method, twin, expected):
    values = {
        "recipe": "rckd", "out": "x", "twin": twin, "student": {"encoder_weights": weights},
        "pretraining": {"method": method}, "teacher": {"kind": "masks", "path": "x"},
    }  # fmt: skip
    experiment = config.parse(values, "test")
    assert initialisations_of(experiment) == expected
    assert is_probed(experiment)
    for fine_tuning in ({"trains": "linear"}, {"task": "segmentation"}):
        assert not is_probed(config.parse({**values, "fine_tuning": fine_tuning}, "test"))
