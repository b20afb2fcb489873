"""Services to ask: packages of all tasks, made by hand, in this process and on a real port."""

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from starlette.testclient import TestClient

from abbe.imaging import write_png
from abbe.runtime.job import Predictor
from abbe.service.app import application
from abbe.service.limits import Limits
from abbe.service.packages import open_packages
from abbe.service.server import address_of, listen, server_of

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "runtime")]

LIMITS = Limits(mebibytes=4, megapixels=4, seconds=20, parallel=1, queue=1)


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Path]:
    from prompt_package import make_prompt_package

    made = import_module("made_packages")

    below = tmp_path_factory.mktemp("packages")
    return {
        "cells": made.make_package(below / "cells"),
        "regions": made.make_region_package(below / "regions"),
        "tiles": made.make_class_package(below / "tiles"),
        "prompted": make_prompt_package(made.make_package, below / "prompted"),
    }


@pytest.fixture(scope="session")
def predictors(packages: Mapping[str, Path]) -> Mapping[str, Predictor]:
    return open_packages([f"{name}={path}" for name, path in packages.items()], workers=1)


@pytest.fixture(scope="session")
def picture(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """300 × 200 px of grey with bright discs: several tiles of the packages."""
    blobs = import_module("made_packages").blobs
    path = tmp_path_factory.mktemp("pictures") / "image.png"
    write_png(path, (blobs(200, 300) >> 8).astype(np.uint8))
    return path


@pytest.fixture
def working(tmp_path: Path) -> Path:
    """Where a service puts images."""
    folder = tmp_path / "working"
    folder.mkdir()
    return folder


@pytest.fixture
def client(predictors: Mapping[str, Predictor], working: Path) -> Iterator[TestClient]:
    app = application(predictors, working, LIMITS)
    with TestClient(app, base_url="http://127.0.0.1:8000") as client:
        yield client
    assert not list(working.iterdir())


Serve = Callable[..., Any]


@pytest.fixture
def serve(predictors: Mapping[str, Predictor], working: Path) -> Serve:
    """A context: the service on a real port, and a client that knows its address."""

    @contextmanager
    def serving(
        limits: Limits = LIMITS, packages: Mapping[str, Predictor] = predictors, **options: Any
    ) -> Iterator[httpx.Client]:
        listening = listen("127.0.0.1", 0)
        server = server_of(application(packages, working, limits, **options), 5)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        try:
            with httpx.Client(base_url=address_of(listening), timeout=30) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(30)
        assert not thread.is_alive()
        assert not list(working.iterdir())

    return serving
