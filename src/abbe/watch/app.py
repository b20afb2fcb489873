"""The page's server: the page, the part of it that changes, the newest picture."""

import hashlib
import threading
import time
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from abbe.serve.guard import POLICY, Guard
from abbe.watch.page import curves_of, frame, now
from abbe.watch.state import Log, state_of

LEAST = 2.0
"""Seconds between two looks at the folder, however many pages ask: the run needs the processor."""
MOST_DRAWING = 0.02
"""Share of the time that curves may take to be drawn anew."""
OWN_POLICY = POLICY | {
    "Content-Security-Policy": f"{POLICY['Content-Security-Policy']}; style-src 'unsafe-inline'"
}
"""Drawings carry their styles with them; nothing else of a page may."""


class Watched:
    """A run's folder and what was last read there; several pages share it.

    Args:
        folder: of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lock = threading.Lock()
        self._until = 0.0
        self._text, self._edition = "", ""
        self._log: Log = ()
        self._curves, self._colours = curves_of(())
        self._draw_after = 0.0
        self.title = folder.name
        self.preview: Path | None = None

    def part(self) -> tuple[str, str]:
        """The part of the page that changes, and its edition, which is another after a change."""
        with self._lock:
            if time.monotonic() >= self._until:
                state = state_of(self.folder)
                self.title, self.preview = state.title, state.preview
                self._draw(state.log)
                self._text = now(state, self.folder, self._curves, self._colours)
                self._edition = hashlib.sha256(self._text.encode()).hexdigest()[:16]
                self._until = time.monotonic() + LEAST
            return self._text, f'"{self._edition}"'

    def _draw(self, log: Log) -> None:
        """Draw the curves anew, if they changed and the last time was long enough ago."""
        began = time.monotonic()
        if log == self._log or began < self._draw_after:
            return
        self._curves, self._colours = curves_of(log)
        self._log = log
        ended = time.monotonic()
        self._draw_after = ended + (ended - began) / MOST_DRAWING


def application(folder: Path) -> Starlette:
    """The page of a run, for `uvicorn` or a test; it only reads."""
    watched = Watched(folder)

    async def page(request: Request) -> Response:
        text, _ = await run_in_threadpool(watched.part)
        return HTMLResponse(frame(watched.title, text))

    async def part(request: Request) -> Response:
        text, edition = await run_in_threadpool(watched.part)
        if request.headers.get("if-none-match") == edition:
            return Response(status_code=304)
        return HTMLResponse(text, headers={"ETag": edition})

    async def preview(request: Request) -> Response:
        await run_in_threadpool(watched.part)
        path = watched.preview
        # What the page asks for only tells one picture from another: no path comes from a request.
        if path is None or not path.is_file():
            return PlainTextResponse("there is no picture yet", 404)
        return FileResponse(path)

    async def script(request: Request) -> Response:
        return FileResponse(Path(__file__).parent / "watch.js")

    return Starlette(
        routes=[
            Route("/", page),
            Route("/now", part),
            Route("/preview", preview),
            Route("/watch.js", script),
        ],
        middleware=[Middleware(Guard, OWN_POLICY)],
    )
