"""The page of `abbe web`, given by this machine's server, which computes for it."""

from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from abbe.runtime.package import Package
from abbe.web import PAGE, described

ENGINE = "This machine"
"""What the page calls what computes."""


def page_of(package: Package) -> list[BaseRoute]:
    """The page's files, and what they ask of the package."""

    async def site(request: Request) -> Response:
        return JSONResponse(site_of(package))

    async def card(request: Request) -> Response:
        return FileResponse(package.file("card"), media_type="text/markdown")

    own: list[BaseRoute] = [Route("/site.json", site)]
    if package.has("card"):
        own.append(Route("/package/README.md", card))
    return [*own, Mount("/", StaticFiles(directory=PAGE, html=True))]


def site_of(package: Package) -> dict[str, Any]:
    """What ``site.json`` says, as `abbe.web.build_site` writes it."""
    return {
        "server": ENGINE, "webgpu": False, "example": None, "card": package.has("card"),
        "package": described(package) | {"files": {}}, "files": [],
    }  # fmt: skip
