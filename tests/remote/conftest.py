from collections.abc import Iterator
from pathlib import Path

import pytest
from remote_bucket import Bucket, served

from abbe.remote import systems


@pytest.fixture(scope="session")
def server() -> Iterator[Bucket]:
    yield from served()


@pytest.fixture
def bucket(server: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bucket]:
    """An empty bucket, credentials for it, and a cache of the test's own."""
    for name, value in {
        "AWS_ENDPOINT_URL_S3": server.address,
        "AWS_ACCESS_KEY_ID": "AKIAOFTESTS",
        "AWS_SECRET_ACCESS_KEY": "SECRETOFTESTS",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "ABBE_CACHE": str(tmp_path / "cache"),
    }.items():
        monkeypatch.setenv(name, value)
    systems._system.cache_clear()
    server.door.fault = lambda method, path: None
    for key in server.names():
        server.client.delete_object(Bucket=server.name, Key=key)
    server.door.requests.clear()
    yield server
    systems._system.cache_clear()
