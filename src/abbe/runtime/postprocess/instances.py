"""From a student's probability maps to instances."""

import fastremap
import numpy as np

from abbe.errors import InputError
from abbe.runtime.postprocess.flood import components_of, flood, owners
from abbe.runtime.postprocess.split_touching import split_touching

# A smaller seed beside a larger one in the same component is taken for noise of the maps.
SMALLEST_SEED = 5  # px


def instances_from_maps(
    foreground: np.ndarray,
    boundary: np.ndarray | None = None,
    *,
    threshold: float = 0.5,
    boundary_threshold: float = 0.5,
    minimum_area: int = 15,
) -> np.ndarray:
    """Label every object in a foreground map.

    The mask is ``foreground >= threshold``. With a boundary map, seeds are the connected pixels of
    the mask where ``boundary < boundary_threshold``, and the watershed floods the boundary map
    from them. Without one, touching objects are split where the mask is narrow (see
    `split_touching`). A component of the mask without any seed is kept as one object: nothing of
    the mask is lost but objects smaller than ``minimum_area``.

    Args:
        foreground: (H, W) float, probability of foreground in [0, 1].
        boundary: (H, W) float, probability of an object's boundary in [0, 1], or None.
        threshold: in [0, 1]; a pixel at the threshold is foreground.
        boundary_threshold: in [0, 1]; unused without a boundary map.
        minimum_area: px; smaller objects are removed.

    Returns:
        (H, W) int32: 0 = background, objects 1…n in reading order of their first pixel.

    Raises:
        InputError: the maps are not 2-D floats in [0, 1] of one shape (logits, NaN, uint8…).
    """
    _check_map("foreground", foreground)
    mask = foreground >= threshold
    components = components_of(mask)
    if boundary is None:
        labels = split_touching(mask, components)
    else:
        _check_map("boundary", boundary)
        if boundary.shape != foreground.shape:
            raise InputError(
                f"the foreground map is {foreground.shape} px but the boundary map is "
                f"{boundary.shape} px: both must come from the same image"
            )
        seeds = components_of(mask & (boundary < boundary_threshold))
        labels = flood(components, _without_tiny_seeds(seeds, components), boundary)
    return _without_specks(labels, minimum_area)


def _without_tiny_seeds(seeds: np.ndarray, components: np.ndarray) -> np.ndarray:
    """Drop seeds below ``SMALLEST_SEED``, but never the largest of a component."""
    inside = np.flatnonzero(seeds > 0)
    numbers = seeds.ravel()[inside]
    area = np.bincount(numbers, minlength=int(numbers.max(initial=0)) + 1)
    owner = owners(seeds, components)
    largest = np.zeros(int(components.max()) + 1, np.int64)
    np.maximum.at(largest, owner, area)
    kept = area >= np.minimum(SMALLEST_SEED, largest[owner])
    if kept.all():
        return seeds
    left = seeds.copy()
    left.ravel()[inside[~kept[numbers]]] = 0
    return left


def _without_specks(labels: np.ndarray, minimum_area: int) -> np.ndarray:
    cleaned = labels
    if minimum_area > 1:
        kept = np.bincount(labels.ravel()) >= minimum_area
        kept[0] = False
        cleaned = labels if kept[1:].all() else np.where(kept[labels], labels, 0)
    return fastremap.renumber(cleaned, preserve_zero=True)[0].astype(np.int32, copy=False)


def _check_map(name: str, values: np.ndarray) -> None:
    if values.ndim != 2 or not np.issubdtype(values.dtype, np.floating):
        raise InputError(
            f"the {name} map must be a 2-D array of floats (H, W); "
            f"got shape {values.shape}, dtype {values.dtype}"
        )
    if values.size == 0:
        raise InputError(f"the {name} map has no pixels: its shape is {values.shape}")
    low, high = float(values.min()), float(values.max())
    if not (low >= 0.0 and high <= 1.0):  # also catches NaN
        raise InputError(
            f"the {name} map must hold probabilities in [0, 1]; got {low:g} to {high:g}. "
            "Logits need a sigmoid first"
        )
