"""Compiled networks that are kept between starts."""

import os
import threading
from functools import partial

import numpy as np
import platformdirs
import pytest
from made_packages import make_package

from abbe.runtime.package import network_files, read_package
from abbe.runtime.package.engine import open_engine
from abbe.runtime.package.network_cache import default_cache, forget_oldest, writing_to

BATCH = np.random.default_rng(0).random((1, 1, 32, 32), np.float32)


@pytest.fixture
def package(tmp_path):
    return read_package(make_package(tmp_path / "package"))


@pytest.fixture
def cache(tmp_path):
    return tmp_path / "cache"


def keep(cache, network, name, size, used, made):
    """A file of ``size`` bytes in the place of a compiled network, with times in seconds."""
    path = cache / network / f"{name}.blob"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(size))
    os.utime(path, (made, made))
    os.utime(path.parent, (used, used))


def names(cache):
    return sorted(path.stem for path in cache.rglob("*.blob"))


def test_a_start_from_the_cache_answers_alike(package, cache):
    first = open_engine(package, cache=cache).logits(BATCH)
    assert len(names(cache)) == 1
    second = open_engine(package, cache=cache).logits(BATCH)
    assert len(names(cache)) == 1
    np.testing.assert_array_equal(first, second)


def test_a_cache_that_cannot_be_written_costs_only_time(package, tmp_path):
    (tmp_path / "file").write_text("in the way")
    engine = open_engine(package, cache=tmp_path / "file" / "cache")
    assert engine.logits(BATCH).shape == (1, 2, 32, 32)


@pytest.mark.parametrize("left", [0, 100, -10])
def test_a_network_cut_short_is_compiled_again(package, cache, left):
    expected = open_engine(package, cache=cache).logits(BATCH)
    (kept,) = cache.rglob("*.blob")
    whole = kept.read_bytes()
    kept.unlink()
    kept.write_bytes(whole[:left])
    np.testing.assert_array_equal(open_engine(package, cache=cache).logits(BATCH), expected)


def test_what_was_used_longest_ago_is_forgotten_first(cache):
    keep(cache, "a", "of-old", 400, used=1, made=1)
    keep(cache, "b", "older-threads", 400, used=9, made=2)
    keep(cache, "b", "newer-threads", 400, used=9, made=3)
    forget_oldest(cache, kept_bytes=1200)
    assert names(cache) == ["newer-threads", "of-old", "older-threads"]
    forget_oldest(cache, kept_bytes=1199)
    assert names(cache) == ["newer-threads", "older-threads"]
    forget_oldest(cache, kept_bytes=400)
    assert names(cache) == ["newer-threads"]


def test_a_start_forgets_what_no_longer_fits_and_keeps_its_own(package, cache, monkeypatch):
    open_engine(package, threads=1, cache=cache)
    (first,) = names(cache)
    own = next(cache.rglob("*.blob")).stat().st_size
    keep(cache, "other", "of-old", 10 * own, used=1, made=1)
    monkeypatch.setattr(network_files, "forget_oldest", partial(forget_oldest, kept_bytes=own))
    open_engine(package, threads=1, cache=cache)
    assert names(cache) == [first]


def test_a_cache_that_is_not_there_is_no_error(tmp_path):
    forget_oldest(tmp_path / "nothing")


def test_tests_leave_the_users_cache_alone(tmp_path_factory):
    assert default_cache().is_relative_to(tmp_path_factory.getbasetemp())


def test_without_a_choice_the_system_says_where_caches_are(monkeypatch, tmp_path):
    monkeypatch.delenv("XDG_CACHE_HOME")
    asked = []

    def user_cache_path(name, appauthor):
        asked.append((name, appauthor))
        return tmp_path / "Caches" / name

    monkeypatch.setattr(platformdirs, "user_cache_path", user_cache_path)
    assert default_cache() == tmp_path / "Caches" / "abbe" / "networks"
    assert asked == [("abbe", False)]


def test_what_a_killed_process_was_writing_is_not_read(tmp_path):
    """OpenVINO reads through a memory map, so a file that is cut short ends the process."""
    (tmp_path / "half.blob").write_bytes(b"half")
    with writing_to(tmp_path):
        assert (tmp_path / "half.blob").exists()  # nothing says that it is not whole
        (tmp_path / "whole.blob").write_bytes(b"whole")
    with writing_to(tmp_path):
        assert (tmp_path / "whole.blob").exists()
    (tmp_path / "unfinished").touch()
    with writing_to(tmp_path):
        assert not list(tmp_path.glob("*.blob"))
    assert not list(tmp_path.iterdir())


def test_one_process_at_a_time_writes_to_the_cache(tmp_path):
    order: list[str] = []

    def second() -> None:
        with writing_to(tmp_path):
            order.append("second")

    with writing_to(tmp_path):
        thread = threading.Thread(target=second)
        thread.start()
        thread.join(0.3)
        order.append("first")
    thread.join()
    assert order == ["first", "second"]
