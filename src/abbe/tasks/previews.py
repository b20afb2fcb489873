"""What a network answers for a few validation images, beside the truth, as one picture.

Images, truth and the teacher's answers are read and drawn once; each picture costs a few answers.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from torch import nn

from abbe import students
from abbe.datasets.training.prepare import Prepared
from abbe.imaging import Region, class_colour, composite, contact_sheet, draw_outlines
from abbe.imaging.pictures.window import fullest_window
from abbe.summary import Thresholds
from abbe.targets import TargetStore
from abbe.tasks.maps import Maps, StoredModel, maps_of_outputs

IMAGES = 3
"""Validation images that are shown, the same in every picture."""
SIDE = 192
"""px of a panel; of a larger image the window with the most objects is shown."""
TINT = 0.45
"""How strongly the colour of a class covers the image."""
TRUTH, TEACHER, ANSWER = (255, 220, 0), (90, 230, 120), (90, 200, 255)
"""Colours of outlines."""


@dataclass(frozen=True)
class Shown:
    """What is seen of one image.

    Attributes:
        id: of the image.
        pixels: (C, h, w) in [0, 1], as the network sees them.
        picture: (h, w, 3) uint8.
        known: panels that stay as they are, by name: the truth, and the teacher's answer.
    """

    id: str
    pixels: np.ndarray
    picture: np.ndarray
    known: Mapping[str, np.ndarray]


def strips(
    shown: Sequence[tuple[str, np.ndarray, Mapping[str, np.ndarray]]], side: int = SIDE
) -> np.ndarray:
    """A row for each image: its picture, then its panels, the same in every row.

    Args:
        shown: id, picture (h, w, 3) uint8, and panels of that form by name.
        side: px of a panel.
    """
    names = list(dict.fromkeys(name for *_, panels in shown for name in panels))
    tiles, captions = [], []
    for id, picture, panels in shown:
        tiles += [picture, *(panels.get(name, picture) for name in names)]
        captions += [id, *(name if name in panels else f"{name}: no answer" for name in names)]
    sheet = contact_sheet(tiles, captions, 1 + len(names), tile_size=side)
    return np.asarray(sheet)


def chosen(images: Sequence[Prepared], count: int = IMAGES) -> list[Prepared]:
    """So many of the images, evenly spaced; those in which something is labelled go first."""
    full = [each for each in images if each.label is not None and (each.label > 0).any()]
    from_these = full or list(images)
    places = np.linspace(0, len(from_these) - 1, min(count, len(from_these))).round().astype(int)
    return [from_these[place] for place in places.tolist()]


class ObjectPreview:
    """Outlines of the true objects, the teacher's and the network's.

    Args:
        images: labelled validation images.
        input_channels: of them, those that the network sees.
        outputs: names of its maps.
        teacher: where its answers are stored; it may have none for these images.
        minimum_area: smaller objects are dropped, px.
    """

    def __init__(
        self,
        images: Sequence[Prepared],
        input_channels: Sequence[str],
        outputs: Sequence[str],
        *,
        teacher: TargetStore | None = None,
        minimum_area: int = 16,
    ) -> None:
        self._images, self._input_channels, self._outputs = images, input_channels, outputs
        self._teacher, self._minimum_area = teacher, minimum_area

    def __call__(self, network: nn.Module) -> np.ndarray:
        """The picture (H, W, 3) uint8 of what the network answers now."""
        assert isinstance(network, students.UNet)
        rows = []
        for each in self._shown:
            maps = maps_of_outputs(students.predict(network, each.pixels), self._outputs)
            drawn = draw_outlines(each.picture, self._objects(maps), ANSWER)
            rows.append((each.id, each.picture, {**each.known, "answer now": drawn}))
        return strips(rows)

    @cached_property
    def _shown(self) -> list[Shown]:
        return [self._read(image) for image in chosen(self._images)]

    def _read(self, image: Prepared) -> Shown:
        assert image.label is not None  # only labelled ones are given
        window = fullest_window(image.shape, image.label, SIDE)
        pixels = seen(image, self._input_channels, window)
        picture = composite(pixels, self._input_channels)
        drawn = {"truth": np.maximum(image.label[window], 0)}
        if self._teacher is not None and image.id in self._teacher.ids:
            maps = StoredModel(self._teacher).read(image.id)
            drawn["teacher"] = self._objects(_within(maps, window))
        colours = {"truth": TRUTH, "teacher": TEACHER}
        known = {
            name: draw_outlines(picture, labels, colours[name]) for name, labels in drawn.items()
        }
        return Shown(image.id, pixels, picture, known)

    def _objects(self, maps: Maps) -> np.ndarray:
        return maps.objects(Thresholds(), self._minimum_area)


class RegionPreview:
    """The classes of pixels in colour: the true ones and the network's.

    Args:
        images: labelled validation images.
        input_channels: of them, those that the network sees.
    """

    def __init__(self, images: Sequence[Prepared], input_channels: Sequence[str]) -> None:
        self._images, self._input_channels = images, input_channels

    def __call__(self, network: nn.Module) -> np.ndarray:
        """The picture (H, W, 3) uint8 of what the network answers now."""
        assert isinstance(network, students.UNet)
        rows = []
        for each in self._shown:
            classes = students.predict(network, each.pixels, logits=True).argmax(0)
            panels = {**each.known, "answer now": tinted(each.picture, classes)}
            rows.append((each.id, each.picture, panels))
        return strips(rows)

    @cached_property
    def _shown(self) -> list[Shown]:
        shown = []
        for image in chosen(self._images):
            assert image.label is not None  # only labelled ones are given
            window = fullest_window(image.shape, image.label, SIDE)
            pixels = seen(image, self._input_channels, window)
            picture = composite(pixels, self._input_channels)
            truth = {"truth": tinted(picture, image.label[window])}
            shown.append(Shown(image.id, pixels, picture, truth))
        return shown


class ClassPreview:
    """Images with their class and what the network takes them for.

    Args:
        images: validation images with the number of their class.
        input_channels: of them, those that the network sees.
        classes: names by number.
        answer: from a network and an image's pixels (C, H, W) to probabilities (K,).
    """

    MOST = 8
    """Images shown, spread over the classes."""

    def __init__(
        self,
        images: Sequence[Prepared],
        input_channels: Sequence[str],
        classes: Sequence[str],
        answer: Callable[[nn.Module, np.ndarray], np.ndarray],
    ) -> None:
        self._images, self._input_channels = images, input_channels
        self._classes, self._answer = classes, answer

    def __call__(self, network: nn.Module) -> np.ndarray:
        """The picture (H, W, 3) uint8 of what the network answers now."""
        tiles, captions = [], []
        for image in self._chosen:
            pixels = seen(image, self._input_channels)
            probabilities = self._answer(network, pixels)
            number = int(probabilities.argmax())
            truth = self._classes[image.category]
            tiles.append(composite(pixels, self._input_channels))
            captions.append(
                f"{'right' if number == image.category else 'WRONG'}: is {truth}\n"
                f"answer: {self._classes[number]} ({probabilities[number]:.0%})"
            )
        return np.asarray(contact_sheet(tiles, captions, tile_size=SIDE))

    @cached_property
    def _chosen(self) -> list[Prepared]:
        """One image of each class in turn, until there are enough."""
        by_class: dict[int, list[Prepared]] = {}
        for image in self._images:
            by_class.setdefault(image.category, []).append(image)
        turns = max(map(len, by_class.values()))
        drawn = [
            each[turn] for turn in range(turns) for each in by_class.values() if turn < len(each)
        ]
        return drawn[: self.MOST]


def seen(
    image: Prepared,
    input_channels: Sequence[str],
    window: tuple[slice, slice] | None = None,
) -> np.ndarray:
    """The pixels that a network is shown, (C, h, w) in [0, 1]; all of them without a window."""
    rows, columns = window or (slice(0, image.shape[0]), slice(0, image.shape[1]))
    pixels = image.crop(Region(rows.start, columns.start, rows.stop, columns.stop))
    return pixels[[image.channels.index(name) for name in input_channels]]


def tinted(picture: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """A copy of a picture (H, W, 3) with a colour over each class above 0 of (H, W)."""
    drawn = picture.astype(np.float32)
    for number in np.unique(classes[classes > 0]).tolist():
        colour = np.array(class_colour(number), np.float32)
        area = classes == number
        drawn[area] = (1 - TINT) * drawn[area] + TINT * colour
    return np.rint(drawn).astype(np.uint8)


def _within(maps: Maps, window: tuple[slice, slice]) -> Maps:
    boundary = None if maps.boundary is None else maps.boundary[window]
    instances = None if maps.instances is None else maps.instances[window]
    return replace(maps, foreground=maps.foreground[window], boundary=boundary, instances=instances)
