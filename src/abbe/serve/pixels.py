"""Pixels of the images that are served, by region and level."""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from abbe.errors import InputError
from abbe.imaging import Image, Region, slide_of
from abbe.imaging.bounds import check_size
from abbe.serve.packed import packed, plain
from abbe.serve.requests import number_of
from abbe.serve.session import Session

SIDE = 512
"""px of a tile that is shown."""
SENT_WHOLE = 1 << 25
"""px of an image that the page takes whole; of larger ones it asks for the tiles that are seen."""


def pixels_answer(session: Session) -> Any:
    """The address that gives a region of a level, all channels."""

    async def pixels(request: Request) -> Response:
        number, level, region = number_of(request), whole(request, "level"), region_of(request)

        def read() -> bytes:
            image = level_of(session.image(number), level)
            height, width = region.bottom - region.top, region.right - region.left
            check_size(len(image.channels) * height * width * image.dtype.itemsize, image.name)
            return packed({"planes": list(plain(image.read(region)))})

        return binary(await run_in_threadpool(read))

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


def level_of(image: Image, number: int) -> Image:
    """One of the levels of an image.

    Raises:
        InputError: It has no such level.
    """
    levels = levels_of(image)
    if number >= len(levels):
        raise InputError(f"{image.name}: it has {len(levels)} levels, and no level {number}")
    return levels[number]


def binary(content: bytes) -> Response:
    """An answer of bytes."""
    return Response(content, media_type="application/octet-stream")


def whole(request: Request, name: str) -> int:
    """A whole number of an address.

    Raises:
        HTTPException: 400 where it is none.
    """
    text = request.query_params.get(name, "")
    if not text.isdecimal() or len(text) > 12:
        raise HTTPException(400, f"{name}: a whole number is needed, not '{text}'")
    return int(text)


def region_of(request: Request) -> Region:
    """The region that an address names.

    Raises:
        HTTPException: 400 where a number is missing.
        InputError: It has no pixels.
    """
    found = Region(*(whole(request, name) for name in ("top", "left", "bottom", "right")))
    if found.top >= found.bottom or found.left >= found.right:
        raise InputError("the region has no pixels")
    return found
