"""The page of `abbe serve` in a browser, for packages of any task."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import uvicorn

from abbe.runtime.batch.find_images import find_images
from abbe.runtime.package import read_package
from abbe.runtime.predictors.tasks import open_predictor
from abbe.serve import Session, address_of, application, listen
from abbe.serve.native import Native
from abbe.serve.site import site_of


@contextmanager
def serving_package(package: Path, images: Path, out: Path) -> Iterator[Any]:
    """What `visits.visit` takes for a server: a package behind `abbe serve`, in fp32."""
    native = Native(open_predictor(package, engine="onnxruntime", precision="fp32"))
    sees = native.predictor.channels_of
    session = Session("package", find_images([images]), None, out, channels_of=sees)
    with running(application(session, site_of(read_package(package)), native)) as address:
        yield SimpleNamespace(server_port=int(address.rstrip("/").rpartition(":")[2]))
    native.close()


@contextmanager
def running(app: Any) -> Iterator[str]:
    """A server on this machine, for as long as it is needed; its address."""
    listening = listen()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    yield address_of(listening)
    server.should_exit = True
    thread.join(10)
