"""Files of some KB that claim, or inflate to, more than any memory holds."""

import bz2
import io
import json
import lzma
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from numcodecs import LZ4, Blosc

SIDE = 26_000
GREY = np.random.default_rng(0).integers(0, 255, (64, 64), np.uint8)
_MIB = bytes(1 << 20)
INFLATED = 64  # MiB of zeros in a chunk that should hold 4 KiB


def npy_header(shape: tuple[int, ...]) -> bytes:
    file = io.BytesIO()
    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)  # pyright: ignore[reportArgumentType]
    return file.getvalue()


def npy(path: Path, shape: tuple[int, ...]) -> None:
    path.write_bytes(npy_header(shape) + bytes(100))


def npz(path: Path, shape: tuple[int, ...], held: int = 100) -> None:
    with (
        zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("image.npy", "w", force_zip64=True) as file,
    ):
        file.write(npy_header(shape))
        for start in range(0, held, 1 << 20):
            file.write(_MIB[: held - start])


def tiff(
    path: Path,
    shape: tuple[int, int],
    compression: int,
    data: bytes,
    *,
    bits: int = 8,
    strip: int | None = None,
    tile: int | None = None,
) -> None:
    """A TIFF of one strip or tile, whatever its tags state of more."""
    height, width = shape
    tags = [
        (256, width), (257, height), (258, bits), (259, compression), (262, 1), (277, 1)
    ]  # fmt: skip
    place = 8 + 2 + 12 * (len(tags) + (4 if tile else 3)) + 4
    if tile:
        tags += [(322, tile), (323, tile), (324, place), (325, len(data))]
    else:
        tags += [(273, place), (278, strip or height), (279, len(data))]
    table = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in sorted(tags))
    head = struct.pack("<2sHIH", b"II", 42, 8, len(tags))
    path.write_bytes(head + table + bytes(4) + data)


def ome_tiff(path: Path, **stated: int) -> None:
    tifffile.imwrite(path, GREY, ome=True, metadata={"axes": "YX"})
    with tifffile.TiffFile(path) as tif:
        text = tif.ome_metadata or ""
    for name, value in stated.items():
        text = re.sub(rf'{name}="\d+"', f'{name}="{value}"', text)
    tifffile.imwrite(path, GREY, description=text.encode(), metadata=None)


def png(path: Path, shape: tuple[int, int], pixels: bytes, colour: int = 0, bits: int = 8) -> None:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", shape[1], shape[0], bits, colour, 0, 0, 0)
    chunks = chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunks)


def jpeg(path: Path, shape: tuple[int, int]) -> None:
    """A progressive JPEG, of which each scan may have next to no bytes."""
    data = bytearray(imagecodecs.jpeg_encode(GREY))
    at = data.index(b"\xff\xc0")
    data[at + 1] = 0xC2
    data[at + 5 : at + 9] = struct.pack(">2H", *shape)
    path.write_bytes(bytes(data))


def ome_zarr(
    path: Path,
    shape: Sequence[int],
    chunk: bytes,
    compressor: dict[str, Any] | None = None,
    codecs: list[Any] | None = None,
    chunks: Sequence[int] = (64, 64),
) -> None:
    """An OME-Zarr of one chunk: 0.4 with a compressor, or 0.5 with codecs."""
    (path / "0").mkdir(parents=True)
    axes = [{"name": name, "type": "space"} for name in "yx"]
    scale = [{"type": "scale", "scale": [1, 1]}]
    levels = [{"path": "0", "coordinateTransformations": scale}]
    multiscales = [{"axes": axes, "datasets": levels, "version": "0.4"}]
    array: dict[str, Any] = {"shape": list(shape), "fill_value": 0}
    if codecs is None:
        (path / ".zgroup").write_text('{"zarr_format": 2}')
        (path / ".zattrs").write_text(json.dumps({"multiscales": multiscales}))
        array |= {"zarr_format": 2, "chunks": list(chunks), "dtype": "|u1", "order": "C"}
        array |= {"compressor": compressor, "filters": None, "dimension_separator": "."}
        (path / "0/.zarray").write_text(json.dumps(array))
        (path / "0/0.0").write_bytes(chunk)
        return
    ome = {"ome": {"version": "0.5", "multiscales": multiscales}}
    group = {"zarr_format": 3, "node_type": "group", "attributes": ome}
    (path / "zarr.json").write_text(json.dumps(group))
    grid = {"name": "regular", "configuration": {"chunk_shape": list(chunks)}}
    keys = {"name": "default", "configuration": {"separator": "."}}
    array |= {"zarr_format": 3, "node_type": "array", "data_type": "uint8", "attributes": {}}
    array |= {"chunk_grid": grid, "chunk_key_encoding": keys, "codecs": codecs}
    (path / "0/zarr.json").write_text(json.dumps(array))
    (path / "0/c.0.0").write_bytes(chunk)


def zeros(size: int, level: int = 9, wbits: int = 15) -> bytes:
    compressor = zlib.compressobj(level, zlib.DEFLATED, wbits)
    parts = [compressor.compress(_MIB[: size - at]) for at in range(0, size, 1 << 20)]
    return b"".join(parts) + compressor.flush()


def of_v2(codec: dict[str, Any], data: bytes) -> Callable[[Path], None]:
    return lambda path: ome_zarr(path, (64, 64), data, codec)


def of_v3(name: str, settings: dict[str, Any], data: bytes) -> Callable[[Path], None]:
    codecs = [{"name": "bytes"}, {"name": name, "configuration": settings}]
    return lambda path: ome_zarr(path, (64, 64), data, codecs=codecs)


_RAW = INFLATED << 20
_BLOSC = {"cname": "zstd", "clevel": 1, "shuffle": "noshuffle", "typesize": 1, "blocksize": 0}
_ZSTD = {"level": 0, "checksum": False}
_ZSTD_FRAME = bytes(imagecodecs.zstd_encode(bytes(_RAW)))
_SHORT_FRAME = bytes(imagecodecs.zstd_encode(bytes(5000)))
_BLOSC_FRAME = bytes(Blosc("zstd", 1).encode(bytes(_RAW)))
_PLAIN = GREY.tobytes()
_ROW = zlib.compress(bytes(100_000))


def sharded(path: Path) -> None:
    frame = bytes(imagecodecs.zstd_encode(bytes(_RAW)))
    index = struct.pack("<2Q", 0, len(frame))
    index += checksum(index)
    codecs = [{"name": "bytes"}, {"name": "zstd", "configuration": _ZSTD}]
    settings = {"chunk_shape": [64, 64], "codecs": codecs, "index_location": "end"}
    settings["index_codecs"] = [
        {"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}
    ]  # fmt: skip
    sharding = [{"name": "sharding_indexed", "configuration": settings}]
    ome_zarr(path, (64, 64), frame + index, codecs=sharding)


def checksum(data: bytes) -> bytes:
    import google_crc32c

    return google_crc32c.value(data).to_bytes(4, "little")


CLAIMS: dict[str, tuple[Callable[[Path], object], str]] = {
    "overflow.npz": (lambda p: npz(p, (2**33, 2**31)), "should have 18,446,744,073,709,551,616"),
    "large.npz": (lambda p: npz(p, (30_000, 30_000)), "should have 900,000,000 bytes"),
    "negative.npz": (lambda p: npz(p, (-5, 30_000)), "-5 × 30,000 px, which no image has"),
    "bomb.npz": (lambda p: npz(p, (20_000, 20_000), 20_000**2), "would become 0.4 GiB at once"),
    "huge.npy": (lambda p: npy(p, (2**33, 2**33)), "damaged"),
    "larger.npy": (lambda p: npy(p, (10**9, 10**9)), "damaged"),
    "below.npy": (lambda p: npy(p, (-5, 10)), "damaged"),
    "row.tif": (lambda p: tiff(p, (1, 2**31), 8, _ROW), "bytes would become"),
    "column.tif": (lambda p: tiff(p, (2**31, 1), 8, _ROW), "bytes would become"),
    "rows.tif": (lambda p: tiff(p, (2**31, 1), 8, _ROW, strip=1), "but 2,147,483,648 make up"),
    "raw.tif": (lambda p: tiff(p, (10**9, 10**9), 1, bytes(1000)), "which no image has"),
    "square.tif": (lambda p: tiff(p, (10**9, 10**9), 8, _ROW), "bytes would become"),
    "tile.tif": (lambda p: tiff(p, (10**6, 10**6), 8, _ROW, tile=256), "but 15,264,649 make up"),
    "strip.tif": (
        lambda p: tiff(p, (SIDE, SIDE), 8, zeros(SIDE * SIDE)), "would become 0.6 GiB at once"
    ),
    "fax4.tif": (
        lambda p: tiff(p, (24_000, 24_000), 4, b"\xff" * 3000, bits=1), "3,000 bytes would become"
    ),
    "fax3.tif": (
        lambda p: tiff(p, (24_000, 24_000), 3, b"\xff" * 3000, bits=1), "3,000 bytes would become"
    ),
    "jpeg2000.tif": (
        lambda p: tiff(p, (64, 64), 34712, large_jpeg2000(), tile=64), "the picture in it states"
    ),
    "channels.ome.tif": (lambda p: ome_tiff(p, SizeC=2 * 10**9), "promise 2,000,000,000 planes"),
    "times.ome.tif": (lambda p: ome_tiff(p, SizeT=10**30), "promise 1,000,000,000,000,000"),
    "sides.ome.tif": (lambda p: ome_tiff(p, SizeX=10**9, SizeY=10**9), "244,140,625,000,000 p"),
    "side.ome.tif": (lambda p: ome_tiff(p, SizeX=10**6, SizeY=10**6), "244,140,625 planes"),
    "images.tif": (
        lambda p: tifffile.imwrite(p, GREY, description=_IMAGEJ, metadata=None), "planes"
    ),
    "honest.png": (lambda p: png(p, (SIDE, SIDE), zeros(SIDE * (SIDE + 1))), "0.6 GiB at once"),
    "header.png": (lambda p: png(p, (SIDE, SIDE), zlib.compress(bytes(99))), "0.6 GiB at once"),
    "palette.png": (lambda p: png(p, (SIDE, SIDE), _ROW, 3), "1.9 GiB at once"),
    "progressive.jpg": (lambda p: jpeg(p, (60_000, 60_000)), "3.4 GiB at once"),
    "wide.zarr": (
        lambda p: ome_zarr(p, (10**12, 10**12), _PLAIN), "1,000,000,000,000 px, which no image has"
    ),
    "wider.zarr": (lambda p: ome_zarr(p, (10**30, 10**30), _PLAIN), "1e+30 px, which no image has"),
    "wide3.zarr": (
        lambda p: ome_zarr(p, (1, 10**12), _PLAIN, codecs=[{"name": "bytes"}]), "which no image has"
    ),
    "sparse.zarr": (lambda p: ome_zarr(p, (10**6, 10**6), _PLAIN), "only 1 of its 244,140,625 ch"),
    "chunks.zarr": (
        lambda p: ome_zarr(p, (64, 64), _PLAIN, chunks=(10**30, 10**30)), "decoded at once"
    ),
    "gzip.zarr": (of_v2({"id": "gzip", "level": 1}, zeros(_RAW, wbits=31)), "inflates to"),
    "zlib.zarr": (of_v2({"id": "zlib", "level": 1}, zeros(_RAW)), "inflates to"),
    "bz2.zarr": (of_v2({"id": "bz2", "level": 1}, bz2.compress(bytes(_RAW))), "inflates to"),
    "lzma.zarr": (of_v2({"id": "lzma"}, lzma.compress(bytes(_RAW), preset=0)), "inflates to"),
    "zstd.zarr": (
        of_v2({"id": "zstd", "level": 1}, _ZSTD_FRAME), "at most"
    ),
    "lz4.zarr": (of_v2({"id": "lz4"}, bytes(LZ4().encode(bytes(_RAW)))), "inflates to"),
    "blosc.zarr": (of_v2({"id": "blosc", "cname": "zstd"}, _BLOSC_FRAME), "inflates to"),
    "gzip3.zarr": (of_v3("gzip", {"level": 1}, zeros(_RAW, wbits=31)), "inflates to"),
    "zstd3.zarr": (of_v3("zstd", _ZSTD, _ZSTD_FRAME), "at most"),
    "frames.zarr": (of_v3("zstd", _ZSTD, _SHORT_FRAME * 900), "at most"),
    "blosc3.zarr": (of_v3("blosc", _BLOSC, _BLOSC_FRAME), "inflates to"),
    "sharded.zarr": (sharded, "at most"),
}  # fmt: skip
"""What writes each, and what is said of it."""

_IMAGEJ = "ImageJ=1.54\nimages=2000000000\nslices=2000000000\n"


def large_jpeg2000() -> bytes:
    """A JPEG 2000 of 64 × 64 px whose header states 60,000 × 60,000."""
    data = bytearray(imagecodecs.jpeg2k_encode(GREY, codecformat="j2k"))
    at = data.index(b"\xff\x4f\xff\x51") + 8
    data[at : at + 8] = struct.pack(">2I", 60_000, 60_000)
    return bytes(data)


def write(folder: Path) -> list[Path]:
    """All of them."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, (make, _) in CLAIMS.items():
        make(folder / name)
    return [folder / name for name in CLAIMS]
