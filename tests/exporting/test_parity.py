"""Comparing engines with eager: what is measured, and what is held against the budget."""

import numpy as np
import pytest
from small_students import CUTS, FACTS, Blobs, number, parity_images

from abbe import scoring
from abbe.exporting.cards.parity import parity
from abbe.exporting.comparison import Probabilities, predict_padded
from abbe.exporting.networks.eager import eager_probabilities
from abbe.exporting.parity.instances import compare, references
from abbe.exporting.request import Budget
from abbe.runtime.package import PackageDescription
from abbe.runtime.postprocess.map_rule import MapRule

EAGER = eager_probabilities(Blobs())


def known(count: int = 3):
    return references(EAGER, parity_images(count), CUTS, 16)


def shifted(batch: np.ndarray) -> np.ndarray:
    """A rougher engine: some logits are lower."""
    return eager_probabilities(Blobs(shift=-4))(batch)


def test_the_same_engine_loses_nothing():
    compared = compare(EAGER, known(), CUTS, 16, strict=True, images_of="val")
    assert compared.lost == {"dice": 0, "pq": 0}
    assert compared.excess(Budget(0, 0)) is None
    figures = compared.figures
    assert (figures["images"], figures["images_of"]) == (3, "val")
    assert figures["max_difference"] == 0
    assert figures["objects"] == number(figures, "objects_eager") > 5
    assert figures["area"] == number(figures, "area_eager") > 500


def test_a_rougher_engine_is_measured_against_eager_where_strict():
    images = known()
    compared = compare(shifted, images, CUTS, 16, strict=True, images_of="val")
    losses = []
    for each in images:
        maps = shifted(each.image.pixels[None])[0]
        scores = scoring.instance_scores(CUTS.objects(maps), each.objects)
        dice = scoring.pixel_scores(maps[0] >= 0.5, each.maps[0] >= 0.5)["dice"]
        losses.append((1 - dice, 1 - scores["pq"]))
    assert compared.figures["measured_against"] == "eager"
    np.testing.assert_allclose(list(compared.lost.values()), np.mean(losses, axis=0))
    assert compared.worst == f"image-{np.argmax(np.sum(losses, axis=1))}"
    assert number(compared.figures, "max_difference") > 0.1


def test_rounded_engines_are_measured_against_labels():
    images = known()
    compared = compare(shifted, images, CUTS, 16, strict=False, images_of="val")
    falls = []
    for each in images:
        label = each.image.label
        assert label is not None
        masks = [maps[0] >= 0.5 for maps in (each.maps, shifted(each.image.pixels[None])[0])]
        exact, rough = (scoring.pixel_scores(mask, label > 0)["dice"] for mask in masks)
        falls.append(exact - rough)
    assert compared.figures["measured_against"] == "labels"
    assert compared.lost["dice"] == pytest.approx(np.mean(falls))
    assert compared.lost["dice"] > 0.01


def test_without_labels_rounded_engines_are_measured_against_eager():
    images = [type(each)(each.id, each.pixels) for each in parity_images()]
    compared = compare(
        shifted, references(EAGER, images, CUTS, 16), CUTS, 16, strict=False, images_of="test"
    )
    assert compared.figures["measured_against"] == "eager"
    assert compared.lost["dice"] > 0


def test_what_exceeds_the_budget_is_named_with_the_worst_image():
    compared = compare(shifted, known(), CUTS, 16, strict=True, images_of="val")
    excess = compared.excess(Budget(dice=0.001, pq=1.0))
    assert excess is not None
    assert "Dice" in excess
    assert "at most 0.0010 allowed" in excess
    assert "PQ" not in excess
    assert f"worst image: {compared.worst}" in excess
    assert compared.excess(Budget(dice=1.0, pq=1.0)) is None


TYPED = MapRule((*CUTS.outputs, "type:a", "type:b"), CUTS.thresholds, CUTS.instances)


def with_types(*, swapped: bool) -> Probabilities:
    """Objects of the upper half are of type a, others of b, or the other way round."""

    def typed(batch: np.ndarray) -> np.ndarray:
        upper = np.zeros((len(batch), 1, *batch.shape[2:]), np.float32)
        upper[:, :, : batch.shape[2] // 2] = 1
        types = (1 - upper, upper) if swapped else (upper, 1 - upper)
        return np.concatenate([EAGER(batch), *types], axis=1)

    return typed


@pytest.mark.parametrize("strict", [True, False])
def test_an_engine_that_swaps_types_is_not_kept(strict):
    eager = with_types(swapped=False)
    images = references(eager, parity_images(), TYPED, 16)
    same = compare(eager, images, TYPED, 16, strict=strict, images_of="val")
    assert same.lost == {"dice": 0, "pq": 0, "accuracy": 0}
    other = with_types(swapped=True)
    swapped = compare(other, images, TYPED, 16, strict=strict, images_of="val")
    assert swapped.lost == {"dice": 0, "pq": 0, "accuracy": pytest.approx(1)}
    assert swapped.figures["agreement_types"] == pytest.approx(0)
    excess = swapped.excess(Budget())
    assert excess is not None
    assert "accuracy 1.0000 lost" in excess
    assert "0.00% of the objects have the same type" in swapped.words


def test_the_card_tells_how_many_objects_change_their_type():
    figures = {"images": 3, "images_of": "val", "kept": False, "lost_accuracy": 0.25}
    described = PackageDescription.model_validate(
        FACTS
        | {"outputs": TYPED.outputs, "classes": ("a", "b"), "parity": {"openvino/int8": figures}}
        | {"files": {"onnx": {"path": "m.onnx", "bytes": 1, "sha256": "0" * 64}}}
    )
    assert "| types lost |" in parity(described)
    assert "| 0.2500 |" in parity(described)


def test_images_of_any_size_are_padded_and_cut_back():
    pixels = np.random.default_rng(0).random((1, 37, 50), np.float32)
    seen = []

    def spy(batch: np.ndarray) -> np.ndarray:
        seen.append(batch)
        return batch

    np.testing.assert_array_equal(predict_padded(spy, pixels, 16), pixels)
    assert seen[0].shape == (1, 1, 48, 64)
    np.testing.assert_array_equal(
        seen[0][0, 0, 37], np.pad(pixels, ((0,), (0,), (14,)), "symmetric")[0, 36, 14:]
    )
