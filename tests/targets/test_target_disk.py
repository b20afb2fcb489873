"""Disks that are full or closed, folders that hold something else or half a store."""

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import zarr
from target_helpers import SHA, check_store, edit_json, map_of, provenance, write

from abbe.errors import StoreError
from abbe.targets import TargetStore, TargetWriter

HERE = Path(__file__).parent


def test_a_full_disk_is_said_and_costs_nothing_recorded(store, monkeypatch):
    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writer = TargetWriter.open(store, provenance())
    monkeypatch.setattr(os, "fsync", full)
    writer.append("3", {"probability": map_of(3)}, image_sha256=SHA)
    with pytest.raises(StoreError, match=r"t\.zarr: the disk is full.*while writing .* of '3'"):
        writer.flush()
    with pytest.raises(StoreError, match="the disk is full"):
        writer.append("4", {"probability": map_of(4)}, image_sha256=SHA)
    with pytest.raises(StoreError, match="the disk is full"):
        writer.close()
    monkeypatch.undo()
    write(store, range(5))
    check_store(store, 5)


FILL = """
import sys
sys.path.insert(0, sys.argv[1])
from target_helpers import *
from abbe.errors import StoreError
try:
    write(sys.argv[2], range(200), (1, 256, 256))
except StoreError as error:
    print(error)
"""


def test_a_disk_that_is_really_full(tmp_path):
    """On a 4 MiB file system: the message comes, and what was recorded is whole."""
    (tmp_path / "small").mkdir()
    script = """
        mount -t tmpfs -o size=4m none "$1/small" || exit 77
        "$2" -c "$3" "$4" "$1/small/t.zarr"
        cp -r "$1/small/t.zarr" "$1/copy.zarr"
    """
    command = ["unshare", "-rm", "sh", "-c", script, "sh", tmp_path, sys.executable, FILL, HERE]
    if shutil.which("unshare") is None:
        pytest.skip("needs unshare to mount a small file system")
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    if done.returncode == 77 or "unshare:" in done.stderr:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    assert "t.zarr: the disk is full; free some space" in done.stdout, done.stderr
    recorded = len(TargetStore(tmp_path / "copy.zarr"))
    assert recorded > 10
    write(tmp_path / "copy.zarr", range(recorded + 5), (1, 256, 256))
    check_store(tmp_path / "copy.zarr", recorded + 5, (1, 256, 256))


def test_a_folder_that_may_not_be_written(tmp_path):
    folder = tmp_path / "closed"
    folder.mkdir(mode=0o500)
    tmp_path.chmod(0o700)
    root = os.geteuid() == 0
    if root:  # whom no permission holds back
        os.seteuid(65534)
    try:
        with pytest.raises(StoreError, match=r"closed/t\.zarr: the folder may not be written"):
            TargetWriter.open(folder / "t.zarr", provenance())
    finally:
        if root:
            os.seteuid(0)


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "t.zarr").write_text("not a folder")
    with pytest.raises(StoreError, match=r"t\.zarr: File exists"):
        TargetWriter.open(tmp_path / "t.zarr", provenance())
    with pytest.raises(StoreError, match=r"t\.zarr: no target store here"):
        TargetStore(tmp_path / "t.zarr")


def test_a_mistake_in_the_thread_is_not_lost(store, monkeypatch):
    monkeypatch.setattr("abbe.targets.writer.compress", lambda values: 1 / 0)
    writer = TargetWriter.open(store, provenance())
    writer.append("3", {"probability": map_of(3)}, image_sha256=SHA)
    with pytest.raises(ZeroDivisionError):
        writer.close()


def test_no_store_at_all(tmp_path):
    with pytest.raises(StoreError, match=r"nowhere\.zarr: no target store here"):
        TargetStore(tmp_path / "nowhere.zarr")


def test_a_store_whose_making_was_cut_short_is_made_again(tmp_path):
    (tmp_path / "t.zarr").mkdir()
    (tmp_path / "t.zarr" / "index.jsonl").touch()
    (tmp_path / "t.zarr" / ".lock").touch()
    (tmp_path / "t.zarr" / ".zarr.json.7.part").touch()
    with pytest.raises(StoreError, match="no target store here"):
        TargetStore(tmp_path / "t.zarr")
    write(tmp_path / "t.zarr", range(2))
    check_store(tmp_path / "t.zarr", 2)
    assert not list((tmp_path / "t.zarr").rglob("*.part"))


def test_a_folder_of_something_else_is_refused_and_untouched(tmp_path):
    (tmp_path / "slide.tif").write_text("precious")
    with pytest.raises(StoreError, match=r"holds slide\.tif but no zarr\.json"):
        TargetWriter.open(tmp_path, provenance())
    assert [file.name for file in tmp_path.iterdir()] == ["slide.tif"]


def test_another_zarr_group_is_refused_and_untouched(tmp_path):
    zarr.open_group(tmp_path / "image.zarr", mode="w", attributes={"ome": {"version": "0.5"}})
    for use in (TargetStore, lambda path: TargetWriter.open(path, provenance())):
        with pytest.raises(StoreError, match=r"image\.zarr: a zarr group, but not a target store"):
            use(tmp_path / "image.zarr")
    assert [file.name for file in (tmp_path / "image.zarr").iterdir()] == ["zarr.json"]


def test_an_unknown_version_is_refused(store):
    edit_json(store / "zarr.json", lambda node: node["attributes"].update(format_version=2))
    for use in (TargetStore, lambda path: TargetWriter.open(path, provenance())):
        with pytest.raises(StoreError, match=r"format version 2; this Abbe .* knows version 1"):
            use(store)


def test_unknown_provenance_is_refused(store):
    edit_json(
        store / "zarr.json", lambda node: node["attributes"]["provenance"].update(colour="red")
    )
    with pytest.raises(StoreError, match=r"zarr\.json: provenance: unknown key colour"):
        TargetStore(store)


@pytest.mark.parametrize("text", ["{", '{"zarr_format": 2}', "[]"])
def test_damaged_group_metadata(store, text):
    (store / "zarr.json").write_text(text)
    with pytest.raises(StoreError, match=r"zarr\.json: (damaged|not zarr v3)"):
        TargetStore(store)


def test_index_copied_without_the_group(store):
    (store / "zarr.json").unlink()
    with pytest.raises(StoreError, match=r"holds index\.jsonl but no zarr\.json|copied in part"):
        TargetWriter.open(store, provenance())


def test_a_missing_index(store):
    (store / "index.jsonl").unlink()
    for use in (TargetStore, lambda path: TargetWriter.open(path, provenance())):
        with pytest.raises(StoreError, match=r"index\.jsonl: missing"):
            use(store)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ("nonsense", r"index\.jsonl: line 4: Expecting value"),
        ("[]", "line 4: not a JSON object"),
        ({"id": None}, "line 4: an image's id must be a text"),
        ({"image_sha256": "x"}, "line 4: 'new': image_sha256"),
        ({"shape": [1]}, "line 4: 'shape', 'maps' or 'view' has the wrong form"),
        ({"shape": None}, "line 4: 'shape', 'maps' or 'view' has the wrong form"),
        ({"colour": "red"}, "line 4: unknown key colour"),
        ({"empty": "no"}, "line 4: 'empty' must be true or false"),
        ({"pixel_size": -1}, "line 4: 'new': pixel_size"),
        ({"view": {"angle": 3}}, "line 4: 'shape', 'maps' or 'view' has the wrong form .*angle"),
        ({"view": {"scale": 0}}, "line 4: view: scale"),
        ({"maps": {"probability": ["../../secret", 0]}}, "'../../secret' is not the name"),
        ({"maps": {"probability": ["/etc", 0]}}, "'/etc' is not the name of an array"),
        ({"maps": {"probability": ["probability/1x24x40", -1]}}, "-1 is not a row"),
        ({"id": "0"}, "line 4: '0' stands there twice"),
        ({"id": "0", "image_sha256": "6" * 64, "view": {"scale": 2}}, "'0' has two different im"),
    ],
)
def test_a_line_that_is_no_record_is_named(store, change, words):
    record = json.loads((store / "index.jsonl").read_text().splitlines()[0])
    line = change if isinstance(change, str) else json.dumps({**record, "id": "new", **change})
    with open(store / "index.jsonl", "a") as file:
        file.write(line + "\n")
    with pytest.raises(StoreError, match=words):
        TargetStore(store)


def test_a_record_without_a_key(store):
    with open(store / "index.jsonl", "a") as file:
        file.write('{"id": "new"}\n')
    with pytest.raises(StoreError, match="line 4: missing key image_sha256, maps, shape"):
        TargetStore(store)
