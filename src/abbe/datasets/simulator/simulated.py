"""The demo's input: simulated multiplexed tissue with its true cells. Nothing here is real."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from abbe.datasets.collection import Dataset, Record
from abbe.datasets.simulator.microscope import photograph
from abbe.datasets.simulator.tissue import Slide, lay_out
from abbe.errors import ConfigError

if TYPE_CHECKING:
    from abbe.imaging.image import Image, Pixels

CHANNELS = ("nucleus", "membrane", "cytoplasm")
PIXEL_SIZE = 0.377  # µm; our choice: a 20x objective, as CODEX tiles are often taken
IMAGES_PER_SLIDE = 4
SLIDE_STREAM = 1  # keeps a slide's random numbers apart from its images'
KEPT = 128 << 20
"""Bytes of images and labels of a size that are kept; others are simulated again when read."""


@dataclass(frozen=True)
class Tissue:
    """A simulated image and what is true of it.

    Args:
        image: (C, H, W) uint16, the channels in the order they were asked for.
        cells: (H, W) int32, whole cells 1 … n, 0 = background.
        nuclei: (H, W) int32, each nucleus under its cell's number, inside its cell; some cells
            have none.
    """

    image: NDArray[np.uint16]
    cells: NDArray[np.int32]
    nuclei: NDArray[np.int32]


def tissue(
    seed: int | np.random.SeedSequence,
    size: int = 256,
    channels: Sequence[str] = CHANNELS,
    slide: Slide | None = None,
) -> Tissue:
    """Simulate a square of tissue with sides of ``size`` px; the same seed, the same pixels.

    A channel's pixels do not depend on which other channels are asked for.

    Raises:
        ConfigError: A channel is not one of nucleus, membrane and cytoplasm, or ``size`` < 32.
    """
    _require(channels, size)
    slide = slide or Slide()
    entropy = seed.generate_state(4).tolist() if isinstance(seed, np.random.SeedSequence) else seed
    streams = np.random.SeedSequence(entropy).spawn(1 + len(CHANNELS))
    layout = lay_out(np.random.default_rng(streams[0]), size, slide)
    pixels = []
    for name in channels:
        rng = np.random.default_rng(streams[1 + CHANNELS.index(name)])
        pixels.append(photograph(rng, name, layout, slide))
    return Tissue(np.stack(pixels), layout.cells, layout.nuclei)


def random_slide(seed: int | Sequence[int]) -> Slide:
    """A slide whose crowding, staining and optics differ from the next one's, as real ones do."""
    rng = np.random.default_rng(seed)
    usual = Slide()

    def about(value: float, factor: float) -> float:
        return float(value * np.exp(rng.uniform(-np.log(factor), np.log(factor))))

    return Slide(
        cell_radius=about(usual.cell_radius, 1.12),
        size_variation=about(usual.size_variation, 1.3),
        crowding=float(np.clip(usual.crowding + rng.uniform(-0.2, 0.2), 0, 1)),
        empty=about(usual.empty, 1.6),
        fibres=float(rng.uniform(0, 2 * usual.fibres)),
        nucleus_share=about(usual.nucleus_share, 1.1),
        missing_nuclei=about(usual.missing_nuclei, 1.5),
        unfocused_nuclei=about(usual.unfocused_nuclei, 1.5),
        membrane_gaps=about(usual.membrane_gaps, 1.4),
        membrane_strength=about(usual.membrane_strength, 1.5),
        cytoplasm_strength=about(usual.cytoplasm_strength, 1.5),
        nucleus_strength=about(usual.nucleus_strength, 1.3),
        haze=about(usual.haze, 1.3),
        blur=about(usual.blur, 1.2),
        illumination=about(usual.illumination, 1.5),
        autofluorescence=about(usual.autofluorescence, 1.6),
        photons=about(usual.photons, 1.6),
        read_noise=about(usual.read_noise, 1.4),
    )


def simulated_tissue(
    count: int,
    *,
    size: int = 256,
    seed: int = 0,
    channels: Sequence[str] = CHANNELS,
    label: Literal["cell", "nucleus"] = "cell",
) -> Dataset:
    """A data set of ``count`` simulated images, each made when it is opened.

    Image ``i`` is the same whatever ``count``, ``channels`` and ``label`` are. Four images share a
    slide (staining, crowding, optics), which is their group.

    Raises:
        ConfigError: ``count`` < 1, ``size`` < 32, or an unknown channel or label.
    """
    if count < 1:
        raise ConfigError(f"count: {count} simulated images were asked for. Give 1 or more.")
    if label not in ("cell", "nucleus"):
        raise ConfigError(f"label: simulated tissue has 'cell' and 'nucleus', not {label!r}.")
    chosen = tuple(channels)
    _require(chosen, size)
    records = []
    for index in range(count):
        group = index // IMAGES_PER_SLIDE
        records.append(
            Record(
                id=f"simulated-{seed}-{index:05d}",
                image=SimulatedImage(seed, index, size, chosen),
                label=SimulatedLabel(seed, index, size, chosen, label),
                group=f"simulated slide {seed}-{group}",
            )
        )
    return Dataset(
        name="simulated-tissue",
        records=tuple(records),
        channels=chosen,
        simulated=True,
        licence="simulated by Abbe, no rights reserved (CC0-1.0)",
        notes=("Simulated tissue: nothing measured on it is a finding about real tissue.",),
    )


@dataclass(frozen=True)
class SimulatedImage:
    """Image ``index`` of the simulated data set ``seed``, made on demand."""

    seed: int
    index: int
    size: int
    channels: tuple[str, ...]

    def open(self) -> Image:
        """The image; its pixels, (C, size, size) uint16, are simulated when they are read."""
        from abbe.imaging.image import Contents, Image

        contents = Contents(
            (self.size, self.size), len(self.channels), np.dtype(np.uint16), self._pixels
        )
        name = f"simulated-{self.seed}-{self.index:05d}"
        return Image(name, self.channels, contents, pixel_size=PIXEL_SIZE)

    def _pixels(self) -> Pixels:
        from abbe.imaging.image import ArrayPixels

        made = _kept(self.size)(self.seed, self.index, self.channels)
        return ArrayPixels(made.image, "CYX")


@dataclass(frozen=True)
class SimulatedLabel:
    """The true instances of image ``index`` of the simulated data set ``seed``.

    ``channels`` change nothing here; with them the image and its label are simulated together.
    """

    seed: int
    index: int
    size: int
    channels: tuple[str, ...]
    label: Literal["cell", "nucleus"]

    def read(self) -> NDArray[np.int32]:
        """The label (size, size), simulated again unless it is kept."""
        made = _kept(self.size)(self.seed, self.index, self.channels)
        return (made.cells if self.label == "cell" else made.nuclei).copy()


@cache
def _kept(size: int) -> Callable[[int, int, tuple[str, ...]], Tissue]:
    """Simulates images of a size, and keeps the last of them: a run asks for each a few times."""
    of_one = size * size * (len(CHANNELS) * 2 + 2 * 4)

    @lru_cache(maxsize=max(2, KEPT // of_one))
    def made(seed: int, index: int, channels: tuple[str, ...]) -> Tissue:
        slide = random_slide([seed, index // IMAGES_PER_SLIDE, SLIDE_STREAM])
        return tissue(np.random.SeedSequence([seed, index]), size, channels, slide)

    return made


def _require(channels: Sequence[str], size: int) -> None:
    unknown = [name for name in channels if name not in CHANNELS]
    if unknown or not channels or len(set(channels)) < len(channels):
        raise ConfigError(
            f"channels: simulated tissue has {', '.join(CHANNELS)}, each once at most; "
            f"{', '.join(channels) or 'none'} were asked for."
        )
    if size < 32:
        raise ConfigError(f"size: {size} px is too small to hold cells. Give 32 or more.")
