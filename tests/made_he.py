"""H&E made by two stains in random amounts, for tests of stain normalisation."""

import numpy as np

PINK, VIOLET = (0.07, 0.99, 0.11), (0.65, 0.70, 0.29)


def tissue(side: int, seed: int = 0, strength: float = 1.0) -> np.ndarray:
    """(3, H, W) uint8: stains in amounts of their own in each pixel, and nowhere glass."""
    random = np.random.default_rng(seed)
    amounts = random.uniform(0.5, 1.5, (2, side, side)) * strength
    colours = np.array([np.array(c) / np.linalg.norm(c) for c in (VIOLET, PINK)])
    density = np.einsum("shw,sc->chw", amounts, colours)
    return np.clip(240 * np.exp(-density), 0, 255).astype(np.uint8)
