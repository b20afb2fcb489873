"""Files by URL: buckets and web servers, through fsspec, which is imported when one is met."""

from abbe.remote.alike import as_path, as_remote
from abbe.remote.paths import RemotePath
from abbe.remote.urls import is_url, masked

__all__ = ["RemotePath", "as_path", "as_remote", "is_url", "masked"]
