"""The page of `abbe web`, given by this machine's server, which computes for it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles

from abbe.runtime.package import Package
from abbe.web import PAGE, described

ENGINE = "This machine"
"""What the page calls what computes."""


@dataclass(frozen=True)
class ServedSite:
    """What the page is told of what is run.

    Attributes:
        description: As package.json has it, as far as the page reads it.
        card: The model card; None where there is none.
    """

    description: dict[str, Any]
    card: Path | None = None


def site_of(package: Package) -> ServedSite:
    """What is told of a package."""
    return ServedSite(described(package), package.file("card") if package.has("card") else None)


def site_of_run(title: str, channels: Sequence[str]) -> ServedSite:
    """What is told of a promptable network that is no package yet.

    Args:
        title: What the page calls it.
        channels: Names of the channels that it sees.
    """
    return ServedSite({
        "name": title, "title": title, "task": "promptable", "channels": list(channels),
        "pixel_size": None, "object_diameter": None, "image_size": None, "outputs": [],
        "classes": [], "lineage": {}, "instances": {"minimum_area": 1},
        "thresholds": {"foreground": 0.5, "boundary": 0.5},
    })  # fmt: skip


def page_of(site: ServedSite) -> list[BaseRoute]:
    """The page's files, and what they ask of the package."""

    async def told(request: Request) -> Response:
        return JSONResponse({
            "server": ENGINE, "webgpu": False, "example": None, "card": site.card is not None,
            "package": site.description, "files": [],
        })  # fmt: skip

    async def card(request: Request) -> Response:
        assert site.card is not None
        return FileResponse(site.card, media_type="text/markdown")

    own: list[BaseRoute] = [Route("/site.json", told)]
    if site.card is not None:
        own.append(Route("/package/README.md", card))
    return [*own, Mount("/", StaticFiles(directory=PAGE, html=True))]
