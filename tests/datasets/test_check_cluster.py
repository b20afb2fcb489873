"""data check on workers: the report of one machine, and an image that kills them is named."""

import os
import signal
from dataclasses import dataclass, replace
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from programs import forked_workers

import abbe
from abbe import datasets
from abbe.datasets import Dataset
from abbe.imaging import Image


@dataclass(frozen=True)
class Deadly:
    """An image that ends whoever opens it, as one that is too large for the memory."""

    notes: Path

    def open(self) -> Image:
        with open(self.notes, "a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError


@pytest.fixture
def folder(tmp_path: Path) -> Dataset:
    for name in ("images", "labels"):
        (tmp_path / "set" / name).mkdir(parents=True)
    for number in range(6):
        pixels = np.random.default_rng(number).integers(0, 255, (48, 40), np.uint8)
        label = np.zeros((48 + (number == 3), 40), np.uint8)  # one of another size
        label[5:15, 5:15] = 1
        for kind, array in (("images", pixels), ("labels", label)):
            path = tmp_path / "set" / kind / f"{number}.png"
            path.write_bytes(imagecodecs.png_encode(array))
    (tmp_path / "set" / "images" / "5.png").write_bytes(b"\x89PNG\r\n\x1a\n, and nothing")
    return datasets.folder(tmp_path / "set", channels=("nucleus",))


def test_the_report_is_that_of_one_machine_and_a_deadly_image_is_named(
    folder: Dataset, tmp_path: Path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    notes = tmp_path / "notes"
    deadly = replace(folder.records[1], image=Deadly(notes), label=None)
    last = tuple(record for record in folder if record.id != deadly.id)
    with forked_workers():
        together = abbe.check(folder.having((*last, deadly)), crop=64, cluster="local:2")
    assert notes.read_text() == "xxx"
    (problem,) = [p for p in together.problems if p.what == "image cannot be read"]
    assert dict(problem.where)[deadly.id].startswith("3 workers died while they had this image")
    assert not list(tmp_path.glob(".abbe-check-*"))
    alone = datasets.check(folder.having(last), crop=64)
    expected, found = alone.to_json(), together.to_json()
    assert len(alone.problems) >= 3
    assert found["images"] == expected["images"]
    of_others = [
        {**each, "where": [w for w in each["where"] if w["id"] != deadly.id]}
        for each in found["problems"]
    ]
    assert of_others == expected["problems"]
