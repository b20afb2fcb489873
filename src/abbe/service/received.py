"""The body of a request as a file, held to its limits while it comes."""

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from starlette.datastructures import FormData
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from abbe.service.asked import Prompts, read_prompts
from abbe.service.limits import Limits, Refusal

FORM = "multipart/form-data"
LARGEST_PROMPTS = 4 << 20
"""Bytes of the part ``prompts``: ten thousand boxes take a tenth."""
_ENDINGS = re.compile(r"(\.ome)?\.(png|jpe?g|tiff?|svs|qptiff|ndpi|scn|bif|npy|npz|dcm)", re.I)
"""Of files that are whole images by themselves. Some formats are told by them alone."""
_DRAINING = 10.0
"""s for which the rest of a refused body is read and thrown away: many clients listen only when
they have sent all."""


@dataclass(frozen=True)
class Received:
    """What came.

    Attributes:
        image: The file.
        prompts: What was sent beside it.
    """

    image: Path
    prompts: Prompts | None = None


async def receive(request: Request, folder: Path, limits: Limits) -> Received:
    """Write the image of a request into a folder.

    Args:
        request: Its body is the image, or a form with the parts ``image`` and ``prompts``.
        folder: For this request alone.
        limits: Of its size, and of the time that it takes.

    Raises:
        Refusal: It is too large (413), too slow (408), empty, or no such form (400).
        ClientDisconnect: The client has gone before it was whole.
    """
    stated = request.headers.get("content-length", "")
    if stated.isdigit() and int(stated) > limits.body:
        raise _too_large(limits)  # before any of it is read
    form = request.headers.get("content-type", "").lower().startswith(FORM)
    try:
        async with asyncio.timeout(limits.seconds):
            found = await (_form if form else _whole)(request, folder, limits)
    except TimeoutError as error:
        raise Refusal(408, f"the body did not come within {limits.seconds:g} s") from error
    if not found.image.stat().st_size:
        raise Refusal(400, "the image is empty (0 bytes)")
    return found


async def drain(request: Request) -> None:
    """Read what is left of a refused request, for some seconds."""
    if request.headers.get("expect"):
        return  # the client waits for a word before it sends anything
    # A body that was read to its end, or a client that has gone, leaves nothing to be read.
    with suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(_DRAINING):
            async for _ in request.stream():
                pass


async def _whole(request: Request, folder: Path, limits: Limits) -> Received:
    path = folder / "image"
    with open(path, "wb") as file:
        async for part in _bounded(request, limits):
            file.write(part)
    return Received(_named(path, request.query_params.get("name", "")))


async def _form(request: Request, folder: Path, limits: Limits) -> Received:
    parser = MultiPartParser(
        request.headers, _bounded(request, limits), max_files=2, max_fields=2,
        max_part_size=LARGEST_PROMPTS,
    )  # fmt: skip
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError) as error:  # KeyError: it names no boundary
        raise Refusal(400, f"the form cannot be read ({error})") from error
    try:
        return await _parts(form, folder)
    finally:
        await form.close()


async def _parts(form: FormData, folder: Path) -> Received:
    image, prompts = form.get("image"), form.get("prompts")
    if set(form) - {"image", "prompts"} or len(form.multi_items()) != len(form):
        raise Refusal(400, "the form has the parts 'image' and 'prompts', each once at most")
    if image is None or isinstance(image, str):
        raise Refusal(400, "the form needs a part 'image' that is a file")
    path = folder / "image"
    with open(path, "wb") as file:
        while part := await image.read(1 << 20):
            file.write(part)
    if prompts is not None and not isinstance(prompts, str):
        prompts = await prompts.read(LARGEST_PROMPTS + 1)
        if len(prompts) > LARGEST_PROMPTS:
            raise Refusal(413, f"prompts have at most {LARGEST_PROMPTS >> 20} MiB")
    # A page's form that is left empty sends an empty part.
    asked = None if prompts is None or not prompts.strip() else read_prompts(prompts)
    return Received(_named(path, image.filename or ""), asked)


def _named(path: Path, name: str) -> Path:
    """The file with the ending of the name that the client gave, and nothing else of that."""
    found = re.search(f"{_ENDINGS.pattern}$", name, re.I)
    with open(path, "rb") as file:
        start = file.read(4)
    ending = found[0].lower() if found else ".npz" if start.startswith(b"PK") else ""
    return path.rename(path.with_name(f"{path.name}{ending}")) if ending else path


async def _bounded(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limits.body:
            raise _too_large(limits)
        yield part


def _too_large(limits: Limits) -> Refusal:
    return Refusal(413, f"a request has at most {limits.mebibytes:g} MiB")
