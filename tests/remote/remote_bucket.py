"""moto's S3 server, as HTTP here, behind a door that counts, delays, refuses and cuts."""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

Fault = Literal["busy", "refused", "slow", "cut"]
SLOW_SECONDS = 3.0
BUSY = (
    b'<?xml version="1.0"?><Error><Code>SlowDown</Code>'
    b"<Message>Please reduce your request rate.</Message></Error>"
)
REFUSED = (
    b'<?xml version="1.0"?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>'
)


@dataclass
class Request:
    """One that was answered."""

    method: str
    path: str
    range: str
    sent: int


@dataclass
class Door:
    """What stands before the server.

    ``fault`` is asked for each request, and says what goes wrong with it.
    """

    app: Any = field(default_factory=lambda: DomainDispatcherApplication(create_backend_app))
    fault: Callable[[str, str], Fault | None] = lambda method, path: None
    requests: list[Request] = field(default_factory=list)

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
        fault = self.fault(method, path)
        if fault == "slow":
            time.sleep(SLOW_SECONDS)
        if fault in ("busy", "refused"):
            body = BUSY if fault == "busy" else REFUSED
            start("503 Slow Down" if fault == "busy" else "403 Forbidden",
                  [("Content-Type", "application/xml"),
                   ("Content-Length", str(0 if method == "HEAD" else len(body)))])  # fmt: skip
            return [b"" if method == "HEAD" else body]
        body = b"".join(self.app(environ, start))
        self.requests.append(Request(method, path, environ.get("HTTP_RANGE", ""), len(body)))
        return _half(body) if fault == "cut" else [body]

    def gets(self, ending: str) -> list[Request]:
        """The requests for objects that are called so."""
        return [each for each in self.requests if each.method == "GET" and ending in each.path]


def _half(body: bytes) -> Iterator[bytes]:
    yield body[: len(body) // 2]  # and the connection ends, with less than was promised


@dataclass
class Bucket:
    """A bucket of the server, and what boto3 knows of it."""

    door: Door
    address: str
    client: Any
    name: str = "lab"

    @property
    def url(self) -> str:
        return f"s3://{self.name}"

    def put(self, key: str, file: Path) -> str:
        """Upload a file, or all below a folder; the URL."""
        for each in [file] if file.is_file() else sorted(file.rglob("*")):
            if each.is_file():
                name = key if file.is_file() else f"{key}/{each.relative_to(file).as_posix()}"
                self.client.put_object(
                    Bucket=self.name, Key=name, Body=each.read_bytes(), ACL="public-read"
                )
        return f"{self.url}/{key}"

    def names(self, prefix: str = "") -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(
            Bucket=self.name, Prefix=prefix
        )
        return sorted(each["Key"] for page in pages for each in page.get("Contents", ()))

    def get(self, key: str) -> bytes:
        return self.client.get_object(Bucket=self.name, Key=key)["Body"].read()

    def fail(self, fault: Fault, ending: str, times: int = 10**9, method: str = "GET") -> None:
        """Let the next requests for such objects go wrong."""
        left = [times]

        def told(asked: str, path: str) -> Fault | None:
            if asked != method or ending not in path or left[0] <= 0:
                return None
            left[0] -= 1
            return fault

        self.door.fault = told


def served() -> Iterator[Bucket]:
    """A server with an empty bucket, until the generator is closed."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    door = Door()
    server = make_server("127.0.0.1", 0, door, threaded=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.port}"
    client = boto3.client("s3", endpoint_url=address, region_name="us-east-1",
                          aws_access_key_id="key", aws_secret_access_key="secret")  # fmt: skip
    client.create_bucket(Bucket="lab")
    yield Bucket(door, address, client)
    server.shutdown()
    thread.join()
