"""Files are whole or not there."""

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest

from abbe import files
from abbe.exporting.folder import new_folder


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_file_takes_its_place_when_it_is_whole(tmp_path):
    path = tmp_path / "new" / "a.txt"
    with files.atomic_path(path) as temporary:
        temporary.write_text("new")
        assert temporary.parent == path.parent  # the same disk, or it could not be renamed
        assert not path.exists()
    assert path.read_text() == "new"
    assert names(path.parent) == ["a.txt"]


@pytest.mark.parametrize("trouble", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path, trouble):
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write():
        with files.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise trouble

    with pytest.raises(type(trouble)):
        write()
    assert path.read_text() == "old"
    assert names(tmp_path) == ["a.txt"]


def test_a_failure_before_anything_was_written_leaves_nothing(tmp_path):
    def write():
        with files.atomic_path(tmp_path / "a.txt"):
            raise ValueError

    with pytest.raises(ValueError):  # noqa: PT011
        write()
    assert names(tmp_path) == []


def test_a_writer_that_wrote_nothing_is_not_taken_for_success(tmp_path):
    def write():
        with files.atomic_path(tmp_path / "a.txt"):
            pass

    with pytest.raises(FileNotFoundError):
        write()
    assert names(tmp_path) == []


@pytest.mark.parametrize("names", [(), ("source", None, "part")], ids=["writing", "copying"])
@pytest.mark.parametrize("whole", [files.atomic_path, files.atomic_folder, new_folder])
def test_a_full_disk_names_what_was_being_written(tmp_path, whole, names):
    """A write tells no name, and a copy that of its source, whose disk is not the full one."""
    with pytest.raises(OSError, match="No space") as caught, whole(tmp_path / "result"):
        raise OSError(errno.ENOSPC, "No space left on device", *names)
    assert caught.value.filename == str(tmp_path / "result")


def test_a_file_that_could_not_be_opened_for_a_full_disk_keeps_its_name(tmp_path):
    with pytest.raises(OSError, match="elsewhere"), files.atomic_path(tmp_path / "result"):
        raise OSError(errno.ENOSPC, "No space left on device", "elsewhere")


def test_text_is_utf8(tmp_path):
    files.write_text(tmp_path / "a.txt", "0.5 µm")
    assert (tmp_path / "a.txt").read_bytes() == "0.5 µm".encode()


def test_json_is_what_every_program_reads(tmp_path):
    value = {"µ": [1.5, float("nan"), (float("inf"), None)], "nested": {"low": float("-inf")}}
    files.write_json(tmp_path / "a.json", value)

    def refuse(name):
        raise AssertionError(f"{name} is no JSON")

    read = json.loads((tmp_path / "a.json").read_text("utf-8"), parse_constant=refuse)
    assert read == {"µ": [1.5, None, [None, None]], "nested": {"low": None}}


def test_sha256_is_that_of_the_bytes(tmp_path):
    content = bytes(range(256)) * 9000  # more than one block
    (tmp_path / "a").write_bytes(content)
    assert files.sha256_of_file(tmp_path / "a") == hashlib.sha256(content).hexdigest()


def test_every_half_written_file_has_a_name_of_its_own(tmp_path):
    path = tmp_path / "a.b.tif"
    parts = {files.part_beside(path) for _ in range(100)}
    assert len(parts) == 100
    for part in parts:
        assert part.parent == path.parent
        found = files.part_of(part)
        assert found is not None
        assert (found.target, found.process) == (path, os.getpid())
    assert files.part_of(tmp_path / ".a.b.tif.77.part") == (path, 77, "")  # of an earlier version
    assert files.part_of(tmp_path / "a.b.tif.part") is None


def test_two_writers_of_one_file_do_not_meet(tmp_path):
    path = tmp_path / "a.txt"
    with files.atomic_path(path) as first:
        first.write_text("first")
        with files.atomic_path(path) as second:
            second.write_text("second")
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert names(tmp_path) == ["a.txt"]


def test_stale_parts_go_and_those_in_work_stay(tmp_path):
    path = tmp_path / "out"
    mine = files.part_beside(path)
    mine.mkdir()
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    kept = [mine.name, f".out.{os.getppid()}-00ff.part", f".out.b.{ended.pid}-00ff.part"]
    for name in (*kept[1:], f".out.{ended.pid}-00ff.part", f".out.{os.getpid()}-00ff.part"):
        (tmp_path / name).touch()
    files.remove_stale_parts(path)
    assert names(tmp_path) == sorted(kept)
    files.remove_stale_parts(path, all=True)
    assert names(tmp_path) == [f".out.b.{ended.pid}-00ff.part"]
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / f".c.{ended.pid}-00ff.part").mkdir()
    (tmp_path / "below" / f".c.{os.getppid()}-00ff.part").touch()
    files.remove_stale_parts_below(tmp_path)
    assert names(tmp_path) == ["below"]
    assert names(tmp_path / "below") == [f".c.{os.getppid()}-00ff.part"]


KILLED = """
import os, shutil, signal, sys
from pathlib import Path
from abbe import files
def kill(*arguments, **options):
    os.kill(os.getpid(), signal.SIGKILL)
shutil.rmtree = kill
path = Path(sys.argv[1])
with files.atomic_folder(path) as temporary:
    temporary.mkdir()
    for number in range(9):
        (temporary / f"new{number}").touch()
"""


def test_a_kill_while_a_folder_is_replaced_leaves_nothing_half_there(tmp_path):
    path = tmp_path / "a.zarr"
    path.mkdir()
    for number in range(9):
        (path / f"old{number}").touch()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert names(path) == [f"new{number}" for number in range(9)]


def test_a_folder_that_cannot_take_its_place_gives_the_old_one_back(tmp_path):
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / "old").touch()
    with pytest.raises(FileNotFoundError), files.atomic_folder(path):
        pass  # nothing is made
    assert names(path) == ["old"]
    assert names(tmp_path) == ["a.zarr"]


def test_an_atomic_folder_replaces_the_old_one_only_when_it_is_whole(tmp_path):
    path = tmp_path / "a.zarr"
    path.mkdir()
    (path / "old").touch()

    def write(trouble):
        with files.atomic_folder(path) as temporary:
            temporary.mkdir()
            (temporary / "new").touch()
            assert names(path) == ["old"]
            if trouble:
                raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write(trouble=True)
    assert names(path) == ["old"]
    write(trouble=False)
    assert names(path) == ["new"]
    assert names(tmp_path) == ["a.zarr"]
