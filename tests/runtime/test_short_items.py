"""Short items go to workers together; a death costs one of them, and a long one holds up none."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from distributed.comm.core import CommClosedError
from programs import forked_workers

from abbe.cluster import Died, Done, carry_out, deadline, open_cluster, opening, workers
from abbe.cluster.tries import Tries
from abbe.cluster.workers import _Batch, _work_through
from abbe.errors import ClusterError


def note_or_die(item: tuple[Path, int], number: int) -> Done:
    notes, n = item
    if n == 170:
        os.kill(os.getpid(), signal.SIGKILL)
    if n >= 497:  # the last batch ends before its end
        time.sleep(0.4)
    with open(notes, "a") as file:
        file.write(f"{n}\n")
    return Done({"n": n})


@pytest.mark.slow
def test_a_death_costs_its_item_and_nothing_that_was_sent_with_it(tmp_path: Path, monkeypatch):
    batches = []
    original = workers._Hand._send
    monkeypatch.setattr(
        workers._Hand,
        "_send",
        lambda self, batch: (batches.append(len(batch)), original(self, batch))[1],
    )
    items = ((str(n), (tmp_path / "notes", n)) for n in range(500))
    with forked_workers(), open_cluster("local:2") as opened:
        tries = Tries(tmp_path / "tries")
        found = dict(carry_out(opened, tries, note_or_die, items, count=500))
    died = {n: answer for (_, n), answer in found.items() if isinstance(answer, Died)}
    assert died == {170: Died(3)}
    assert sorted(each.kept["n"] for each in found.values() if isinstance(each, Done)) == [
        n for n in range(500) if n != 170
    ]
    noted = Counter((tmp_path / "notes").read_text().split())
    assert set(noted.values()) == {1}
    assert max(batches) > 10
    assert len(batches) < 250
    assert max(batches[-3:]) < max(batches) / 2  # the last are small


def test_what_there_is_no_time_for_is_given_back(monkeypatch):
    batch = _Batch(lambda item: item, (1, 2, 3))
    assert _work_through(batch)[0] == [1, 2, 3]
    monkeypatch.setattr(workers, "_TOGETHER", 0)
    assert _work_through(batch)[0] == [1]
    monkeypatch.undo()
    monkeypatch.setattr(deadline, "near", lambda: True)
    assert _work_through(batch)[0] == [1]


def test_workers_that_are_not_started_again_end_the_work_in_words(monkeypatch):
    monkeypatch.setattr(opening, "NO_WORKER_SECONDS", 1)
    with forked_workers(), open_cluster("local:1") as opened:
        opened.client.retire_workers(close_workers=True)
        with pytest.raises(ClusterError, match="no worker is left"):
            list(opened.run(abs, [-1]))


class DyingOnce:
    """A client, one of whose workers dies as it is told of a plugin."""

    def __init__(self) -> None:
        self.told = list[object]()

    def register_plugin(self, plugin: object) -> None:
        self.told.append(plugin)
        if len(self.told) == 1:
            raise CommClosedError


def test_a_worker_may_die_while_workers_are_told_of_a_plugin():
    client = DyingOnce()
    opening._register(client, "plugin")
    assert client.told == ["plugin", "plugin"]
