"""What the service counts, in Prometheus' text format."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from abbe.service.turns import Turns

MEDIA = CONTENT_TYPE_LATEST
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)


class Metrics:
    """Figures of one service; packages are named, images are not."""

    def __init__(self, turns: Turns) -> None:
        self._registry = own = CollectorRegistry()
        self._requests = Counter(
            "abbe_requests", "Images that were asked about, by package and status of the answer.",
            ("package", "status"), registry=own,
        )  # fmt: skip
        self._seconds = Histogram(
            "abbe_request_seconds", "From a request's first byte to its answer; answered ones.",
            ("package",), buckets=_SECONDS, registry=own,
        )  # fmt: skip
        self._pixels = Counter(
            "abbe_pixels", "Pixels of images answered.", ("package",), registry=own
        )
        waiting = Gauge("abbe_requests_waiting", "Requests that wait.", registry=own)
        waiting.set_function(lambda: turns.waiting)
        computing = Gauge("abbe_requests_computing", "Requests that are computed.", registry=own)
        computing.set_function(lambda: turns.computing)
        ProcessCollector(registry=self._registry)

    def count(self, package: str, status: int, seconds: float, pixels: int) -> None:
        """Add a request that has ended; ``pixels`` is 0 where it was refused."""
        self._requests.labels(package, str(status)).inc()
        if status == 200:
            self._seconds.labels(package).observe(seconds)
            self._pixels.labels(package).inc(pixels)

    def text(self) -> bytes:
        """All figures."""
        return generate_latest(self._registry)
