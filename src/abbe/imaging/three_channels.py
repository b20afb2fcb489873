"""From an image's channels to the three that networks of colour pictures, such as SAM, read."""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError
from abbe.imaging.normalisation import normalise, percentile_limits
from abbe.imaging.scaling import PERCENTILE

ThreeChannelRule = Literal["auto", "fill_last", "grey", "colour", "membrane_nucleus_mean"]
RULES: dict[str, str] = {
    "fill_last": "the channels fill the last of the three, those before are zero",
    "grey": "one channel, three times",
    "colour": "three channels as red, green and blue, stretched no further if they are 8-bit",
    "membrane_nucleus_mean": "second channel, first channel, mean of both",
}


def choose_rule(rule: ThreeChannelRule, channels: int) -> str:
    """The rule itself, or for ``auto`` grey, fill_last or colour for one, two or three channels.

    ``fill_last`` is CellSAM's own convention: (0, nucleus, membrane).

    Raises:
        ConfigError: the rule is unknown or does not fit the number of channels.
    """
    if rule == "auto":
        if channels not in (1, 2, 3):
            raise ConfigError(
                f"at most three channels can be shown as a colour picture, not {channels}: choose "
                "with channels=[…] (teacher.input_channels)"
            )
        return ("grey", "fill_last", "colour")[channels - 1]
    fitting = {"fill_last": (1, 2, 3), "grey": (1,), "colour": (3,), "membrane_nucleus_mean": (2,)}
    if rule not in fitting:
        known = "; ".join(f"{name}: {meaning}" for name, meaning in RULES.items())
        raise ConfigError(f"inputs '{rule}' is no rule. There are: {known}")
    if channels not in fitting[rule]:
        raise ConfigError(f"inputs '{rule}' does not go with {channels} channels")
    return rule


def three_channels(pixels: NDArray[np.generic], rule: str) -> NDArray[np.uint8]:
    """The colour picture, (H, W, 3) uint8, of the pixels (C, H, W).

    Each channel is stretched from its percentiles 1 and 99.8 to 0 and 255; 8-bit colour is left
    as it is, as SAM was trained on it.
    """
    if rule == "colour" and pixels.dtype == np.uint8:
        return np.ascontiguousarray(pixels.transpose(1, 2, 0)).astype(np.uint8, copy=False)
    stretched = normalise(pixels, percentile_limits(pixels))
    if rule == "grey":
        stretched = np.repeat(stretched, 3, axis=0)
    elif rule == "membrane_nucleus_mean":
        nucleus, membrane = stretched
        stretched = np.stack([membrane, nucleus, (nucleus + membrane) / 2])
    missing = 3 - len(stretched)
    padded = np.pad(stretched, ((missing, 0), (0, 0), (0, 0)))
    return np.round(padded.transpose(1, 2, 0) * 255).astype(np.uint8)


def described(rule: str) -> str:
    """What the rule does, for the store."""
    return f"{PERCENTILE.words} (8-bit colour as it is); {rule}: {RULES[rule]}"
