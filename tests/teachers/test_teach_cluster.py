"""teach on workers: parts that read as one store, whoever is killed."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from distributed import LocalCluster
from helpers_of_teachers import BrightTeacher, dataset_of
from programs import forked_workers

import abbe
from abbe.cluster import Workers, open_cluster
from abbe.errors import ClusterError, ConfigError, StoreError
from abbe.imaging import Image
from abbe.targets import TargetStore, TargetWriter
from abbe.teachers import Prediction, teach
from abbe.teachers.on_workers import TRIES, teach_on_workers


@dataclass
class Deadly(BrightTeacher):
    """Kills its process at image-2 once, and at image-4 always."""

    notes: Path = Path()

    def __post_init__(self) -> None:
        super().__init__()

    def predict(self, image: Image, id: str) -> Prediction:
        with open(self.notes, "a") as file:
            file.write(f"{id}\n")
        often = self.notes.read_text().split().count(id)
        if id == "image-4" or (id == "image-2" and often == 1):
            os.kill(os.getpid(), signal.SIGKILL)
        return super().predict(image, id)


@pytest.fixture(scope="module")
def workers() -> Iterator[Workers]:
    own: Any = {"threads_per_worker": 1, "memory_limit": 0, "silence_logs": 50}
    with forked_workers():
        started: Any = LocalCluster(n_workers=2, dashboard_address=":0", **own)
        with started, open_cluster(started.scheduler_address) as opened:
            yield opened


def same(store: TargetStore, other: TargetStore) -> None:
    assert store.provenance == other.provenance
    assert set(store.ids) == set(other.ids)
    for entry in other:
        mine = store.entry(entry.id)
        assert (mine.image_sha256, mine.shape, mine.pixel_size, mine.empty) == (
            entry.image_sha256, entry.shape, entry.pixel_size, entry.empty,
        )  # fmt: skip
        assert set(mine.maps) == set(entry.maps)
        for kind in entry.maps:
            np.testing.assert_array_equal(
                store.read(entry.id, kind, raw=True), other.read(entry.id, kind, raw=True)
            )


def test_parts_read_as_the_store_of_one_machine_whoever_dies(workers: Workers, tmp_path: Path):
    make = partial(Deadly, tmp_path / "notes")
    dataset = dataset_of(8, broken=(6,))
    path = tmp_path / "t"
    report = teach_on_workers(make, make(), dataset, path, workers, progress=False)
    assert (report.done, report.skipped) == (6, 0)
    assert set(report.failed) == {"image-4", "image-6"}
    assert "3 workers died while they had this image in hand" in report.failed["image-4"]
    assert report.failed["image-6"] == "OSError: the disk coughed"
    asked = (tmp_path / "notes").read_text().split()
    assert sorted(asked) == sorted(
        [f"image-{n}" for n in (0, 1, 2, 2, 3, 4, 4, 4, 5, 7)]
    )  # nothing is asked twice but by a death
    healthy = dataset.having(r for r in dataset if r.id not in report.failed)
    teach(BrightTeacher(), healthy, tmp_path / "alone", progress=False)
    same(TargetStore(path), TargetStore(tmp_path / "alone"))
    assert not (path / TRIES).exists()
    assert not list(path.rglob(".*.part"))
    # It grows, on workers and here, and zarr finds its maps.
    more = dataset_of(11)
    later = teach_on_workers(
        BrightTeacher, BrightTeacher(), more.having(r for r in more if r.id != "image-4"), path,
        workers, progress=False,
    )  # fmt: skip
    assert (later.done, later.skipped, later.failed) == (4, 6, {})
    here = teach(BrightTeacher(), more, path, progress=False)
    assert (here.done, here.skipped) == (1, 10)
    teach(BrightTeacher(), more, tmp_path / "alone", progress=False)
    same(TargetStore(path), TargetStore(tmp_path / "alone"))
    place = TargetStore(path).entry("image-9").maps["probability"]
    group: Any = zarr.open_group(str(path), mode="r")
    stored = np.asarray(group[place.array][place.row])
    np.testing.assert_array_equal(
        stored, TargetStore(path).read("image-9", "probability", raw=True)
    )


def test_what_workers_wrote_for_a_client_that_was_killed_is_taken_over(
    workers: Workers, tmp_path: Path
):
    path, dataset = tmp_path / "t", dataset_of(4)
    teach(BrightTeacher(), dataset_of(1), path, progress=False)
    part = path / "parts" / "earlier"
    teach(BrightTeacher(), dataset_of(3), part, progress=False)  # image-0 is in both
    (path / "parts" / "begun").mkdir()  # and this one was killed before it was a store
    teacher = BrightTeacher()
    report = teach_on_workers(BrightTeacher, teacher, dataset, path, workers, progress=False)
    assert (report.done, report.skipped, report.failed) == (1, 3, {})
    store = TargetStore(path)
    assert store.ids == dataset.ids
    assert store.entry("image-2").maps["probability"].array.startswith("parts/earlier/")
    teach(BrightTeacher(), dataset, tmp_path / "alone", progress=False)
    same(store, TargetStore(tmp_path / "alone"))


@dataclass
class Other(BrightTeacher):
    """Another teacher in every process."""

    def __post_init__(self) -> None:
        super().__init__()
        self.provenance = replace(self.provenance, teacher=f"number {os.getpid()}")


def test_a_worker_with_another_teacher_ends_the_run(workers: Workers, tmp_path: Path):
    with pytest.raises(ClusterError, match=r"the teacher is another.*\n.*teacher: 'num"):
        teach_on_workers(Other, Other(), dataset_of(2), tmp_path / "t", workers, progress=False)


def test_parts_of_another_teacher_are_refused(tmp_path: Path):
    teach(BrightTeacher(), dataset_of(1), tmp_path / "t" / "parts" / "a", progress=False)
    mine = replace(BrightTeacher().provenance, teacher="somebody else")
    (tmp_path / "t" / "parts").rename(tmp_path / "parts")
    with TargetWriter.open(tmp_path / "t", mine) as writer:
        (tmp_path / "parts").rename(tmp_path / "t" / "parts")
        with pytest.raises(StoreError, match="another teacher"):
            writer.adopt("a")


def test_teachers_as_objects_are_refused_in_words(tmp_path: Path):
    with pytest.raises(ConfigError, match="give the path or the keys"):
        abbe.teach(BrightTeacher(), dataset_of(1), tmp_path / "t", cluster="local:1")
