"""What a killed run left half written beside its results: found once, removed image by image."""

import os
import re
import shutil
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

# The names that files and folders have until they are whole; see `abbe.files.atomic_path`.
_PART = re.compile(r"\.(.+)\.\d+\.part")


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
                for name in os.listdir(folder):
                    if match := _PART.fullmatch(name):
                        self._parts[folder / match[1]].append(folder / name)

    def remove(self, stem: Path, suffixes: Iterable[str]) -> None:
        """Remove those of one image."""
        for suffix in suffixes:
            for part in self._parts.pop(stem.with_name(stem.name + suffix), ()):
                if part.is_dir():
                    shutil.rmtree(part)
                else:
                    part.unlink(missing_ok=True)
