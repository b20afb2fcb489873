"""Memory maps that several threads open."""

import gc
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from abbe.imaging.formats import memory_map as module
from abbe.imaging.formats.memory_map import memory_map


def test_the_array_is_there_and_cannot_be_changed(tmp_path, rng):
    array = rng.random((3, 40, 50)).astype(np.float32)
    np.save(tmp_path / "a.npy", array)
    mapped = memory_map(tmp_path / "a.npy")
    np.testing.assert_array_equal(mapped, array)
    assert not mapped.flags.writeable
    (tmp_path / "a.npy").write_bytes((tmp_path / "a.npy").read_bytes()[:40])
    with pytest.raises((ValueError, EOFError)):
        memory_map(tmp_path / "a.npy")


def test_no_two_threads_read_headers_at_a_time(tmp_path, monkeypatch):
    """Once in tens of thousands of times two of them would fail in Python's parser."""
    np.save(tmp_path / "a.npy", np.zeros((2, 8, 8), np.float32))
    inside, load = [], np.load

    def slow(*given, **options):
        inside.append(1)
        assert len(inside) == 1
        time.sleep(0.01)
        gc.collect()
        found = load(*given, **options)
        inside.pop()
        return found

    monkeypatch.setattr(module.np, "load", slow)
    with ThreadPoolExecutor(8) as pool:
        maps = list(pool.map(memory_map, [tmp_path / "a.npy"] * 16))
    assert len(maps) == 16
