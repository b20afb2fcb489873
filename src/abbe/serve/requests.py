"""What the page sends: JSON of bounded size, checked before it is used."""

import json
from typing import Any

from pydantic import BaseModel, ConfigDict
from starlette.exceptions import HTTPException
from starlette.requests import Request

LARGEST_BODY = 32 << 20
"""Bytes of a request that carries masks: thousands of large ones."""
LARGEST_QUESTION = 64 << 10
"""Bytes of any other request."""


class Body(BaseModel):
    """A request's JSON: no other keys, and no other types than it says."""

    model_config = ConfigDict(extra="forbid", strict=True)


def number_of(request: Request) -> int:
    """The image that an address names."""
    return request.path_params["number"]


async def json_of(request: Request, largest: int = LARGEST_QUESTION) -> Any:
    """The JSON of a request.

    Raises:
        HTTPException: 413 where it is larger, 400 where it is none.
    """
    stated = request.headers.get("content-length", "")
    if stated.isdigit() and int(stated) > largest:
        raise _too_large(largest)  # before any of it is read
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > largest:
            raise _too_large(largest)
    try:
        return json.loads(bytes(body))
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the request is no JSON ({error})") from error


def _too_large(largest: int) -> HTTPException:
    # What is left of the request is not read, so the connection cannot be used again.
    words = f"such a request has at most {largest >> 10:,} KiB"
    return HTTPException(413, words, headers={"Connection": "close"})
