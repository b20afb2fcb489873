"""Images to serve, and a stand-in for a network, for the tests of the page."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from abbe.errors import InputError
from abbe.imaging import Image, write_png
from abbe.runtime.batch.find_images import find_images
from abbe.serve import Session, application
from abbe.serve.site import site_of_run

WIDTH, HEIGHT = 160, 120


class FakePredictor:
    """No network: a box gives itself, points give discs of 4, 8 and 16 px around the first."""

    encoded = 0
    input_channels = ("red", "green", "blue")

    def __init__(self) -> None:
        self.shape: tuple[int, int] | None = None

    def channels_of(self, image: Image) -> tuple[str, ...]:
        return self.input_channels

    def set_channels(self, image: Image) -> None:
        self.shape = image.shape
        FakePredictor.encoded += 1

    def predict(
        self,
        point_coords: Any = None,
        point_labels: Any = None,
        box: Any = None,
        *,
        multimask_output: bool = True,
    ) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
        if self.shape is None:
            raise InputError("no image has been set")
        rows, columns = np.indices(self.shape) + 0.5
        if box is not None:
            left, top, right, bottom = box
            masks = [(columns > left) & (columns < right) & (rows > top) & (rows < bottom)]
        else:
            x, y = point_coords[0]
            distance = np.hypot(columns - x, rows - y)
            masks = [distance < radius for radius in (4, 8, 16)][: 3 if multimask_output else 1]
        if point_labels is not None:
            for x, y in point_coords[np.asarray(point_labels) == 0]:
                masks = [mask & (np.hypot(columns - x, rows - y) > 3) for mask in masks]
        scores = np.array([0.5, 0.9, 0.7][: len(masks)], np.float32)
        return np.stack(masks), scores, np.zeros((len(masks), 8, 8), np.float32)


def folder_of_images(folder: Path) -> Path:
    """Two pictures, one of them in a folder below."""
    rows, columns = np.indices((HEIGHT, WIDTH))
    ramp = np.stack([columns, rows, np.full_like(rows, 90)], -1).astype(np.uint8)
    disc = np.hypot(columns - 60, rows - 50) < 22
    ramp[disc] = (230, 180, 120)
    write_png(folder / "first.png", ramp)
    write_png(folder / "more" / "second.png", ramp[::-1, ::-1])
    return folder


def session_of(
    folder: Path, out: Path, new_predictor: Callable[[], FakePredictor] = FakePredictor
) -> Session:
    return Session("fake network", find_images([folder]), new_predictor, out)


def app_of(session: Session) -> Any:
    """The page and its requests, for the network that is none."""
    return application(session, site_of_run(session.title, FakePredictor.input_channels))
