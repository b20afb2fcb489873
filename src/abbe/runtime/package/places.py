"""Where packages are: those that come with Abbe, by name; folders; repositories on Hugging Face."""

import os
from collections.abc import Iterable
from pathlib import Path

from abbe.errors import MissingExtraError, PackageError
from abbe.remote import as_path, as_remote
from abbe.remote.cache import folder_copy
from abbe.runtime.package.description import DESCRIPTION, SUFFIXES

FOLDER = Path(__file__).parents[2] / "starter"
"""Of the packages that come with Abbe."""
HUB = "hf:"
"""Begins the name of a repository: hf:OWNER/NAME."""

Place = str | os.PathLike[str]


def shipped() -> dict[str, Path]:
    """The packages that come with Abbe: their folders by name."""
    return {path.parent.name: path.parent for path in sorted(FOLDER.glob(f"*/{DESCRIPTION}"))}


def located(place: Place) -> Path:
    """The folder of a package.

    A folder that holds a package goes before a name: beside a package of your own in ``nuclei``,
    ``nuclei`` is yours. A folder of the same name that holds none, such as one of images, is not
    in the way.

    Args:
        place: A folder; the name of a package that comes with Abbe, such as "nuclei";
            "hf:OWNER/NAME", a repository on Hugging Face, which is fetched; or the URL of a folder
            in a bucket, which is copied.

    Raises:
        PackageError: The repository cannot be fetched.
        MissingExtraError: huggingface_hub is not installed.
    """
    name = repository_of(place)
    if name is not None:
        return fetched(name)
    if (remote := as_remote(as_path(place))) is not None:
        return folder_copy(remote) if (remote / DESCRIPTION).is_file() else as_path(remote)
    folder = Path(place)
    if (folder / DESCRIPTION).exists():
        return folder
    return shipped().get(os.fspath(place), folder)


def repository_of(place: Place) -> str | None:
    """The repository that "hf:OWNER/NAME" names; None for anything else."""
    if as_remote(place) is not None:
        return None
    text = os.fspath(place)
    return text.removeprefix(HUB).replace("\\", "/") if text.startswith(HUB) else None


def fetched(repository: str, only: Iterable[str] | None = None) -> Path:
    """The folder of a repository's files on this machine, brought up to date where it can be.

    Nothing but what a package may hold is fetched. Once fetched, it is found without a network.

    Args:
        repository: "OWNER/NAME" on Hugging Face.
        only: Names of files; None for all that a package may hold.

    Raises:
        PackageError: There is no such repository, or no network and no earlier copy.
        MissingExtraError: huggingface_hub is not installed.
    """
    try:
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError
        from huggingface_hub.utils import validate_repo_id
    except ModuleNotFoundError as error:
        raise MissingExtraError("huggingface_hub", "hub", f"the package '{repository}'") from error
    endings = {suffix for suffixes in SUFFIXES.values() for suffix in suffixes}
    wanted = [DESCRIPTION, *(f"*{suffix}" for suffix in sorted(endings))]
    # The hub's library changes the library that it talks through, and with it the errors of a
    # network that fails; its own error of a refused request is always derived from these.
    network_error: type[Exception] = HfHubHTTPError.__mro__[1]  # pyright: ignore
    if repository.count("/") != 1:
        raise PackageError(f"{HUB}{repository}: give the repository as {HUB}OWNER/NAME")
    folder = _kept() / repository
    try:
        validate_repo_id(repository)  # before it is part of a path
        # Into a folder of its own: the hub's cache is made of links, and those are not followed.
        snapshot_download(
            repository, local_dir=folder, allow_patterns=list(only) if only else wanted
        )
    except (OSError, network_error, HFValidationError) as error:
        raise PackageError(
            f"{HUB}{repository}: cannot be fetched from Hugging Face "
            f"({str(error).strip().splitlines()[0]}). Check the name and the network, or fetch it "
            "on another machine and give its folder"
        ) from error
    return folder


def _kept() -> Path:
    """``$XDG_CACHE_HOME``, or the system's folder for caches."""
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return Path(chosen) / "abbe" / "packages"
    from platformdirs import user_cache_path

    return user_cache_path("abbe", appauthor=False) / "packages"
