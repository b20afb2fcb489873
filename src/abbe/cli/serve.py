"""``abbe serve``: a local page to try a promptable network."""

from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from abbe.cli.arguments import parse, say
from abbe.errors import InputError, MissingExtraError, PackageError

if TYPE_CHECKING:
    from abbe.serve import MaskPredictor


@dataclass(frozen=True)
class ServeArguments:
    """Arguments of ``abbe serve``."""

    model: Annotated[Path, tyro.conf.Positional]
    """The package that abbe export wrote, or a finished run of KD SAM (which needs torch)."""
    images: tuple[str, ...]
    """Images, folders of images, or patterns in quotes."""
    out: Path = Path("masks")
    """Folder for the masks that are saved."""
    channels: tuple[str, ...] | None = None
    """Up to three of the images' channels to look at, where they have more."""
    port: int = 0
    """Port on this machine; any that is free where omitted."""
    open: bool = False
    """Open the page in the browser."""


def run(words: list[str]) -> int:
    """``abbe serve``; goes on until interrupted."""
    description = """Try a promptable network in the browser: click points, drag boxes, keep masks.

The page is for this machine only: it is bound to 127.0.0.1 and loads nothing from a network.
Saved for an image NAME: NAME.labels.png (one number an object), and all images' objects in
annotations.json (COCO, run lengths). Started again with the same --out, it goes on from there.

examples:
  abbe serve packages/polyps --images polyps/ --open
  abbe serve runs/polyps --images "polyps/*.png" --out masks/ --port 8000"""
    arguments = parse(ServeArguments, "serve", words, description)
    try:
        from abbe.serve import Session, address_of, application, listen
        from abbe.serve import run as run_server
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise MissingExtraError(error.name, "serve", "The local page") from error
    from abbe.runtime.many import find_images

    images = find_images(arguments.images)
    title, new_predictor = open_promptable(arguments.model)
    session = Session(title, images, new_predictor, arguments.out, arguments.channels)
    session.saved()  # damaged annotations are told of before work begins
    listening = listen(arguments.port)
    say(f"{title}, {len(images)} images; masks go to {arguments.out}/")
    say(f"Open {address_of(listening)} in a browser on this machine. Ctrl+C ends it.")
    run_server(application(session), listening, open_browser=arguments.open)
    return 0


def open_promptable(path: Path) -> tuple[str, Callable[[], "MaskPredictor"]]:
    """A package's or a run's title, and what makes predictors that share its network.

    Raises:
        PackageError: The package is of another task, or damaged.
        InputError: There is neither a package nor a finished run, or the run is of another kind.
    """
    if (path / "package.json").is_file():
        return _of_package(path)
    if (path / "summary.json").is_file():
        return _of_run(path)
    raise InputError(
        f"{path}: holds neither a package (package.json) nor a finished run (summary.json). Give "
        "the folder that 'abbe export' or 'abbe distill kdsam' wrote"
    )


def _of_package(path: Path) -> tuple[str, Callable[[], "MaskPredictor"]]:
    from abbe.runtime.package import read_package

    package = read_package(path)
    if package.description.task != "promptable":
        raise PackageError(
            f"{path}: this is a {package.description.task} package, and points and boxes need a "
            "promptable one. Run it with 'abbe predict'"
        )
    from abbe.runtime.promptable import PromptablePredictor

    first = PromptablePredictor(package)
    # A copy shares the networks and holds an image of its own.
    return package.description.title, lambda: copy(first)


def _of_run(path: Path) -> tuple[str, Callable[[], "MaskPredictor"]]:
    from abbe.recipes.run_folder import open_run
    from abbe.sam.predictor import PromptablePredictor
    from abbe.students import load_promptable

    run = open_run(path)
    if run.summary.get("recipe") != "kdsam":
        raise InputError(
            f"{path}: is a run of the recipe '{run.summary.get('recipe')}', and points and boxes "
            "need one of kdsam"
        )
    network, _ = load_promptable(run.student)
    return f"{path.name} ({network.side} px)", lambda: PromptablePredictor(network)
