"""The file systems of fsspec that read and write URLs, opened once a process."""

from __future__ import annotations

import os
from functools import cache
from typing import Any

from abbe.errors import MissingExtraError, RemoteError
from abbe.remote.faults import in_words
from abbe.remote.urls import masked

_PACKAGES = {"s3": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs",
             "abfss": "adlfs", "http": "aiohttp", "https": "aiohttp"}  # fmt: skip
_OF_EXTRA = ("s3fs", "aiohttp")
_CONNECT_SECONDS, _READ_SECONDS = 10, 60
_CONNECTIONS = 32
_ATTEMPTS = 3


def system(url: str, *, asynchronous: bool = False) -> Any:
    """The file system that a URL belongs to.

    Credentials are found where the cloud's own programs look for them: in environment variables
    and files. What fsspec's own settings say (FSSPEC_S3_… and so on) goes before ours.

    Args:
        url: Of an object.
        asynchronous: For callers that run a loop of their own, such as zarr.

    Raises:
        MissingExtraError: ``abbe[cloud]`` is not installed.
        RemoteError: Nor is the package that reads this kind of URL.
    """
    with in_words(url):
        return _system(url.partition(":")[0], asynchronous, os.getpid())


@cache
def _system(scheme: str, asynchronous: bool, process: int) -> Any:
    """One for all threads; ``process`` tells a fork that it needs its own."""
    package = _PACKAGES[scheme]
    try:
        import fsspec
        import fsspec.config

        return fsspec.filesystem(
            scheme,
            asynchronous=asynchronous,
            use_listings_cache=False,  # what others write meanwhile is seen
            skip_instance_cache=True,
            **(_s3_settings(fsspec.config.conf.get("s3", {})) if scheme == "s3" else {}),
        )
    except ImportError as error:
        what = f"Reading {scheme}://"
        if package in _OF_EXTRA or getattr(error, "name", None) == "fsspec":
            raise MissingExtraError(getattr(error, "name", None) or package, "cloud", what) from (
                error
            )
        raise RemoteError(
            f"{what} needs the package '{package}', which is not installed. Install it with: "
            f"pip install 'abbe[cloud]' {package}"
        ) from error


def _s3_settings(said: dict[str, Any]) -> dict[str, Any]:
    """botocore's own retries with backoff, unless the user's variables or settings say others.

    s3fs asks once more where the connection was cut while an object came.
    """
    settings: dict[str, Any] = {
        "connect_timeout": _CONNECT_SECONDS,
        "read_timeout": _READ_SECONDS,
        "max_pool_connections": _CONNECTIONS,
    }
    if not {"AWS_MAX_ATTEMPTS", "AWS_RETRY_MODE"} & os.environ.keys():
        settings["retries"] = {"mode": "standard", "max_attempts": _ATTEMPTS}
    return {"config_kwargs": settings | said.get("config_kwargs", {})}


def refuse_login(url: str) -> None:
    """Refuse credentials in the URL of a bucket.

    Raises:
        RemoteError: There are some.
    """
    if masked(url) != url and url.startswith("s3:"):
        raise RemoteError(
            f"{masked(url)}: credentials do not belong in a URL of a bucket. Set "
            "AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE"
        )
