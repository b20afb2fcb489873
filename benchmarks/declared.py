"""Change the sizes that an image file declares, and leave its bytes: for `benchmarks/damaged.py`.

Random bytes seldom hit a size, and what guards it (a checksum, JSON) refuses them for another
reason. Here the rest of the file stays as its writer left it.
"""

import io
import json
import random
import re
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import tifffile

SIZES = (
    0, 1, 2, 97, 255, 256, 4096, 26_000, 65_535, 65_536, 10**6, 10**9, (1 << 31) - 1, 1 << 31,
    (1 << 32) - 1, 10**12, (1 << 63) - 1, 1 << 63, 10**30,
)  # fmt: skip


def change_png(path: Path, chance: random.Random) -> None:
    """Width or height in IHDR, with the right checksum."""
    data = bytearray(path.read_bytes())
    at = chance.choice((16, 20))
    data[at : at + 4] = struct.pack(">I", chance.choice(SIZES) % (1 << 32))
    data[29:33] = struct.pack(">I", zlib.crc32(bytes(data[12:29])))
    path.write_bytes(bytes(data))


def change_jpeg(path: Path, chance: random.Random) -> None:
    """Height or width of the frame."""
    data = bytearray(path.read_bytes())
    at = data.index(b"\xff\xc0") + chance.choice((5, 7))
    data[at : at + 2] = struct.pack(">H", chance.choice(SIZES) % (1 << 16))
    path.write_bytes(bytes(data))


def change_tiff(path: Path, chance: random.Random) -> None:
    """Width, length, samples, bits, rows of a strip or sides of a tile, of one of its pages."""
    with tifffile.TiffFile(path, mode="r+") as file:
        page = chance.choice(list(file.pages))
        assert isinstance(page, tifffile.TiffPage)
        codes = [code for code in (256, 257, 258, 277, 278, 322, 323) if code in page.tags]
        most = 64 if file.is_bigtiff else 32
        size = chance.choice(SIZES) % (1 << most)
        page.tags[chance.choice(codes)].overwrite(size, dtype="Q" if most == 64 else "I")


def change_ome(path: Path, chance: random.Random) -> None:
    """A size in the OME-XML, or in the tags beside it."""
    if chance.random() < 0.4:
        change_tiff(path, chance)
        return
    with tifffile.TiffFile(path, mode="r+") as file:
        text, name = file.ome_metadata or "", f"Size{chance.choice('XYCZT')}"
        changed = re.sub(rf'{name}="\d+"', f'{name}="{chance.choice(SIZES)}"', text)
        file.pages.first.tags["ImageDescription"].overwrite(changed.encode())


def change_npy(path: Path, chance: random.Random) -> None:
    """The shape in the header."""
    path.write_bytes(_other_shape(path.read_bytes(), chance))


def change_npz(path: Path, chance: random.Random) -> None:
    """The shape in the header of the array inside."""
    with zipfile.ZipFile(path) as archive:
        (name,) = archive.namelist()
        data = _other_shape(archive.read(name), chance)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, data)


def _other_shape(data: bytes, chance: random.Random) -> bytes:
    pixels = np.load(io.BytesIO(data), allow_pickle=False)
    shape = list(pixels.shape)
    if chance.random() < 0.3:
        shape.append(chance.choice(SIZES))
    else:
        shape[chance.randrange(len(shape))] = chance.choice(SIZES)
    file = io.BytesIO()
    header = {"descr": pixels.dtype.str, "fortran_order": False, "shape": tuple(shape)}
    np.lib.format.write_array_header_1_0(file, header)  # pyright: ignore[reportArgumentType]
    return file.getvalue() + pixels.tobytes()


def change_zarr(path: Path, chance: random.Random) -> None:
    """The shape of a level, or of its chunks."""
    file = chance.choice(sorted((*path.glob("*/.zarray"), *path.glob("*/zarr.json"))))
    array: dict[str, Any] = json.loads(file.read_text("utf-8"))
    sizes = array["shape"]
    if chance.random() < 0.4:
        version_3 = "chunk_grid" in array
        sizes = (
            array["chunk_grid"]["configuration"]["chunk_shape"] if version_3 else array["chunks"]
        )
    sizes[chance.randrange(len(sizes))] = chance.choice(SIZES)
    file.write_text(json.dumps(array), "utf-8")


def change_dicom(path: Path, chance: random.Random) -> None:
    """Rows, columns, samples, bits, frames or sides of the slide of one file."""
    file = chance.choice(sorted(path.parent.glob("*.dcm")))
    header = pydicom.dcmread(file)
    names = (
        "Rows", "Columns", "SamplesPerPixel", "BitsAllocated", "NumberOfFrames",
        "TotalPixelMatrixRows", "TotalPixelMatrixColumns",
    )  # fmt: skip
    name = chance.choice([each for each in names if each in header])
    most = {"US": 16, "UL": 32, "IS": 31}[header[name].VR]
    setattr(header, name, chance.choice(SIZES) % (1 << most))
    header.save_as(file)


CHANGES: dict[str, Callable[[Path, random.Random], None]] = {
    "png": change_png,
    "jpeg": change_jpeg,
    "tiff": change_tiff,
    "bigtiff": change_tiff,
    "ome-tiff": change_ome,
    "svs": change_tiff,
    "zarr-0.5": change_zarr,
    "zarr-0.4": change_zarr,
    "npy": change_npy,
    "npz": change_npz,
    "dicom": change_dicom,
    "slide": change_dicom,
}
"""By format of `benchmarks/damaged.py`."""
