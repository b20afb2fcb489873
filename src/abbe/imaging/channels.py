"""Matches the channels of an image with those that are wanted, and renames them."""

from collections.abc import Mapping, Sequence

from abbe.errors import InputError
from abbe.in_words import NAMED, listing
from abbe.near import meant

RGB = ("red", "green", "blue")


def matching(has: Sequence[str], wanted: Sequence[str]) -> tuple[str, ...] | None:
    """The channels of an image that are meant by those wanted; None where some are missing.

    They are found by name. Where there is but one and one is wanted, it is that one.
    """
    if all(name in has for name in wanted):
        return tuple(wanted)
    return tuple(has) if len(has) == len(set(wanted)) == 1 else None


def lacking(
    source: str, has: Sequence[str], wanted: Sequence[str], who: str,
    advice: str = "take what was made for grey ones",
) -> str:  # fmt: skip
    """A message: ``source`` has not the channels that ``who`` sees, and what to do.

    Colours cannot be made of a grey image: ``advice`` is what to do but giving colour images.
    """
    seen = f"{source}: {who} sees {', '.join(wanted)}, but "
    if len(has) == 1 and set(RGB) <= set(wanted):
        return (
            f"{seen}this is a grey image (one channel, {has[0]}): it has no colours to see. Give "
            f"colour images, or {advice}"
        )
    if len(wanted) == 1 and set(RGB) <= set(has):
        return (
            f"{seen}this is a colour image ({', '.join(has)}). Save it as grey, or say which of "
            f"its channels is meant, such as {wanted[0]}={has[0]}, with --channels (in an "
            "experiment data.channels, in Python channels=…)"
        )
    missing = next(name for name in wanted if name not in has)
    return (
        f"{seen}the image has {listing(has, NAMED)}. Say which is which with --channels, such as "
        f"{missing}={has[0]}, or name all in order (in an experiment data.channels, in Python "
        "channels=…)"
    )


def renames_in(given: Sequence[str] | None, source: str) -> dict[str, str] | None:
    """New names by old ones where names are given as NEW=OLD; None where they are plain.

    Raises:
        InputError: Only some are given so, or a name is missing or stands twice.
    """
    if given is None or not any("=" in name for name in given):
        return None
    pairs = [name.partition("=") for name in given]
    renames = {old.strip(): new.strip() for new, _, old in pairs}
    names = [*renames, *renames.values()]
    if not all(names) or len(renames) < len(pairs) or len(set(renames.values())) < len(pairs):
        raise InputError(
            f"{source}: channels are named as all in order (DAPI actin), or each as NEW=OLD "
            f"(nucleus=DAPI), no name twice, not as: {' '.join(given)}"
        )
    return renames


def renamed(has: Sequence[str], renames: Mapping[str, str], source: str) -> tuple[str, ...]:
    """The names with new ones in the place of old ones; the others stay.

    Raises:
        InputError: There is no such channel, or two would have the same name.
    """
    for old in renames:
        if old not in has:
            raise InputError(
                f"{source}: there is no channel '{old}' to be called '{renames[old]}'. Its "
                f"channels are: {listing(has, NAMED)}.{meant(old, has)}"
            )
    names = tuple(renames.get(name, name) for name in has)
    if len(set(names)) < len(names):
        raise InputError(
            f"{source}: with these new names two channels would have one: {', '.join(names)}. "
            "Rename the other, too."
        )
    return names
