"""Downloads, from a server on this machine that can misbehave."""

import errno
import hashlib
import http.server
import io
import re
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np
import PIL.Image
import pytest

from abbe import config
from abbe.datasets import KNOWN_SETS, bach, bbbc038, breakhis, fetch, known_sets, nct_crc
from abbe.datasets.public.archives import unpack
from abbe.datasets.public.known import Source
from abbe.errors import InputError
from abbe.remote.urls import masked


def png() -> bytes:
    out = io.BytesIO()
    PIL.Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 40, 3), np.uint8)).save(
        out, "PNG"
    )
    return out.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return out.getvalue()


def tarred(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


WHOLE = zipped({"aa/images/aa.png": png(), "aa/masks/m.png": png(), "__MACOSX/x": b"junk"})


@dataclass
class Server:
    """What the server sends, how it misbehaves, and what it was asked for."""

    content: bytes = WHOLE
    etag: str = '"1"'
    cut: int | None = None  # close the connection after this many bytes
    status: int | None = None
    ranges: bool = True
    length: bool = True
    asked: list[str | None] = field(default_factory=list)
    address: str = ""

    def source(self, sha256: str | None = None) -> Source:
        return Source(f"{self.address}/stage1_train.zip", "stage1_train", sha256)


@pytest.fixture(autouse=True)
def _no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def server() -> Iterator[Server]:
    facts = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            facts.asked.append(wanted)
            if facts.status is not None:
                self.send_error(facts.status)
                return
            start = 0
            same = self.headers.get("If-Range") == facts.etag
            if wanted and facts.ranges and same:
                start = int(re.findall(r"\d+", wanted)[0])
                if start >= len(facts.content):
                    self.send_error(416)
                    return
                self.send_response(206)
                total = len(facts.content)
                self.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
            else:
                self.send_response(200)
            if facts.length:
                self.send_header("Content-Length", str(len(facts.content) - start))
            self.send_header("ETag", facts.etag)
            self.end_headers()
            self.wfile.write(facts.content[start : facts.cut])

        def log_message(self, format: str, *args: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        facts.address = f"http://127.0.0.1:{running.server_port}"
        thread = threading.Thread(target=running.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield facts
        running.shutdown()
        thread.join()


def get(server: Server, folder: Path, sha256: str | None = None) -> Path:
    return fetch("bbbc038", folder, sources=[server.source(sha256)], progress=False)


def fetch_from(
    server: Server, name: str, folder: Path, file: str, inside: str, md5: str | None = None
) -> Path:
    source = Source(f"{server.address}/{file}", inside, md5=md5)
    return fetch(name, folder, sources=[source], progress=False)


def test_the_official_addresses():
    sources = KNOWN_SETS["bbbc038"].sources
    assert all(it.url.startswith("https://data.broadinstitute.org/bbbc/") for it in sources)
    assert re.fullmatch("[0-9a-f]{64}", sources[0].sha256 or "")
    for known in KNOWN_SETS.values():
        assert masked(known.origin) == known.origin  # a query would be told as ***
        assert known.what
        assert known.licence
        assert known.size
        assert known.origin


def test_the_list_says_what_can_be_fetched():
    text = known_sets()
    assert "abbe data fetch bbbc038 FOLDER" in text
    assert "fetch tissuenet" not in text
    assert "non-commercial" in text


def test_a_download_is_checked_unpacked_and_not_repeated(server: Server, tmp_path: Path):
    folder = get(server, tmp_path / "new" / "set", hashlib.sha256(WHOLE).hexdigest())
    assert bbbc038(folder).ids == ("aa",)
    names = sorted(path.name for path in folder.iterdir())
    assert names == ["stage1_train", "stage1_train.zip", "stage1_train.zip.sha256"]
    get(server, folder)
    assert server.asked == [None]


def test_a_broken_download_goes_on_where_it_stopped(server: Server, tmp_path: Path):
    server.cut = 1000
    with pytest.raises(InputError, match="broke off"):
        get(server, tmp_path)
    assert not (tmp_path / "stage1_train.zip").exists()
    assert not (tmp_path / "stage1_train").exists()
    server.cut = None
    get(server, tmp_path)
    assert server.asked == [None, "bytes=1000-"]
    assert (tmp_path / "stage1_train.zip").read_bytes() == WHOLE


def test_a_changed_file_is_not_glued_to_the_old_part(server: Server, tmp_path: Path):
    server.cut = 1000
    with pytest.raises(InputError, match="broke off"):
        get(server, tmp_path)
    server.cut, server.etag = None, '"2"'
    server.content = zipped({"bb/images/bb.png": png()})
    get(server, tmp_path)
    assert (tmp_path / "stage1_train.zip").read_bytes() == server.content


@pytest.mark.parametrize("etag", ['"1"', ""])
def test_a_server_that_cannot_resume(server: Server, tmp_path: Path, etag: str):
    server.cut, server.ranges, server.etag = 1000, False, etag
    with pytest.raises(InputError, match="broke off"):
        get(server, tmp_path)
    server.cut = None
    get(server, tmp_path)
    assert (tmp_path / "stage1_train.zip").read_bytes() == WHOLE


def test_a_part_longer_than_the_file_is_thrown_away(server: Server, tmp_path: Path):
    (tmp_path / "stage1_train.zip.part").write_bytes(bytes(len(WHOLE) + 5))
    (tmp_path / "stage1_train.zip.part.mark").write_text(server.etag)
    get(server, tmp_path)
    assert (tmp_path / "stage1_train.zip").read_bytes() == WHOLE


def test_a_wrong_checksum_leaves_nothing_behind(server: Server, tmp_path: Path):
    with pytest.raises(InputError, match=r"stage1_train\.zip has the SHA-256 .* but 0{64}"):
        get(server, tmp_path, "0" * 64)
    assert list(tmp_path.iterdir()) == []


def test_a_published_md5_is_compared(server: Server, tmp_path: Path):
    right = hashlib.md5(WHOLE).hexdigest()
    with pytest.raises(InputError, match=r"has the MD5 .* but 0{32} was expected"):
        fetch_from(server, "bbbc038", tmp_path, "a.zip", "stage1_train", md5="0" * 32)
    assert list(tmp_path.iterdir()) == []
    fetch_from(server, "bbbc038", tmp_path, "a.zip", "stage1_train", md5=right)
    assert (tmp_path / "stage1_train" / "aa").is_dir()
    (tmp_path / "a.zip").write_bytes(WHOLE + b"x")
    with pytest.raises(InputError, match="has the MD5"):
        fetch_from(server, "bbbc038", tmp_path, "a.zip", "stage1_train", md5=right)


def test_what_is_fetched_is_what_the_readers_of_pathology_sets_read(server: Server, tmp_path: Path):
    server.content = zipped({"ICIAR2018_BACH_Challenge/Photos/Benign/b001.tif": png()})
    fetch_from(server, "bach", tmp_path / "bach", "a.zip", "ICIAR2018_BACH_Challenge")
    assert bach(tmp_path / "bach").ids == ("b001",)
    server.content = zipped({"NCT-CRC-HE-100K/ADI/ADI-A.tif": png()})
    fetch_from(server, "nct_crc", tmp_path / "nct", "NCT-CRC-HE-100K.zip", "NCT-CRC-HE-100K")
    assert nct_crc(tmp_path / "nct").ids == ("train/ADI-A",)
    inside = "BreaKHis_v1/histology_slides/breast/benign/SOB/adenosis/SOB_B_A_14-22549AB/40X/"
    image = "SOB_B_A-14-22549AB-40-001"
    server.content = tarred({f"{inside}{image}.png": png(), f"{inside}._{image}.png": b"a Mac's"})
    fetch_from(server, "breakhis", tmp_path / "breakhis", "BreaKHis_v1.tar.gz", "BreaKHis_v1")
    found = breakhis(tmp_path / "breakhis")
    assert found.ids == (image,)
    assert found.problems == ()
    assert (tmp_path / "breakhis" / "BreaKHis_v1" / "histology_slides").is_dir()


def test_the_sum_of_the_first_download_is_remembered(server: Server, tmp_path: Path):
    get(server, tmp_path)
    archive = tmp_path / "stage1_train.zip"
    archive.write_bytes(WHOLE + b"x")
    with pytest.raises(InputError, match=r"recorded in stage1_train\.zip\.sha256 at the first"):
        get(server, tmp_path)
    archive.unlink()
    server.content = zipped({"bb/images/bb.png": png()})
    with pytest.raises(InputError, match="the publisher has changed it"):
        get(server, tmp_path)


def test_a_file_downloaded_by_hand_is_taken(server: Server, tmp_path: Path):
    (tmp_path / "stage1_train.zip").write_bytes(WHOLE)
    get(server, tmp_path, hashlib.sha256(WHOLE).hexdigest())
    assert server.asked == []
    assert (tmp_path / "stage1_train" / "aa").is_dir()


def test_an_answer_that_is_an_error(server: Server, tmp_path: Path):
    server.status = 404
    with pytest.raises(InputError, match=r"stage1_train\.zip: the server answers 404.*save it as"):
        get(server, tmp_path)


def test_no_network(tmp_path: Path):
    source = Source("http://127.0.0.1:9/a.zip", "a")
    with pytest.raises(InputError, match=r"127\.0\.0\.1:9/a\.zip cannot be reached"):
        fetch("bbbc038", tmp_path, sources=[source], progress=False)


def test_a_server_that_does_not_say_how_long(server: Server, tmp_path: Path):
    server.length = False
    with pytest.raises(InputError, match="does not say how long the file is"):
        get(server, tmp_path)


@pytest.mark.parametrize("url", ["file:///etc/hosts", "ftp://a/b.zip"])
def test_other_kinds_of_address(tmp_path: Path, url: str):
    with pytest.raises(InputError, match="is no address that starts with https"):
        fetch("bbbc038", tmp_path, sources=[Source(url, "a")], progress=False)


def test_sets_that_cannot_be_fetched(tmp_path: Path):
    with pytest.raises(InputError, match=r"no known set 'x'; known are: .*bbbc038"):
        fetch("x", tmp_path)
    with pytest.raises(InputError, match=r"'tissuenet' cannot be fetched by Abbe. Log in at"):
        fetch("tissuenet", tmp_path)


BY_HAND = sorted(name for name, known in KNOWN_SETS.items() if not known.sources)


@pytest.mark.parametrize("name", BY_HAND)
def test_sets_to_be_got_by_hand_say_where_and_how(tmp_path: Path, name: str):
    known = KNOWN_SETS[name]
    with pytest.raises(InputError) as caught:
        fetch(name, tmp_path)
    said = str(caught.value)
    assert known.by_hand in said
    assert known.origin in said
    kind = re.search(r"--data\.kind (\w+)", said)
    assert kind is not None
    assert kind[1] in get_args(config.DataKind)
    assert kind[1] == name.replace("-", "_")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["nct_crc", "bach", "breakhis", "pannuke"])
def test_addresses_of_pathology_sets_are_their_publishers(name: str):
    known = KNOWN_SETS[name]
    hosts = {
        "nct_crc": "https://zenodo.org/records/1214456/files/",
        "bach": "https://zenodo.org/records/3632035/files/",
        "breakhis": "https://www.inf.ufpr.br/vri/databases/",
        "pannuke": "https://warwick.ac.uk/fac/cross_fac/tia/data/pannuke/fold_",
    }
    assert known.sources
    for source in known.sources:
        assert source.url.startswith(hosts[name])
        assert source.md5 is None or re.fullmatch("[0-9a-f]{32}", source.md5)
        assert source.sha256 is None or re.fullmatch("[0-9a-f]{64}", source.sha256)
        assert source.file_name.endswith((".zip", ".tar.gz"))
    sums = [source.sha256 or source.md5 for source in known.sources]
    assert name == "breakhis" or (None not in sums and len(set(sums)) == len(sums))


def test_too_little_space(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: type("", (), {"free": 100}))
    with pytest.raises(InputError, match="MB free: make room or choose another folder"):
        get(server, tmp_path)


def test_a_disk_that_fills_up(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(InputError, match="the disk is full: make room and run this again"):
        get(server, tmp_path)
    assert not (tmp_path / "stage1_train.zip").exists()


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"writing into .*file/set failed.*writable"):
        get(server, tmp_path / "file" / "set")


def archive_of(tmp_path: Path, members: dict[str, bytes]) -> Path:
    file = tmp_path / "set.zip"
    file.write_bytes(zipped(members))
    return file


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "C:/evil", "a\\..\\evil"])
def test_members_that_would_leave_their_folder(tmp_path: Path, name: str):
    archive = archive_of(tmp_path, {"good": b"1", name: b"2"})
    with pytest.raises(InputError, match=r"unsafe: .*evil' would leave its folder"):
        unpack(archive, tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["set.zip"]


def test_links_are_refused(tmp_path: Path):
    file = tmp_path / "set.zip"
    with zipfile.ZipFile(file, "w") as archive:
        link = zipfile.ZipInfo("link")
        link.external_attr = 0o120777 << 16
        archive.writestr(link, "/etc/hosts")
    with pytest.raises(InputError, match="'link' is encrypted, a link or a device"):
        unpack(file, tmp_path / "set")


@pytest.mark.parametrize("name", ["../evil", "/evil", "a/../../evil", "C:/evil"])
def test_a_tar_cannot_leave_its_folder(tmp_path: Path, name: str):
    archive = tmp_path / "set.tar.gz"
    archive.write_bytes(tarred({"good": b"1", name: b"2"}))
    with pytest.raises(InputError, match=r"unsafe: .*evil' would leave its folder"):
        unpack(archive, tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["set.tar.gz"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE])
def test_a_tar_with_links_or_devices_is_refused(tmp_path: Path, kind: bytes):
    archive = tmp_path / "set.tar.gz"
    with tarfile.open(archive, "w:gz") as opened:
        member = tarfile.TarInfo("link")
        member.type, member.linkname = kind, "/etc/hosts"
        opened.addfile(member)
    with pytest.raises(InputError, match="'link' is encrypted, a link or a device"):
        unpack(archive, tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["set.tar.gz"]


def test_a_tar_is_held_to_the_same_limits(tmp_path: Path):
    archive = tmp_path / "set.tar.gz"
    archive.write_bytes(tarred({"a": bytes(10_000), "b": b""}))
    with pytest.raises(InputError, match="would unpack to 0 MB; at most 0 MB"):
        unpack(archive, tmp_path / "set", max_bytes=9_999)
    with pytest.raises(InputError, match="holds 2 files; at most 1 are unpacked"):
        unpack(archive, tmp_path / "set", max_members=1)
    unpack(archive, tmp_path / "set", max_bytes=10_000)
    assert (tmp_path / "set" / "a").stat().st_size == 10_000


@pytest.mark.parametrize("length", [0, 30, 400, -9])
def test_a_torn_tar_leaves_no_half_folder(tmp_path: Path, length: int):
    archive = tmp_path / "set.tar.gz"
    noise = np.random.default_rng(0).bytes(2000)
    archive.write_bytes(tarred({"first": noise, "second": noise})[:length])
    with pytest.raises(InputError, match=r"set\.tar\.gz is damaged"):
        unpack(archive, tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["set.tar.gz"]


def test_bombs_are_refused(tmp_path: Path):
    archive = archive_of(tmp_path, {"a": bytes(10_000), "b": b""})
    with pytest.raises(InputError, match="would unpack to 0 MB; at most 0 MB"):
        unpack(archive, tmp_path / "set", max_bytes=9_999)
    with pytest.raises(InputError, match="holds 2 files; at most 1 are unpacked"):
        unpack(archive, tmp_path / "set", max_members=1)
    unpack(archive, tmp_path / "set", max_bytes=10_000)
    assert (tmp_path / "set" / "a").stat().st_size == 10_000


def test_damage_inside_an_archive_leaves_no_half_folder(tmp_path: Path):
    content = bytearray(zipped({"first": b"1" * 500, "second": b"2" * 500}))
    content[700] ^= 255
    archive = tmp_path / "set.zip"
    archive.write_bytes(content)
    with pytest.raises(InputError, match=r"set\.zip is damaged"):
        unpack(archive, tmp_path / "set")
    assert [path.name for path in tmp_path.iterdir()] == ["set.zip"]
    archive.write_bytes(b"no zip")
    with pytest.raises(InputError, match=r"set\.zip is damaged"):
        unpack(archive, tmp_path / "set")


def test_a_folder_inside_of_the_same_name_is_not_doubled(tmp_path: Path):
    unpack(archive_of(tmp_path, {"set/a/b": b"1"}), tmp_path / "set")
    assert (tmp_path / "set" / "a" / "b").read_bytes() == b"1"


def test_two_that_fetch_the_same_at_once_load_it_once(server: Server, tmp_path: Path):
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(get, server, tmp_path) for _ in range(2)]
        assert [each.result() for each in both] == [tmp_path, tmp_path]
    assert server.asked == [None]
    assert (tmp_path / "stage1_train.zip").read_bytes() == WHOLE
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "stage1_train", "stage1_train.zip", "stage1_train.zip.sha256",
    ]  # fmt: skip
