"""CellSAM as a teacher, through its own package, around the traps of that package.

Its tiled mode for large images is not used: there tiles wrap around to the opposite edge of the
image, and whatever goes wrong in a tile becomes an empty mask after a line in the log. Here each
tile goes through the function that raises, large images are tiled as in
`object_tiles`, and an error that is merely logged becomes one that is raised.
"""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError, InputError
from abbe.files import sha256_of_file
from abbe.near import meant_beside
from abbe.teachers.networks.preprocessing import by_region
from abbe.teachers.programs.cellsam_network import CellsamNetwork, load_file
from abbe.teachers.programs.installed import (
    KINDS,
    channels_last,
    imported,
    kinds_named,
    settings_of,
)
from abbe.teachers.programs.object_tiles import find_in_tiles
from abbe.teachers.teacher import Cost, Prediction, found_in, require_channels
from abbe.teachers.tiles import Pixels

if TYPE_CHECKING:
    from abbe.imaging import Image
    from abbe.targets import Provenance

INSTALL = "git+https://github.com/vanvalenlab/cellSAM.git"
NORMALISATIONS = {
    "clahe": "CellSAM's own over the image, each channel: cut at percentile 99.9 of what is not 0, "
    "minimum to maximum, CLAHE with kernels of 128 px; channels (blank, nuclear, membrane)",
    "percentile": "minimum to percentile 99.9 per image and channel, clipped; channels (blank, "
    "nuclear, membrane)",
}
MASK_THRESHOLD = 0.4
"""CellSAM's own: the probability above which a pixel belongs to an object."""
LARGEST_CLAHE = 100 << 20
"""px; CellSAM's normalisation holds several copies of 24 bytes a pixel."""
LICENCE = "CellSAM, non-commercial academic use (modified Apache)"
MODELS = ("cellsam_general", "cellsam_extra")
SMALLEST = 16
"""px: CellSAM takes the shortest axis for the channels, so a sliver must not be shorter than 3."""


class CellsamTeacher:
    """A CellSAM model: boxes of its detector, and a mask for each."""

    def __init__(
        self,
        find: CellsamNetwork,
        provenance: Provenance,
        gives: set[str],
        prepare: Callable[[Image, Sequence[str]], Pixels],
        tile: int,
        halo: int,
    ) -> None:
        self._find, self.provenance, self._gives = find, provenance, gives
        self._prepare, self._tile, self._halo = prepare, tile, halo

    def predict(self, image: Image, id: str) -> Prediction:
        """Instances (H, W), the highest of the objects' soft masks (1, H, W), or both.

        Empty where CellSAM looked and found no cell.

        Raises:
            InputError: the image is too small, too large for CLAHE or lacks a channel, CellSAM
                failed on a tile, or an object is cut by one.
        """
        origin = self.provenance.teacher
        if min(image.shape) < SMALLEST:
            raise InputError(f"{image.name}: CellSAM needs at least {SMALLEST} px a side")
        found = find_in_tiles(
            self._find,
            self._prepare(image, self.provenance.channels),
            image.shape,
            tile=self._tile,
            halo=self._halo,
            origin=origin,
        )
        assert found.probability is not None  # CellsamNetwork gives it
        maps = {}
        if "probability" in self._gives:
            threshold = self.provenance.thresholds["mask"]
            maps = dict(found_in(found.probability[None], ("foreground",), threshold, origin).maps)
        if "instances" in self._gives:
            maps["instances"] = found.instances
        return Prediction(maps, empty=not bool(found.instances.any()))

    def cost(self) -> Cost:
        """Parameters of its networks."""
        return Cost(self._find.parameters, device=self._find.device)


def three_slots(pixels: NDArray[np.generic]) -> NDArray[np.float32]:
    """(C, h, w) as CellSAM takes it, (3, h, w): blank, nuclear, membrane; one channel is last."""
    slots = np.zeros((3, *pixels.shape[1:]), np.float32)
    slots[3 - len(pixels) :] = pixels
    return slots


def by_percentile(image: Image, channels: Sequence[str]) -> Pixels:
    """Each channel's minimum → 0, its percentile 99.9 → 1, clipped, over the image; any size."""
    from abbe.imaging import image_limits, normalise

    limits = image_limits(image, channels, 0, 99.9)
    return by_region(image, channels, lambda pixels: three_slots(normalise(pixels, limits)))


def by_clahe(normalize: Callable[[Any], Any]) -> Callable[[Image, Sequence[str]], Pixels]:
    """CellSAM's own ``normalize_image``, over the whole image, so that tiles go with each other."""

    def prepare(image: Image, channels: Sequence[str]) -> Pixels:
        height, width = image.shape
        if height * width > LARGEST_CLAHE:
            raise InputError(
                f"{image.name}: {height} x {width} px are too many for CellSAM's own normalisation,"
                f" which needs all of them at once (at most {LARGEST_CLAHE >> 20} million): choose "
                "--teacher.options normalisation percentile"
            )
        whole = channels_last(three_slots(image.read(channels=channels)))
        pixels = np.asarray(normalize(whole), np.float32).transpose(2, 0, 1)
        return lambda region: pixels[:, region.top : region.bottom, region.left : region.right]

    return prepare


def cellsam(
    source: str | os.PathLike[str] = "cellsam_general",
    channels: Sequence[str] | None = None,
    *,
    gives: str | tuple[str, ...] = KINDS,
    normalisation: str = "clahe",
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
        gives: what to store: ``probability`` (the highest of the objects' soft masks),
            ``instances``, or both.
        normalisation: ``clahe``, CellSAM's own and default, over the whole image at once; or
            ``percentile``, the minimum to percentile 99.9 alone, for images of any size.
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
    kinds = kinds_named(gives, KINDS)
    if normalisation not in NORMALISATIONS:
        raise ConfigError(
            f"cellsam: there is no normalisation '{normalisation}'; choose from "
            f"{', '.join(NORMALISATIONS)}"
        )
    source = os.fspath(source)
    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    model = _model(source, package).to(place)
    provenance = Provenance(
        teacher=name or f"cellsam {Path(source).name}",
        weights_sha256=_weights_sha256(source, model),
        weights_licence=weights_licence,
        training_data_licence=training_data_licence,
        channels=channels,
        normalisation=NORMALISATIONS[normalisation],
        thresholds={"bbox": bbox_threshold, "mask": MASK_THRESHOLD},
        settings=settings_of(
            kinds, tile, halo, postprocess="by CellSAM" if postprocess else "none"
        ),
        stand_in=stand_in,
    )
    settings = {"bbox_threshold": bbox_threshold, "postprocess": postprocess, "device": place}
    find = CellsamNetwork(package.segment_cellular_image, model, settings)
    prepare = by_percentile
    if normalisation == "clahe":
        utils = imported("cellSAM.utils", install=INSTALL, kind="cellsam")
        prepare = by_clahe(utils.normalize_image)
    return CellsamTeacher(find, provenance, kinds, prepare, tile, halo)


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
        try:
            model = package.get_model(source)
        except (RuntimeError, OSError, ValueError, pickle.UnpicklingError) as error:
            raise InputError(
                f"{source}: CellSAM cannot fetch or load its weights ({error}). Try again, or give "
                "a file of weights instead of the name"
            ) from error
    elif Path(source).is_file():
        model = load_file(Path(source), package)
    else:
        raise InputError(
            f"{source}: neither a file of weights nor one of {', '.join(MODELS)}."
            f"{meant_beside(source, MODELS)}"
        )
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
    from abbe.teachers.networks.torch_module import state_sha256

    return state_sha256(model) if source in MODELS else sha256_of_file(Path(source))
