"""What the page asks of this machine's engine: what the package finds in an image."""

from typing import Annotated, Literal

import numpy as np
from pydantic import Field, FiniteFloat
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from abbe.runtime.job import SUFFIXES, Result
from abbe.serve.native import Asked, Found, Native, Rule
from abbe.serve.packed import packed
from abbe.serve.pixels import binary, level_of, region_of, whole
from abbe.serve.requests import Body, json_of, number_of
from abbe.serve.session import Session

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

        return binary(await run_in_threadpool(found))

    async def change(self, request: Request) -> Response:
        """The same by other thresholds."""
        body, number = _Change.model_validate(await json_of(request)), number_of(request)

        def found() -> bytes:
            return _told(self._native.change(number, body.rule.rule()))

        return binary(await run_in_threadpool(found))

    async def labels(self, request: Request) -> Response:
        """Numbers of a region of a level."""
        number, level, region = number_of(request), whole(request, "level"), region_of(request)

        def values() -> bytes:
            shape = level_of(self._session.image(number), level).shape
            return packed({"values": self._native.labels(number, region, shape)})

        return binary(await run_in_threadpool(values))

    async def classes(self, request: Request) -> Response:
        """The class of each pixel of a region."""
        number, region = number_of(request), region_of(request)

        def values() -> bytes:
            return packed({"values": self._native.classes(number, region)})

        return binary(await run_in_threadpool(values))

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


def _told(found: Found) -> bytes:
    columns = {name: np.asarray(values, np.float64) for name, values in found.columns.items()}
    return packed({
        "count": found.count, "columns": columns, "class_of": found.class_of,
        "whole": found.whole, "has_pixels": found.pixels is not None,
    })  # fmt: skip
