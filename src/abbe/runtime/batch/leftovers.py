"""Removes the half-written results that a killed run left, when their image is next worked on."""

from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from abbe.files import is_being_written, part_of, remove_part


class Leftovers:
    """Half-written results by the name that they would have got.

    Only those of an image that is about to be worked on are removed: another process may have the
    other images in hand.
    """

    def __init__(self, stems: Iterable[Path]) -> None:
        """Look into the folders of these results, paths without suffix."""
        self._parts: dict[Path, list[Path]] = defaultdict(list)
        for folder in {stem.parent for stem in stems}:
            if folder.is_dir():
                for found in folder.iterdir():
                    if part := part_of(found):
                        self._parts[part.target].append(found)

    def has(self, stem: Path) -> bool:
        """Whether something half written is there of one image."""
        return any(
            target.parent == stem.parent and target.name.startswith(f"{stem.name}.")
            for target in self._parts
        )

    def remove(self, stem: Path, suffixes: Iterable[str], *, alone: bool = False) -> None:
        """Remove those of one image, but none that a running process writes.

        With ``alone``, all: for a caller who knows that nobody else has this image in hand. Numbers
        of processes come again, and a part could be taken for that of another one for ever.
        """
        for suffix in suffixes:
            for part in self._parts.pop(stem.with_name(stem.name + suffix), ()):
                found = part_of(part)
                if alone or (found is not None and not is_being_written(found)):
                    remove_part(part)
