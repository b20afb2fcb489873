"""Memory that torch frees on a CPU is kept for what it computes next."""

import pytest

from abbe.machine.memory import freed_memory_kept, keep_large_arrays

KEPT, GIVEN_BACK = [(-4, 0), (-1, -1)], [(-4, 65536), (-3, 32 << 20), (-1, 64 << 20), "trim"]


class Library:
    """Stands in for the C library and notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int] | str] = []

    def mallopt(self, parameter: int, value: int) -> None:
        self.asked.append((parameter, value))

    def malloc_trim(self, pad: int) -> None:
        self.asked.append("trim")


@pytest.fixture
def library(monkeypatch) -> Library:
    library = Library()
    monkeypatch.setattr("ctypes.CDLL", lambda name: library)
    return library


def test_memory_is_given_back_even_after_an_error(library):
    def fail() -> None:
        with freed_memory_kept():
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert library.asked == [*KEPT, *GIVEN_BACK]


def test_nothing_happens_where_it_is_not_wanted_or_without_mallopt(library, monkeypatch):
    with freed_memory_kept(False):
        pass
    assert library.asked == []

    def missing(name: str) -> None:
        raise OSError(name)

    monkeypatch.setattr("ctypes.CDLL", missing)
    with freed_memory_kept():
        pass
    keep_large_arrays()


def test_thresholds_alone_are_raised_where_a_worker_keeps_its_memory(library):
    keep_large_arrays()
    assert library.asked == GIVEN_BACK[1:3]
