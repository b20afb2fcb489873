"""What the tests of the page share: the files of others, a browser, and sites that are served."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from sites import FLAGS, KEPT, serving

from abbe.errors import InputError
from abbe.web import runtime_files

sys.path.append(str(Path(__file__).parents[1] / "runtime"))


@pytest.fixture(scope="session")
def runtime() -> Path:
    """A folder with the files of others; the test is skipped where they cannot be fetched."""
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("XDG_CACHE_HOME", str(KEPT.parents[1]))
            return runtime_files().folder
    except InputError as error:
        pytest.skip(f"the page was not tried: {error}")


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
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
