"""One worker a GPU: which there are, and which is whose."""

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from abbe.cluster import gpus as of_here
from abbe.cluster import open_cluster
from abbe.cluster.gpus import VISIBLE, HasOwnGpu, gpus


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("0,1,2", ("0", "1", "2")),
        ("GPU-8a, 3", ("GPU-8a", "3")),
        ("", ()),
        ("-1", ()),
        ("2,-1,3", ("2",)),
    ],
)
def test_cuda_s_variable_says_which_there_are(monkeypatch, said, names):
    monkeypatch.setenv(VISIBLE, said)
    assert gpus() == names


def test_without_it_the_driver_does(monkeypatch, tmp_path: Path):
    monkeypatch.delenv(VISIBLE, raising=False)
    monkeypatch.setattr(of_here, "DRIVER", tmp_path / "gpus")
    assert gpus() == ()
    for bus in ("0000:3b:00.0", "0000:af:00.0"):
        (tmp_path / "gpus" / bus).mkdir(parents=True)
    assert gpus() == ("0", "1")


def test_each_worker_takes_its_own(monkeypatch):
    monkeypatch.setenv(VISIBLE, "4,6")
    seen = []
    for number in (0, 1):
        HasOwnGpu(("4", "6")).setup(SimpleNamespace(name=number))
        seen.append(os.environ[VISIBLE])
    assert seen == ["4", "6"]


def visible(number: int) -> str:
    return os.environ[VISIBLE]


def test_there_are_no_more_workers_than_gpus(monkeypatch):
    monkeypatch.setenv(VISIBLE, "5")
    said: list[str] = []
    with open_cluster("local:3", said.append, on_gpus=True) as workers:
        assert workers.slots() == 1
        assert dict(workers.run(visible, [0])) == {0: "5"}
    assert "one worker a GPU: 5" in said
