"""Downloading known data sets, where that is allowed.

A download is resumed where it stopped, checked against its checksum, and takes its final name only
when it is whole. Archives are unpacked by `abbe.datasets.public.archives`.
"""

import errno
import hashlib
import http.client
import os
import re
import shutil
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from abbe.datasets.public.archives import unpack
from abbe.datasets.public.known import KNOWN_SETS, Source
from abbe.errors import InputError
from abbe.files import remove_stale_parts, write_text
from abbe.files.locks import alone, lock_beside
from abbe.near import meant
from abbe.progress import bar

TIMEOUT_SECONDS = 60


def fetch(
    name: str,
    destination: str | os.PathLike[str],
    *,
    sources: Sequence[Source] | None = None,
    progress: bool = True,
) -> Path:
    """Download, check and unpack a known set; what is already there and whole is kept.

    A file whose checksum nobody has published is accepted the first time; its SHA-256 is written
    beside it and compared whenever the set is fetched again.

    Args:
        name: A key of `KNOWN_SETS`.
        destination: Folder; made where it is missing.
        sources: Other addresses of the same files, such as a mirror of your institute.
        progress: Show bars on the terminal.

    Returns:
        ``destination``.

    Raises:
        InputError: The set is unknown or cannot be downloaded, the server, the disk or the folder
            fails, or a checksum is wrong. A broken-off download is continued by the next call.
    """
    if name not in KNOWN_SETS:
        raise InputError(
            f"there is no known set '{name}'; known are: {', '.join(KNOWN_SETS)}."
            f"{meant(name, KNOWN_SETS)}"
        )
    known = KNOWN_SETS[name]
    if not known.sources:
        raise InputError(
            f"'{name}' cannot be fetched by Abbe. {known.by_hand}. (Official page: {known.origin})"
        )
    root = Path(destination)
    with _disk_errors(root):
        root.mkdir(parents=True, exist_ok=True)
        for source in known.sources if sources is None else sources:
            archive = root / source.file_name
            # Two that fetch the same at once would write into one half-loaded file.
            with alone(lock_beside(archive), wait=True) as sure:
                _fetch_one(source, archive, progress, sure)
    return root


def _fetch_one(source: Source, archive: Path, progress: bool, sure: bool) -> None:
    """Download, check and unpack one file; ``sure``: nobody else does."""
    if archive.exists():
        _verify(archive, archive, source)
    else:
        part = _download(source.url, archive, progress)
        _accept(part, archive, source)
    if source.folder is not None and not (archive.parent / source.folder).exists():
        folder = archive.parent / source.folder
        if sure:
            remove_stale_parts(folder, all=True)
        unpack(archive, folder, max_bytes=source.largest)


@contextmanager
def _disk_errors(folder: Path) -> Iterator[None]:
    """Say what to do about a full disk or an unwritable folder."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            advice = "the disk is full: make room and run this again, and it goes on from here"
        else:
            advice = "is the folder writable? Choose another one if not"
        raise InputError(f"writing into {folder} failed ({error}); {advice}") from error


def _download(url: str, target: Path, progress: bool) -> Path:
    """Download into ``target``.part, from where that ends; return it once it is whole."""
    if not url.startswith(("https://", "http://")):
        raise InputError(f"'{url}' is no address that starts with https:// or http://")
    part = target.with_name(target.name + ".part")
    have = part.stat().st_size if part.exists() else 0
    with _network_errors(url, target), _request(url, part, have) as response:
        start, total = _range(response, have)
        _require_space(target.parent, total - start, url)
        with (
            bar(target.name, total, start=start, unit="bytes", shown=progress) as moving,
            open(part, "ab" if start else "wb") as file,
        ):
            while block := response.read(1 << 18):
                file.write(block)
                moving.advance(len(block))
            file.flush()
            os.fsync(file.fileno())
            got = file.tell()
    if got < total:
        raise InputError(
            f"the download of {url} broke off after {got} of {total} bytes; "
            f"run this again, and it goes on from there"
        )
    if got > total:
        part.unlink()
        raise InputError(f"{url} sent more than the {total} bytes it announced; run this again")
    return part


def _request(url: str, part: Path, have: int) -> http.client.HTTPResponse:
    """Ask for the file, or for the rest of it if the server still has the same one.

    The server's mark of the file (ETag or date) is kept beside the part; without such a mark there
    is no telling whether the file has changed in the meantime, so the download starts anew.
    """
    mark_file = part.with_name(part.name + ".mark")
    mark = mark_file.read_text(encoding="utf-8") if mark_file.exists() else ""
    headers = {"User-Agent": "abbe", "Accept-Encoding": "identity"}
    if have and mark:
        headers |= {"Range": f"bytes={have}-", "If-Range": mark}
    try:
        response = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=TIMEOUT_SECONDS
        )
    except urllib.error.HTTPError as error:
        if error.code != http.client.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise
        error.close()
        part.unlink()  # longer than the file itself, so not a part of it
        return _request(url, part, 0)
    etag = response.headers.get("ETag", "")
    strong = "" if etag.startswith("W/") else etag
    write_text(mark_file, strong or response.headers.get("Last-Modified", ""))
    return response


def _range(response: http.client.HTTPResponse, have: int) -> tuple[int, int]:
    """The byte at which the answer starts, and the size of the whole file."""
    if response.status == http.client.PARTIAL_CONTENT:
        stated = response.headers.get("Content-Range", "")
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", stated)
        if match is None or int(match[1]) != have:
            raise InputError(
                f"{response.url} answered with the wrong part of the file ('{stated}'); "
                f"delete the .part file and run this again"
            )
        return have, int(match[2])
    length = response.headers.get("Content-Length")
    if length is None:
        raise InputError(
            f"{response.url} does not say how long the file is, so a broken download could not be "
            f"told from a whole one; download it by hand"
        )
    return 0, int(length)


@contextmanager
def _network_errors(url: str, target: Path) -> Iterator[None]:
    """Turn what the network says into one message with a way out."""
    advice = (
        f"run this again later, or download it by another way, save it as {target} and run this "
        f"again to check and unpack it"
    )
    try:
        yield
    except urllib.error.HTTPError as error:
        raise InputError(f"{url}: the server answers {error.code} {error.reason}; {advice}") from (
            error
        )
    except urllib.error.URLError as error:
        raise InputError(f"{url} cannot be reached ({error.reason}); {advice}") from error
    except (TimeoutError, ConnectionError, http.client.HTTPException) as error:
        raise InputError(f"the download of {url} broke off ({error}); {advice}") from error


def _require_space(folder: Path, needed: int, what: str) -> None:
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise InputError(
            f"{what} needs {needed / 1e6:.0f} MB, but {folder} has {free / 1e6:.0f} MB free: "
            f"make room or choose another folder"
        )


def _accept(part: Path, archive: Path, source: Source) -> None:
    """Give a whole and right download its name; throw a wrong one away."""
    try:
        _verify(part, archive, source)
    except InputError:
        part.unlink()
        raise
    finally:
        part.with_name(part.name + ".mark").unlink(missing_ok=True)
    os.replace(part, archive)


def _verify(file: Path, archive: Path, source: Source) -> None:
    """Compare with the published sums, or with the one recorded at the first download."""
    record = archive.with_name(archive.name + ".sha256")
    recorded = record.read_text(encoding="utf-8").split()[0] if record.exists() else None
    found, found_md5 = _sums(file)
    expected = [
        ("SHA-256", found, source.sha256, "expected"),
        ("MD5", found_md5, source.md5, "expected"),
    ]
    if source.sha256 is None:
        origin = f"recorded in {record.name} at the first download"
        expected.append(("SHA-256", found, recorded, origin))
    for kind, has, wanted, origin in expected:
        if wanted is not None and has != wanted:
            raise InputError(
                f"{archive} has the {kind} {has}, but {wanted} was {origin}: the file is damaged "
                f"or the publisher has changed it; delete it and {record.name} and fetch again"
            )
    if recorded != found:
        write_text(record, f"{found}  {archive.name}\n")


def _sums(file: Path) -> tuple[str, str]:
    """SHA-256 and MD5; the second is what some publishers state, and no protection."""
    sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
    with open(file, "rb") as opened:
        while block := opened.read(1 << 20):
            sha256.update(block)
            md5.update(block)
    return sha256.hexdigest(), md5.hexdigest()
