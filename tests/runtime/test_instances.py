import csv
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from PIL import Image
from scipy import ndimage
from skimage.segmentation import watershed

from abbe.errors import InputError
from abbe.runtime import instances_from_maps
from abbe.runtime.postprocess.flood import components_of, flood
from abbe.scoring import instance_scores


def disc(shape: tuple[int, int], centre: tuple[float, float], radius: float) -> np.ndarray:
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    return (rows - centre[0]) ** 2 + (columns - centre[1]) ** 2 <= radius**2


def inner_boundary(labels: np.ndarray) -> np.ndarray:
    low = ndimage.minimum_filter(labels, footprint=ndimage.generate_binary_structure(2, 1))
    high = ndimage.maximum_filter(labels, footprint=ndimage.generate_binary_structure(2, 1))
    return (low != high) & (labels > 0)


def connected_parts(mask: np.ndarray) -> tuple[np.ndarray, int]:
    labels = np.empty(mask.shape, np.int32)
    ndimage.label(mask, output=labels)
    return labels, int(labels.max())


def as_map(mask: np.ndarray) -> np.ndarray:
    return mask.astype(np.float32)


@pytest.fixture
def touching() -> np.ndarray:
    """Two discs that touch, one alone, one cut off by the image's corner."""
    labels = np.zeros((64, 80), np.int32)
    labels[disc(labels.shape, (20, 20), 10)] = 1
    labels[disc(labels.shape, (20, 39), 10) & (labels == 0)] = 2
    labels[disc(labels.shape, (45, 60), 8)] = 3
    labels[disc(labels.shape, (63, 0), 9)] = 4
    return labels


def same_partition(first: np.ndarray, second: np.ndarray) -> bool:
    pairs = {(int(a), int(b)) for a, b in zip(first.ravel(), second.ravel(), strict=True)}
    return len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs})


def agreement(found: np.ndarray, truth: np.ndarray) -> float:
    """Share of foreground pixels whose object is the best match of their true object."""
    right = 0
    for number in np.unique(truth[truth > 0]):
        right += np.bincount(found[truth == number])[1:].max()
    return right / np.count_nonzero(truth)


def test_boundary_map_separates_touching_objects(touching: np.ndarray) -> None:
    found = instances_from_maps(as_map(touching > 0), as_map(inner_boundary(touching)))
    assert found.dtype == np.int32
    assert found.max() == 4
    assert ((found > 0) == (touching > 0)).all()
    assert agreement(found, touching) > 0.97


def test_without_boundary_map_touching_discs_are_cut_at_the_neck(touching: np.ndarray) -> None:
    found = instances_from_maps(as_map(touching > 0))
    assert found.max() == 4
    assert agreement(found, touching) > 0.97


@pytest.mark.parametrize(("height", "width"), [(10, 60), (30, 30), (7, 7), (41, 13)])
def test_without_boundary_map_a_plain_shape_stays_whole(height: int, width: int) -> None:
    mask = np.zeros((80, 80), bool)
    mask[5 : 5 + height, 9 : 9 + width] = True
    assert instances_from_maps(as_map(mask)).max() == 1
    ellipse = ndimage.rotate(as_map(mask), 33, order=1)
    assert instances_from_maps(ellipse.clip(0, 1)).max() == 1


def test_a_small_bump_on_the_neck_does_not_join_two_objects() -> None:
    mask = disc((60, 120), (30, 30), 20) | disc((60, 120), (30, 86), 20)
    mask |= disc((60, 120), (30, 58), 9)
    labels = instances_from_maps(as_map(mask))
    assert labels[30, 30] != labels[30, 86]


def test_numbers_follow_reading_order(touching: np.ndarray) -> None:
    found = instances_from_maps(as_map(touching > 0), as_map(inner_boundary(touching)))
    firsts = [np.flatnonzero(found == number)[0] for number in range(1, found.max() + 1)]
    assert firsts == sorted(firsts)


def test_component_without_a_seed_is_kept_whole() -> None:
    mask = disc((30, 30), (15, 15), 6)
    found = instances_from_maps(as_map(mask), np.ones((30, 30), np.float32))
    assert (found == mask).all()


def test_a_tiny_seed_counts_only_where_there_is_no_larger_one() -> None:
    foreground = np.zeros((20, 60), np.float32)
    foreground[5:15, 5:25] = 1  # a large seed and a speck of noise
    foreground[8:12, 30:42] = 1  # two small objects, each with a tiny seed
    boundary = np.ones_like(foreground)
    boundary[6:14, 6:18] = 0
    boundary[10, 22] = 0
    boundary[9:11, 32:34] = 0
    boundary[9:11, 38:40] = 0
    found = instances_from_maps(foreground, boundary)
    assert len(np.unique(found[5:15, 5:25])) == 1
    assert found[10, 32] != found[10, 39]
    assert found.max() == 3


def test_specks_below_minimum_area_go_and_numbers_stay_consecutive() -> None:
    foreground = np.zeros((30, 30), np.float32)
    foreground[2:4, 2:4] = 1
    foreground[10:14, 10:14] = 1
    foreground[20:25, 20:25] = 1
    found = instances_from_maps(foreground, minimum_area=16)
    assert found[2, 2] == 0
    assert found[10, 10] == 1
    assert found[20, 20] == 2
    assert instances_from_maps(foreground, minimum_area=17).max() == 1


def test_pixels_at_the_threshold_are_foreground() -> None:
    foreground = np.full((8, 8), 0.5, np.float32)
    assert instances_from_maps(foreground).all()
    assert not instances_from_maps(foreground, threshold=0.51).any()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1), (2, 2), (3, 3)])
@pytest.mark.parametrize("with_boundary", [True, False])
def test_smallest_images(shape: tuple[int, int], with_boundary: bool) -> None:
    boundary = np.zeros(shape, np.float32) if with_boundary else None
    assert (instances_from_maps(np.ones(shape, np.float32), boundary, minimum_area=1) == 1).all()
    assert (instances_from_maps(np.zeros(shape, np.float32), boundary) == 0).all()


maps = arrays(np.float32, (17, 23), elements=st.floats(0, 1, width=16))


@given(foreground=maps, boundary=maps, with_boundary=st.booleans())
@settings(max_examples=60, deadline=None)
def test_every_mask_pixel_gets_a_connected_object(
    foreground: np.ndarray, boundary: np.ndarray, with_boundary: bool
) -> None:
    found = instances_from_maps(foreground, boundary if with_boundary else None, minimum_area=1)
    assert ((found > 0) == (foreground >= 0.5)).all()
    assert set(np.unique(found)) | {0} == set(range(found.max() + 1))
    for number in range(1, int(found.max()) + 1):
        assert connected_parts(found == number)[1] == 1


@given(height=maps, interior=arrays(bool, (17, 23)), extra=arrays(bool, (17, 23)))
@settings(max_examples=60, deadline=None)
def test_flood_keeps_seeds_and_objects_never_cross_components(
    height: np.ndarray, interior: np.ndarray, extra: np.ndarray
) -> None:
    components = components_of(interior | extra)
    seeds = components_of(interior)
    seeds[seeds % 3 == 1] = 0  # numbers may have gaps
    labels = flood(components, seeds, height)
    for number in range(1, int(labels.max()) + 1):
        assert len(np.unique(components[labels == number])) <= 1
        assert len(np.unique(seeds[(labels == number) & (seeds > 0)])) <= 1
    assert ((labels > 0) == (components > 0)).all()


def test_a_component_is_shared_out_alike_alone_and_among_others(rng: np.random.Generator) -> None:
    mask = ndimage.gaussian_filter(rng.random((90, 120)), 3) > 0.51
    components = components_of(mask)
    seeds = components_of(mask & (rng.random(mask.shape) < 0.05))
    height = rng.integers(0, 4, mask.shape).astype(np.float32)  # many pixels equally high
    together = flood(components, seeds, height)
    several = 0
    for number, (rows, columns) in enumerate(ndimage.find_objects(components), 1):
        one = np.pad(components[rows, columns] == number, 20)
        alone = flood(
            one.astype(np.int32),
            np.where(one, np.pad(seeds[rows, columns], 20), 0),
            np.pad(height[rows, columns], 20),
        )
        assert same_partition(alone[one], together[components == number])
        several += len(np.unique(alone[one])) > 1
    assert several >= 3


def test_flood_equals_the_plain_watershed(rng: np.random.Generator) -> None:
    mask = ndimage.gaussian_filter(rng.random((200, 200)), 3) > 0.495
    height = ndimage.gaussian_filter(rng.random((200, 200)), 2)  # no ties: one right answer
    components = components_of(mask)
    seeds = components_of(mask & (height < np.median(height)))
    plain = watershed(height, seeds, mask=mask)
    seedless, _ = connected_parts((plain == 0) & mask)
    expected = np.where(seedless > 0, seedless + plain.max(), plain)
    assert same_partition(flood(components, seeds, height), expected)


@pytest.mark.real
def test_necks_part_touching_nuclei(data_root: Path) -> None:
    folder = data_root / "dsb2018"
    with open(folder / "index.csv", newline="") as file:
        ids = [row["id"] for row in csv.DictReader(file) if row["split"] == "train"]
    cut, joined = [], []
    for id in ids[::10]:
        truth = np.array(Image.open(folder / "labels" / f"{id}.png")).astype(np.int32)
        found = instances_from_maps(as_map(truth > 0))
        cut.append(instance_scores(found, truth)["f1@0.5"])
        joined.append(instance_scores(connected_parts(truth > 0)[0], truth)["f1@0.5"])
    assert len(cut) > 20
    assert np.mean(cut) > max(0.94, np.mean(joined) + 0.04)


@pytest.mark.parametrize(
    ("foreground", "boundary", "words"),
    [
        (np.full((4, 4), 3.0), None, "foreground map must hold probabilities in .* sigmoid"),
        (np.full((4, 4), np.nan), None, "foreground map must hold probabilities"),
        (np.zeros((4, 4), np.uint8), None, "foreground map must be a 2-D array of floats"),
        (np.zeros((1, 4, 4)), None, "foreground map must be a 2-D array"),
        (np.zeros((0, 4)), None, "foreground map has no pixels"),
        (np.zeros((4, 4)), np.zeros((4, 5)), r"\(4, 4\) px but the boundary map is \(4, 5\)"),
        (np.zeros((4, 4)), np.full((4, 4), -1.0), "boundary map must hold probabilities"),
    ],
)
def test_wrong_maps_are_refused(
    foreground: np.ndarray, boundary: np.ndarray | None, words: str
) -> None:
    with pytest.raises(InputError, match=words):
        instances_from_maps(foreground, boundary)
