"""Damaged maps: noticed, named, never read as zeros."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import zarr
from target_helpers import SHA, edit_json, map_of, provenance
from zarr.codecs import GzipCodec

from abbe.errors import StoreError
from abbe.targets import TargetStore, TargetWriter

SHARD = "probability/1x24x40/c.0.0.0.0"


def test_a_missing_shard_is_not_a_map_of_zeros(store):
    (store / SHARD).unlink()
    with pytest.raises(StoreError, match=r"probability of '1': .*c\.0\.0\.0\.0: missing; .*copied"):
        TargetStore(store).read("1", "probability")


def test_a_row_never_written_is_not_a_map_of_zeros(store):
    _add_record(store, "new", "probability/1x24x40", 5)
    with pytest.raises(StoreError, match=r"probability of 'new': .*row 5 was never written"):
        TargetStore(store).read("new", "probability")


@pytest.mark.parametrize("kept", [0, 3, 400, -1])
def test_a_shard_cut_short(store, kept):
    data = (store / SHARD).read_bytes()
    (store / SHARD).write_bytes(data[:kept])
    with pytest.raises(StoreError, match=r"'0': .*row 0 is cut short or damaged; .*copied in part"):
        TargetStore(store).read("0", "probability")


def test_every_flipped_bit_is_noticed(store):
    data = bytearray((store / SHARD).read_bytes())
    for position in range(0, len(data), 37):
        damaged = data.copy()
        damaged[position] ^= 4
        (store / SHARD).write_bytes(damaged)
        reader = TargetStore(store)
        right = 0
        for id in reader.ids:
            try:
                np.testing.assert_array_equal(reader.read(id, "probability"), map_of(int(id)))
                right += 1
            except StoreError:
                pass
        assert right in (0, 2), position  # all but the damaged one, or the index is damaged


def test_arrays_that_abbe_does_not_read(store):
    group = zarr.open_group(store, mode="a")
    values = np.zeros((2, 1, 4, 4), np.uint8)
    for name, options, words in (
        ("two", {"chunks": (2, 1, 4, 4)}, "a chunk must be one map"),
        ("parts", {"chunks": (1, 1, 2, 4)}, "a chunk must be one map"),
        ("gzip", {"chunks": (1, 1, 4, 4), "compressors": GzipCodec()}, "bytes, gzip"),
        (
            "half",
            {"chunks": (1, 1, 4, 4), "dtype": "f2"},
            "float16 maps .*but probability is uint8",
        ),
    ):
        options = {"dtype": "u1", **options}
        group.create_array(f"probability/{name}", shape=values.shape, **options)[...] = 1
        _add_record(store, name, f"probability/{name}", 0, shape=[4, 4])
        with pytest.raises(StoreError, match=words):
            TargetStore(store).read(name, "probability")
    _add_record(store, "lost", "probability/lost", 0)
    with pytest.raises(StoreError, match=r"'lost': .*zarr\.json: missing|lost.zarr\.json: missing"):
        TargetStore(store).read("lost", "probability")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda node: node.pop("codecs"), "not the metadata of a zarr v3 array"),
        (lambda node: node.update(node_type="group"), "a zarr group, expected array"),
        (lambda node: node["chunk_key_encoding"].update(name="v2"), "chunk keys must be 'default'"),
        (
            lambda node: node["chunk_key_encoding"]["configuration"].update(separator="/../"),
            "chunk keys must be 'default'",
        ),
        (lambda node: _reshape(node, 32, (1, 10**6, 10**6)), r"maps of \(1, 1000000, 1000000\)"),
        (lambda node: _reshape(node, 0, (1, 24, 40)), "cannot be"),
        (lambda node: _reshape(node, 10**12, (1, 24, 40)), "row 0 is cut short or damaged"),
        (lambda node: _reshape(node, 32, (1, 24, 41)), "is not a zstd frame of 984 bytes"),
        (
            lambda node: node["codecs"][0]["configuration"]["index_codecs"].pop(),
            "index must be plain with crc32c",
        ),
    ],
)
def test_array_metadata_that_abbe_does_not_know(store, change, words):
    edit_json(store / "probability/1x24x40/zarr.json", change)
    with pytest.raises(StoreError, match=words):
        TargetStore(store).read("0", "probability")


def test_an_uncompressed_map_of_another_size(store):
    zarr.open_group(store, mode="a").create_array(
        "probability/plain", shape=(1, 1, 4, 4), chunks=(1, 1, 4, 4), dtype="u1", compressors=None
    )[...] = 1
    _add_record(store, "new", "probability/plain", 0, shape=(4, 4))
    (store / "probability/plain/c/0/0/0/0").write_bytes(b"15 bytes are it")
    with pytest.raises(StoreError, match="row 0 does not hold 16 bytes"):
        TargetStore(store).read("new", "probability")


def test_an_array_laid_out_by_others_is_not_appended_to(store):
    shutil.rmtree(store / "probability")
    zarr.open_group(store, mode="a").create_array(
        "probability/1x24x40", shape=(3, 1, 24, 40), chunks=(1, 1, 24, 40), dtype="u1"
    )
    writer = TargetWriter.open(store, provenance())
    writer.append("3", {"probability": map_of(3)}, image_sha256=SHA)
    with pytest.raises(StoreError, match="another program made this array with another layout"):
        writer.close()


def test_a_damaged_shard_is_not_appended_to(store):
    (store / SHARD).write_bytes(b"damaged")
    writer = TargetWriter.open(store, provenance())
    writer.append("3", {"probability": map_of(3)}, image_sha256=SHA)
    with pytest.raises(StoreError, match=r"c\.0\.0\.0\.0: is cut short or damaged"):
        writer.close()
    assert (store / SHARD).read_bytes() == b"damaged"


def _reshape(node, maps: int, map_shape: tuple[int, ...]) -> None:
    node["shape"] = [32, *map_shape]
    node["chunk_grid"]["configuration"]["chunk_shape"] = [maps, *map_shape]
    node["codecs"][0]["configuration"]["chunk_shape"] = [1, *map_shape]


def _add_record(path: Path, id: str, array: str, row: int, shape=(24, 40)) -> None:
    record = {"id": id, "image_sha256": SHA, "shape": shape, "maps": {"probability": [array, row]}}
    with open(path / "index.jsonl", "a") as file:
        file.write(json.dumps(record) + "\n")
