"""Short items go to workers together; a death costs one of them, and a long one holds up none."""

import os
import signal
import time
from collections import Counter
from pathlib import Path

import pytest

from abbe.cluster import Died, Done, carry_out, deadline, open_cluster, workers
from abbe.cluster.tries import Tries
from abbe.cluster.workers import _Batch, _work_through


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
    with open_cluster("local:2") as opened:
        found = dict(carry_out(opened, Tries(tmp_path / "tries"), note_or_die, items))
    died = {n: answer for (_, n), answer in found.items() if isinstance(answer, Died)}
    assert died == {170: Died(3)}
    assert sorted(each.kept["n"] for each in found.values() if isinstance(each, Done)) == [
        n for n in range(500) if n != 170
    ]
    noted = Counter((tmp_path / "notes").read_text().split())
    assert set(noted.values()) == {1}
    assert max(batches) > 10
    assert len(batches) < 250


def test_what_there_is_no_time_for_is_given_back(monkeypatch):
    batch = _Batch(lambda item: item, (1, 2, 3))
    assert _work_through(batch)[0] == [1, 2, 3]
    monkeypatch.setattr(workers, "_TOGETHER", 0)
    assert _work_through(batch)[0] == [1]
    monkeypatch.undo()
    monkeypatch.setattr(deadline, "near", lambda: True)
    assert _work_through(batch)[0] == [1]
