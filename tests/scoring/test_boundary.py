import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from monai.metrics.hausdorff_distance import compute_hausdorff_distance
from monai.metrics.surface_dice import compute_surface_dice
from scipy.ndimage import binary_erosion
from scipy.spatial.distance import cdist
from scoring_scenes import disturbed, ellipses
from skimage.metrics import hausdorff_distance

from abbe.errors import InputError
from abbe.scoring import boundary_scores

masks = arrays(bool, (9, 7))


def one_hot(mask: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(mask[None, None].astype(np.float32))


def edge(mask: np.ndarray) -> np.ndarray:
    return mask & ~np.asarray(binary_erosion(mask), bool)


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("tolerance", [0.0, 1.0, 2.0, 3.5])
def test_nsd_and_hd95_equal_monai(seed: int, tolerance: float) -> None:
    truth = ellipses(seed)
    prediction = disturbed(truth, seed) > 0
    truth = truth > 0
    ours = boundary_scores(prediction, truth, tolerance=tolerance)
    p, t = one_hot(prediction), one_hot(truth)
    nsd = compute_surface_dice(p, t, [tolerance], include_background=True)
    hd95 = compute_hausdorff_distance(p, t, include_background=True, percentile=95)
    assert ours["nsd"] == pytest.approx(float(nsd), abs=1e-6)
    assert ours["hd95"] == pytest.approx(float(hd95), rel=1e-5)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("tolerance", [0.0, 1.5, 2.0])
def test_boundary_f1_equals_brute_force(seed: int, tolerance: float) -> None:
    truth = ellipses(seed)
    prediction = disturbed(truth, seed) > 0
    truth = truth > 0
    distances = cdist(np.argwhere(edge(prediction)), np.argwhere(edge(truth)))
    precision = (distances.min(axis=1) <= tolerance).mean()
    recall = (distances.min(axis=0) <= tolerance).mean()
    ours = boundary_scores(prediction, truth, tolerance=tolerance)["boundary_f1"]
    assert ours == pytest.approx(2 * precision * recall / (precision + recall))


def test_hd95_stays_below_the_full_hausdorff_distance() -> None:
    truth = ellipses(3) > 0
    prediction = disturbed(ellipses(3), 3) > 0
    ours = boundary_scores(prediction, truth)["hd95"]
    full = hausdorff_distance(edge(prediction), edge(truth))
    assert full is not None
    assert 0 < ours <= full


def test_a_square_shifted_by_the_tolerance_is_right_and_by_more_is_not() -> None:
    truth = np.zeros((40, 40), bool)
    truth[10:30, 10:30] = True
    by_two = boundary_scores(np.roll(truth, 2, axis=1), truth)
    assert (by_two["boundary_f1"], by_two["nsd"], by_two["hd95"]) == (1.0, 1.0, 2.0)
    by_three = boundary_scores(np.roll(truth, 3, axis=1), truth)
    assert by_three["nsd"] < 1
    assert by_three["hd95"] == 3


def test_empty_masks() -> None:
    empty, full = np.zeros((30, 40), bool), np.ones((30, 40), bool)
    assert boundary_scores(empty, empty) == {"boundary_f1": 1.0, "nsd": 1.0, "hd95": 0.0}
    missed = {"boundary_f1": 0.0, "nsd": 0.0, "hd95": 50.0}
    assert boundary_scores(empty, full) == missed
    assert boundary_scores(full, empty) == missed
    assert all(math.isnan(v) for v in boundary_scores(full, full, empty).values())


def test_the_rim_of_an_unknown_region_is_no_boundary() -> None:
    truth = np.zeros((40, 40), bool)
    truth[10:30, 10:25] = True
    valid = np.ones((40, 40), bool)
    valid[:, 25:] = False
    stops, runs_on = truth.copy(), truth.copy()
    runs_on[10:30, 25:35] = True
    perfect = {"boundary_f1": 1.0, "nsd": 1.0, "hd95": 0.0}
    assert boundary_scores(stops, truth, valid) == perfect
    assert boundary_scores(runs_on, truth, valid) == perfect
    assert boundary_scores(runs_on, truth)["hd95"] == 10


@given(prediction=masks, truth=masks, valid=masks, other=masks)
@settings(max_examples=60, deadline=None)
def test_unknown_pixels_change_nothing(
    prediction: np.ndarray, truth: np.ndarray, valid: np.ndarray, other: np.ndarray
) -> None:
    changed = np.where(valid, prediction, other)
    first = boundary_scores(prediction, truth, valid)
    np.testing.assert_equal(boundary_scores(changed, truth, valid), first)


@given(first=masks, second=masks)
@settings(max_examples=60, deadline=None)
def test_bounds_and_symmetry(first: np.ndarray, second: np.ndarray) -> None:
    scores = boundary_scores(first, second, tolerance=1.0)
    assert 0 <= scores["boundary_f1"] <= 1
    assert 0 <= scores["nsd"] <= 1
    assert 0 <= scores["hd95"] <= math.hypot(9, 7)
    assert boundary_scores(second.T, first.T, tolerance=1.0) == pytest.approx(scores)
    assert boundary_scores(first, first)["hd95"] == 0


@pytest.mark.parametrize("tolerance", [-1.0, math.inf, math.nan])
def test_senseless_tolerance_is_refused(tolerance: float) -> None:
    mask = np.ones((4, 4), bool)
    with pytest.raises(InputError, match="tolerance"):
        boundary_scores(mask, mask, tolerance=tolerance)


def test_labels_instead_of_masks_are_refused() -> None:
    labels = np.zeros((4, 4), np.int32)
    with pytest.raises(InputError, match="prediction must be a 2-D mask"):
        boundary_scores(labels, labels)
