"""Places for results: refused early where taken; a folder that appears whole or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from abbe.errors import ConfigError
from abbe.files import full_disk_named, part_beside, remove_stale_parts


def check_free(out: Path) -> None:
    """Refuse a place that is taken or cannot be written, before any work is done.

    Raises:
        ConfigError: Something stands at ``out``, or the folder around it cannot be written.
    """
    if out.is_symlink() or out.exists():
        raise ConfigError(f"{out}: exists already. Give another --out, or remove it first")
    parent = out.absolute().parent
    try:
        parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"{out}: cannot be made ({error.strerror}). Give another --out"
        ) from error
    if not os.access(parent, os.W_OK | os.X_OK):
        raise ConfigError(f"{out}: {parent} cannot be written. Give another --out")


def check_new_file(path: Path, suffix: str, option: str) -> None:
    """Refuse a file that exists, or whose name ends otherwise.

    Raises:
        ConfigError: Naming the option.
    """
    if path.suffix != suffix:
        raise ConfigError(f"{option} {path}: the name must end in {suffix}")
    if path.exists():
        raise ConfigError(f"{option} {path}: exists already. Give another name, or remove it first")


@contextmanager
def new_folder(out: Path) -> Iterator[Path]:
    """Yield a hidden folder beside ``out``; on success it is synced to disk and takes its place.

    If the block raises, the hidden folder is removed and nothing appears at ``out``. What killed
    processes have left hidden there is removed first.

    Raises:
        ConfigError: See `check_free`.
    """
    check_free(out)
    out = out.absolute()
    remove_stale_parts(out)
    hidden = part_beside(out)
    hidden.mkdir()
    try:
        with full_disk_named(out):
            yield hidden
            for path in sorted(hidden.rglob("*")):
                if path.is_file():
                    with open(path, "rb") as file:
                        os.fsync(file.fileno())
        try:
            os.rename(hidden, out)
        except OSError as error:
            if not out.exists():
                raise
            raise ConfigError(
                f"{out}: another process has made it meanwhile; what this one made is not kept. "
                "Use that one, or give another --out"
            ) from error
    finally:
        shutil.rmtree(hidden, ignore_errors=True)
