"""What is noted of items that workers begin: each once, whoever dies."""

from pathlib import Path
from typing import Any, cast

from abbe.cluster import Workers
from abbe.cluster.in_order import in_order
from abbe.cluster.tries import Tries
from abbe.runtime.batch.finished import LOG, Finished, line_of
from abbe.runtime.job import Written


def test_an_item_is_given_up_after_three_deaths_and_counts_end_with_the_client(tmp_path: Path):
    tries = Tries(tmp_path / "tries")
    for number in (1, 2, 3):
        with tries.begin("a/b ß") as attempt:  # and the worker dies
            assert (attempt.number, attempt.given_up, attempt.finished) == (number, False, None)
    with tries.begin("a/b ß") as attempt:
        assert attempt.given_up
    assert tries.collect() == []  # the client comes again
    with tries.begin("a/b ß") as attempt:
        assert (attempt.number, attempt.given_up) == (1, False)
        attempt.end()
    tries.close()
    assert not tries.folder.exists()


def test_what_is_finished_waits_for_the_client_and_is_not_done_again(tmp_path: Path):
    tries = Tries(tmp_path)
    with tries.begin("a") as attempt:
        attempt.finish({"count": 3})
    with tries.begin("a") as attempt:
        assert attempt.finished == {"count": 3}
    assert tries.collect() == [(tries.path("a"), {"count": 3})]
    tries.path("b").write_text('{"beg')  # cut short by a power cut
    with tries.begin("b") as attempt:
        assert (attempt.number, attempt.finished) == (1, None)
    tries.forget("a")
    assert tries.collect() == []


class Inline:
    """Workers in this process."""

    share = 1

    def run(self, function: Any, items: Any, *, long: Any, count: int) -> Any:
        return ((item, function(item)) for item in items)


def test_kills_of_a_client_are_no_deaths_of_workers(tmp_path: Path, monkeypatch):
    """Three of them, and images were given up that no worker died of."""
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    tries = Tries(tmp_path / "scratch")
    for _ in range(3):
        with tries.begin("a"):  # and the client ends, and its workers with it
            pass
    with tries.begin("b") as attempt:
        attempt.finish({"of": "another verb"})
    found = in_order(
        cast(Workers, Inline()), tries.folder, str.upper, {"a": "a", "b": "b"}, lambda: None
    )
    assert found == ["A", "B"]
    assert not tries.folder.exists()


def test_a_line_that_the_client_took_before_it_was_killed_is_known(tmp_path: Path):
    log = Finished(tmp_path / LOG)
    line = line_of("a", "a.png", {"results": ["labels"]}, "objects", Written(3))
    assert not log.ends_with(line)
    log.take(line)
    assert Finished(tmp_path / LOG).ends_with(line)
    assert not log.ends_with({**line, "objects": 4})
