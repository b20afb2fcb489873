"""Tiles of whole slides as a data set, without writing a tile to disk.

Every record is a view of its slide that is read when it is needed; `tile_index` says
which there are.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from abbe.datasets.collection import Dataset, Record
from abbe.datasets.folder import ID_COLUMNS, Table, read_table
from abbe.datasets.slides.brightfield import (
    CHANNELS,
    find_slides,
    open_again,
    require_colours,
    slides_not_read,
)
from abbe.datasets.slides.tile_index import USUAL_TILES, TileIndex, TileRules, index_tiles, name_of
from abbe.datasets.slides.tile_picture import draw_tiles
from abbe.errors import InputError
from abbe.imaging import Image, Region
from abbe.imaging.image import Contents
from abbe.machine.threads import cores
from abbe.remote import as_path

WORKERS = 4  # slides that are judged at a time; each may need a few hundred MB
MOST_TOLD = 5  # errors, where no slide of a folder is usable


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
    rules: TileRules = USUAL_TILES,
    *,
    slide_pixel_size: float | None = None,
    override_pixel_size: float | None = None,
    channels: Sequence[str] | None = None,
    classes: Sequence[str] = (),
    group: str | None = None,
    picture: str | os.PathLike[str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Dataset:
    """The tiles with tissue of a slide, or of all slides in a folder.

    The group of a record is its slide, so that no slide is in two splits. In a folder, a slide that
    cannot be used is left out, and `Dataset.left_out` says why. ``index.csv`` in the folder may say
    more of slides: a row each, called by the file's name with or without its ending; its columns
    (class, split, group such as the patient, and any others) are those of the slide's tiles.

    Args:
        path: A slide, or a folder of slides.
        rules: Where tiles lie, and which are taken.
        slide_pixel_size: Of the slides themselves in µm, where their files do not say; the others
            keep their own.
        override_pixel_size: The same, whatever the files say.
        channels: "red", "green", "blue" to say that the files' three channels are colours, whatever
            they call them. Otherwise their names say it in any case, or are numbers or missing.
        classes: Order of the values in the table's column class; that of their names where none.
        group: Column of the table that names the patient; "group" where None.
        picture: Where to draw what was taken (PNG); see `draw_tiles`. It is drawn even if nothing
            was.
        progress: Called with the number of slides done, from 0, and of all.

    Raises:
        InputError: There is no slide; and, where no slide of a folder
            is usable or there is but one: its pixel size is unknown or too coarse, it is no
            brightfield colour image, it is damaged, or no tile of it is taken.
        MissingExtraError: A slide's format needs ``abbe[wsi]``.
    """
    root = as_path(path)
    named = None if channels is None else tuple(channels)
    require_colours(root, named)
    judge = partial(
        index_tiles,
        rules=rules,
        slide_pixel_size=slide_pixel_size,
        override_pixel_size=override_pixel_size,
        channels=named,
    )
    slides = find_slides(root)
    table = _table_of(root, slides)
    judged = _judge_all(slides, judge, progress)
    unread = slides_not_read(root)
    indices = [each for each in judged if isinstance(each, TileIndex)]
    if picture is not None and indices:
        draw_tiles(indices, picture)
    usable = [index for index in indices if index.taken]
    errors = {
        slide.name: error
        for slide, each in zip(slides, judged, strict=True)
        if (error := _error_of(each)) is not None
    }
    if not usable:
        raise _joined(root, list(errors.values()))
    known = {row["class"] for row in table.rows.values() if row.get("class")}
    return Dataset(
        name=root.name.split(".")[0],
        records=tuple(record for index in usable for record in _records(index, table, group)),
        channels=CHANNELS,
        notes=tuple(f"{index.path.name}: {index.counts()}" for index in usable),
        problems=(*(() if unread is None else (unread,)), *table.problems),
        classes=tuple(classes or sorted(known)),
        left_out={name: str(error) for name, error in errors.items()},
    )


def _judge_all(
    slides: Sequence[Path],
    judge: Callable[[Path], TileIndex],
    progress: Callable[[int, int], None] | None,
) -> list[TileIndex | InputError]:
    """Of each slide in order its index, or why it has none; a few slides at a time."""

    def attempt(slide: Path) -> TileIndex | InputError:
        try:
            return judge(slide)
        except InputError as error:
            return error

    done: list[TileIndex | InputError] = []
    with ThreadPoolExecutor(min(WORKERS, cores())) as pool:
        if progress is not None:
            progress(0, len(slides))
        for each in pool.map(attempt, slides):
            done.append(each)
            if progress is not None:
                progress(len(done), len(slides))
    return done


def _error_of(judged: TileIndex | InputError) -> InputError | None:
    """What makes a slide unusable; None where it is of use."""
    if isinstance(judged, InputError):
        return judged
    if judged.taken:
        return None
    return InputError(
        f"{judged.path}: no tile of it is taken: of {len(judged.tiles)}, {judged.counts()}. Is it "
        "all background? Otherwise lower minimum_tissue or minimum_sharpness, or raise maximum_pen."
    )


def _joined(root: Path, errors: Sequence[InputError]) -> InputError:
    """One error that tells several."""
    if len(errors) == 1:
        return errors[0]
    told = [f"  {error}" for error in errors[:MOST_TOLD]]
    if len(errors) > MOST_TOLD:
        told.append(f"  … and {len(errors) - MOST_TOLD} more")
    return InputError("\n".join([f"{root}: none of its {len(errors)} slides can be used:", *told]))


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
    return open_again(path, given).at(pixel_size)


def _table_of(root: Path, slides: Sequence[Path]) -> Table:
    """What index.csv says of slides, by their names without endings."""
    if not root.is_dir():
        return Table(root, {}, ())
    names = {path.name: name_of(path) for path in slides}
    columns = "slide", *ID_COLUMNS
    return read_table(root / "index.csv", list(names.values()), names, columns)


def _records(index: TileIndex, table: Table, group: str | None) -> list[Record]:
    told = table.rows.get(index.name, {})
    split = table.split_of(index.name)
    grouped = group is not None or "group" in table.header
    unit = table.group_of(index.name, group, index.path.name) if grouped else None
    return [
        Record(
            id=f"{index.name}-x{tile.region.left}-y{tile.region.top}",
            image=SlideTile(index.path, index.pixel_size, tile.region, index.given_pixel_size),
            split=split,
            group=unit or index.name,
            columns=dict(told)
            | {
                "slide": index.path.name,
                "x": str(tile.region.left),
                "y": str(tile.region.top),
                "tissue": f"{tile.tissue:.2f}",
            }
            | ({} if tile.sharpness is None else {"sharpness": f"{tile.sharpness:.0f}"}),
        )
        for tile in index.taken
    ]
