"""What the page asks of this machine's engine: the image's pixels, and what the package finds."""

from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, FiniteFloat
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from abbe.errors import InputError
from abbe.imaging import Image, Region, slide_of
from abbe.imaging.bounds import check_size
from abbe.runtime.job import SUFFIXES, Result
from abbe.serve.native import Asked, Found, Native, Rule
from abbe.serve.packed import packed, plain
from abbe.serve.requests import Body, json_of, number_of
from abbe.serve.session import Session

SIDE = 512
"""px of a tile that is shown."""
SENT_WHOLE = 1 << 25
"""px of an image that the page takes whole; of larger ones it asks for the tiles that are seen."""
_WRITTEN: dict[str, Result] = {"labels": "labels", "geojson": "geojson", "csv": "table"}
_Share = Annotated[float, Field(ge=0, le=1)]


class _Rule(Body):
    foreground: _Share
    boundary: _Share
    minimum_area: Annotated[int, Field(ge=1)]

    def rule(self) -> Rule:
        return Rule(self.foreground, self.boundary, self.minimum_area)


class _Look(Body):
    channels: Annotated[list[Annotated[int, Field(ge=0)]], Field(max_length=64)]
    pixel_size: Annotated[FiniteFloat, Field(gt=0)] | None
    diameter: Annotated[FiniteFloat, Field(gt=0)] | None
    rule: _Rule


class _Change(Body):
    rule: _Rule


class _Write(Body):
    what: Literal["labels", "geojson", "csv"]


class EngineAnswers:
    """What each address of the engine answers."""

    def __init__(self, session: Session, native: Native) -> None:
        self._session, self._native = session, native

    def routes(self, one: str) -> list[BaseRoute]:
        """The addresses, those of an image below ``one``."""
        return [
            Route(f"{one}/look", self.look, methods=["POST"]),
            Route(f"{one}/change", self.change, methods=["POST"]),
            Route(f"{one}/labels", self.labels),
            Route(f"{one}/classes", self.classes),
            Route(f"{one}/results", self.write, methods=["POST"]),
            Route("/api/progress", self.progress),
            Route("/api/stop", self.stop, methods=["POST"]),
        ]

    async def look(self, request: Request) -> Response:
        """What the package finds in an image."""
        body, number = _Look.model_validate(await json_of(request)), number_of(request)
        asked = Asked(tuple(body.channels), body.pixel_size, body.diameter)

        def found() -> bytes:
            image = self._session.image(number)
            return _told(self._native.look(number, image, asked, body.rule.rule()))

        return _binary(await run_in_threadpool(found))

    async def change(self, request: Request) -> Response:
        """The same by other thresholds."""
        body, number = _Change.model_validate(await json_of(request)), number_of(request)

        def found() -> bytes:
            return _told(self._native.change(number, body.rule.rule()))

        return _binary(await run_in_threadpool(found))

    async def labels(self, request: Request) -> Response:
        """Numbers of a region of a level."""
        number, level, region = number_of(request), _whole(request, "level"), _region(request)

        def values() -> bytes:
            shape = _level(self._session.image(number), level).shape
            return packed({"values": self._native.labels(number, region, shape)})

        return _binary(await run_in_threadpool(values))

    async def classes(self, request: Request) -> Response:
        """The class of each pixel of a region."""
        number, region = number_of(request), _region(request)

        def values() -> bytes:
            return packed({"values": self._native.classes(number, region)})

        return _binary(await run_in_threadpool(values))

    async def write(self, request: Request) -> Response:
        """Write what was found beside what is saved."""
        body, number = _Write.model_validate(await json_of(request)), number_of(request)
        result, session = _WRITTEN[body.what], self._session

        def written() -> str:
            stem = session.stem_of(number)
            stem.parent.mkdir(parents=True, exist_ok=True)
            self._native.write(number, result, stem)
            return str(stem.with_name(stem.name + SUFFIXES[result]))

        return JSONResponse({"file": await run_in_threadpool(written)})

    async def progress(self, request: Request) -> Response:
        """How far the look is."""
        return JSONResponse(self._native.progress())

    async def stop(self, request: Request) -> Response:
        """End what is computed for."""
        self._native.stop()
        return JSONResponse({})


def pixels_answer(session: Session) -> Any:
    """The address that gives a region of a level, all channels."""

    async def pixels(request: Request) -> Response:
        number, level, region = number_of(request), _whole(request, "level"), _region(request)

        def read() -> bytes:
            image = _level(session.image(number), level)
            height, width = region.bottom - region.top, region.right - region.left
            check_size(len(image.channels) * height * width * image.dtype.itemsize, image.name)
            return packed({"planes": list(plain(image.read(region)))})

        return _binary(await run_in_threadpool(read))

    return pixels


def facts_of(image: Image, seen: list[int] | None) -> dict[str, Any]:
    """What the page must know of an image before it asks for pixels."""
    levels = [{"height": level.shape[0], "width": level.shape[1]} for level in levels_of(image)]
    return {
        "name": image.name, "channels": list(image.channels), "pixelSize": image.pixel_size,
        "notes": list(image.notes), "levels": levels, "side": SIDE, "seen": seen,
        "whole": image.shape[0] * image.shape[1] <= SENT_WHOLE,
    }  # fmt: skip


def levels_of(image: Image) -> tuple[Image, ...]:
    """The image and the coarser levels of its pyramid."""
    return slide_of(image).levels


def _level(image: Image, number: int) -> Image:
    levels = levels_of(image)
    if number >= len(levels):
        raise InputError(f"{image.name}: it has {len(levels)} levels, and no level {number}")
    return levels[number]


def _told(found: Found) -> bytes:
    columns = {name: np.asarray(values, np.float64) for name, values in found.columns.items()}
    return packed({
        "count": found.count, "columns": columns, "class_of": found.class_of,
        "whole": found.whole, "has_pixels": found.pixels is not None,
    })  # fmt: skip


def _binary(content: bytes) -> Response:
    return Response(content, media_type="application/octet-stream")


def _whole(request: Request, name: str) -> int:
    text = request.query_params.get(name, "")
    if not text.isdecimal() or len(text) > 12:
        raise HTTPException(400, f"{name}: a whole number is needed, not '{text}'")
    return int(text)


def _region(request: Request) -> Region:
    found = Region(*(_whole(request, name) for name in ("top", "left", "bottom", "right")))
    if found.top >= found.bottom or found.left >= found.right:
        raise InputError("the region has no pixels")
    return found
