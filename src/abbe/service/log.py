"""What the service tells its operator: which address, which status, how long; nothing of images."""

import logging
import traceback

LOGGER = logging.getLogger("abbe.service")


def only_own_lines() -> None:
    """Print the lines of this service and of its server, and none of libraries.

    Libraries that read images name files, and what is in them, where something is odd.
    """
    logging.captureWarnings(True)
    logging.getLogger().addHandler(logging.NullHandler())  # else Python prints what nobody takes
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    LOGGER.addHandler(handler)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False


def tell(method: str, route: str, status: int, seconds: float) -> None:
    """Tell of a request; ``route`` is the pattern, not what was filled in."""
    LOGGER.info("%s %s %d %.3f s", method, route, status, seconds)


def tell_failure(error: BaseException) -> None:
    """Tell where an error of ours came from; not its words, which may be of an image."""
    frames = traceback.extract_tb(error.__traceback__)
    places = " < ".join(f"{frame.filename}:{frame.lineno}" for frame in reversed(frames))
    LOGGER.error("%s at %s", type(error).__name__, places)
