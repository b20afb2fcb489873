import numpy as np
import pytest
import torch
from skimage.segmentation import find_boundaries

from abbe.imaging import inner_boundary
from abbe.losses import boundary_of, foreground_of, known_of


def labels_of(*rows: str) -> torch.Tensor:
    """Rows of characters: '.' background, '?' unknown, digits instances."""
    values = {".": 0, "?": -1}
    return torch.tensor([[[values.get(c, 0) if c in values else int(c) for c in r] for r in rows]])


def drawn(mask: torch.Tensor) -> list[str]:
    return ["".join("#" if value else "." for value in row) for row in mask[0]]


def test_touching_instances_are_parted_on_both_sides():
    labels = labels_of("1111222", "1111222", "1111222")
    assert drawn(boundary_of(labels)) == ["...##..", "...##..", "...##.."]
    assert drawn(foreground_of(labels)) == ["#######"] * 3


def test_band_is_inside_the_instance_and_diagonals_count():
    labels = labels_of(".......", ".11111.", ".11111.", ".11111.", ".......")
    assert drawn(boundary_of(labels)) == [".......", ".#####.", ".#...#.", ".#####.", "......."]
    assert drawn(boundary_of(labels_of("11.", "111", "111"))) == [".#.", ".##", "..."]


def test_unknown_is_neither_foreground_nor_another_instance():
    labels = labels_of("11?00", "11?22", "11?22")
    assert drawn(boundary_of(labels)) == [".....", "...##", "....."]
    assert drawn(foreground_of(labels)) == ["##...", "##.##", "##.##"]
    assert drawn(known_of(labels)) == ["##.##"] * 3


@pytest.mark.parametrize("dtype", [torch.int32, torch.int64])
def test_agrees_with_skimage(rng, dtype):
    coarse = rng.integers(0, 4, (3, 12, 14))
    labels = np.kron(coarse, np.ones((1, 4, 3), dtype=int))
    expected = [find_boundaries(image, connectivity=2, mode="inner") for image in labels]
    ours = boundary_of(torch.from_numpy(labels).to(dtype))
    np.testing.assert_array_equal(ours.numpy().astype(bool), expected)


@pytest.mark.parametrize("seed", range(4))
def test_numpy_draws_the_boundary_that_is_learned(seed):
    """Unknown pixels make none in either: in numpy the rim of unknown areas was one."""
    random = np.random.default_rng(seed)
    coarse = np.kron(random.integers(-1, 4, (9, 8)), np.ones((4, 5), int))
    labels = np.where(random.random(coarse.shape) < 0.03, -1, coarse).astype(np.int32)
    expected = boundary_of(torch.from_numpy(labels)[None])[0].numpy().astype(bool)
    np.testing.assert_array_equal(inner_boundary(labels), expected)
    assert 0 < expected.sum() < inner_boundary(labels.clip(0)).sum()
    counted = labels.clip(0).astype(np.uint16)  # as files may hold them
    np.testing.assert_array_equal(inner_boundary(counted), inner_boundary(labels.clip(0)))


def test_ids_that_float32_cannot_tell_apart():
    labels = torch.full((1, 4, 4), 2**24)
    labels[:, :, 2:] = 2**24 + 1
    assert drawn(boundary_of(labels)) == [".##."] * 4


@pytest.mark.parametrize("shape", [(1, 1, 1), (2, 1, 5), (2, 5, 1)])
def test_smallest_images(shape):
    assert boundary_of(torch.ones(shape, dtype=torch.int64)).sum() == 0
