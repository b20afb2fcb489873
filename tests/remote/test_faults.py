"""Servers that are busy, slow, refuse or cut: asked again, then told in words without secrets."""

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import fsspec.config
import numpy as np
import pytest
import tifffile
from remote_bucket import Bucket

from abbe import cli
from abbe.errors import AbbeError, MissingExtraError, RemoteError
from abbe.imaging import open_image
from abbe.remote import RemotePath, as_path, masked, systems
from abbe.remote.cache import local_copy


@pytest.fixture
def url(bucket: Bucket, tmp_path: Path) -> str:
    pixels = (np.arange(800 * 800) % 65536).astype(np.uint16).reshape(800, 800)
    tifffile.imwrite(tmp_path / "a.tif", pixels, tile=(256, 256))
    return bucket.put("a.tif", tmp_path / "a.tif")


def impatient(monkeypatch: pytest.MonkeyPatch, attempts: int = 2, **settings: Any) -> None:
    """The user's own settings, by which the tests do not wait for long."""
    said = {"config_kwargs": {"retries": {"mode": "standard", "max_attempts": attempts}} | settings}
    monkeypatch.setitem(fsspec.config.conf, "s3", said)
    systems._system.cache_clear()


@pytest.mark.parametrize("fault", ["busy", "slow", "cut"])
@pytest.mark.parametrize("web", [False, True], ids=["s3", "http"])
def test_what_passes_is_waited_for(
    bucket: Bucket, url: str, fault: Any, web: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient(monkeypatch, read_timeout=0.5)
    monkeypatch.setattr("abbe.remote.faults._FIRST_WAIT", 0.01)
    monkeypatch.setattr("remote_bucket.SLOW_SECONDS", 1.0)
    image = open_image(f"{bucket.address}/lab/a.tif" if web else url)
    bucket.fail(fault, "a.tif", times=2)
    assert image.read()[0, -1, -1] == (800 * 800 - 1) % 65536
    assert bucket.door.fault("GET", "a.tif") is None  # the faults were met


@pytest.mark.parametrize(("fault", "words"), [
    ("busy", "the server was busy or did not answer, however often it was asked"),
    ("refused", "it may not be read with these credentials: the server refuses it. Ask for the "
     "right to it, or use others. Set AWS_ACCESS_KEY_ID"),
])  # fmt: skip
def test_what_does_not_pass_is_told_in_words(
    bucket: Bucket,
    url: str,
    fault: Any,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    impatient(monkeypatch, attempts=1)
    image = open_image(url)
    monkeypatch.setattr(systems.system(url), "retries", 2)
    bucket.fail(fault, "a.tif")
    with pytest.raises(RemoteError) as raised:
        image.read()
    assert str(raised.value).startswith(f"{url}: {words}")
    assert raised.value.__cause__ is None
    with pytest.raises(RemoteError, match=r"a\.tif: "):
        local_copy(RemotePath(url))
    assert not list((tmp_path / "cache").rglob("a.tif"))


def test_a_server_that_is_not_there_is_told(
    monkeypatch: pytest.MonkeyPatch, bucket: Bucket
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:9")
    impatient(monkeypatch, attempts=1)
    monkeypatch.setattr(systems.system("s3://lab/a"), "retries", 1)
    with pytest.raises(
        RemoteError, match=r"s3://lab/a\.tif: the server was busy or did not answer"
    ):
        open_image("s3://lab/a.tif")


def test_credentials_that_are_missing_are_asked_for(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    with pytest.raises(
        RemoteError, match=r"a\.tif: no credentials were found\. Set AWS_ACCESS_KEY"
    ):
        open_image("s3://lab/a.tif")


@pytest.mark.parametrize(("url", "missing", "words"), [
    ("s3://lab/a.tif", "s3fs", "'s3fs', which is not installed. Install it with: pip install "
     r"'abbe\[cloud\]'"),
    ("gs://lab/a.tif", "gcsfs", r"'gcsfs', .* pip install 'abbe\[cloud\]' gcsfs"),
    ("az://lab/a.tif", "adlfs", r"'adlfs', .* pip install 'abbe\[cloud\]' adlfs"),
])  # fmt: skip
def test_a_package_that_is_missing_is_named(
    url: str, missing: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    systems._system.cache_clear()
    registry: Any = import_module("fsspec.registry")
    monkeypatch.delitem(registry._registry, url[:2], raising=False)
    monkeypatch.setitem(sys.modules, missing, None)
    with pytest.raises(AbbeError, match=words) as raised:
        open_image(url)
    assert isinstance(raised.value, MissingExtraError if missing == "s3fs" else RemoteError)


def test_secrets_of_urls_are_never_printed(
    bucket: Bucket, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((40, 40), np.uint16))
    bucket.put("a.tif", tmp_path / "a.tif")
    host = bucket.address.removeprefix("http://")
    secret = f"http://ann:PASSWORD@{host}/lab/a.tif?X-Amz-Signature=SIGNATURE"
    shown = f"http://***@{host}/lab/a.tif?***"
    image = open_image(secret)
    assert image.source == str(as_path(Path(secret))) == shown
    assert repr(as_path(secret)) == f"RemotePath('{shown}')"
    out = tmp_path / "out"
    words = ["predict", "nuclei", secret, "--out", str(out), "--diameter", "12", "--threads", "1"]
    assert cli.main(words) == 0
    assert (
        cli.main(["predict", "nuclei", secret.replace("a.tif", "no.tif"), "--out", str(out)]) == 1
    )
    bucket.door.fault = lambda method, path: "refused"
    assert cli.main(words) == 1
    printed = "".join(capsys.readouterr())
    assert f"{shown}" in printed
    written = "".join(each.read_text("utf-8") for each in out.glob("*.jsonl"))
    assert shown in written
    everything = printed + written + "".join(map(str, (tmp_path / "cache").rglob("*")))
    assert not [each for each in ("PASSWORD", "SIGNATURE", "SECRETOFTESTS") if each in everything]
    with pytest.raises(
        RemoteError, match="credentials do not belong in a URL of a bucket"
    ) as raised:
        as_path("s3://KEY:WORDOFMINE@lab/a.tif")
    assert "WORDOFMINE" not in str(raised.value)


def test_what_is_no_secret_stays() -> None:
    for text in (
        "s3://lab/a?b.tif",
        "abfs://box@account.host/a.tif",
        "https://host/a.tif",
        "a@b:c",
    ):
        assert masked(text) == text
    assert masked("see (https://t0ken@host/x?sig=a/b) now") == "see (https://***@host/x?***) now"
