"""Chunks of zarr arrays are decompressed into no more than they should hold.

A chunk of some KB can inflate to GiB, and zarr asks what came out only afterwards. The pipeline of
codecs here, which zarr is told to use, stops codecs of bytes at a chunk's own size.
"""

import asyncio
import bz2
import lzma
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, Self

import imagecodecs
import numpy as np
import zarr
from zarr.abc.codec import ArrayBytesCodec, BytesBytesCodec, Codec
from zarr.abc.store import ByteRequest
from zarr.codecs import ShardingCodec
from zarr.core.array_spec import ArraySpec
from zarr.core.buffer import Buffer, BufferPrototype
from zarr.core.codec_pipeline import BatchedCodecPipeline
from zarr.registry import register_pipeline
from zarr.storage import FsspecStore

from abbe.errors import InputError
from abbe.imaging.bounds import check_growth
from abbe.remote import RemotePath, as_remote
from abbe.remote.faults import is_refused
from abbe.remote.paths import ZARR
from abbe.remote.systems import system

_SLACK = 1 << 16
"""Bytes that filters, checksums and indexes of shards may add to a chunk's own."""


class BoundedPipeline(BatchedCodecPipeline):
    """zarr's own pipeline, whose codecs stop where they give more than a chunk."""

    @classmethod
    def from_codecs(cls, codecs: Iterable[Codec], *, batch_size: int | None = None) -> Self:
        """The pipeline of these codecs."""
        return super().from_codecs([_bounded(codec) for codec in codecs], batch_size=batch_size)


register_pipeline(BoundedPipeline)


def open_node(path: Path, inner: str | None = None) -> zarr.Group | zarr.Array[Any]:
    """`zarr.open` for reading; what is read later is bounded."""
    remote = as_remote(path)
    store = str(path) if remote is None else _store_of(remote)
    name = f"{BoundedPipeline.__module__}.{BoundedPipeline.__qualname__}"
    with zarr.config.set({"codec_pipeline.path": name}):
        return zarr.open(store, mode="r", path=inner)


def _store_of(path: RemotePath) -> FsspecStore:
    """Chunks behind a URL, each fetched when a region touches it."""
    if path.is_web:  # whose asynchronous sessions nobody closes
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

        files = AsyncFileSystemWrapper(system(path.url), asynchronous=True)
    else:
        files = system(path.url, asynchronous=True)
    return _Chunks(files, read_only=True, path=path.inside)


class _Chunks(FsspecStore):
    """Metadata that are refused are none, where a bucket may not be listed; chunks are an error."""

    async def get(
        self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        """What is stored under a name."""
        try:
            return await super().get(key, prototype, byte_range)
        except Exception as error:
            if key.rpartition("/")[2] in ZARR and is_refused(error):
                return None
            raise


def _bounded(codec: Codec) -> Codec:
    if isinstance(codec, ShardingCodec):
        return replace(codec, codecs=tuple(_bounded(inner) for inner in codec.codecs))
    if isinstance(codec, BytesBytesCodec) and not isinstance(codec, _Bounded):
        return _Bounded(codec)
    if isinstance(codec, ArrayBytesCodec) and getattr(codec, "compressor", None) is not None:
        return _BoundedV2(codec)
    return codec


@dataclass(frozen=True)
class _Bounded(BytesBytesCodec):
    """A codec of zarr v3 from bytes to bytes."""

    codec: BytesBytesCodec
    is_fixed_size = False

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> Buffer:
        config = self.codec.to_dict()
        name = str(config["name"]).removeprefix("numcodecs.")
        plain = await _inflated(name, config.get("configuration"), chunk_data, chunk_spec)
        if plain is not None:
            return plain
        (found,) = await self.codec.decode([(chunk_data, chunk_spec)])
        assert found is not None
        return found

    async def _encode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> Buffer | None:
        (found,) = await self.codec.encode([(chunk_data, chunk_spec)])
        return found

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """As the codec says."""
        return self.codec.compute_encoded_size(input_byte_length, chunk_spec)


@dataclass(frozen=True)
class _BoundedV2(ArrayBytesCodec):
    """The filters and the compressor of zarr v2, which zarr takes for one codec."""

    codec: Any
    is_fixed_size = False

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> Any:
        config = self.codec.compressor.get_config()
        plain = await _inflated(config["id"], config, chunk_data, chunk_spec)
        codec = self.codec if plain is None else replace(self.codec, compressor=None)
        (found,) = await codec.decode([(chunk_data if plain is None else plain, chunk_spec)])
        return found

    async def _encode_single(self, chunk_data: Any, chunk_spec: ArraySpec) -> Buffer | None:
        (found,) = await self.codec.encode([(chunk_data, chunk_spec)])
        return found

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """As the codec says."""
        return self.codec.compute_encoded_size(input_byte_length, chunk_spec)


async def _inflated(name: str, config: Any, data: Buffer, spec: ArraySpec) -> Buffer | None:
    """What a codec gives, or None where the library may decode itself.

    Raises:
        ValueError: It would give more than the chunk should hold.
    """
    own = int(np.prod(spec.shape, dtype=object)) * spec.dtype.to_native_dtype().itemsize
    stored = data.to_bytes()
    try:
        check_growth(own, len(stored), "a chunk")
    except InputError as error:  # who reads the image knows its name, and says it
        raise ValueError(str(error)) from error
    most = 2 * own + _SLACK
    if (stated := _STATED.get(name)) is not None:
        _refuse(int.from_bytes(stored[stated : stated + 4], "little"), most)
    if name not in _INFLATE:
        return None
    plain = await asyncio.to_thread(_INFLATE[name], stored, most, config or {})
    return spec.prototype.buffer.from_bytes(plain)


_STATED = {"blosc": 4, "lz4": 0}
"""Where chunks state, in four bytes, what they become; their decoders give no more than that."""


def _refuse(size: int, most: int) -> None:
    if size > most:
        raise ValueError(f"a chunk inflates to {size:,} bytes or more; it should to {most:,}")


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, max_length: int, /) -> bytes: ...


def _stream(new: Callable[[], Any], stored: bytes, most: int) -> bytes:
    """All that a stream, or several one behind the other, give."""
    parts: list[bytes] = []
    size = 0
    while stored:
        decompressor: _Decompressor = new()
        # One byte more than allowed tells that there is more.
        parts.append(decompressor.decompress(stored, most + 1 - size))
        size += len(parts[-1])
        _refuse(size, most)
        if not decompressor.eof:
            raise ValueError("a chunk is cut short")
        stored = decompressor.unused_data
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _zstd(stored: bytes, most: int, config: Any) -> bytes:
    try:
        return bytes(imagecodecs.zstd_decode(stored, out=most))
    except imagecodecs.ZstdError as error:
        raise ValueError(f"{error}; at most {most:,} bytes were expected") from error


_INFLATE: dict[str, Callable[[bytes, int, Any], bytes]] = {
    "zstd": _zstd,
    "gzip": lambda stored, most, config: _stream(lambda: zlib.decompressobj(31), stored, most),
    "zlib": lambda stored, most, config: _stream(zlib.decompressobj, stored, most),
    "bz2": lambda stored, most, config: _stream(bz2.BZ2Decompressor, stored, most),
    "lzma": lambda stored, most, config: _stream(
        lambda: lzma.LZMADecompressor(config.get("format", 1), filters=config.get("filters")),
        stored,
        most,
    ),
}
"""By codec: its bytes, at most so many, and its settings → what they become."""
