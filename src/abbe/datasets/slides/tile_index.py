"""Where the tiles of a slide lie and which of them are taken.

It is decided by the rules of `abbe.imaging.tissue`.
"""

from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from abbe.datasets.slides.brightfield import open_brightfield
from abbe.errors import InputError
from abbe.imaging import Region
from abbe.imaging.tissue import USUAL_LIMITS, Limits, Verdict, judged, masks_of, overview


@dataclass(frozen=True)
class TileRules:
    """Which places of a slide become tiles.

    Attributes:
        tile: Side of a tile in px.
        pixel_size: Of the tiles, in µm; coarser than the slide's or the same.
        stride: Distance of neighbouring tiles in px; a tile's side where None.
        minimum_tissue, maximum_pen, minimum_sharpness: See `abbe.imaging.tissue.Limits`.

    Raises:
        InputError: The tile or the stride is not above 0.
    """

    tile: int = 256
    pixel_size: float = 0.5
    stride: int | None = None
    minimum_tissue: float = USUAL_LIMITS.minimum_tissue
    maximum_pen: float = USUAL_LIMITS.maximum_pen
    minimum_sharpness: float = USUAL_LIMITS.minimum_sharpness

    def __post_init__(self) -> None:
        if self.tile < 1 or self.step < 1:
            raise InputError(f"tile {self.tile} px and stride {self.step} px must be above 0")

    @property
    def step(self) -> int:
        """Distance of neighbouring tiles in px."""
        return self.tile if self.stride is None else self.stride


USUAL_TILES = TileRules()


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
        given_pixel_size: The slide's own as the user gave it; None where the file says it.
        tiles: Row by row.
    """

    path: Path
    pixel_size: float
    given_pixel_size: float | None
    tiles: tuple[Tile, ...]

    @property
    def name(self) -> str:
        """The slide's name without its suffix."""
        return name_of(self.path)

    @property
    def taken(self) -> tuple[Tile, ...]:
        """The tiles to learn from."""
        return tuple(tile for tile in self.tiles if tile.verdict == "taken")

    def counts(self) -> str:
        """How many were taken and left out, in words."""
        found = Counter(tile.verdict for tile in self.tiles)
        return ", ".join(f"{found[v]} {v}" for v in ("taken", "empty", "pen", "blurred"))


def name_of(path: Path) -> str:
    """The name of a slide without its suffix."""
    return path.name.split(".")[0] if path.is_dir() else path.stem


def index_tiles(
    path: Path,
    rules: TileRules = USUAL_TILES,
    *,
    slide_pixel_size: float | None = None,
    override_pixel_size: float | None = None,
    channels: tuple[str, ...] | None = None,
) -> TileIndex:
    """Lay a grid over one slide and judge each place; arguments and errors as in `slide_tiles`.

    The answer is kept as long as the process lives, and given again while the slide is the same.
    """
    sizes = slide_pixel_size, override_pixel_size
    return _index(path, _state(path), rules, sizes, channels)


def _state(path: Path) -> tuple[Path, int, int]:
    """What tells a slide from another one at the same path: its place, time and size in bytes.

    Of a Zarr folder these are the latest time and the size of what lies in it directly: the
    metadata. Its chunks may be millions.
    """
    try:
        files = [path, *path.iterdir()] if path.is_dir() else [path]
        found = [file.stat() for file in files]
    except OSError:  # opening it says what is wrong, in words
        return path, 0, 0
    return path.resolve(), max(s.st_mtime_ns for s in found), sum(s.st_size for s in found)


# A start asks twice, when it checks and when it begins; judging a large slide takes ten seconds.
@lru_cache(maxsize=4096)
def _index(
    path: Path,
    state: tuple[Path, int, int],
    rules: TileRules,
    sizes: tuple[float | None, float | None],
    channels: tuple[str, ...] | None,
) -> TileIndex:
    """The index of a slide; ``state`` tells new files, ``sizes`` fill in or override."""
    slide, given = open_brightfield(
        path, channels=channels, pixel_size=sizes[0], override_pixel_size=sizes[1]
    )
    whole = slide.at(rules.pixel_size)
    height, width = whole.shape
    if min(height, width) < rules.tile:
        raise InputError(
            f"{path}: at {rules.pixel_size:g} µm it is {height} × {width} px, smaller than a tile "
            f"of {rules.tile} px. Choose smaller tiles or a finer pixel size."
        )
    masks = masks_of(overview(slide).read())
    limits = Limits(rules.minimum_tissue, rules.maximum_pen, rules.minimum_sharpness)
    regions = (
        Region(top, left, top + rules.tile, left + rules.tile)
        for top in range(0, height - rules.tile + 1, rules.step)
        for left in range(0, width - rules.tile + 1, rules.step)
    )
    tiles = tuple(Tile(each, *judged(whole, each, masks, limits)) for each in regions)
    return TileIndex(path, rules.pixel_size, given, tiles)
