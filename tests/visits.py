"""What a visitor does on the page, and what the page has in hand."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

_LABELS = """() => {
  const { values, width, height } = abbe.results.told.labels;
  const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
  let text = "";
  for (let i = 0; i < bytes.length; i += 32768) {
    text += String.fromCharCode(...bytes.subarray(i, i + 32768));
  }
  return { height, width, data: btoa(text) };
}"""


@contextmanager
def visit(browser: Any, server: Any, **options: Any) -> Iterator[Any]:
    """The page, ready; nothing it asked for may come from elsewhere, and nothing may fail."""
    address = f"http://localhost:{server.server_port}/"
    given = {"viewport": {"width": 1200, "height": 800}, "accept_downloads": True} | options
    with browser.new_context(**given) as context:
        page = context.new_page()
        problems: list[str] = []
        requested: list[str] = []
        page.on("pageerror", lambda error: problems.append(str(error)))
        context.on("request", lambda request: requested.append(request.url))
        page.goto(address)
        page.wait_for_selector("body[data-ready]", timeout=60_000)
        yield page
        assert problems == []
        assert requested
        assert all(url.startswith((address, "blob:", "data:")) for url in requested)


def look(page: Any, image: Path) -> None:
    """Open an image, and wait until it has been looked at or refused."""
    page.evaluate("document.body.dataset.state = 'busy'")
    page.set_input_files("#file", str(image))
    wait(page)


def wait(page: Any) -> None:
    """Wait until the page has an answer, or a problem."""
    ended = ", ".join(f"body[data-state={state}]" for state in ("done", "problem", "large"))
    page.wait_for_selector(ended, timeout=120_000)


def labels_of(page: Any) -> np.ndarray:
    """The objects that the page shows, (H, W) int32."""
    found = page.evaluate(_LABELS)
    values = np.frombuffer(base64.b64decode(found["data"]), np.int32)
    return values.reshape(found["height"], found["width"])


def saved(page: Any, what: str, folder: Path) -> Path:
    """The file that a button saves."""
    with page.expect_download() as told:
        page.click(f"[data-save={what}]")
    path = folder / told.value.suggested_filename
    told.value.save_as(path)
    return path
