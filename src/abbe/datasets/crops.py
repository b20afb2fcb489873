"""How large crops to train on should be, by the objects in them."""

import math

OBJECTS_WIDE = 8
CROPS = (96, 256)
"""px: sides at least and at most, unless the user says another."""


def recommended_crop(diameter: float | None, smallest: int) -> tuple[int, str]:
    """The side of a training crop in px, a multiple of 32, and the reason.

    >>> recommended_crop(19.0, 256)
    (160, '8 objects wide')
    >>> recommended_crop(None, 200)
    (192, 'the smallest image has 200 px')

    Args:
        diameter: of objects, px; None where there are none.
        smallest: the shortest side of any image, px.
    """
    if diameter is None:
        side, why = CROPS[1], "the usual; no size of objects is known"
    else:
        side = min(max(math.ceil(OBJECTS_WIDE * diameter / 32) * 32, CROPS[0]), CROPS[1])
        why = f"{side / diameter:.0f} objects wide"
    most = max(32, smallest // 32 * 32)
    return (most, f"the smallest image has {smallest} px") if side > most else (side, why)
