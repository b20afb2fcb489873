"""TissueNet (Greenwald et al. 2022): nucleus and membrane images with cell and nucleus labels.

Its licence lets nobody pass it on, so the user downloads it (deepcell.org, login) and gives the
path. The arrays of an npz file are compressed as a whole; they are unpacked once into a cache of
.npy files, which every process then maps into memory and shares.
"""

import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from abbe.datasets.collection import Dataset, Record
from abbe.errors import InputError
from abbe.files import atomic_path, remove_stale_parts
from abbe.files.locks import alone, lock_beside
from abbe.imaging import Image
from abbe.imaging.formats.memory_map import memory_map
from abbe.near import meant_beside
from abbe.remote import as_path, as_remote

CHANNELS = ("nucleus", "membrane")
LICENCE = "TissueNet: non-commercial, academic use only (deepcell.org, login needed)"
LABEL_PLANES = {"cell": 0, "nucleus": 1}


def tissuenet(
    path: str | os.PathLike[str],
    *,
    label: Literal["cell", "nucleus"] = "cell",
    cache: str | os.PathLike[str] | None = None,
    pixel_size: float | None = 0.5,
    group: str | None = None,
) -> Dataset:
    """TissueNet from its npz files. Only the arrays' headers and small text columns are read.

    Each file holds X (N, H, W, 2), nucleus then membrane, and y (N, H, W, 2), whole cell then
    nucleus. Splits come from the file names (``tissuenet_v1.1_train.npz``), so
    that a single file has one only. Text columns (tissue,
    platform…) are kept where they are plain text; pickled ones are never read.

    Args:
        path: One npz file, or the folder with train, val and test of one version.
        label: Which of the two labels to use.
        cache: Folder for the unpacked arrays (about 15 GB for all of version 1.1); by
            default ``abbe-cache`` beside them. Unpacking happens when the first image is read.
        pixel_size: µm per px; 0.5 is what the images were resized to (Mesmer's input).
        group: Text column whose images must stay in one split.

    Raises:
        InputError: No such file, or its arrays are not of the expected names and shapes.
    """
    root = as_path(path)
    files = _files(root)
    home = Path(cache) if cache is not None else _cache_for(files[0])
    records: list[Record] = []
    notes: list[str] = []
    for file in files:
        contents = _inspect(file)
        split = _split_of(file)
        columns, skipped = _columns(file, contents)
        if skipped:
            notes.append(f"{file.name}: arrays left out: {', '.join(skipped)}")
        if group is not None and group not in columns:
            raise InputError(
                f"{file} has no text column '{group}' (group); it has: {', '.join(columns)}"
            )
        for index in range(contents["X"].shape[0]):
            values = {name: column[index] for name, column in columns.items()}
            id = f"{split or file.stem}-{index:05d}"
            records.append(
                Record(
                    id=id,
                    image=TissueNetImage(file, home, index, id, pixel_size),
                    label=TissueNetLabel(file, home, index, LABEL_PLANES[label]),
                    split=split,
                    group=None if group is None else values[group],
                    columns=values,
                )
            )
    name = f"tissuenet-{label}"
    return Dataset(name, tuple(records), CHANNELS, licence=LICENCE, notes=tuple(notes))


@dataclass(frozen=True)
class TissueNetImage:
    """One image of X."""

    file: Path
    cache: Path
    index: int
    name: str
    pixel_size: float | None

    def open(self) -> Image:
        """The two channels, (2, H, W)."""
        pixels = _unpacked(self.file, "X", self.cache)[self.index]
        return Image.from_array(np.moveaxis(pixels, -1, 0), CHANNELS, self.pixel_size, self.name)


@dataclass(frozen=True)
class TissueNetLabel:
    """One plane of y."""

    file: Path
    cache: Path
    index: int
    plane: int

    def read(self) -> NDArray[np.int32]:
        """The instances, (H, W)."""
        stored = _unpacked(self.file, "y", self.cache)[self.index, ..., self.plane]
        labels = stored.astype(np.int32)
        if not np.array_equal(labels, stored):
            raise InputError(f"{self.file}: y[{self.index}] holds values that are no int32 labels")
        return labels


@dataclass(frozen=True)
class _Header:
    """What the start of an npy array says."""

    shape: tuple[int, ...]
    dtype: np.dtype


def _cache_for(file: Path) -> Path:
    """Beside the files; of those behind a URL, with the copies here."""
    here = file if as_remote(file) is None else Path(os.fspath(file))
    return here.parent / "abbe-cache"


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    files = sorted(root.glob("*.npz")) if root.is_dir() else []
    if not files:
        raise InputError(
            f"{root} is no TissueNet file and holds none: expected is a file such as "
            f"tissuenet_v1.1_train.npz, or the folder that holds train, val and "
            f"test.{meant_beside(root)}"
        )
    splits = [_split_of(file) for file in files]
    names = ", ".join(file.name for file in files)
    if None in splits:
        unclear = files[splits.index(None)].name
        raise InputError(
            f"{root}: the name of {unclear} ends in none of _train, _val, _test; give the file's "
            f"own path, or a folder with the TissueNet files alone (there: {names})"
        )
    if len(set(splits)) < len(splits):
        raise InputError(
            f"{root} holds a split twice ({names}): keep one version of TissueNet in a folder"
        )
    return files


def _split_of(file: Path) -> Literal["train", "val", "test"] | None:
    match = re.search(r"_(train|val|test)$", file.stem)
    return match.group(1) if match else None  # pyright: ignore[reportReturnType]


@contextmanager
def _member(file: Path, name: str) -> Iterator[IO[bytes]]:
    """The stream of one array of an npz file."""
    try:
        with zipfile.ZipFile(file) as archive, archive.open(f"{name}.npy") as stream:
            yield stream
    except (zipfile.BadZipFile, EOFError) as error:
        raise InputError(
            f"{file} is damaged or no npz file ({error}): download it again"
        ) from error


def _inspect(file: Path) -> dict[str, _Header]:
    """The arrays' headers; asserts that X and y are what the set's description says."""
    try:
        with zipfile.ZipFile(file) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
    except zipfile.BadZipFile as error:
        raise InputError(
            f"{file} is damaged or no npz file ({error}): download it again"
        ) from error
    headers: dict[str, _Header] = {}
    for name in names:
        with _member(file, name) as stream:
            headers[name] = _read_header(stream, file, name)
    for name in ("X", "y"):
        if name not in headers:
            raise InputError(f"{file} has no array '{name}'; it has: {', '.join(names)}")
        shape, dtype = headers[name].shape, headers[name].dtype
        if len(shape) != 4 or shape[3] != 2 or dtype.kind not in "uif":
            raise InputError(
                f"{file}: array '{name}' is {dtype} of shape {shape}; "
                f"expected are numbers of shape (images, height, width, 2)"
            )
    if headers["X"].shape != headers["y"].shape:
        raise InputError(
            f"{file}: X {headers['X'].shape} and y {headers['y'].shape} differ in shape"
        )
    return headers


def _read_header(stream: IO[bytes], file: Path, name: str) -> _Header:
    try:
        version = npy_format.read_magic(stream)
        read = (
            npy_format.read_array_header_1_0
            if version == (1, 0)
            else npy_format.read_array_header_2_0
        )
        shape, fortran_order, dtype = read(stream)
    except ValueError as error:
        raise InputError(f"{file}: '{name}' is no numpy array ({error})") from error
    if fortran_order and name in ("X", "y"):
        raise InputError(f"{file}: array '{name}' is in Fortran order; save it in C order")
    return _Header(shape, dtype)


def _columns(
    file: Path, headers: dict[str, _Header]
) -> tuple[dict[str, list[str]], tuple[str, ...]]:
    """Text with one value an image, and the names of the arrays that were left out.

    A table with a first row of names, as ``meta`` in version 1.1, counts as several columns.
    """
    count = headers["X"].shape[0]
    columns: dict[str, list[str]] = {}
    skipped: list[str] = []
    for name, header in headers.items():
        if name in ("X", "y"):
            continue
        if header.dtype.hasobject:
            skipped.append(f"{name} (pickled)")
        elif header.dtype.kind == "U" and header.shape == (count,):
            columns[name.removesuffix("_list")] = _read_small(file, name).tolist()
        elif header.dtype.kind == "U" and len(header.shape) == 2 and header.shape[0] == count + 1:
            table = _read_small(file, name)
            columns.update({str(row[0]): row[1:].tolist() for row in table.T})
        else:
            skipped.append(name)
    return columns, tuple(skipped)


def _read_small(file: Path, name: str) -> NDArray[np.str_]:
    with _member(file, name) as stream:
        return npy_format.read_array(stream, allow_pickle=False)


def _unpacked(file: Path, name: str, cache: Path) -> NDArray[np.generic]:
    """The array mapped into memory, unpacked into the cache if it is not there yet.

    The cache's name holds the size and time of the npz file, so that a new file is unpacked anew.
    """
    facts = file.stat()
    target = cache / f"{file.stem}-{facts.st_size}-{facts.st_mtime_ns}" / f"{name}.npy"
    if not target.exists():
        try:
            _unpack_once(file, name, target)
        except OSError as error:
            raise InputError(
                f"unpacking {name} of {file.name} into {target.parent} failed: {error}; "
                f"make room, or give another cache folder (cache=)"
            ) from error
    return memory_map(target)


def _unpack_once(file: Path, name: str, target: Path) -> None:
    """Unpack the array, unless another thread or process does so at this time."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with alone(lock_beside(target), wait=True) as sure:
        if target.exists():
            return
        if sure:
            remove_stale_parts(target, all=True)
        with zipfile.ZipFile(file) as archive:
            size = archive.getinfo(f"{name}.npy").file_size
        free = shutil.disk_usage(target.parent).free
        if free < size:
            raise InputError(
                f"unpacking {name} of {file.name} needs {size / 1e9:.1f} GB, but {target.parent} "
                f"has {free / 1e9:.1f} GB free: make room, or give another cache folder (cache=)"
            )
        with (
            _member(file, name) as stream,
            atomic_path(target) as temporary,
            open(temporary, "wb") as out,
        ):
            shutil.copyfileobj(stream, out, 1 << 22)
