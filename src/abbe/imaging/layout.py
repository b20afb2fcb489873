"""The order of dimensions: of arrays without names, and of files that name theirs."""

from collections.abc import Sequence

from abbe.errors import InputError

# More planes than this, unnamed, are rather a stack or a time series than channels.
MOST_UNNAMED_CHANNELS = 64

_STACKS = {"Z": "a 3-D stack ({} planes)", "T": "a time series ({} points)"}


def axes_of_array(
    shape: tuple[int, ...], channels: Sequence[str] | None, source: str, planes: str = "array"
) -> str:
    """Axes of an unnamed array: "YX", "CYX" or "YXC".

    Dimensions of length one are left out of account, written "_". Of three dimensions, the one
    for channels is the first or the last: the one that has as many entries as the user gave
    names; without names the shorter one, and the first where both are equal.

    Raises:
        InputError: The array is empty, has not two or three dimensions, or more than 64 entries
            in each and no names.
    """
    if 0 in shape:
        raise InputError(f"{source}: the {planes} has no pixels (shape {shape}).")
    long = [index for index, size in enumerate(shape) if size > 1]
    if len(shape) < 2 or len(long) > 3:
        raise InputError(
            f"{source}: the {planes} has shape {shape}, but one 2-D image is expected: "
            "(H, W), (C, H, W) or (H, W, C). Save each plane of a stack as an image of its own."
        )
    if len(shape) == 2:
        return "YX"
    if len(shape) > 3:
        kept = (long + [i for i in reversed(range(len(shape))) if i not in long])[:3]
        inner = axes_of_array(tuple(shape[i] for i in sorted(kept)), channels, source, planes)
        letters = dict(zip(sorted(kept), inner, strict=True))
        return "".join(letters.get(index, "_") for index in range(len(shape)))
    first, last = shape[0], shape[2]
    if channels is not None and len(channels) in (first, last):
        return "CYX" if len(channels) == first else "YXC"
    if min(first, last) > MOST_UNNAMED_CHANNELS:
        raise InputError(
            f"{source}: the {planes} has shape {shape}, which looks like a 3-D stack or a time "
            "series, not a 2-D image. Save each plane as an image of its own; if these are "
            "channels, give their names."
        )
    return "CYX" if first <= last else "YXC"


def check_2d(axes: str, shape: Sequence[int], source: str) -> None:
    """Refuse files whose named axes are those of a stack or a time series.

    Raises:
        InputError: An axis other than X, Y and C is longer than one, or X or Y is missing.
    """
    for letter, size in zip(axes, shape, strict=True):
        if letter not in "YXC" and size > 1:
            kind = _STACKS.get(letter, f"{{}} images along the axis '{letter}'").format(size)
            raise InputError(
                f"{source}: it holds {kind} (axes {axes}, shape {tuple(shape)}), but one 2-D image "
                "is expected. Save each plane, or a projection, as an image of its own."
            )
    if sorted(letter for letter in axes if letter in "YX") != ["X", "Y"]:
        raise InputError(
            f"{source}: axes {axes} are not those of a 2-D image, which has Y and X once each. "
            "Mend its metadata, or export it again."
        )
    if 0 in shape:
        raise InputError(f"{source}: the image has no pixels (shape {tuple(shape)}).")
