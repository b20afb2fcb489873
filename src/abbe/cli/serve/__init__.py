"""``abbe serve``: a local page for a package of any task; with ``--api``, a REST service."""

import tempfile
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

from abbe.cli.shared.arguments import parse, say
from abbe.errors import AbbeError, ConfigError, InputError, MissingExtraError
from abbe.in_words import counted
from abbe.near import meant_beside

if TYPE_CHECKING:
    from abbe.imaging import Image, ThreeChannelRule
    from abbe.runtime.job import Predictor
    from abbe.runtime.package import Package
    from abbe.sam.model import SAM
    from abbe.serve import MaskPredictor, Session
    from abbe.serve.site import ServedSite


@dataclass(frozen=True)
class ServeArguments:
    """Arguments of ``abbe serve``."""

    model: Annotated[Path, tyro.conf.Positional]
    """A package: its folder, or the name of one that comes with Abbe; or a finished run of KD SAM
    (which needs torch)."""
    images: tuple[str, ...]
    """Images, folders of images, or patterns in quotes."""
    out: Path = Path("masks")
    """Folder for what is saved."""
    channels: tuple[str, ...] | None = None
    """Names of all the images' channels in order, where the files do not say."""
    port: int = 0
    """Port on this machine; any that is free where omitted."""
    open: bool = False
    """Open the page in the browser."""


def run(words: list[str]) -> int:
    """``abbe serve``; goes on until interrupted."""
    if any(word.partition("=")[0] == "--api" for word in words):
        from abbe.cli.serve.api import run as run_api

        return run_api(words)
    description = """Use a package of any task in the browser, on this machine's engine.

Packages that find objects, areas or classes look at each image, and thresholds can be moved;
promptable ones (and finished runs of KD SAM) take clicks and boxes. Objects can be corrected by
brush and eraser and given classes, and masks of files can be. Slides are shown by tiles.
The page is for this machine only: it is bound to 127.0.0.1 and loads nothing from a network.
Saved for an image NAME: NAME.labels.png (one number an object), and all images' objects in
annotations.json (COCO, run lengths). Started again with the same --out, it goes on from there.
Ctrl+C saves what was changed and not yet saved. Files called NAME.labels.* are no images.

examples:
  abbe serve nuclei --images slides/ --open
  abbe serve packages/polyps --images polyps/images --open
  abbe serve runs/polyps --images "polyps/images/*.png" --out masks/ --port 8000

abbe serve --api PACKAGE ... is another thing: a REST service for programs, with options of its own
(--host, --token-file, --origins, --most-mebibytes, --most-megapixels, --most-seconds, --parallel,
--queue and others: abbe serve --api --help).

  abbe serve --api nuclei packages/tissue-types --port 8000"""
    arguments = parse(ServeArguments, "serve", words, description)
    try:
        from abbe.serve import Session, address_of, application, listen
        from abbe.serve import run as run_server
    except ModuleNotFoundError as error:
        if error.name not in ("starlette", "uvicorn"):
            raise
        raise MissingExtraError(error.name, "serve", "The local page") from error
    images = _images(arguments.images, arguments.out)
    package, native = found_package(arguments.model), None
    if package is None or package.description.traits.prompted:
        site, new_predictor = open_promptable(package or arguments.model)
        title = site.description["title"]
        session = Session(title, images, new_predictor, arguments.out, arguments.channels)
    else:
        from abbe.serve.native import Native
        from abbe.serve.site import site_of

        native, site = Native(_ready(package, images, arguments)), site_of(package)
        title, sees = package.description.title, native.predictor.channels_of
        session = Session(title, images, None, arguments.out, arguments.channels, sees)
    _check_writable(arguments.out)
    session.recover()  # damaged annotations are told of before work begins
    listening = listen(arguments.port)
    say(f"{title}, {counted(len(images), 'image')}; what is saved goes to {arguments.out}/")
    say(f"Open {address_of(listening)} in a browser on this machine. Ctrl+C ends it.")
    try:
        run_server(application(session, site, native), listening, open_browser=arguments.open)
    finally:
        if native is not None:
            native.close()
    return _end(session)


def _ready(package: "Package", images: dict[Path, Path], arguments: ServeArguments) -> "Predictor":
    from abbe.imaging import Reading
    from abbe.runtime.predictors.tasks import open_predictor_for

    return open_predictor_for(package, images, Reading(channels=arguments.channels))


def _images(inputs: Sequence[str], out: Path) -> dict[Path, Path]:
    """The images that were named, without what was saved for them."""
    from abbe.runtime.batch.find_images import find_images

    found = find_images(inputs, out)
    images = {
        image: below for image, below in found.items() if Path(image.stem).suffix != ".labels"
    }
    if not images:
        raise InputError(f"{', '.join(inputs)}: there are only masks (NAME.labels.*), no image")
    return images


def _check_writable(out: Path) -> None:
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise ConfigError(
            f"out: cannot write to {out} ({error.strerror}). Give another --out"
        ) from error


def _end(session: "Session") -> int:
    """Save what is not, and say so; exit code 1 where that fails."""
    try:
        saved = session.save_rest()
    except (AbbeError, OSError) as error:
        say(f"\nNot saved: {_counts(session.unsaved())} ({error})")
        return 1
    say(f"\nEnded. Saved at the end: {_counts(saved)}" if saved else "\nEnded; all is saved.")
    return 0


def _counts(objects: dict[str, int]) -> str:
    return ", ".join(f"{counted(count, 'object')} of {name}" for name, count in objects.items())


def found_package(model: Path) -> "Package | None":
    """The package of a folder or a name; None where it is a finished run.

    Raises:
        PackageError: It is damaged.
        InputError: There is neither a package nor a finished run.
    """
    if (model / "summary.json").is_file() and not (model / "package.json").is_file():
        return None
    from abbe.runtime.package import read_package
    from abbe.runtime.package.places import shipped

    if not (model / "package.json").is_file() and str(model) not in shipped():
        raise InputError(
            f"{model}: holds neither a package (package.json) nor a finished run (summary.json). "
            "Give the folder that 'abbe export' or 'abbe distill kdsam' wrote, or the name of a "
            f"package that comes with Abbe (abbe models).{meant_beside(model)}"
        )
    return read_package(model)


def open_promptable(
    model: "Package | Path",
) -> tuple["ServedSite", Callable[[], "MaskPredictor"]]:
    """What the page is told of a package or run, and what makes predictors that share its network.

    Raises:
        PackageError: The package is damaged.
        InputError: The run is of another kind.
    """
    from abbe.runtime.package import Package

    if not isinstance(model, Package):
        return _of_run(model)
    from abbe.runtime.predictors.promptable import PromptablePredictor
    from abbe.serve.site import site_of

    first = PromptablePredictor(model)
    # A copy shares the networks and holds an image of its own.
    return site_of(model), lambda: copy(first)


def _of_run(path: Path) -> tuple["ServedSite", Callable[[], "MaskPredictor"]]:
    from abbe.runs.folder import open_run
    from abbe.serve.site import site_of_run
    from abbe.students import load_promptable

    run = open_run(path)
    if run.summary.task != "promptable":
        raise InputError(
            f"{path}: is a run of the recipe '{run.summary.recipe}', and points and boxes "
            "need one of kdsam"
        )
    network, learned = load_promptable(run.student)
    channels, rule = tuple(learned["channels"]), learned["inputs"]
    site = site_of_run(f"{path.name} ({network.side} px)", channels)
    return site, lambda: RunPredictor(network, channels, rule)


class RunPredictor:
    """A run's student for one image, shown what the package of the run would be shown.

    Args:
        network: The student.
        channels: Names of the channels that it learned with.
        rule: How these become its three; see `abbe.imaging.three_channels.RULES`.
    """

    def __init__(self, network: "SAM", channels: tuple[str, ...], rule: "ThreeChannelRule") -> None:
        from abbe.sam.predictor import PromptablePredictor

        self._predictor = PromptablePredictor(network)
        self._channels = channels
        self._rule: ThreeChannelRule = rule
        self.predict: Callable[..., Any] = self._predictor.predict

    def channels_of(self, image: "Image") -> tuple[str, ...]:
        """The channels that are shown: those learned with, or the only one of a grey image.

        Raises:
            InputError: A channel is missing.
        """
        from abbe.runtime.predictors.channels import channels_for

        if len(image.channels) == 1 and len(self._channels) == 3:
            return image.channels
        return channels_for(image, self._channels)

    def set_channels(self, image: "Image") -> None:
        """Embed an opened image.

        Raises:
            InputError: A channel is missing, or the image cannot be read.
        """
        from abbe.imaging import choose_rule, three_channels

        channels = self.channels_of(image)
        pixels = image.read(channels=channels)
        grey = len(channels) < len(self._channels)
        if grey and pixels.dtype == "uint8":
            self._predictor.set_image(pixels[0])  # as colours would be, without stretching
            return
        rule = choose_rule("auto" if grey else self._rule, len(channels))
        self._predictor.set_image(three_channels(pixels, rule))
