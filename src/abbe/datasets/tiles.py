"""Tiles of whole slides as a data set, without writing a tile to disk.

Where the tiles lie is decided on an overview of the slide, by the rules of
`abbe.datasets.tissue_mask`, and by how sharp each tile is. Every record is a view of its slide that
is read when it is needed.
"""

import os
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Literal

import numpy as np
import PIL.Image
import PIL.ImageDraw
from numpy.typing import NDArray

from abbe.datasets.collection import Dataset, Record
from abbe.datasets.tissue_mask import pen_mask, sharpness, tissue_mask
from abbe.errors import InputError
from abbe.files import atomic_path
from abbe.imaging import Image, Region, Slide, contact_sheet, open_slide
from abbe.imaging.image import Contents

Verdict = Literal["taken", "empty", "pen", "blurred"]

SLIDE_SUFFIXES = (
    ".svs", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".tif", ".tiff", ".zarr",
)  # fmt: skip
OVERVIEW = 8.0
"""µm per px at which tissue and ink are looked for."""

MIN_PICTURE, MAX_PICTURE = 640, 2048  # px, of a slide's longest side in the picture

CHANNELS = ("red", "green", "blue")
_COLOURS: dict[str, tuple[int, int, int]] = {
    "taken": (0, 150, 60),
    "pen": (220, 0, 0),
    "blurred": (0, 80, 230),
}


@dataclass(frozen=True)
class Tile:
    """One place of the grid over a slide.

    Attributes:
        region: Where it lies, in px of the wanted pixel size.
        verdict: Whether it was taken, or why not.
        tissue: Share of it that is tissue.
        sharpness: Variance of its Laplacian; None where it was not looked at.
    """

    region: Region
    verdict: Verdict
    tissue: float
    sharpness: float | None = None


@dataclass(frozen=True)
class TileIndex:
    """All places of the grid over one slide, each with its verdict.

    Attributes:
        path: The slide.
        pixel_size: Of the tiles, in µm.
        given_pixel_size: The slide's own as the user gave it, or None to believe the file.
        tiles: Row by row.
    """

    path: Path
    pixel_size: float
    given_pixel_size: float | None
    tiles: tuple[Tile, ...]

    @property
    def name(self) -> str:
        """The slide's name without its suffix."""
        return self.path.name.split(".")[0] if self.path.is_dir() else self.path.stem

    @property
    def taken(self) -> tuple[Tile, ...]:
        """The tiles to learn from."""
        return tuple(tile for tile in self.tiles if tile.verdict == "taken")

    def counts(self) -> str:
        """How many were taken and left out, in words."""
        found = Counter(tile.verdict for tile in self.tiles)
        return ", ".join(f"{found[v]} {v}" for v in ("taken", "empty", "pen", "blurred"))


@dataclass(frozen=True)
class SlideTile:
    """A view of a slide, as an image of its own."""

    path: Path
    pixel_size: float
    region: Region
    given_pixel_size: float | None = None

    def open(self) -> Image:
        """The tile, (3, tile, tile) uint8; nothing is read yet."""
        modified = self.path.stat().st_mtime_ns if self.path.exists() else 0
        whole = _view(self.path, self.pixel_size, self.given_pixel_size, modified)
        top, left, bottom, right = self.region
        contents = Contents(
            (bottom - top, right - left), len(whole.channels), whole.dtype,
            partial(_Part, whole, self.region),
        )  # fmt: skip
        return Image(
            f"{whole.name} x {left} y {top}",
            whole.channels,
            contents,
            pixel_size=whole.pixel_size,
            source=f"{whole.source}, tile at x {left} y {top}",
        )


def slide_tiles(
    path: str | os.PathLike[str],
    *,
    tile: int = 256,
    pixel_size: float = 0.5,
    stride: int | None = None,
    minimum_tissue: float = 0.5,
    maximum_pen: float = 0.1,
    minimum_sharpness: float = 40.0,
    slide_pixel_size: float | None = None,
    picture: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """The tiles with tissue of a slide, or of all slides in a folder.

    The group of a record is its slide, so that no slide is in two splits. In a folder, a slide that
    cannot be used is left out, and `Dataset.problems` says why.

    Args:
        path: A slide, or a folder of slides.
        tile: Side of a tile in px.
        pixel_size: Of the tiles, in µm; coarser than the slide's or the same.
        stride: Distance of neighbouring tiles in px; a tile's side where omitted.
        minimum_tissue: Least share of a tile that is tissue.
        maximum_pen: Largest share of a tile under ink; see `pen_mask`.
        minimum_sharpness: Least `sharpness` of a tile; 0 takes blurred ones, too, and saves reading
            every tile once. 40 is meant for 0.5 µm: sharp H&E has 130 to 2,400 there, and after a
            Gaussian blur of 2 px below 45.
        slide_pixel_size: Of the slides themselves in µm, where their files do not say.
        picture: Where to draw what was taken (PNG); see `draw_tiles`.
        progress: Called with the number of slides done and of all.

    Raises:
        InputError: There is no slide; an argument is out of range; and, where no slide of a folder
            is usable or there is but one: its pixel size is unknown or too coarse, it is no
            brightfield colour image, it is damaged, or no tile of it is taken.
        MissingExtraError: A slide's format needs ``abbe[wsi]``.
    """
    root = Path(path)
    slides = _slides(root)
    indices: list[TileIndex] = []
    problems: list[str] = []
    for done, slide in enumerate(slides, start=1):
        try:
            index = index_tiles(
                slide, tile=tile, pixel_size=pixel_size, stride=stride,
                minimum_tissue=minimum_tissue, maximum_pen=maximum_pen,
                minimum_sharpness=minimum_sharpness, slide_pixel_size=slide_pixel_size,
            )  # fmt: skip
            _require_taken(index)
        except InputError as error:
            if len(slides) == done and not indices:
                raise
            problems.append(f"left out: {error}")
        else:
            indices.append(index)
        if progress is not None:
            progress(done, len(slides))
    if picture is not None:
        draw_tiles(indices, picture)
    return Dataset(
        name=root.name.split(".")[0],
        records=tuple(record for index in indices for record in _records(index)),
        channels=CHANNELS,
        notes=tuple(f"{index.path.name}: {index.counts()}" for index in indices),
        problems=tuple(problems),
    )


def index_tiles(
    path: Path,
    *,
    tile: int = 256,
    pixel_size: float = 0.5,
    stride: int | None = None,
    minimum_tissue: float = 0.5,
    maximum_pen: float = 0.1,
    minimum_sharpness: float = 40.0,
    slide_pixel_size: float | None = None,
) -> TileIndex:
    """Lay a grid over one slide and judge each place; arguments and errors as in `slide_tiles`."""
    step = tile if stride is None else stride
    if tile < 1 or step < 1:
        raise InputError(f"tile {tile} px and stride {step} px must be above 0")
    slide = open_slide(path, pixel_size=slide_pixel_size)
    _require_brightfield(slide)
    whole = slide.at(pixel_size)
    rgb = _overview(slide).read()
    tissue, pen = tissue_mask(rgb), pen_mask(rgb)
    height, width = whole.shape
    if min(height, width) < tile:
        raise InputError(
            f"{path}: at {pixel_size:g} µm it is {height} × {width} px, smaller than a tile of "
            f"{tile} px. Choose smaller tiles or a finer pixel size."
        )
    tiles = []
    for top in range(0, height - tile + 1, step):
        for left in range(0, width - tile + 1, step):
            region = Region(top, left, top + tile, left + tile)
            share, ink = _share(tissue, region, whole.shape), _share(pen, region, whole.shape)
            verdict: Verdict = "taken"
            sharp = None
            if ink > maximum_pen:
                verdict = "pen"
            elif share < minimum_tissue:
                verdict = "empty"
            elif minimum_sharpness > 0:
                sharp = sharpness(whole.read(region))
                verdict = "taken" if sharp >= minimum_sharpness else "blurred"
            tiles.append(Tile(region, verdict, share, sharp))
    return TileIndex(path, pixel_size, slide_pixel_size, tuple(tiles))


def draw_tiles(indices: Sequence[TileIndex], path: str | os.PathLike[str]) -> Path:
    """Draw on an overview of each slide which tiles were taken (green) and why others were not.

    Tiles with ink are framed red, blurred ones blue; empty ones have no frame.

    Args:
        indices: One a slide.
        path: The PNG.
    """
    pictures, captions = [], []
    for index in indices:
        slide = open_slide(index.path, pixel_size=index.given_pixel_size)
        overview = _overview(slide)
        picture = PIL.Image.fromarray(np.ascontiguousarray(overview.read().transpose(1, 2, 0)))
        draw = PIL.ImageDraw.Draw(picture)
        scale = index.pixel_size / overview.require_pixel_size()
        for tile in index.tiles:
            if tile.verdict in _COLOURS:
                top, left, bottom, right = (side * scale for side in tile.region)
                draw.rectangle((left, top, right - 1, bottom - 1), outline=_COLOURS[tile.verdict])
        pictures.append(np.asarray(picture))
        captions.append(f"{index.path.name}: {index.counts()}")
    longest = max(max(picture.shape) for picture in pictures)
    sheet = contact_sheet(pictures, captions, tile_size=min(max(longest, MIN_PICTURE), MAX_PICTURE))
    target = Path(path)
    with atomic_path(target) as temporary:
        sheet.save(temporary, format="PNG")
    return target


@dataclass(frozen=True)
class _Part:
    """A region of an image, as pixels of their own."""

    image: Image
    region: Region

    def read(self, region: Region, channels: Sequence[int]) -> np.ndarray:
        top, left = self.region.top, self.region.left
        moved = Region(
            region.top + top, region.left + left, region.bottom + top, region.right + left
        )
        return self.image.read(moved, [self.image.channels[index] for index in channels])


@lru_cache(maxsize=16)
def _view(path: Path, pixel_size: float, given: float | None, modified: int) -> Image:
    """A slide at a pixel size, its tables kept for the next tile; ``modified`` tells new files."""
    return open_slide(path, pixel_size=given).at(pixel_size)


def _slides(root: Path) -> list[Path]:
    folder = root.is_dir() and not root.name.lower().endswith(".zarr")
    if not folder:
        if not root.exists():
            raise InputError(f"{root}: there is no such slide or folder. Check the path.")
        return [root]
    found = sorted(
        file
        for file in root.iterdir()
        if file.name.lower().endswith(SLIDE_SUFFIXES) and not file.name.startswith(".")
    )
    if not found:
        raise InputError(f"{root} holds no slide; slides end in {', '.join(SLIDE_SUFFIXES)}")
    return found


def _require_brightfield(slide: Slide) -> None:
    full = slide.levels[0]
    if slide.channels != CHANNELS or full.dtype != np.uint8:
        raise InputError(
            f"{full.source}: tissue is looked for in colour images of 8 bits (red, green, blue), "
            f"but this has {', '.join(slide.channels)} in {full.dtype}. Cut it into tiles yourself "
            "and give their folder."
        )


def _require_taken(index: TileIndex) -> None:
    if not index.taken:
        raise InputError(
            f"{index.path}: no tile of it is taken: of {len(index.tiles)}, {index.counts()}. Is it "
            "all background? Otherwise lower minimum_tissue or minimum_sharpness, or raise "
            "maximum_pen."
        )


def _overview(slide: Slide) -> Image:
    return slide.at(max(OVERVIEW, slide.levels[0].require_pixel_size()))


def _share(mask: NDArray[np.bool_], region: Region, shape: tuple[int, int]) -> float:
    """Share of a tile that the mask covers, which has fewer px than the slide of ``shape``."""
    down, across = (there / here for there, here in zip(mask.shape, shape, strict=True))
    top, left = int(region.top * down), int(region.left * across)
    bottom = max(top + 1, round(region.bottom * down))
    right = max(left + 1, round(region.right * across))
    return float(mask[top:bottom, left:right].mean())


def _records(index: TileIndex) -> list[Record]:
    return [
        Record(
            id=f"{index.name}-x{tile.region.left}-y{tile.region.top}",
            image=SlideTile(index.path, index.pixel_size, tile.region, index.given_pixel_size),
            group=index.name,
            columns={
                "slide": index.path.name,
                "x": str(tile.region.left),
                "y": str(tile.region.top),
                "tissue": f"{tile.tissue:.2f}",
            }
            | ({} if tile.sharpness is None else {"sharpness": f"{tile.sharpness:.0f}"}),
        )
        for tile in index.taken
    ]
