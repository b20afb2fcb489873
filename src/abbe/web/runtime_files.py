"""What the page needs of others: files of npm packages, pinned by checksum, fetched once."""

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from abbe.errors import InputError
from abbe.files import atomic_path, sha256_of_file
from abbe.web.pinned import PACKAGES, NpmPackage

MIRROR = "https://cdn.jsdelivr.net/npm"
"""Gives single files of npm packages, where the program npm is not installed."""
_TIMEOUT = 120
_LARGEST = 64 << 20


Fetch = Callable[[NpmPackage, Path], None]
"""Puts the files of a package into a folder, below their own paths."""


@dataclass(frozen=True)
class Fetched:
    """Files that are there and are the right ones, by package and path in it."""

    folder: Path

    def file(self, package: NpmPackage, path: str) -> Path:
        """Where a file lies."""
        return self.folder / package.name / path


def runtime_files(folder: Path | None = None, fetch: Fetch | None = None) -> Fetched:
    """The files that the page needs of others; what is missing is fetched and kept.

    Args:
        folder: Where the packages lie, as in a ``node_modules``; nothing is fetched then. None
            for the folder that they are kept in for the next time.
        fetch: What fetches a package; None for npm, or where that is not installed a mirror.

    Raises:
        InputError: A file is missing or another than it should be, or cannot be fetched.
    """
    kept = Fetched(folder or default_folder())
    for package in PACKAGES:
        if folder is None and not all(kept.file(package, path).exists() for path in package.files):
            (fetch or _fetch)(package, kept.folder / package.name)
        for path, expected in package.files.items():
            _check(kept.file(package, path), expected, package, given=folder is not None)
    return kept


def default_folder() -> Path:
    """Where they are kept: in ``$XDG_CACHE_HOME``, or the system's folder for caches."""
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "abbe" / "web"
    from platformdirs import user_cache_path

    return user_cache_path("abbe", appauthor=False) / "web"


def _check(path: Path, expected: str, package: NpmPackage, *, given: bool) -> None:
    how = "npm install " + " ".join(each.spec for each in PACKAGES)
    if not path.is_file():
        raise InputError(
            f"{path}: this file of {package.spec} is missing. --runtime takes the node_modules "
            f"that this makes: {how}"
        )
    if sha256_of_file(path) != expected:
        mend = f"Give the folder that this makes: {how}" if given else "Remove it, and run again"
        raise InputError(f"{path}: is not the file of {package.spec} that was tried. {mend}")


def _fetch(package: NpmPackage, folder: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        fetch_from_mirror(package, folder)
    else:
        _fetch_by_npm(package, folder, npm)


def fetch_from_mirror(package: NpmPackage, folder: Path, mirror: str = MIRROR) -> None:
    """Fetch the files of a package one by one.

    Raises:
        InputError: The mirror cannot be reached, or sends something else.
    """
    for path, expected in package.files.items():
        address = f"{mirror}/{package.spec}/{path}"
        try:
            with urllib.request.urlopen(address, timeout=_TIMEOUT) as answer:
                data = answer.read(_LARGEST)
        except (OSError, urllib.error.URLError) as error:
            raise InputError(_not_fetched(package, f"{address}: {error}")) from error
        if hashlib.sha256(data).hexdigest() != expected:
            raise InputError(_not_fetched(package, f"{address} sent another file"))
        _put(folder / path, data)


def _fetch_by_npm(package: NpmPackage, folder: Path, npm: str) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        command = [npm, "pack", package.spec, "--ignore-scripts", "--silent"]
        try:
            subprocess.run(
                command, cwd=scratch, check=True, capture_output=True, text=True, timeout=600
            )
        except (subprocess.SubprocessError, OSError) as error:
            told = (getattr(error, "stderr", "") or str(error)).strip().splitlines()
            raise InputError(
                _not_fetched(package, f"npm: {told[-1] if told else error}")
            ) from error
        (archive,) = Path(scratch).glob("*.tgz")
        with tarfile.open(archive) as packed:
            for path, expected in package.files.items():
                member = packed.extractfile(f"package/{path}")
                data = b"" if member is None else member.read(_LARGEST)
                if hashlib.sha256(data).hexdigest() != expected:
                    raise InputError(_not_fetched(package, f"npm sent another {path}"))
                _put(folder / path, data)


def _put(path: Path, data: bytes) -> None:
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def _not_fetched(package: NpmPackage, why: str) -> str:
    every = " ".join(each.spec for each in PACKAGES)
    return (
        f"{package.spec} cannot be fetched ({why}). Where there is no network, run 'npm install "
        f"{every}' on a machine that has one, and give its node_modules with --runtime"
    )
