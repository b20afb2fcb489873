"""The options of a SAM teacher, checked before its weights are read."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from abbe.errors import ConfigError

if TYPE_CHECKING:
    import torch

Kind = Literal["probability", "instances", "embedding"]


@dataclass(frozen=True)
class GridSettings:
    """How the automatic grid finds and chooses its masks; the defaults are SAM's own.

    Attributes:
        points_per_side: of the grid, over each tile.
        minimum_iou: predicted IoU below which a mask is dropped.
        minimum_stability: IoU of the mask at logits 1 and −1, below which it is dropped.
        box_nms: IoU of boxes above which the worse of two masks is dropped.
        largest: share of the tile's area above which a mask is taken for background. Ours.
    """

    points_per_side: int = 32
    minimum_iou: float = 0.88
    minimum_stability: float = 0.95
    box_nms: float = 0.7
    largest: float = 0.2


def chosen_kinds(gives: str | Sequence[Kind]) -> tuple[Kind, ...]:
    """What to store, in a fixed order, from a list or names separated by commas.

    Raises:
        ConfigError: one of them is unknown, or there is none.
    """
    names = tuple(part.strip() for part in gives.split(",")) if isinstance(gives, str) else gives
    known = ("probability", "instances", "embedding")
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise ConfigError(f"gives: choose from {', '.join(known)}, not {', '.join(unknown) or '∅'}")
    return tuple(kind for kind in known if kind in names)


def require_whole_numbers(least: Mapping[str, int], given: Mapping[str, Any]) -> None:
    """Refuse an option that is not a whole number, or too small.

    Args:
        least: the smallest value of each option.
        given: its value.

    Raises:
        ConfigError: naming the option.
    """
    for name, smallest in least.items():
        value = given[name]
        if isinstance(value, bool) or not isinstance(value, int) or value < smallest:
            raise ConfigError(f"{name} {value}: a whole number of at least {smallest} is needed")


def require_tiling(tile: int | None, halo: int) -> None:
    """Refuse tiles that leave nothing between their halos.

    Raises:
        ConfigError: naming the option.
    """
    require_whole_numbers({"halo": 0}, {"halo": halo})
    if tile is None:
        return
    require_whole_numbers({"tile": 1}, {"tile": tile})
    if 2 * halo >= tile:
        raise ConfigError(
            f"halo {halo}: two halos leave nothing of a tile of {tile} px; choose a halo below "
            f"{math.ceil(tile / 2)}, or a tile above {2 * halo}"
        )


def bytes_of(memory_gb: float) -> int:
    """GiB as bytes.

    Raises:
        ConfigError: it is not above 0.
    """
    number = isinstance(memory_gb, int | float) and not isinstance(memory_gb, bool)
    if not number or not math.isfinite(memory_gb) or memory_gb <= 0:
        raise ConfigError(f"memory_gb {memory_gb}: a number above 0 is needed")
    return int(memory_gb * 2**30)


def place_for(device: str | None) -> torch.device:
    """Where the network runs; a GPU if there is one where ``device`` is None.

    Raises:
        ConfigError: torch does not know the device, or cannot use it here.
    """
    import torch

    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        place = torch.device(device)
        torch.empty(1, device=place)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(
            f"device '{device}' cannot be used here: {reason}. Choose cpu, or leave device out"
        ) from error
    return place
