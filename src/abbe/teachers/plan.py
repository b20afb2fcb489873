"""Before a teacher starts: how long it will take, and how much disk its answers need."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from abbe.errors import ConfigError, InputError, StoreError, fault_of
from abbe.in_words import counted, faults
from abbe.teachers.introduction import introduction
from abbe.teachers.teach import OF_THE_TEACHER, READERS, load, provenance_of
from abbe.teachers.teacher import Teacher

if TYPE_CHECKING:
    from abbe.datasets import Dataset
    from abbe.datasets.collection import Record
    from abbe.targets import Provenance, TargetWriter


@dataclass(frozen=True)
class Measured:
    """What one image of the sample cost.

    Attributes:
        id: the image.
        pixels: its height times its width.
        read, network, write: seconds for decoding and hashing it, for the teacher's answer, and
            for compressing and writing that.
        bytes: of its maps on the disk.
    """

    id: str
    pixels: int
    read: float
    network: float
    write: float
    bytes: int

    @property
    def seconds(self) -> float:
        """What it costs in a run, where the three go on at the same time."""
        return max(self.read / READERS, self.network, self.write)


@dataclass(frozen=True)
class Plan:
    """What teaching a data set will take.

    Attributes:
        provenance: the teacher, as the store will name it.
        images: in the data set.
        skipped: images that the store has already.
        seconds: for the others.
        bytes: that they will need on the disk.
        free: bytes on the disk of the store.
        sample: what was measured.
        failed: by id, images of the data set that cannot be opened, or of the sample that the
            teacher failed on; they are not counted.
    """

    provenance: Provenance
    images: int
    skipped: int
    seconds: float
    bytes: int
    free: int
    sample: tuple[Measured, ...] = ()
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def fits(self) -> bool:
        """Whether the disk has room for it."""
        return self.bytes <= self.free

    def to_json(self) -> dict[str, Any]:
        """A dict of plain JSON values."""
        return {**asdict(self), "fits": self.fits}

    def summary(self) -> str:
        """For people."""
        left = self.images - self.skipped - len(self.failed)
        lines = [
            introduction(self.provenance),
            f"images: {left} to teach, {self.skipped} in the store already",
            f"time: about {_duration(self.seconds)}",
            f"disk: about {_size(self.bytes)}; {_size(self.free)} free",
        ]
        if self.sample:
            lines.append(f"measured on {counted(len(self.sample), 'image')}: {self._slowest()}")
        if not self.fits:
            lines.append("WARNING: this does not fit on the disk: free some space, or name another")
        lines += faults(self.failed)
        return "\n".join(lines)

    def _slowest(self) -> str:
        times = {
            name: sum(getattr(one, name) for one in self.sample) / len(self.sample)
            for name in ("read", "network", "write")
        }
        return ", ".join(f"{name} {seconds:.3g} s" for name, seconds in times.items()) + " an image"


def plan(
    teacher: Teacher,
    dataset: Dataset,
    path: str | os.PathLike[str],
    *,
    images: int = 4,
) -> Plan:
    """Time a teacher on a few images and say what teaching the rest will take.

    The sample goes evenly from the smallest image to the largest; what an image in between costs
    is interpolated by its area, which fits teachers that take longer for larger images and those
    that shrink every image to one size. The smallest is asked once more before, untimed, because
    first calls are slow. The answers go to a temporary store beside ``path``, which is measured
    and thrown away. An image counts as taught if the store has its id; whether its pixels have
    changed since is found out when teaching.

    Args:
        teacher: who would teach.
        dataset: the images.
        path: the store that they would go to; it need not exist, and is not touched.
        images: how many to time.

    Raises:
        InputError: the data set has no images, lacks a channel that the teacher reads, or the
            teacher failed on every image of the sample.
        StoreError: the store at ``path`` is another teacher's, or cannot be read.
        ConfigError: the teacher cannot do what its options ask for.
        ConfigError: ``images`` is less than one.
    """
    if images < 1:
        raise ConfigError(f"a plan needs at least one image to time, not {images}")
    provenance = provenance_of(teacher, dataset)
    dataset = dataset.seen_as(provenance.channels)
    store, there = Path(path), existing(Path(path))
    taught = _taught(store, provenance)
    failed: dict[str, str] = {}
    areas = _areas([record for record in dataset if record.id not in taught], failed)
    sample: list[Measured] = []
    if areas:
        chosen = _spread(dataset, areas, images)
        with tempfile.TemporaryDirectory(prefix=".abbe-plan-", dir=there) as folder:
            sample = _measure(teacher, chosen, Path(folder) / "targets.zarr", provenance, failed)
    left = np.array([area for id, area in areas.items() if id not in failed])
    if areas and not sample:
        id, message = next((id, failed[id]) for id in areas if id in failed)
        raise InputError(f"the teacher failed on every image of the sample; '{id}': {message}")
    return Plan(
        provenance,
        len(dataset),
        sum(record.id in taught for record in dataset),
        _total(left, sample, [one.seconds for one in sample]),
        round(_total(left, sample, [one.bytes for one in sample])),
        shutil.disk_usage(there).free,
        tuple(sample),
        failed,
    )


def existing(path: Path) -> Path:
    """The folder, or the nearest one above it that exists."""
    path = path.absolute()
    return next(folder for folder in (path.parent, *path.parents) if folder.is_dir())


def _taught(path: Path, provenance: Provenance) -> set[str]:
    from abbe.targets import TargetStore

    if not (path / "zarr.json").exists():
        if path.exists() and (not path.is_dir() or any(path.iterdir())):
            raise StoreError(f"{path}: is there and no target store; name a new folder")
        return set()
    store = TargetStore(path)
    if differing := store.provenance.differences(provenance):
        raise StoreError(
            f"{path}: holds the targets of another teacher or of other settings; name a new "
            "store. What differs:\n  " + "\n  ".join(differing)
        )
    return set(store.ids)


def _areas(records: Sequence[Record], failed: dict[str, str]) -> dict[str, int]:
    """Pixels of each image that can be opened."""
    areas = {}
    for record in records:
        try:
            height, width = record.image.open().shape
            areas[record.id] = height * width
        except Exception as error:  # listed, as teaching will list it
            failed[record.id] = fault_of(error)
    return areas


def _spread(dataset: Dataset, areas: dict[str, int], count: int) -> list[Record]:
    """Images at even ranks from the smallest to the largest."""
    ranked = sorted(areas, key=lambda id: areas[id])
    ranks = np.unique(np.linspace(0, len(ranked) - 1, count).round().astype(int))
    by_id = {record.id: record for record in dataset}
    return [by_id[ranked[rank]] for rank in ranks]


def _measure(
    teacher: Teacher,
    records: Sequence[Record],
    path: Path,
    provenance: Provenance,
    failed: dict[str, str],
) -> list[Measured]:
    from abbe.targets import TargetWriter

    measured: list[Measured] = []
    warm = False
    with TargetWriter.open(path, provenance) as writer:
        for record in records:
            try:
                if not warm:
                    teacher.predict(load(record, provenance.channels)[0], record.id)
                    warm = True
                measured.append(_measure_one(teacher, record, writer, provenance.channels))
            except Exception as error:  # listed, as teaching will list it
                if isinstance(error, OF_THE_TEACHER):
                    raise
                if isinstance(error, StoreError):
                    writer.flush()  # raises where the disk failed, and not this image
                failed[record.id] = fault_of(error)
    return measured


def _measure_one(
    teacher: Teacher, record: Record, writer: TargetWriter, channels: Sequence[str]
) -> Measured:
    before, times = _size_on_disk(writer.path), [time.perf_counter()]
    image, sha256 = load(record, channels)
    times.append(time.perf_counter())
    answer = teacher.predict(image, record.id)
    times.append(time.perf_counter())
    writer.append(
        record.id,
        answer.maps,
        image_sha256=sha256,
        shape=image.shape,
        pixel_size=image.pixel_size,
        empty=answer.empty,
    )
    writer.flush()
    times.append(time.perf_counter())
    read, network, write = (float(seconds) for seconds in np.diff(times))
    size = _size_on_disk(writer.path) - before
    return Measured(record.id, image.shape[0] * image.shape[1], read, network, write, size)


def _size_on_disk(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def _total(areas: np.ndarray, sample: Sequence[Measured], values: Sequence[float]) -> float:
    """Interpolated at the areas between those of the sample, and summed."""
    if not len(areas) or not sample:
        return 0.0
    measured = np.array([one.pixels for one in sample])
    known = np.unique(measured)
    means = [np.mean(np.array(values)[measured == area]) for area in known]
    return float(np.interp(areas, known, means).sum())


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.3g} s"
    if seconds < 7200:
        return f"{seconds / 60:.3g} min"
    return f"{seconds / 3600:.3g} h" if seconds < 48 * 3600 else f"{seconds / 86400:.3g} days"


def _size(count: int) -> str:
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.3g} {unit}"
    return f"{count} bytes"
