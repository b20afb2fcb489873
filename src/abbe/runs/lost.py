"""Images that a run cannot use: which and why, and how many it may lose."""

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from abbe.datasets import Dataset, Record
from abbe.datasets.fingerprints import channel_digests
from abbe.datasets.pictures import label_of
from abbe.errors import InputError, fault_of
from abbe.foreign_text import shown
from abbe.in_words import counted, faults
from abbe.progress import track
from abbe.summary import Overlap

READERS = 2
"""Images that are read at a time."""
SHOWN = 20
"""Different faults that a message tells; all of them stand in what the teacher's run printed."""


@dataclass
class Lost:
    """The images lost so far.

    Attributes:
        allowed: how many a run may lose and still go on.
        reasons: by id, why an image cannot be used.
        left_out: ids of those that cannot be read, and slides without a tile: the run does without.
        begun: the run trains already; its images were read when it began.
        digests: of images that were read, by data set and id; see `abbe.datasets.fingerprints`.
        overlaps: what was trained before and has seen test images, or may have.
    """

    allowed: int = 0
    reasons: dict[str, str] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)
    begun: bool = False
    digests: dict[tuple[str, str], tuple[str, ...]] = field(default_factory=dict)
    overlaps: list[Overlap] = field(default_factory=list)

    @property
    def ids(self) -> list[str]:
        """The ids in order."""
        return sorted(self.reasons)

    def add(self, reasons: Mapping[str, str], kept: Path | None = None) -> None:
        """Note further lost images, and say so.

        Args:
            reasons: by id.
            kept: the target store that holds the answers for the others.

        Raises:
            InputError: more are lost than allowed.
        """
        self.reasons |= reasons
        if len(self.reasons) > self.allowed:
            raise InputError(self._message(kept))
        if reasons:
            text = f"warning: {_counted(len(self.reasons))} lost:\n{_listed(reasons)}"
            print(shown(text), flush=True)

    def _message(self, kept: Path | None) -> str:
        count = len(self.reasons)
        answers = "" if kept is None else f" The answers for the others are kept in {kept}."
        return (
            f"{_counted(count)} lost, and {self.allowed} may be:\n{_listed(self.reasons)}\n"
            f"Nothing was trained on the rest.{answers} Mend the images, or choose others of one "
            "kind (--data.where COLUMN VALUE, by index.csv), and run the same again, with --resume "
            f"where a run was begun, or go on without them with --allow-failed {count}"
        )


def readable(dataset: Dataset, lost: Lost, *, progress: bool) -> Dataset:
    """The data set without the images that cannot be read, where some may be lost.

    Every image and label is read once for that, so that all that are damaged are named before
    anything is computed. Of a run that has begun nothing is read where none may be lost. Files that
    gave no image (`Dataset.left_out`), such as damaged slides, are lost likewise, one each.

    Raises:
        InputError: more are lost than allowed.
    """
    if lost.begun and not lost.allowed:
        _lose(dataset.left_out, lost)
        return dataset

    def fault(record: Record) -> str:
        try:
            image = record.image.open()
            digests = channel_digests(image, dataset.channels)  # reads all of it, a part at a time
            label_of(record, image)
            lost.digests[dataset.name, record.id] = digests
        except Exception as error:  # whatever it is belongs to this image and is told with it
            return fault_of(error)
        return ""

    with ThreadPoolExecutor(READERS, thread_name_prefix="read") as pool:
        found = pool.map(fault, dataset.records)
        records = track(dataset.records, "looking", shown=progress)
        try:
            damaged = {r.id: why for r, why in zip(records, found, strict=True) if why}
        finally:
            pool.shutdown(wait=False, cancel_futures=True)  # Ctrl+C waits for what has begun alone
    reasons = {**dataset.left_out, **damaged}
    _lose(reasons, lost)
    return dataset.without(reasons)


def _lose(reasons: Mapping[str, str], lost: Lost) -> None:
    lost.add(reasons)
    lost.left_out += reasons


def _counted(count: int) -> str:
    return f"{counted(count, 'image')} {'was' if count == 1 else 'were'}"


def _listed(reasons: Mapping[str, str]) -> str:
    return "\n".join(faults(reasons, SHOWN))
