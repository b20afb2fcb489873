"""What tests of pages share: a browser, sites that are served, the files of others."""

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from abbe.errors import InputError
from abbe.web.runtime_files import default_folder, runtime_files

# Before the tests take a cache of their own: these files are large, and fetched once.
KEPT = default_folder()
FLAGS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
)  # fmt: skip


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Nothing."""


@contextmanager
def serving(folder: Path) -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(_Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def runtime() -> Path:
    """A folder with the files of others; the test is skipped where they cannot be fetched."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(KEPT.parents[1]))
            return runtime_files().folder
    except InputError as error:
        pytest.skip(f"the page was not tried: {error}")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium, for a file of tests: while it runs, no other event loop can in this thread."""
    from playwright.sync_api import sync_playwright

    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None and not os.environ.get("ABBE_NEEDS_BROWSER"):
        pytest.skip("no chromium is installed: the page was not tried in a browser")
    assert found is not None, "a browser is needed here (Debian: chromium)"
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=found, args=list(FLAGS))
        yield running
        running.close()


@pytest.fixture
def served() -> Iterator[Callable[[Path], ThreadingHTTPServer]]:
    """Gives a folder to browsers, as any static server does."""
    with ExitStack() as stack:
        yield lambda folder: stack.enter_context(serving(folder))
