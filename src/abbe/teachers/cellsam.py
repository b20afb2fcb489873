"""CellSAM as a teacher, through its own package, around the traps of that package.

Its tiled mode for large images is not used: there tiles wrap around to the opposite edge of the
image, and whatever goes wrong in a tile becomes an empty mask after a line in the log. Here each
tile goes through the function that raises, large images are tiled as in
:mod:`abbe.teachers.object_tiles`, and an error that is merely logged becomes one that is raised.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError, InputError
from abbe.files import sha256_of_file
from abbe.teachers.object_tiles import Objects, find_in_tiles
from abbe.teachers.preprocessing import Step, by_region
from abbe.teachers.programs import channels_last, imported, require_all_weights, tensor_shapes
from abbe.teachers.teacher import Prediction, require_channels

if TYPE_CHECKING:
    from abbe.imaging import Image
    from abbe.targets import Provenance

INSTALL = "git+https://github.com/vanvalenlab/cellSAM.git"
NORMALISATION = (
    "minimum to percentile 99.9 per image and channel, clipped; channels (blank, nuclear, membrane)"
)
LICENCE = "CellSAM, non-commercial academic use (modified Apache)"
MODELS = ("cellsam_general", "cellsam_extra")
SMALLEST = 16
"""px: CellSAM takes the shortest axis for the channels, so a sliver must not be shorter than 3."""


class CellsamTeacher:
    """A CellSAM model: boxes of its detector, and a mask for each."""

    def __init__(
        self,
        segment: Any,
        model: Any,
        provenance: Provenance,
        settings: dict[str, Any],
        tile: int,
        halo: int,
    ) -> None:
        self._segment, self._model, self.provenance = segment, model, provenance
        self._settings, self._tile, self._halo = settings, tile, halo

    def predict(self, image: Image, id: str) -> Prediction:
        """The instances, (H, W); empty where CellSAM looked and found none.

        Raises:
            InputError: the image is too small or lacks a channel, CellSAM failed on a tile, or an
                object is cut by one.
        """
        channels = self.provenance.channels
        if min(image.shape) < SMALLEST:
            raise InputError(f"{image.name}: CellSAM needs at least {SMALLEST} px a side")
        found = find_in_tiles(
            self._find,
            by_region(image, channels, normalisation(image, channels)),
            image.shape,
            tile=self._tile,
            halo=self._halo,
            origin=self.provenance.teacher,
        )
        return Prediction({"instances": found.instances}, empty=not bool(found.instances.any()))

    def _find(self, pixels: NDArray[np.float32]) -> Objects:
        try:
            with logged_errors_raised(), warnings.catch_warnings():
                warnings.filterwarnings("ignore", "No cells detected|Low IOU threshold")
                answer = self._segment(
                    three_slots(pixels), self._model, normalize=False, **self._settings
                )
        except AssertionError as error:
            raise InputError(f"CellSAM refused a tile: {error or 'an assertion failed'}") from error
        return Objects(np.asarray(answer[0]))


def three_slots(pixels: NDArray[np.float32]) -> NDArray[np.float32]:
    """(C, h, w) as CellSAM reads it, (h, w, 3): blank, nuclear, membrane; one channel is last."""
    slots = np.zeros((3, *pixels.shape[1:]), np.float32)
    slots[3 - len(pixels) :] = pixels
    return channels_last(slots)


def normalisation(image: Image, channels: Sequence[str]) -> Step:
    """Each channel's minimum → 0, its percentile 99.9 → 1, clipped: over the image, not a tile."""
    from abbe.imaging import image_limits, normalise

    limits = image_limits(image, channels, 0, 99.9)
    return lambda pixels: normalise(pixels, limits)


@contextmanager
def logged_errors_raised() -> Iterator[None]:
    """Raise what a program only logs as an error: it may have put an empty mask in its place.

    Raises:
        InputError: with the logged message.
    """
    caught: list[str] = []

    class Catch(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if record.thread == threading.get_ident():  # other threads read other images
                caught.append(record.getMessage())

    handler = Catch(logging.ERROR)
    logging.getLogger().addHandler(handler)
    try:
        yield
    finally:
        logging.getLogger().removeHandler(handler)
    if caught:
        raise InputError(f"CellSAM failed and only said so in its log: {caught[0]}")


def cellsam(
    source: str | os.PathLike[str] = "cellsam_general",
    channels: Sequence[str] | None = None,
    *,
    bbox_threshold: float = 0.4,
    postprocess: bool = False,
    tile: int = 512,
    halo: int = 96,
    name: str | None = None,
    weights_licence: str = LICENCE,
    training_data_licence: str = "not stated by CellSAM as a whole; parts are non-commercial",
    stand_in: bool = False,
    device: str | None = None,
) -> CellsamTeacher:
    """A teacher that is CellSAM; its package must be installed where this runs.

    Args:
        source: ``cellsam_general``, ``cellsam_extra``, or a file of weights.
        channels: nuclear, then membrane (they fill the last of CellSAM's three inputs); one
            channel alone; or three.
        bbox_threshold: score above which a detected box counts.
        postprocess: smooth each mask by CellSAM's own morphology.
        tile: longer images (px) are cut into tiles of this side. CellSAM scales each to 1024 px.
        halo: px that a tile sees beyond its own part: at least the radius of the largest cell.
        name: the teacher's name in the store; that of the model where omitted.
        weights_licence: licence of the weights.
        training_data_licence: licence of what they were trained on.
        stand_in: the model stands in for the teacher one would rather use; said everywhere.
        device: such as ``cpu`` or ``cuda``; a GPU if there is one where omitted.

    Raises:
        MissingPackageError: CellSAM is not installed here.
        ConfigError: the channels are in the wrong order, or the weights must be fetched and there
            is no token to do so.
        InputError: the weights are missing, damaged or those of another network.
    """
    package = imported("cellSAM", install=INSTALL, kind="cellsam")
    import torch

    from abbe.targets import Provenance

    channels = _ordered(require_channels(channels, "cellsam"))
    source = os.fspath(source)
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = _model(source, package).to(place)
    provenance = Provenance(
        teacher=name or f"cellsam {Path(source).name}",
        weights_sha256=_weights_sha256(source, model),
        weights_licence=weights_licence,
        training_data_licence=training_data_licence,
        channels=channels,
        normalisation=NORMALISATION,
        thresholds={"bbox": bbox_threshold},
        stand_in=stand_in,
        notes=("post-processed by CellSAM",) if postprocess else (),
    )
    settings = {"bbox_threshold": bbox_threshold, "postprocess": postprocess, "device": place}
    segment = package.segment_cellular_image
    return CellsamTeacher(segment, model, provenance, settings, tile, halo)


def _ordered(channels: tuple[str, ...]) -> tuple[str, ...]:
    if len(channels) > 3:
        raise ConfigError(f"cellsam reads one to three channels, not {', '.join(channels)}")
    if len(channels) == 2 and channels[1].lower() in ("nucleus", "nuclei", "nuclear", "dapi"):
        raise ConfigError(
            f"cellsam reads the nuclear channel before the membrane: name {channels[1]}, "
            f"{channels[0]}, not {', '.join(channels)}"
        )
    return channels


def _model(source: str, package: Any) -> Any:
    from torch import nn

    if source in MODELS:
        _require_weights_or_token(source)
        model = package.get_model(source)
    else:
        if not Path(source).is_file():
            raise InputError(f"{source}: neither a file of weights nor one of {', '.join(MODELS)}")
        tensor_shapes(Path(source))
        model = package.get_local_model(source)
        require_all_weights(Path(source), model)
    if not isinstance(model, nn.Module):
        raise ConfigError(
            "the CellSAM that is installed is too old to name its models: "
            f"pip install --upgrade {INSTALL}"
        )
    return model.eval()


def _require_weights_or_token(source: str) -> None:
    folder = Path.home() / ".deepcell" / "models"
    if os.environ.get("DEEPCELL_ACCESS_TOKEN") or any(folder.glob("cellsam*")):
        return
    raise ConfigError(
        f"{source}: its weights are not in {folder} and must be fetched, for which CellSAM needs "
        "an access token. Make one at https://users.deepcell.org and set it as "
        "DEEPCELL_ACCESS_TOKEN; or give a file of weights instead of the name"
    )


def _weights_sha256(source: str, model: Any) -> str:
    from abbe.teachers.torch_module import state_sha256

    return state_sha256(model) if source in MODELS else sha256_of_file(Path(source))
