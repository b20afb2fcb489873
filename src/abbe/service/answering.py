"""From an image's file to the answer, by what `abbe predict` runs."""

import json
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from abbe import __version__
from abbe.errors import InputError, MissingExtraError
from abbe.files.tables import read_csv
from abbe.imaging import open_image
from abbe.imaging.labels.files import labels_as_png
from abbe.imaging.opening import kind_of
from abbe.runtime.batch.leftovers import Leftovers
from abbe.runtime.batch.one_image import Batch, OneImage
from abbe.runtime.job import SUFFIXES, Job, Predictor, Written
from abbe.runtime.tiling.executors import Inline
from abbe.runtime.tiling.timing import Timings
from abbe.runtime.writing.class_results import IMAGES
from abbe.service.asked import RESULTS, Answer, in_own_words
from abbe.service.limits import Limits, Refusal
from abbe.service.turns import Stop

MEDIA: Mapping[Answer, str] = {
    "json": "application/json", "geojson": "application/geo+json", "png": "image/png",
    "tiff": "image/tiff", "table": "text/csv; charset=utf-8", "probability": "image/tiff",
    "overview": "image/png", "dicom-seg": "application/dicom", "dicom-ann": "application/dicom",
}  # fmt: skip


@dataclass(frozen=True)
class Answered:
    """What goes back.

    Attributes:
        content: Of the body.
        media: Its type.
        count: Objects or tiles.
        pixels: Of the image.
    """

    content: bytes
    media: str
    count: int
    pixels: int


def answer(
    predictor: Predictor, image: Path, job: Job, wanted: Answer, limits: Limits, stop: Stop
) -> Answered:
    """Run a package on an image, beside which files may be written.

    Args:
        predictor: The package.
        image: The file, alone in its folder.
        job: What is asked.
        wanted: As which answer.
        limits: Of its pixels.
        stop: Looked at after each tile.

    Raises:
        Refusal: The package has no such answer (400); the image is too large (413), of no known
            kind (415), or cannot be read, or lacks what the package needs (422).
        StoppedError: It was told to stop.
    """
    _require_result(predictor, wanted)
    try:
        _require_kind(image)
        batch = Batch(
            predictor, image.parent, job, Leftovers(()), Timings(), lambda name, share: stop.look()
        )
        one = batch.open(image, Path(image.name))
        height, width = one.image.shape
        if height * width > limits.megapixels * 1e6:
            raise Refusal(
                413, f"the image has {height:,} × {width:,} px; at most {limits.megapixels:g} "
                "megapixels are taken here"
            )  # fmt: skip
        stop.look()
        with ExitStack() as stack:
            pool = Inline()
            if not one.small:
                pool = stack.enter_context(ThreadPoolExecutor(predictor.workers))
            written = one.write(pool)
        content = _content(one, written, wanted)
    except InputError as error:
        raise Refusal(422, told(error, image)) from error
    except MissingExtraError as error:  # of a format that this service was installed without
        raise Refusal(415, str(error)) from error
    return Answered(content, MEDIA[wanted], written.count, height * width)


def told(error: InputError, image: Path) -> str:
    """A message for the client: of its image, and of no place on this machine."""
    words = str(error).replace(str(image), "the image").replace(f"{image.parent}/", "")
    return in_own_words(words)


def _require_result(predictor: Predictor, wanted: Answer) -> None:
    if RESULTS[wanted] in predictor.results:
        return
    given = [name for name, result in RESULTS.items() if result in predictor.results]
    task = predictor.package.description.task
    raise Refusal(400, f"answer: a {task} package gives {', '.join(given)}, not {wanted}")


def _require_kind(image: Path) -> None:
    try:
        kind_of(image)
    except InputError as error:
        raise Refusal(415, told(error, image)) from error


def _content(one: OneImage, written: Written, wanted: Answer) -> bytes:
    folder, result = one.batch.out, RESULTS[wanted]
    path = folder / f"{one.stem}{SUFFIXES[result]}"
    if wanted == "json":
        return json.dumps(_numbers(one, written, path), ensure_ascii=False).encode()
    if result == "table" and not path.exists():  # of one tile that was classified
        one.batch.predictor.conclude(folder, {"image": written.answer})
        path = folder / IMAGES
    if wanted == "png":
        return labels_as_png(open_image(path).read()[0], Path("png"))
    return path.read_bytes()


def _numbers(one: OneImage, written: Written, table: Path) -> dict[str, Any]:
    """What was found, whatever the task."""
    image, described = one.image, one.batch.predictor.package.description
    told: dict[str, Any] = {
        "package": described.name, "task": described.task, "abbe": __version__,
        "image": {
            "height": image.shape[0], "width": image.shape[1], "channels": list(image.channels),
            "pixel_size": image.pixel_size,
        },
        "notes": [*one.notes, *written.notes],
    }  # fmt: skip
    if written.diameter is not None:
        told["diameter"] = written.diameter
    rows = _rows(table) if table.exists() else None
    if described.traits.tells_classes and not described.traits.of_pixels:
        probabilities = written.answer["probabilities"]
        best = max(range(len(probabilities)), key=probabilities.__getitem__)
        told["class"] = described.classes[best]
        told["probabilities"] = dict(zip(described.classes, probabilities, strict=True))
        told["tiles"] = rows or []
    elif described.traits.tells_areas:
        told["classes"] = rows
    else:
        told["count"] = written.count
        told["objects"] = rows
    return told


def _rows(table: Path) -> list[dict[str, Any]]:
    """A table's rows, its numbers as such."""
    return [
        {name: text if name == "class" else _number(text) for name, text in row.items()}
        for row in read_csv(table)[1]
    ]


def _number(text: str) -> float | int | None:
    """JSON knows no number that is none, as the mean of nothing."""
    value = float(text)
    if value != value:
        return None
    return int(text) if text.lstrip("-").isdecimal() else value
