"""How much a teacher's maps and images count: the best mixture, the agreement, the batches."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from abbe import losses, students
from abbe.datasets.training.batches import Batches
from abbe.datasets.training.prepare import Prepared
from abbe.errors import InputError
from abbe.files import write_json
from abbe.summary import Trust
from abbe.training import trust

SHAPE = (24, 32)
KNOWN = np.ones(SHAPE, bool)


def maps_of(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A truth of zeros and ones, and two soft maps that are near it, each in its own way."""
    random = np.random.default_rng(seed)
    truth = (random.random((2, *SHAPE)) < 0.4).astype(np.float32)
    near = [(0.7 * truth + 0.3 * random.random(truth.shape)).astype(np.float32) for _ in range(2)]
    return truth, near[0], near[1]


def test_a_weight_is_that_of_the_best_mixture_by_least_squares() -> None:
    products, differences, rests = 0, [], []
    for seed in range(3):
        truth, own, teacher = maps_of(seed)
        products = products + trust.mixture_products(own, teacher, truth, KNOWN)
        differences.append((teacher - own)[0].ravel())
        rests.append((truth - own)[0].ravel())
    (solved,), *_ = np.linalg.lstsq(np.concatenate(differences)[:, None], np.concatenate(rests))
    weights = trust.weights_of(np.asarray(products))
    assert weights[0] == pytest.approx(solved, abs=6e-4)
    assert 0.3 < weights[0] < 0.7  # both are as near


def test_unknown_pixels_say_nothing() -> None:
    truth, own, teacher = maps_of(0)
    known = np.zeros(SHAPE, bool)
    known[:, :20] = True
    expected = trust.mixture_products(
        own[..., :20], teacher[..., :20], truth[..., :20], KNOWN[:, :20]
    )
    assert trust.mixture_products(own, teacher, truth, known) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("products", "weights"),
    [
        ([[0.2, 0.0], [0.2, 0.1]], [1.0, 0.0]),
        ([[0.3, 0.1], [0.2, 0.2]], [1.0, 0.5]),  # beyond the teacher: 1
        ([[0.06, 0.1], [0.1, 0.1]], [0.6, 0.6]),  # no more than the foreground
        ([[0.02, 0.1], [0.1, 0.1]], [0.0, 0.0]),  # below a quarter
        ([[-0.1, 0.1], [0.1, 0.1]], [0.0, 0.0]),
        ([[0.0, 0.0], [0.0, 0.0]], [1.0, 1.0]),  # it says what labels alone say
    ],
)
def test_weights_are_from_0_to_1(products: list[list[float]], weights: list[float]) -> None:
    assert trust.weights_of(np.array(products)) == weights


def test_agreement_is_soft_dice() -> None:
    truth, own, _ = maps_of(1)
    expected = (2 * (truth[0] * own[0]).sum() + 1) / (truth[0].sum() + (own[0] ** 2).sum() + 1)
    assert trust.agreement(truth[0], own[0]) == pytest.approx(expected)
    assert trust.agreement(own[0], own[0]) == 1
    assert trust.agreement(np.zeros(SHAPE), np.zeros(SHAPE)) == 1
    assert trust.agreement(truth[0], 1 - truth[0]) < 0.01


def believed(weight: float, **images: float) -> trust.Believed:
    return trust.Believed(Trust(asked=weight, outputs={"foreground": weight}), images)


def test_batches_hold_more_labels_the_less_a_teacher_is_believed() -> None:
    assert believed(1).labelled_share(0.3, 8) == 0.3
    assert believed(0.5).labelled_share(0.5, 8) == 0.75
    assert believed(0.05).labelled_share(0.5, 8) == 7 / 8  # a crop is left for it
    assert believed(0.05).labelled_share(0.95, 8) == 0.95
    assert believed(0.6).labelled_share(1, 8) == 1


def test_outputs_count_beside_the_one_that_is_believed_most() -> None:
    found = trust.Believed(Trust(outputs={"foreground": 0.8, "boundary": 0.4}), {})
    assert found.counts == {"foreground": 1.0, "boundary": 0.5}
    assert found.shares == {"probability": 0.8, "target_boundary": 0.8}


def image_of(id: str, truth: np.ndarray, answer: np.ndarray, *, labelled: bool) -> Prepared:
    return Prepared(
        id=id,
        pixels=(255 * truth[:1]).astype(np.uint8),
        channels=("nucleus",),
        limits=np.array([[0, 255]], np.float32),
        shape=SHAPE,
        label=truth[0].astype(np.int32) if labelled else None,
        probability=(255 * answer).astype(np.uint8),
    )


def test_images_count_by_how_far_the_teacher_is_right_on_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It answers every second image of either kind with the opposite of the truth."""
    random = np.random.default_rng(0)
    images = []
    for number in range(8):
        truth = (random.random((1, *SHAPE)) < 0.4).astype(np.float32)
        answer = truth if number % 2 else 1 - truth
        images.append(image_of(str(number), truth, answer, labelled=number < 4))

    def nearly_right(network: Any, pixels: np.ndarray) -> np.ndarray:
        return np.concatenate([0.1 + 0.8 * pixels, np.zeros_like(pixels)])

    monkeypatch.setattr(students, "predict", nearly_right)
    network = students.build("unet-mobilenetv3", in_channels=1, encoder_weights="random")
    found = trust.chosen(
        ("foreground", "boundary"), ("nucleus",), ("foreground",), images[:4], images, network,
        device=torch.device("cpu"), progress=False,
    )  # fmt: skip
    assert found.trust.outputs["foreground"] > trust.LEAST  # the wrong images alone would say 0
    products = np.zeros((2, 1))  # of validation images, by how far teacher and network agree
    for image in images[:4]:
        pixels = image.whole()
        answer, own = image.probability[:] / 255, nearly_right(None, pixels)[:1]  # pyright: ignore
        weight = trust.agreement(answer[0], own[0]) ** 2
        products += weight * trust.mixture_products(own, answer, pixels, KNOWN)
    assert found.trust.outputs["foreground"] == trust.weights_of(products)[0] < 0.5
    assert found.trust.outputs["boundary"] == 0  # it gives none
    right = [found.agreement[str(number)] for number in (1, 3, 5, 7)]
    wrong = [found.agreement[str(number)] for number in (0, 2, 4, 6)]
    assert max(wrong) < 0.3 < 0.9 < min(right)
    assert right[0] == pytest.approx(1)  # with its label
    weights = [image.target_weight or 0 for image in found.weighed(images)]
    assert np.mean(weights) == pytest.approx(1)
    assert weights[1] > 9 * weights[0]
    assert found.trust.images == 4
    assert found.trust.alone["foreground"]["dice"] == 1
    assert found.trust.teacher["foreground"]["dice"] == pytest.approx(0.5)
    bare = [replace(image, probability=None) for image in images]
    with pytest.raises(InputError, match="no answer for any labelled validation image"):
        trust.require_answers(bare)


def test_a_label_that_is_unknown_everywhere_says_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """It made the means NaN, and a teacher of noise was believed in full."""
    truth, _, _ = maps_of(0)
    noise = np.random.default_rng(1).random((1, *SHAPE))
    images = [image_of(str(n), truth[:1], noise, labelled=True) for n in range(3)]
    unknown = replace(images[0], id="unknown", label=np.full(SHAPE, -1, np.int32))
    monkeypatch.setattr(students, "predict", lambda network, pixels: 0.1 + 0.8 * pixels)
    network = students.build("unet-mobilenetv3", in_channels=1, encoder_weights="random")

    def measured(held_out: list[Prepared]) -> Trust:
        return trust.chosen(
            ("foreground",), ("nucleus",), ("foreground",), held_out, images, network,
            device=torch.device("cpu"), progress=False,
        ).trust  # fmt: skip

    expected = measured(images)
    assert expected.outputs == {"foreground": 0.0}
    assert measured([*images, unknown]) == expected
    told = [
        trust.as_told(1.0, ("foreground",), each, ("foreground",)).trust
        for each in (images, [unknown, *images])
    ]
    assert told[0].images == 3
    assert told[0] == told[1]
    with pytest.raises(InputError, match="no answer for any labelled validation image"):
        measured([unknown])


def test_a_network_that_answers_with_nan_is_no_reason_for_trust() -> None:
    with pytest.raises(InputError, match="answers with NaN"):
        trust.weights_of(np.array([[np.nan], [np.nan]]))


def test_what_was_found_is_written_and_read(tmp_path: Any) -> None:
    found = believed(0.5, a=0.25, b=1.0)
    assert trust.read_believed(tmp_path) is None
    found.write(tmp_path)
    assert trust.read_believed(tmp_path) == found
    write_json(tmp_path / trust.FILE, {"outputs": {}})
    with pytest.raises(InputError, match="Delete it to measure the teacher anew"):
        trust.read_believed(tmp_path)


def test_a_batch_says_how_much_its_images_count() -> None:
    truth, _, _ = maps_of(0)
    images = [image_of(str(number), truth[:1], truth[:1], labelled=False) for number in range(2)]
    options: Any = {"input_channels": ("nucleus",), "batch_size": 2, "crop": 16, "seed": 0}
    assert "target_weight" not in Batches(images, **options)[0]
    weighed = believed(1, **{"0": 0.5, "1": 1.0}).weighed(images)
    batch = Batches(weighed, **options)[0]
    assert sorted(batch["target_weight"].tolist()) == pytest.approx([0.4, 1.6])


@pytest.mark.parametrize(
    "loss", [*losses.PROBABILITY_LOSSES.values(), *losses.BOUNDARY_LOSSES.values()]
)
def test_losses_are_weighted_means_of_their_images(loss: Any) -> None:
    random = torch.Generator().manual_seed(0)
    logits, target = (torch.randn(3, 16, 16, generator=random) for _ in range(2))
    target = (target > 0.5).float()
    valid = torch.ones(3, 16, 16, dtype=torch.bool)
    weight = torch.tensor([0.5, 2.0, 0.0])
    alone = [loss(*(each[n : n + 1] for each in (logits, target, valid))) for n in range(3)]
    expected = (0.5 * alone[0] + 2 * alone[1]) / 3
    assert loss(logits, target, valid, weight) == pytest.approx(expected.item())
    assert loss(logits, target, valid, torch.ones(3)) == loss(logits, target, valid)


def test_a_share_is_not_learned_away() -> None:
    """At rest a term's learned variance is what it would be without; its pull is a share of it."""
    weighting = losses.UncertaintyWeighting(["a", "b"], shares={"b": 0.25})
    value = torch.tensor(2.0, requires_grad=True)
    optimiser = torch.optim.SGD(weighting.parameters(), lr=0.5)
    for _ in range(400):
        optimiser.zero_grad()
        total, _ = weighting({"a": value, "b": value})
        total.backward()
        optimiser.step()
    assert weighting.log_variances.tolist() == pytest.approx([np.log(2)] * 2, abs=1e-3)
    _, weights = weighting({"a": value, "b": value})
    assert weights["b"].item() == pytest.approx(0.25 * weights["a"].item(), rel=1e-3)
