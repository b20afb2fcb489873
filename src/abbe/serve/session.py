"""What the page works on: images, a network with SAM's calls, and where masks are saved."""

import os
import uuid
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock, RLock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from abbe.errors import InputError
from abbe.files import atomic_path, remove_stale_parts, stale_parts
from abbe.imaging import Image, open_image
from abbe.imaging.labels.files import labels_as_png
from abbe.imaging.promptable.prompt_checks import checked_box, checked_labels, checked_points
from abbe.serve.coco import AnnotationFile, Object, check_counts, counts_of, mask_of

IMAGES_KEPT = 4
"""Images whose embedding is remembered, so that going back to one costs nothing."""

ANNOTATIONS = "annotations.json"

_OME = (".ome.tif", ".ome.tiff", ".ome.zarr")


class MaskPredictor(Protocol):
    """A network for one image, with SAM's call for masks, as promptable packages have it."""

    def channels_of(self, image: Image) -> tuple[str, ...]:
        """The channels of an image that the network sees; InputError where one is missing."""
        ...

    def set_channels(self, image: Image) -> None:
        """Embed an opened image: these channels, shown as in training."""
        ...

    def predict(
        self,
        point_coords: Any = None,
        point_labels: Any = None,
        box: Any = None,
        *,
        multimask_output: bool = True,
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        """Masks (M, H, W) bool, the IoU expected of each (M,), and low logits, for one prompt."""
        ...


class UnknownImageError(InputError):
    """The page asked for an image that is not among those served."""


class StaleError(InputError):
    """A page wants to change an image that was changed elsewhere since the page opened it."""


@dataclass(frozen=True)
class Prompt:
    """Points (x, y) with 1 inside and 0 outside, and a box, in px of the image."""

    points: tuple[tuple[float, float], ...] = ()
    labels: tuple[int, ...] = ()
    box: tuple[float, float, float, float] | None = None

    def check(self, shape: tuple[int, int]) -> None:
        """See that it can be asked of an image (H, W).

        Raises:
            InputError: There is no prompt; a point or the box lies outside or has no area.
        """
        if not self.points and self.box is None:
            raise InputError("give at least one point or a box")
        if self.points:
            checked_points(self.points, shape)
        checked_labels(self.labels, len(self.points))
        if self.box is not None:
            checked_box(self.box, shape)

    @property
    def ambiguous(self) -> bool:
        """Whether SAM is asked for three masks: a single point may mean a part or the whole."""
        return len(self.points) == 1 and self.box is None


class Session:
    """Images and a network for one page. Calls may come from several threads.

    Args:
        title: What the page calls the network.
        images: File → its path below the served folder, by which results are named.
        new_predictor: Makes a predictor for one image; all may share one network, as they are
            asked one after the other. None where the package takes no prompts.
        out: Folder for what is saved.
        channels: Names of all the images' channels in order, where the files do not say.
        channels_of: The channels of an image that the network sees, where there are no prompts.
    """

    def __init__(
        self,
        title: str,
        images: Mapping[Path, Path],
        new_predictor: Callable[[], MaskPredictor] | None,
        out: Path,
        channels: Sequence[str] | None = None,
        channels_of: Callable[[Image], tuple[str, ...]] | None = None,
    ) -> None:
        self.title = title
        self.out = out
        self.names = [below.as_posix() for below in images.values()]
        self._files = list(images)
        self._new_predictor = new_predictor
        self._channels = channels
        self._seen_by = channels_of
        self._saved = AnnotationFile(out / ANNOTATIONS)
        self._embedded: OrderedDict[int, MaskPredictor] = OrderedDict()
        self._shapes: dict[int, tuple[int, int]] = {}
        self._unsaved: dict[int, list[Object]] = {}
        self._network = Lock()
        self.changing = RLock()
        """Held while an image's objects change; whoever holds it sees them with their edition."""
        self._mark = uuid.uuid4().hex  # an earlier server's editions are none of this one
        self._changes: dict[int, int] = {}

    def image(self, number: int) -> Image:
        """An image, opened; pixels are read when asked for.

        Raises:
            UnknownImageError: There is no such number.
            InputError: The file cannot be read.
        """
        return self._open(number)

    def seen(self, number: int) -> list[int] | None:
        """Places of the channels that the network sees; None where the page must ask for them.

        Raises:
            UnknownImageError, InputError: As `image`.
        """
        image = self._open(number)
        try:
            names = self._channels_of(image)
        except InputError:
            return None
        return [image.channels.index(name) for name in names]

    def stem_of(self, number: int) -> Path:
        """The beginning of the names of an image's results."""
        self._file(number)
        return self.out / _stem(self.names[number])

    def shape(self, number: int) -> tuple[int, int]:
        """(height, width) of an image, px.

        Raises:
            UnknownImageError: There is no such number.
            InputError: The file cannot be read.
        """
        if number not in self._shapes:
            self._shapes[number] = self._open(number).shape
        return self._shapes[number]

    def encode(self, number: int) -> None:
        """Embed an image, unless it is remembered.

        Raises:
            InputError: It lacks a channel that the network sees, and all that `shape` raises.
        """
        self._file(number)
        with self._network:
            self._predictor(number)

    def masks(self, number: int, prompt: Prompt) -> list[Object]:
        """The network's answers, one or three, each with a mask of the image's own size.

        Raises:
            InputError: The prompt does not go with the image, and all that `shape` raises.
        """
        prompt.check(self.shape(number))
        points = np.array(prompt.points, np.float64) if prompt.points else None
        labels = np.array(prompt.labels, np.int64) if prompt.points else None
        box = None if prompt.box is None else np.array(prompt.box, np.float64)
        with self._network:
            masks, scores, _ = self._predictor(number).predict(
                points, labels, box, multimask_output=prompt.ambiguous
            )
        return [
            Object(tuple(counts_of(mask)), float(score))
            for mask, score in zip(masks, scores, strict=True)
        ]

    def recover(self) -> None:
        """End what a killed server was about, and remove what it left half written.

        A label image that was written while the annotations already told of it takes its place.

        Raises:
            InputError: The annotations are damaged, or all that `shape` raises.
        """
        saved = self.saved()
        numbers = {self._picture_of(name): number for number, name in enumerate(self.names)}
        for half, part in stale_parts(*numbers):
            number = numbers[part.target]
            objects = saved.get(self.names[number])
            if objects is not None and half.read_bytes() == self._picture(number, objects):
                os.replace(half, part.target)
        remove_stale_parts(self._saved.path, *numbers)

    def saved(self) -> dict[str, list[Object]]:
        """Objects saved so far, by name of the image."""
        return self._saved.objects()

    def objects(self, number: int) -> tuple[list[Object], bool]:
        """An image's objects as they were last seen on the page, and whether they are saved."""
        unsaved = self._unsaved.get(number)
        if unsaved is not None:
            return unsaved, False
        return self.saved().get(self.names[number], []), True

    def edition(self, number: int) -> str:
        """Names the state of an image's objects; it is another after each change."""
        return f"{self._mark}-{self._changes.get(number, 0)}"

    def keep(
        self, number: int, objects: Sequence[Object] | None, edition: str | None = None
    ) -> None:
        """Remember an image's objects until they are saved; None where all are.

        Args:
            number: The image.
            objects: All of its objects.
            edition: Of the objects that these take the place of; None takes that of any.

        Raises:
            StaleError: There is a later edition.
            InputError: A mask is empty or of another size, and all that `shape` raises.
        """
        shape = self.shape(number)
        for each in objects or ():
            check_counts(each.counts, shape)
        with self.changing:
            self._require_current(number, edition)
            # An object that was accepted and deleted leaves an image as if never looked at.
            if objects or (objects is not None and self.saved().get(self.names[number])):
                self._unsaved[number] = list(objects)
            else:
                self._unsaved.pop(number, None)
            self._changes[number] = self._changes.get(number, 0) + 1

    def save_rest(self) -> dict[str, int]:
        """Save what is not: by name of the image, how many objects.

        Raises:
            OSError: The folder cannot be written to.
            InputError: All that `save` raises. Images that were not reached stay unsaved.
        """
        rest = dict(self._unsaved)
        for number, objects in rest.items():
            self.save(number, objects)
        return {self.names[number]: len(objects) for number, objects in rest.items()}

    def unsaved(self) -> dict[str, int]:
        """How many objects of images are not saved as they were last seen on the page."""
        return {self.names[number]: len(objects) for number, objects in self._unsaved.items()}

    def save(
        self, number: int, objects: Sequence[Object], edition: str | None = None
    ) -> list[Path]:
        """Write an image's objects: a label image, and COCO annotations beside other images'.

        Where objects overlap, the label image gives the pixel to the later one; COCO keeps all.

        Args:
            number: The image.
            objects: All of its objects.
            edition: See `keep`.

        Returns:
            The files written.

        Raises:
            StaleError: There is a later edition.
            InputError: A mask is empty or of another size, there are more than 65,535, the
                annotations that are there are damaged, and all that `shape` raises.
            OSError: The folder cannot be written to.
        """
        shape = self.shape(number)
        for each in objects:
            check_counts(each.counts, shape)
        content = self._picture(number, objects)
        name = self.names[number]
        picture = self._picture_of(name)
        with self.changing:
            self._require_current(number, edition)
            with atomic_path(picture) as temporary:
                temporary.write_bytes(content)
                # A kill from here on leaves a picture that `recover` puts in its place.
                self._saved.replace(name, shape, objects)
            self._unsaved.pop(number, None)
            self._changes[number] = self._changes.get(number, 0) + 1
        return [picture, self._saved.path]

    def _require_current(self, number: int, edition: str | None) -> None:
        if edition is not None and edition != self.edition(number):
            raise StaleError(
                "this image was changed in another tab, or the server was started again, since "
                "this page opened it. Reload the page: what was accepted here and not saved is lost"
            )

    def _picture(self, number: int, objects: Sequence[Object]) -> bytes:
        """The PNG file of an image's objects."""
        shape = self.shape(number)
        labels = np.zeros(shape, np.int32)
        for value, each in enumerate(objects, 1):
            labels[mask_of(each.counts, shape)] = value
        return labels_as_png(labels, self._picture_of(self.names[number]))

    def _picture_of(self, name: str) -> Path:
        """The label image of an image."""
        return self.out / f"{_stem(name)}.labels.png"

    def _file(self, number: int) -> Path:
        if not 0 <= number < len(self._files):
            raise UnknownImageError(
                f"there is no image {number}: there are 0 to {len(self._files) - 1}"
            )
        return self._files[number]

    def _open(self, number: int) -> Image:
        return open_image(self._file(number), channels=self._channels)

    def _channels_of(self, image: Image) -> tuple[str, ...]:
        if self._seen_by is not None:
            return self._seen_by(image)
        return self._fresh().channels_of(image)

    def _fresh(self) -> MaskPredictor:
        if self._new_predictor is None:
            raise InputError("this package takes no points and boxes")
        return self._new_predictor()

    def _predictor(self, number: int) -> MaskPredictor:
        """The predictor that holds the image. Only with the network's lock held."""
        predictor = self._embedded.get(number)
        if predictor is None:
            predictor = self._fresh()
            predictor.set_channels(self._open(number))
            self._embedded[number] = predictor
            if len(self._embedded) > IMAGES_KEPT:
                self._embedded.popitem(last=False)
        self._embedded.move_to_end(number)
        return predictor


def _stem(name: str) -> str:
    """The image's name without its ending, by which a folder of labels is matched to images."""
    ending = next((each for each in _OME if name.lower().endswith(each)), Path(name).suffix)
    return name[: len(name) - len(ending)]
