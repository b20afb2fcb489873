"""What the service takes at most, and what it says where that is exceeded."""

import math
from dataclasses import dataclass

from abbe.errors import ConfigError


@dataclass(frozen=True)
class Limits:
    """The most that is taken.

    Attributes:
        mebibytes: MiB of a request's body.
        megapixels: Of an image, height × width.
        seconds: For a body to come, and again for its answer, waiting included.
        parallel: Requests that are computed at a time.
        queue: Requests that wait for that, or whose body is still coming.
    """

    mebibytes: float = 256
    megapixels: float = 100
    seconds: float = 300
    parallel: int = 2
    queue: int = 16

    def __post_init__(self) -> None:
        """Refuse limits that let nothing through.

        Raises:
            ConfigError: A number is 0 or below, or no number.
        """
        for name, least in (("mebibytes", 0), ("megapixels", 0), ("seconds", 0), ("parallel", 1)):
            value = getattr(self, name)
            if not value >= least or value == 0 or math.isinf(value):
                raise ConfigError(f"--most-{name} {value:g}: give a number above 0")
        if self.queue < 0:
            raise ConfigError(f"--queue {self.queue}: give 0 (nobody waits) or more")

    @property
    def body(self) -> int:
        """Bytes of a request's body."""
        return int(self.mebibytes * (1 << 20))


class Refusal(Exception):
    """A request that is not answered; `str` of it says why, and nothing of the image.

    Attributes:
        status: Of HTTP.
        retry_after: In s, where the same request may be answered later.
    """

    def __init__(self, status: int, words: str, retry_after: int | None = None) -> None:
        super().__init__(words)
        self.status = status
        self.retry_after = retry_after
