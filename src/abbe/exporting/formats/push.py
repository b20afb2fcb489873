"""A package as a repository on Hugging Face."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from abbe.errors import ConfigError, MissingExtraError
from abbe.exporting.cards.model_card import model_card
from abbe.runtime.package import (
    Package,
    PackageDescription,
    Role,
    describe_file,
    read_package,
    write_description,
)
from abbe.runtime.package.places import HUB

EXAMPLE: tuple[Role, ...] = ("test_image", "expected")
"""What shows a part of one of the user's images."""
WORST = "worst_image"
"""Among the figures of an engine: the name of one of the user's images."""


class Upload(NamedTuple):
    """A file that goes to the repository."""

    path: str
    bytes: int


def push(
    folder: str | os.PathLike[str],
    repository: str,
    *,
    with_example: bool = True,
    private: bool = False,
    dry_run: bool = False,
) -> tuple[list[Upload], str | None]:
    """Upload a package, every file of it checked first.

    Args:
        folder: The package.
        repository: "owner/name"; it is made where it does not exist.
        with_example: Also upload the test image, a part of one of your images, and its maps. Else
            no name of an image is uploaded either: not that of the one which lost most.
        private: Make the repository private, if it is made.
        dry_run: Only say what would be uploaded.

    Returns:
        The files, and the address of the commit (None for a dry run).

    Raises:
        PackageError: The package is damaged.
        ConfigError: The name is no repository's, nobody is logged in, or the upload is refused.
        MissingExtraError: huggingface_hub is not installed.
    """
    package = read_package(folder)
    for role in package.description.files:
        package.file(role)
    with _staged(package, with_example, f"{HUB}{repository}") as staged:
        files = sorted(path for path in staged.rglob("*") if path.is_file())
        uploads = [Upload(f.relative_to(staged).as_posix(), f.stat().st_size) for f in files]
        _check_name(repository)
        address = None if dry_run else _upload(staged, package, repository, private)
    return uploads, address


@contextmanager
def _staged(package: Package, with_example: bool, place: str) -> Iterator[Path]:
    """A folder with the declared files alone, the card where repositories look for it.

    The card is written anew: its commands name the repository, and the images that it names are
    those of the description that is sent.
    """
    described = package.description
    if not with_example:
        described = _without_images(described)
    with tempfile.TemporaryDirectory() as name:
        staged = Path(name)
        for role, file in described.files.items():
            target = staged / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(package.file(role), target)
        if "card" in described.files:
            card = described.files["card"].path
            (staged / card).write_text(model_card(described, place), encoding="utf-8")
            files = {**described.files, "card": describe_file(staged, card)}
            described = described.model_copy(update={"files": files})
        write_description(staged, described)
        yield staged


def _without_images(description: PackageDescription) -> PackageDescription:
    """The description without test image, and without the names of the images that lost most."""
    names = {str(figures[WORST]) for figures in description.parity.values() if WORST in figures}

    def without_names(text: str) -> str:
        # As `Comparison.excess` puts it, longest first: a name may begin with another one.
        for name in sorted(names, key=len, reverse=True):
            text = text.replace(f"; worst image: {name}", "")
        return text

    parity = {
        engine: {
            key: without_names(value) if isinstance(value, str) else value
            for key, value in figures.items()
            if key != WORST
        }
        for engine, figures in description.parity.items()
    }
    files = {role: file for role, file in description.files.items() if role not in EXAMPLE}
    return description.model_copy(update={"files": files, "parity": parity})


def _check_name(repository: str) -> None:
    try:
        from huggingface_hub.errors import HFValidationError
        from huggingface_hub.utils import validate_repo_id
    except ModuleNotFoundError as error:
        raise MissingExtraError("huggingface_hub", "train", "abbe push") from error
    try:
        validate_repo_id(repository)
    except HFValidationError as error:
        raise ConfigError(f"{repository}: no name of a repository ({error})") from error
    if repository.count("/") != 1:
        raise ConfigError(f"{repository}: give the repository as OWNER/NAME")


def _upload(staged: Path, package: Package, repository: str, private: bool) -> str:
    import huggingface_hub
    from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

    api = huggingface_hub.HfApi()
    # The hub's library has changed the library that it talks through, and with it the errors of a
    # network that fails; its own error of a refused request is always derived from these.
    network_error: type[Exception] = HfHubHTTPError.__mro__[1]  # pyright: ignore
    try:
        api.create_repo(repository, repo_type="model", private=private, exist_ok=True)
        commit = api.upload_folder(
            repo_id=repository,
            folder_path=staged,
            commit_message=f"{package.description.title}, by Abbe {package.description.abbe}",
        )
    except LocalTokenNotFoundError as error:
        raise ConfigError("nobody is logged in to Hugging Face: run 'hf auth login'") from error
    except (network_error, OSError) as error:
        raise ConfigError(
            f"{repository}: the upload failed ({str(error).strip().splitlines()[0]}). Check the "
            "network, the name, and that your token may write there ('hf auth whoami')"
        ) from error
    return str(commit.commit_url)
