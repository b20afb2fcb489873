"""Test images with the models' outlines: the image once, as PNG; the outlines as vector paths."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image

from abbe.imaging.pictures.window import fullest_window
from abbe.reporting.run_folder import Example
from abbe.summary import Thresholds

_WINDOW = 320  # px: a larger image is shown through a window of this side


class Panel(NamedTuple):
    """What one model (or the truth) drew: SVG path data in px of the window.

    Attributes:
        name: of the model, or truth.
        path: borders.
        unknown: what is not known.
        objects: how many there are; None of classes of pixels.
        score: of the image.
        areas: the colour of each class of pixels, and what it fills.
    """

    name: str
    path: str
    unknown: str
    objects: int | None
    score: float | None
    areas: tuple[tuple[str, str], ...] = ()


class Picture(NamedTuple):
    """One test image, ready for the page: its window's PNG as a data URI, and its panels."""

    kind: str
    image_id: str
    data_uri: str
    width: int
    height: int
    window_of: tuple[int, int] | None
    panels: tuple[Panel, ...]
    said: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()


def picture_of(
    example: Example,
    models: Sequence[str],
    scores: Mapping[str, Mapping[str, float]],
    colours: Sequence[str] = (),
    thresholds: Mapping[str, Thresholds] | None = None,
    metric: str = "",
) -> Picture:
    """Lay out an example: image, then truth, then ``models`` in their order.

    Args:
        example: of a run.
        models: names.
        scores: model → image id → value of the headline's metric.
        colours: of the classes of pixels from number 1 on, where labels are classes.
        thresholds: where the models' maps are cut, where labels are objects.
        metric: name of the headline's metric.
    """
    window = fullest_window(example.image.shape[:2], example.labels.get("truth"), _WINDOW)
    image = example.image[window]
    height, width = image.shape[:2]
    names = [name for name in ("truth", *models) if name in example.labels]
    panels = []
    for name in names:
        labels = example.labels[name][window].astype(np.int64)
        panels.append(
            Panel(
                name,
                outline_path(np.maximum(labels, 0)),
                _area_path(labels < 0),
                None if colours else len(np.unique(labels[labels > 0])),
                scores.get(name, {}).get(example.image_id),
                tuple(
                    (colour, _area_path(labels == number))
                    for number, colour in enumerate(colours, 1)
                    if (labels == number).any()
                ),
            )
        )
    whole = example.image.shape[:2]
    window_of = None if whole == (height, width) else (whole[0], whole[1])
    said = tuple((name, example.said[name]) for name in ("truth", *models) if name in example.said)
    return Picture(
        example.kind, example.image_id, png_uri(image), width, height, window_of, tuple(panels),
        said, bare_scores(example, window, scores, thresholds or {}, metric),
    )  # fmt: skip


def bare_scores(
    example: Example,
    window: tuple[slice, slice],
    scores: Mapping[str, Mapping[str, float]],
    thresholds: Mapping[str, Thresholds],
    metric: str,
) -> tuple[str, ...]:
    """Why models have a score and no object in a picture, a sentence each; mostly there is none.

    A mask and objects are cut at thresholds of their own, and small objects are dropped.

    Args:
        example: with true objects, or nothing is to be explained.
        window: what is shown of it.
        scores: model → image id → value of the headline's metric.
        thresholds: where the models' maps are cut; none of models that give no maps.
        metric: its name.
    """
    notes = []
    for name, labels in example.labels.items():
        cut, score = thresholds.get(name), scores.get(name, {}).get(example.image_id, 0.0)
        if cut is None or score <= 0 or "truth" not in example.labels:
            continue
        if not (example.labels["truth"] > 0).any() or (labels[window] > 0).any():
            continue
        if (labels > 0).any():
            notes.append(f"{name}: its objects lie outside this part of the image.")
            continue
        own = f", whereas an object takes enough of {cut.foreground:g} or more"
        notes.append(
            f"{name}: no object was kept, but {metric} counts every pixel with a foreground of "
            f"{cut.mask:g} or more{'' if name == 'teacher' else own}."
        )
    return tuple(notes)


def outline_path(labels: np.ndarray) -> str:
    """SVG path data of the borders of (H, W) instances, exactly along the edges of their pixels.

    Touching instances share one line; none is drawn where the image ends.
    """
    below = labels[1:] != labels[:-1]  # a border between each row and the next
    beside = labels[:, 1:] != labels[:, :-1]
    flat = [f"M{x} {y + 1}h{length}" for y, x, length in _runs(below)]
    upright = [f"M{x + 1} {y}v{length}" for x, y, length in _runs(beside.T)]
    return "".join(flat + upright)


def _area_path(mask: np.ndarray) -> str:
    """SVG path data that fills a (H, W) mask."""
    return "".join(f"M{x} {y}h{length}v1h-{length}z" for y, x, length in _runs(mask))


def _runs(mask: np.ndarray) -> np.ndarray:
    """(row, start, length) of every run of True along the rows of a mask, (N, 3)."""
    edges = np.diff(np.pad(mask, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    rows, starts = np.nonzero(edges == 1)
    _, ends = np.nonzero(edges == -1)
    return np.stack([rows, starts, ends - starts], axis=1)


def png_uri(rgb: np.ndarray) -> str:
    """(H, W, 3) uint8 as a PNG data URI."""
    buffer = io.BytesIO()
    Image.fromarray(rgb).save(buffer, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
