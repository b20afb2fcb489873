"""Images that cannot be used: found while planning, told, counted, and done without."""

import math
from collections.abc import Sequence

from abbe.condensing.draft import Draft
from abbe.datasets import Dataset
from abbe.runs.lost import Lost

KEY = "allow_failed"
SHARE = 0.1
"""Of the images, how many may turn out to be unreadable, or to be too much for the teacher."""


def lost_of(draft: Draft, dataset: Dataset, without_mask: Sequence[str]) -> Lost:
    """How many images the plan and the run may lose: a tenth, beside those that have no mask.

    Args:
        draft: in which the user may have said another number.
        dataset: all images.
        without_mask: those that a teacher of finished masks has none for.

    Raises:
        InputError: more have no mask than the user allows.
    """
    spare = math.ceil(SHARE * (len(dataset) - len(without_mask)))
    lost = Lost(draft.put(KEY, len(without_mask) + spare, ""))
    if draft.has(KEY):
        lost.add(dict.fromkeys(without_mask, "the teacher has no mask for it"))
    return lost


def explain(draft: Draft, lost: Lost, without_mask: Sequence[str]) -> None:
    """Say in the plan why so many images may fail."""
    known = []
    if without_mask:
        known.append(f"{_counted(without_mask)} no mask, such as {without_mask[0]}")
    failed = [id for id in lost.ids if id not in set(without_mask)]
    if failed:
        known.append(f"{_counted(failed)} failed already, such as {failed[0]}")
    others = "of the others a tenth" if known else "a tenth of the images"
    why = "; ".join([*known, f"{others} may fail, and each is told"])
    draft.put(KEY, lost.allowed, why)


def _counted(ids: Sequence[str]) -> str:
    return f"{len(ids)} image{'s have' if len(ids) > 1 else ' has'}"
