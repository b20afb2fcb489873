"""What no image is, is listed; the others go on: pipes, loops of links, names, closed folders."""

import os
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from commands import abbe
from made_packages import make_package

from abbe.config.files import read_values
from abbe.errors import ConfigError, InputError, PackageError, StoreError
from abbe.imaging import Image, open_image
from abbe.runtime.batch.find_images import find_images
from abbe.runtime.package import read_package
from abbe.targets.index import read_index

posix = pytest.mark.skipif(os.name == "nt", reason="pipes and names of POSIX")


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data set of one image, alone in images/."""
    folder = tmp_path / "data"
    (folder / "images").mkdir(parents=True)
    pixels = np.zeros((60, 80), np.uint8)
    pixels[20:40, 30:50] = 200
    (folder / "images" / "good.png").write_bytes(imagecodecs.png_encode(pixels))
    return folder


def both_verbs(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    """What predict and data check say, once the good image is found in both."""
    package = make_package(tmp_path / "package", pixel_size=None)
    out = tmp_path / "out"
    assert abbe("predict", package, data / "images", "--out", out) == 1
    predicted = capsys.readouterr()
    assert (out / "good.labels.tif").exists()
    assert "1 image, " in predicted.out
    assert abbe("data", "check", data, "--json", tmp_path / "found.json") == 1
    checked = capsys.readouterr()
    assert '"good": {' in (tmp_path / "found.json").read_text("utf-8")
    assert "Traceback" not in predicted.err + checked.err
    return predicted.out, checked.out


@posix
def test_a_pipe(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    os.mkfifo(data / "images" / "pipe.png")
    for said in both_verbs(data, tmp_path, capsys):
        assert "pipe.png: this is a pipe or a device" in said


@posix
def test_a_name_that_is_not_utf_8(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        (data / "images" / "b\udcffd.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    except OSError:
        pytest.skip("this file system has no such names")
    for said in both_verbs(data, tmp_path, capsys):
        assert r"b\xffd.png: its name is not UTF-8. Rename it" in said


def test_too_little_memory_for_one(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (data / "images" / "large.png").write_bytes((data / "images" / "good.png").read_bytes())
    opened = Image._opened

    def failing(self: Image) -> object:
        if self.name == "large.png":
            raise MemoryError
        return opened(self)

    monkeypatch.setattr(Image, "_opened", failing)
    for said in both_verbs(data, tmp_path, capsys):
        assert "large.png: there is too little memory to read it" in said


def test_too_little_memory_for_what_is_computed(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from abbe.runtime.postprocess import map_rule

    def failing(*_: object, **__: object) -> None:
        raise MemoryError

    package = make_package(tmp_path / "package", pixel_size=None)
    monkeypatch.setattr(map_rule, "instances_from_maps", failing)
    assert abbe("predict", package, data / "images", "--out", tmp_path / "out") == 1
    assert "good.png: there is too little memory for it" in capsys.readouterr().out


@posix
def test_a_folder_that_links_to_itself(data: Path, tmp_path: Path) -> None:
    (data / "images" / "sub").mkdir()
    (data / "images" / "sub" / "other.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (data / "images" / "sub" / "back").symlink_to(data / "images")
    (data / "images" / "self").symlink_to(data / "images" / "self")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    (data / "elsewhere").symlink_to(tmp_path / "elsewhere")  # no loop: it is followed
    found = [str(path.relative_to(data)) for path in find_images([data])]
    assert found == ["elsewhere/a.png", "images/good.png", "images/sub/other.png"]


@posix
def test_an_image_of_zarr_that_links_to_itself(data: Path, tmp_path: Path) -> None:
    folder = data / "images" / "a.zarr"
    folder.mkdir()
    (folder / ".zgroup").write_text('{"zarr_format": 2}')
    (folder / "0").symlink_to(folder)
    with pytest.raises(InputError, match=r"a\.zarr"):
        open_image(folder)


def test_a_folder_that_may_not_be_read(
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Root may read everything, so what the system says is put in its place."""
    closed = data / "images" / "closed"
    closed.mkdir()
    listdir, scandir = os.listdir, os.scandir

    def refuse(path: object) -> None:
        if str(path) == str(closed):
            raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(os, "listdir", lambda path=".": refuse(path) or listdir(path))
    monkeypatch.setattr(os, "scandir", lambda path=".": refuse(path) or scandir(path))
    package = make_package(tmp_path / "package", pixel_size=None)
    out = tmp_path / "out"
    assert abbe("predict", package, data / "images", "--out", out) == 1
    said = capsys.readouterr().out
    assert f"{closed}: the folder cannot be read (Permission denied)" in said
    assert (out / "good.labels.tif").exists()


DEEP = 300_000


def test_what_is_nested_too_deeply(data: Path, tmp_path: Path) -> None:
    (tmp_path / "a.yaml").write_text("a: " + "[" * 5000 + "]" * 5000)
    with pytest.raises(ConfigError, match=r"a\.yaml: .*nested too deeply"):
        read_values(tmp_path / "a.yaml")
    (tmp_path / "index.jsonl").write_text("[" * DEEP + "]" * DEEP + "\n")
    with pytest.raises(StoreError, match=r"index\.jsonl: line 1: it is nested too deeply"):
        read_index(tmp_path)
    (tmp_path / "package.json").write_text("[" * DEEP)
    with pytest.raises(PackageError, match=r"package\.json"):
        read_package(tmp_path)


def test_an_index_of_brackets(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (data / "index.csv").write_text("id,split\n" + "[" * DEEP + ",train\n")
    assert abbe("data", "check", data) == 1
    assert "index.csv cannot be read as a UTF-8 table" in capsys.readouterr().err


def test_an_index_of_many_rows(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = "".join(f"image-{number},train\n" for number in range(DEEP))
    (data / "index.csv").write_text("id,split\ngood,train\n" + rows)
    assert abbe("data", "check", data) == 0
    assert "300,000 rows of no image: image-0, " in capsys.readouterr().out
