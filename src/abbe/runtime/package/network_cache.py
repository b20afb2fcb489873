"""Compiled networks, kept for the next start, the ones used last and no more than so many bytes."""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from abbe.files.locks import alone
from abbe.runtime.package.description import Package, Role

KEPT_BYTES = 2 * 2**30
"""Beyond this the networks that were used longest ago are forgotten."""


def default_cache() -> Path:
    """Where compiled networks are kept: ``$XDG_CACHE_HOME``, or the system's folder for caches."""
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "abbe" / "networks"
    from platformdirs import user_cache_path

    return user_cache_path("abbe", appauthor=False) / "networks"


def cache_folder(cache: Path, package: Package, model: Role) -> Path | None:
    """A folder of the network's own, named by its contents and marked as used now.

    Args:
        cache: The folder of all networks.
        package: The package.
        model: The role of the network's file.

    Returns:
        The folder, made where it was missing; None where none can be written.
    """
    files = package.description.files
    parts = [each.sha256 for role, each in files.items() if role in (model, _weights_of(model))]
    folder = cache / hashlib.sha256("".join(parts).encode()).hexdigest()[:32]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        os.utime(folder)
    except OSError:
        return None  # only the next start is slower
    return folder if os.access(folder, os.W_OK) else None


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Keep other processes out of a network's folder while it is compiled or read.

    OpenVINO writes its file bit by bit and reads it through a memory map: whoever reads it too
    early is ended by the system. What a killed process may have left short is removed.
    """
    unfinished = folder / "unfinished"
    with alone(folder / "in-use.lock", wait=True):
        if unfinished.exists():
            for path in folder.glob("*.blob"):
                path.unlink(missing_ok=True)
        unfinished.touch()
        try:
            yield
        finally:
            unfinished.unlink(missing_ok=True)


def forget_oldest(cache: Path, kept_bytes: int = KEPT_BYTES) -> None:
    """Remove compiled networks, those used longest ago first, until the rest takes no more.

    One network is compiled again for every number of threads and every place of its package, so
    without this a year of work fills a disk. What another process removes, or holds open where
    that forbids removal, is left to it.

    Args:
        cache: The folder of all networks.
        kept_bytes: What may stay.
    """
    found: list[tuple[float, float, int, Path]] = []
    for path in cache.glob("*/*.blob"):
        with suppress(OSError):
            status = path.stat()
            found.append((path.parent.stat().st_mtime, status.st_mtime, status.st_size, path))
    excess = sum(size for _, _, size, _ in found) - kept_bytes
    for _, _, size, path in sorted(found):
        if excess <= 0:
            return
        with suppress(OSError):
            path.unlink()
            excess -= size


def _weights_of(model: Role) -> str:
    return model.replace("_xml", "_bin")
