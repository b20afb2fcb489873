"""The page's server: what each address answers."""

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field, FiniteFloat, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from abbe.errors import AbbeError
from abbe.serve.coco import Object
from abbe.serve.guard import Guard
from abbe.serve.pixels import facts_of, pixels_answer
from abbe.serve.requests import LARGEST_BODY, Body, json_of, number_of
from abbe.serve.session import Prompt, Session, StaleError, UnknownImageError

if TYPE_CHECKING:
    from abbe.serve.native import Native
    from abbe.serve.site import ServedSite

MOST_POINTS = 1000
"""Of a prompt. Each costs the network time, and hardly anybody clicks ten."""


class _Asked(Body):
    points: Annotated[
        list[Annotated[list[FiniteFloat], Field(min_length=2, max_length=2)]],
        Field(max_length=MOST_POINTS),
    ] = Field(default_factory=list)
    labels: Annotated[list[Literal[0, 1]], Field(max_length=MOST_POINTS)] = Field(
        default_factory=list
    )
    box: Annotated[list[FiniteFloat], Field(min_length=4, max_length=4)] | None = None


class _Kept(Body):
    counts: list[Annotated[int, Field(ge=0)]]
    score: FiniteFloat
    category: Annotated[str, Field(min_length=1, max_length=200)] | None = None


class _Saved(Body):
    objects: list[_Kept]
    edition: str | None = None
    """Of the objects that these take the place of, as the page was given it; None for any."""


class _Unsaved(Body):
    objects: list[_Kept] | None
    """None where all are saved."""
    edition: str | None = None


class _Answers:
    """What each address answers."""

    def __init__(self, session: Session) -> None:
        self._session = session

    async def overview(self, request: Request) -> Response:
        session = self._session
        saved = await run_in_threadpool(session.saved)
        unsaved = session.unsaved()
        images = [
            {
                "name": name, "saved": len(saved.get(name, [])), "done": name in saved,
                "unsaved": name in unsaved,
            }
            for name in session.names
        ]  # fmt: skip
        return JSONResponse({"title": session.title, "out": str(session.out), "images": images})

    async def image(self, request: Request) -> Response:
        session, number = self._session, number_of(request)

        def state() -> dict[str, Any]:
            height, width = session.shape(number)
            facts = facts_of(session.image(number), session.seen(number))
            with session.changing:
                objects, saved = session.objects(number)
                shown = [_shown(each) for each in objects]
                now = {"objects": shown, "saved": saved, "edition": session.edition(number)}
            return {"width": width, "height": height} | facts | now

        return JSONResponse(await run_in_threadpool(state))

    async def encode(self, request: Request) -> Response:
        await run_in_threadpool(self._session.encode, number_of(request))
        return JSONResponse({})

    async def masks(self, request: Request) -> Response:
        asked = _Asked.model_validate(await json_of(request))
        prompt = Prompt(
            tuple((x, y) for x, y in asked.points),
            tuple(asked.labels),
            None if asked.box is None else _corners(*asked.box),
        )
        answers = await run_in_threadpool(self._session.masks, number_of(request), prompt)
        return JSONResponse({"masks": [_shown(each) for each in answers]})

    async def save(self, request: Request) -> Response:
        session, number = self._session, number_of(request)
        body = _Saved.model_validate(await json_of(request, LARGEST_BODY))

        def written() -> dict[str, Any]:
            with session.changing:
                files = session.save(number, _objects(body.objects), body.edition)
                return {"files": list(map(str, files)), "edition": session.edition(number)}

        return JSONResponse(await run_in_threadpool(written))

    async def keep(self, request: Request) -> Response:
        session, number = self._session, number_of(request)
        body = _Unsaved.model_validate(await json_of(request, LARGEST_BODY))
        objects = None if body.objects is None else _objects(body.objects)

        def kept() -> dict[str, Any]:
            with session.changing:
                session.keep(number, objects, body.edition)
                return {"edition": session.edition(number)}

        return JSONResponse(await run_in_threadpool(kept))


def application(session: Session, site: "ServedSite", native: "Native | None" = None) -> Starlette:
    """The page and its requests, for `uvicorn` or a test.

    Args:
        session: The images, prompts, and where is saved.
        site: What the page is told of the package.
        native: A package that takes no prompts; None for a promptable one.

    Problems are answered as {"error": words}: 400 for a request that is none, 403 for other
    hosts and origins, 404 for an unknown image or page, 409 for a page that is out of date, 413
    for one too large, 422 for what `Session` refuses, 500 where the disk fails.
    """
    from abbe.serve.site import page_of  # others use this room's server alone

    answers, one = _Answers(session), "/api/images/{number:int}"
    own_engine: list[BaseRoute] = []
    if native is not None:
        from abbe.serve.engine_answers import EngineAnswers

        own_engine = EngineAnswers(session, native).routes(one)
    return Starlette(
        routes=[
            Route("/api/session", answers.overview),
            Route(f"{one}/pixels", pixels_answer(session)),
            Route(one, answers.image),
            Route(f"{one}/encode", answers.encode, methods=["POST"]),
            Route(f"{one}/masks", answers.masks, methods=["POST"]),
            Route(f"{one}/objects", answers.save, methods=["PUT"]),
            Route(f"{one}/unsaved", answers.keep, methods=["PUT"]),
            *own_engine,
            Route("/api/{rest:path}", _nothing, methods=["GET", "POST", "PUT", "DELETE"]),
            *page_of(site),
        ],
        middleware=[Middleware(Guard)],
        exception_handlers={
            AbbeError: _refused,
            UnknownImageError: _unknown,
            StaleError: _stale,
            ValidationError: _malformed,
            HTTPException: _http,
            OSError: _disk,
        },
    )


async def _nothing(request: Request) -> Response:
    raise HTTPException(404)


def _corners(
    left: float, top: float, right: float, bottom: float
) -> tuple[float, float, float, float]:
    return left, top, right, bottom


def _objects(kept: list[_Kept]) -> list[Object]:
    return [Object(tuple(each.counts), each.score, each.category) for each in kept]


def _shown(each: Object) -> dict[str, Any]:
    return {"counts": each.counts, "score": each.score, "category": each.category}


async def _stale(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 409)


async def _refused(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 422)


async def _unknown(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, 404)


async def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, ValidationError)
    first = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(map(str, first["loc"])) or "the request"
    return JSONResponse({"error": f"{place}: {first['msg']}"}, 400)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return JSONResponse({"error": error.detail}, error.status_code, headers=error.headers)


async def _disk(request: Request, error: Exception) -> Response:
    assert isinstance(error, OSError)
    words = f"{error.filename or 'the disk'}: {error.strerror or error}"
    return JSONResponse({"error": f"{words}. Free the disk or mend the permissions"}, 500)
