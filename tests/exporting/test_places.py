"""Places for results: refused before any work, where they are taken or cannot be made."""

import os
import subprocess
import sys

import pytest
from small_students import FACTS, Blobs, images

from abbe.errors import ConfigError
from abbe.exporting.folder import check_new_file, new_folder
from abbe.exporting.request import ExportRequest
from abbe.exporting.tasks import refuse_tiles
from abbe.exporting.write import write_package


def test_a_folder_appears_whole(tmp_path):
    with new_folder(tmp_path / "deep" / "out") as folder:
        (folder / "a").write_text("a")
        assert not (tmp_path / "deep" / "out").exists()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]
    assert (tmp_path / "deep" / "out" / "a").read_text() == "a"


def test_a_folder_that_fails_leaves_nothing(tmp_path):
    def fail() -> None:
        with new_folder(tmp_path / "out") as folder:
            (folder / "a").write_text("a")
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        fail()
    assert not list(tmp_path.iterdir())


def test_what_killed_exports_left_is_removed_and_nothing_else(tmp_path):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    stale = [tmp_path / f".out.{number}.part" for number in (ended.pid, os.getpid())]
    kept = [
        tmp_path / f".out.{os.getppid()}.part",  # of a process that runs
        tmp_path / f".out.b.{ended.pid}.part",
        tmp_path / f".other.{ended.pid}.part",
    ]
    for path in (*stale, *kept):
        path.mkdir()
        (path / "model.onnx").write_text("half")
    with new_folder(tmp_path / "out"):
        assert not stale[0].exists()
        assert not (stale[1] / "model.onnx").exists()
    assert sorted(tmp_path.iterdir()) == sorted([tmp_path / "out", *kept])


def test_of_two_exports_to_one_place_the_later_says_so(tmp_path):
    def export() -> None:
        with new_folder(tmp_path / "out") as later:
            (later / "a").write_text("later")
            with new_folder(tmp_path / "out") as sooner:
                (sooner / "a").write_text("sooner")

    with pytest.raises(ConfigError, match=r"out: another process has made it meanwhile"):
        export()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out" / "a").read_text() == "sooner"


def test_a_taken_place_is_refused_and_untouched(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "mine").write_text("mine")
    with pytest.raises(ConfigError, match="exists already"):
        write_package(out, Blobs(), tmp_path / "no-weights", FACTS, images(), ExportRequest())
    assert (out / "mine").read_text() == "mine"


def test_a_place_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"), new_folder(tmp_path / "file" / "out"):
        pass


def test_files_are_new_and_end_as_they_should(tmp_path):
    check_new_file(tmp_path / "a.zip", ".zip", "--x")
    with pytest.raises(ConfigError, match=r"--x .*must end in \.zip"):
        check_new_file(tmp_path / "a.tar", ".zip", "--x")
    (tmp_path / "a.zip").write_text("")
    with pytest.raises(ConfigError, match="exists already"):
        check_new_file(tmp_path / "a.zip", ".zip", "--x")


@pytest.mark.parametrize(
    ("tiles", "halo", "margin", "key"),
    [
        ((100,), 32, 32, "--tile 100"),
        ((64,), 16, 32, "--tile 64"),
        ((8224,), 16, 32, "--tile 8224"),
        ((128,), 20, 32, "--halo 20"),
        ((128,), 4112, 32, "--halo 4112"),
        ((128,), 32, 20, "--context 20"),
    ],
)
def test_tiles_fit_divisor_and_margins(tiles, halo, margin, key):
    facts = {"divisor": 16, "tile": 128}
    refuse_tiles({**facts, "halo": 512, "context": 32}, ExportRequest(tile=(128, 256)))
    refuse_tiles({**facts, "halo": 32}, ExportRequest())
    with pytest.raises(ConfigError, match=key):
        refuse_tiles({**facts, "halo": halo, "context": margin}, ExportRequest(tile=tiles))
