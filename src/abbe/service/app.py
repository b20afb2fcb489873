"""The service's addresses: packages, their answers, health, figures, and a page of all this."""

import asyncio
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.security import HTTPBearer
from fastapi_offline import FastAPIOffline
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import ClientDisconnect

from abbe import __version__
from abbe.runtime.job import Predictor
from abbe.service import metrics
from abbe.service.answering import MEDIA, Answered, answer
from abbe.service.asked import Asked, first_problem
from abbe.service.guard import Guard
from abbe.service.limits import Limits, Refusal
from abbe.service.log import tell, tell_failure
from abbe.service.packages import describe
from abbe.service.received import drain, receive
from abbe.service.turns import StoppedError, Turns

_GONE = 499
"""What is counted where nobody waits for an answer any more."""
_WHAT = """Packages of Abbe: send an image, and get what `abbe predict` says of it.

A problem is answered as `{"error": words}`: 400 for a request that does not fit, 401 without the
token, 404 for an unknown package, 408, 413, 415 and 422 for a body that is too slow, too large, of
no known kind or no whole image, 503 with `Retry-After` where too much waits, 504 where it takes too
long."""


class _Service:
    """What each address answers."""

    def __init__(self, predictors: Mapping[str, Predictor], folder: Path, limits: Limits) -> None:
        self._predictors, self._folder, self._limits = predictors, folder, limits
        self.turns = Turns(limits)
        self.metrics = metrics.Metrics(self.turns)

    async def live(self) -> dict[str, str]:
        """Whether the process answers at all."""
        return {"status": "alive", "abbe": __version__}

    async def ready(self) -> JSONResponse:
        """Whether the next image would be taken: 503 while as many wait as may."""
        if self.turns.full:
            return JSONResponse({"status": "full"}, 503, headers={"Retry-After": "1"})
        return JSONResponse({"status": "ready"})

    async def figures(self) -> Response:
        """What was counted, in Prometheus' text format."""
        return Response(self.metrics.text(), media_type=metrics.MEDIA)

    async def packages(self) -> dict[str, Any]:
        """The packages, and what each sees and gives."""
        return {"packages": [describe(*each) for each in self._predictors.items()]}

    async def package(self, package: str) -> dict[str, Any]:
        """One package."""
        return describe(package, self._named(package))

    async def predict(
        self, request: Request, package: str, asked: Annotated[Asked, Query()]
    ) -> Response:
        """Run a package on an image, which is the body, or a form's part `image`.

        The name of a file tells some formats apart (npz, NDPI): give it in a form, or as `name`
        of the query. Of a name its ending alone is looked at.
        """
        began, status, pixels = time.monotonic(), 500, 0
        try:
            answered = await self._answer(request, package, asked)
            status, pixels = 200, answered.pixels
        except Refusal as error:
            status = error.status
            raise
        except (ClientDisconnect, StoppedError):
            status = _GONE
            return Response(status_code=_GONE)
        except Exception as error:
            # Its words may be of the image, and whoever catches it next would log them.
            tell_failure(error)
            raise Refusal(500, "the service failed; its log says where") from None
        finally:
            seconds = time.monotonic() - began
            if package in self._predictors:
                self.metrics.count(package, status, seconds, pixels)
            tell("POST", "/v1/packages/{package}/predict", status, seconds)
        return Response(answered.content, media_type=answered.media)

    async def _answer(self, request: Request, package: str, asked: Asked) -> Answered:
        try:
            predictor = self._named(package)
            with self.turns.enter() as place:
                folder = place.enter_context(tempfile.TemporaryDirectory(dir=self._folder))
                received = await receive(request, Path(folder), self._limits)
                job = asked.job(predictor.package, received.prompts)
                return await self.turns.run(
                    lambda stop: answer(
                        predictor, received.image, job, asked.answer, self._limits, stop
                    ),
                    place,
                    lambda: asyncio.create_task(_gone(request)),
                )
        except Refusal as error:
            if error.status != 408:  # who is slow is not waited for once more
                await drain(request)
            raise

    def _named(self, name: str) -> Predictor:
        if name not in self._predictors:
            raise Refusal(404, f"there is no such package; there are {', '.join(self._predictors)}")
        return self._predictors[name]


def application(
    predictors: Mapping[str, Predictor],
    folder: Path,
    limits: Limits,
    *,
    token: str | None = None,
    origins: tuple[str, ...] = (),
) -> FastAPI:
    """The service, for `uvicorn` or a test.

    Args:
        predictors: The packages by their names.
        folder: Where images lie while they are worked on.
        limits: What is taken at most.
        token: What clients must show; None for this machine's programs, who need none.
        origins: Sites whose pages may ask, such as "https://viewer.example".
    """
    service = _Service(predictors, folder, limits)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        service.turns.end()

    app = FastAPIOffline(
        title="Abbe", version=__version__, description=_WHAT, redoc_url=None, lifespan=lifespan,
        exception_handlers={
            Refusal: _refused, RequestValidationError: _malformed, HTTPException: _http,
        },
    )  # fmt: skip
    app.add_middleware(Guard, token=token, origins=origins)
    if origins:
        app.add_middleware(
            CORSMiddleware, allow_origins=list(origins), allow_methods=["GET", "POST"],
            allow_headers=["authorization", "content-type"],
        )  # fmt: skip
    _add_routes(app, service)
    return app


def _add_routes(app: FastAPI, service: _Service) -> None:
    secured: list[Any] = [Depends(HTTPBearer(auto_error=False))]  # for the page; Guard asks

    def get(path: str, answers: Callable[..., Any], **options: Any) -> None:
        app.add_api_route(path, answers, methods=["GET"], **options)

    get("/", lambda: RedirectResponse("docs"), include_in_schema=False)
    get("/health/live", service.live, tags=["health"])
    get("/health/ready", service.ready, tags=["health"])
    get("/metrics", service.figures, tags=["health"], dependencies=secured)
    get("/v1/packages", service.packages, tags=["packages"], dependencies=secured)
    get("/v1/packages/{package}", service.package, tags=["packages"], dependencies=secured)
    app.add_api_route(
        "/v1/packages/{package}/predict", service.predict, methods=["POST"], tags=["packages"],
        dependencies=secured, openapi_extra=_BODY, response_class=Response,
        responses={200: {"content": {media.partition(";")[0]: {} for media in MEDIA.values()}}},
    )  # fmt: skip


_FILE = {"type": "string", "format": "binary"}
_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "image": _FILE | {"description": "PNG, JPEG, TIFF, npy, npz, DICOM …"},
                        "prompts": {
                            "type": "string",
                            "default": "",  # else the page fills in a word
                            "description": "Of a promptable package, a JSON list with an entry an "
                            'object: {"box": [x0, y0, x1, y1]} or {"points": [[x, y], …], '
                            '"labels": [1, …]}.',
                        },
                    },
                }
            },
            "application/octet-stream": {"schema": _FILE},
        },
    },
}


async def _gone(request: Request) -> None:
    """End when the client has gone; its body was read before."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _words(words: str, status: int, headers: Mapping[str, str] | None = None) -> Response:
    return JSONResponse({"error": words}, status, headers=headers)


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refusal)
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    if error.status == 408:
        headers["Connection"] = "close"  # what is left of the body may never come
    return _words(str(error), error.status, headers)


async def _malformed(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    await drain(request)
    return _words(first_problem(error.errors(), "the request"), 400)


async def _http(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _words(str(error.detail), error.status_code, error.headers)
