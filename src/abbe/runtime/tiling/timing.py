"""How long each part of a job takes, over all threads."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

Part = Literal["read", "network", "instances", "write"]
PARTS: tuple[Part, ...] = ("read", "network", "instances", "write")


class Timings:
    """Seconds that threads spent in each part; they add up to more than the wall time."""

    def __init__(self) -> None:
        self.seconds: dict[Part, float] = dict.fromkeys(PARTS, 0.0)
        self._lock = threading.Lock()

    @contextmanager
    def measure(self, part: Part) -> Iterator[None]:
        """Add the time that the block takes."""
        started = time.perf_counter()
        try:
            yield
        finally:
            taken = time.perf_counter() - started
            with self._lock:
                self.seconds[part] += taken

    def add(self, seconds: Mapping[Part, float]) -> None:
        """Add what others have measured."""
        with self._lock:
            for part, taken in seconds.items():
                self.seconds[part] += taken

    def share(self, part: Part) -> float:
        """The part's share of all measured seconds."""
        return self.seconds[part] / (sum(self.seconds.values()) or 1.0)
