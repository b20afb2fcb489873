"""The Segment Anything family as teachers: SAM, MobileSAM, MedSAM, micro-sam's models."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from abbe.errors import ConfigError
from abbe.imaging import ThreeChannelRule, choose_rule, inner_boundary, three_channels
from abbe.imaging.three_channels import described
from abbe.machine.precision import autocast_for, choose_precision
from abbe.registry import TeacherTraits, declares
from abbe.teachers.sam.encoders import EngineChoice
from abbe.teachers.sam.int8 import image_encoder
from abbe.teachers.sam.masks import in_square, prompts_at_once, soft_masks
from abbe.teachers.sam.options import (
    GridSettings,
    Kind,
    bytes_of,
    chosen_kinds,
    place_for,
    require_tiling,
    require_whole_numbers,
)
from abbe.teachers.sam.prompts import (
    SEES_LABELS,
    ImagePrompts,
    Mode,
    Prompter,
    fingerprint,
    prompter,
)
from abbe.teachers.sam.soft_union import SoftUnion
from abbe.teachers.sam.source import load_network
from abbe.teachers.sam.tiles import Tile, require_whole, tiles_of
from abbe.teachers.teacher import Cost, Prediction, require_channels

if TYPE_CHECKING:
    import torch

    from abbe.datasets import Dataset
    from abbe.imaging import Image
    from abbe.sam import SAM, Facts, Letterbox
    from abbe.targets import Provenance

OUTPUTS = ("foreground", "boundary")


class SamTeacher:
    """A promptable network that answers with one soft mask an object, joined into maps."""

    def __init__(
        self,
        network: SAM,
        provenance: Provenance,
        *,
        prompts: Prompter | None,
        rule: str,
        gives: tuple[Kind, ...],
        grid: GridSettings,
        minimum_iou: float,
        minimum_area: int,
        tile: int | None,
        halo: int,
        memory: int,
        precision: str,
        engine: EngineChoice = "torch",
    ) -> None:
        self.network, self.provenance = network, provenance
        self._encoder = image_encoder(network, precision, engine)
        self._prompts, self._rule, self._gives = prompts, rule, gives
        self._grid, self._minimum_iou, self._minimum_area = grid, minimum_iou, minimum_area
        self._tile, self._halo, self._memory = tile, halo, memory
        self._encoding = precision
        # The decoder is small, and what it rounds away is the outline.
        self._precision = "auto" if precision == "int8" else precision

    def predict(self, image: Image, id: str) -> Prediction:
        """Foreground and boundary (2, H, W), instances (H, W), or the embedding (256, h, w).

        The foreground is the highest of the objects' soft masks; the boundary is that of the
        instances cut from them. Where there is no prompt, or no mask is kept, it is empty.

        Raises:
            InputError: the prompts cannot be had, or do not fit the image or its tiles, or the
                network's answer is not finite.
        """
        picture = three_channels(image.read(channels=self.provenance.channels), self._rule)
        maps: dict[str, NDArray[Any]] = {}
        if "embedding" in self._gives:
            maps["embedding"] = self._encode(picture)[0][0].float().cpu().numpy()
        if self._gives == ("embedding",):
            return Prediction(maps)
        union = SoftUnion(image.shape, self._minimum_area)
        prompts = None if self._prompts is None else self._prompts(id, image.shape)
        tiles = tiles_of(image.shape, self._tile, self._halo)
        if prompts is not None:
            require_whole(prompts, tiles, id)
        for tile in tiles:
            self._look_at(tile, picture, prompts, union)
        instances = union.instances()
        if "probability" in self._gives:
            maps["probability"] = np.stack([union.foreground, inner_boundary(instances)])
        if "instances" in self._gives:
            maps["instances"] = instances
        return Prediction(maps, empty=not bool(instances.any()))

    def cost(self) -> Cost:
        """Parameters, and MACs of the image encoder at the network's own side.

        How much the decoder computes depends on the number of prompts.
        """
        from abbe.sam import size_of

        size = size_of(self.network)
        return Cost(
            size.parameters,
            macs_image_size=size.macs_image_size,
            encoder_parameters=size.encoder_parameters,
            encoder_macs=size.encoder_macs,
            precision=self._encoding,
            device=next(self.network.parameters()).device.type,
            answers_parts=self._prompts is None,
        )

    def embedding(self, picture: NDArray[np.uint8]) -> torch.Tensor:
        """The embedding (1, 256, h, w) of a colour picture (H, W, 3)."""
        return self._encode(picture)[0]

    def _look_at(
        self,
        tile: Tile,
        picture: NDArray[np.uint8],
        prompts: ImagePrompts | None,
        union: SoftUnion,
    ) -> None:
        if prompts is not None:
            prompts = prompts.take(tile.owns(prompts.centres)).moved(-tile.left, -tile.top)
            if not len(prompts):
                return
        embedding, letterbox = self._encode(picture[tile.top : tile.bottom, tile.left : tile.right])
        if prompts is None:
            masks = self._by_grid(embedding, letterbox, tile)
        else:
            masks = self._by_prompts(embedding, letterbox, prompts)
        for probability, top, left in masks:
            union.add(probability, tile.top + top, tile.left + left)

    def _encode(self, picture: NDArray[np.uint8]) -> tuple[torch.Tensor, Letterbox]:
        from abbe.sam import Letterbox, require_finite

        letterbox = Letterbox.of(picture.shape[:2], self.network.side)
        embedding = self._encoder(letterbox.image(picture)[None])
        require_finite(embedding, "embeddings")
        return embedding, letterbox

    def _by_prompts(
        self, embedding: torch.Tensor, letterbox: Letterbox, prompts: ImagePrompts
    ) -> Iterator[tuple[NDArray[np.float32], int, int]]:
        """Each kept prompt's soft mask, cut to its surroundings: (h, w), top, left."""
        import torch

        from abbe.sam import require_finite

        device = embedding.device
        with torch.inference_mode(), autocast_for(device, self._precision):
            image = self.network.prepare(embedding)
        chunk = prompts_at_once(embedding, self._memory)
        for start in range(0, len(prompts), chunk):
            rows = np.zeros(len(prompts), bool)
            rows[start : start + chunk] = True
            some = prompts.take(rows)
            with torch.inference_mode(), autocast_for(device, self._precision):
                attended = self.network.attend(image, in_square(some, letterbox).to(device))
                iou = attended.scores(multimask=False)[:, 0].float()
                require_finite(iou, "expected IoUs")
                rated = torch.nonzero(iou >= self._minimum_iou)[:, 0]
                if not len(rated):
                    continue
                logits = self.network.decode_masks(attended, rated, multimask=False)[:, 0]
                require_finite(logits, "masks")
            kept = rated.cpu().numpy()
            yield from soft_masks(
                logits, letterbox, None if some.boxes is None else some.boxes[kept]
            )

    def _by_grid(
        self, embedding: torch.Tensor, letterbox: Letterbox, tile: Tile
    ) -> Iterator[tuple[NDArray[np.float32], int, int]]:
        """Each mask of the automatic grid whose middle the tile owns: (h, w), top, left."""
        from abbe.sam import automatic_masks

        grid = self._grid
        area = letterbox.size[0] * letterbox.size[1]
        with autocast_for(embedding.device, self._precision):
            found = automatic_masks(
                self.network,
                embedding,
                letterbox,
                points_per_side=grid.points_per_side,
                minimum_iou=grid.minimum_iou,
                minimum_stability=grid.minimum_stability,
                box_nms=grid.box_nms,
                prompts_at_once=prompts_at_once(embedding, self._memory),
            )
        for mask in found:
            centre = np.array([[tile.left + mask.centre[0], tile.top + mask.centre[1]]])
            if mask.area <= grid.largest * area and tile.owns(centre).all():
                yield mask.probability, mask.top, mask.left


# long: many options, which are checked one by one and recorded
@declares(TeacherTraits(reads_all=True, live=True, promptable=True))
def sam(
    source: str | os.PathLike[str],
    channels: Sequence[str] | None = None,
    *,
    prompts: Mode = "amg",
    labels: Dataset | str | os.PathLike[str] | None = None,
    prompt_file: str | os.PathLike[str] | None = None,
    inputs: ThreeChannelRule = "auto",
    gives: str | Sequence[Kind] = ("probability", "instances"),
    minimum_iou: float = 0.5,
    minimum_area: int = 16,
    points_per_side: int = 32,
    grid_minimum_iou: float = 0.88,
    grid_minimum_stability: float = 0.95,
    grid_box_nms: float = 0.7,
    largest: float = 0.2,
    tile: int | None = None,
    halo: int = 128,
    memory_gb: float = 2.0,
    layout: str | None = None,
    side: int | None = None,
    name: str | None = None,
    licence: str | None = None,
    training_data_licence: str | None = None,
    stand_in: bool = False,
    device: str | None = None,
    precision: str = "auto",
    engine: EngineChoice = "auto",
) -> SamTeacher:
    """A teacher of the Segment Anything family.

    Args:
        source: a Hugging Face id (``facebook/sam-vit-huge``), a folder in its layout, or a file:
            ``sam_vit_h_4b8939.pth``, ``mobile_sam.pt``, MedSAM's, micro-sam's, .safetensors; or
            the file of a promptable student.
        channels: one to three of the image's channels.
        prompts: ``amg``, ``oracle_box``, ``box``, ``point`` or ``centroid``;
            see :data:`abbe.teachers.sam.prompts.MODES`.
        labels: ground truth for ``oracle_box`` and ``centroid``: a data set or a folder.
        prompt_file: for ``box`` and ``point``, a .csv file (id, x0, y0, x1, y1 or id, x, y in px,
            with ``object`` and ``positive`` where an object has several points); for ``box`` also a
            folder of another program's masks.
        inputs: how channels become SAM's three; see :data:`abbe.imaging.three_channels.RULES`.
        gives: what to store: ``probability``, ``instances``, ``embedding``.
        minimum_iou: predicted IoU below which a prompted mask is dropped.
        minimum_area: smaller instances, in px, are left out.
        points_per_side, grid_minimum_iou, grid_minimum_stability, grid_box_nms, largest: of the
            automatic grid; see :class:`GridSettings`.
        tile: longer images (px) are cut into tiles of this side, each seen at SAM's full
            resolution; None shows every image whole, however much it must be shrunk.
        halo: px that tiles share; objects up to this size are whole in the tile that owns them.
        memory_gb: GiB that decoding prompts may use at a time.
        layout: ``vit_h``, ``vit_l``, ``vit_b`` or ``mobile``; told from the weights where omitted.
        side: of the square that the network sees, px, a multiple of 16: 256 takes a sixteenth of
            the time of 1024 and shows less detail. Its own where omitted.
        name: the teacher's name in the store; that of the file and layout where omitted.
        licence: of the weights, where the file is not one that is known.
        training_data_licence: of what they were trained on.
        stand_in: the model stands in for the teacher one would rather use; said everywhere.
        device: such as ``cpu`` or ``cuda``; a GPU if there is one where omitted.
        precision: ``fp32``, ``bf16``, ``fp16``, or ``auto`` for what the hardware computes; or
            ``int8``, of the image encoder on CPUs by OpenVINO, if its masks stay the same
            (`abbe.teachers.sam.int8`).
        engine: of the image encoder: ``torch``, ``openvino``, or ``auto`` for OpenVINO on CPUs
            where the network sees 512 px or more, it was faster with the first image, and its
            embedding was the same within `abbe.teachers.sam.encoders.TOLERANCE`.

    Raises:
        InputError: the weights or the prompts cannot be read.
        ConfigError: an option is impossible, or they do not fit together.
    """
    from abbe.targets import Provenance

    channels = require_channels(channels, str(source))
    rule = choose_rule(inputs, len(channels))
    kinds = chosen_kinds(gives)
    if tile is not None and "embedding" in kinds:
        raise ConfigError("an embedding is of the whole image: leave tile out, or embedding")
    require_whole_numbers(
        {"points_per_side": 1, "minimum_area": 0},
        {"points_per_side": points_per_side, "minimum_area": minimum_area},
    )
    if side is not None:
        require_whole_numbers({"side": 1}, {"side": side})
    require_tiling(tile, halo)
    memory, place = bytes_of(memory_gb), place_for(device)
    computed = precision if precision == "int8" else choose_precision(precision, place)
    settings = {"gives": ", ".join(kinds), "precision": computed}
    if "probability" in kinds:
        settings["boundary"] = "of eight neighbours"  # earlier versions looked at four
    prompting = prompter(prompts, labels=labels, source=prompt_file)
    if prompt_file is not None and prompts in ("box", "point"):
        settings["prompt_file"] = f"sha256 {fingerprint(prompt_file)}"
    grid = GridSettings(
        points_per_side, grid_minimum_iou, grid_minimum_stability, grid_box_nms, largest
    )
    network, facts = load_network(source, layout, side)
    if side is not None:
        settings["side"] = f"{side} px"
    thresholds = {"minimum_iou": minimum_iou, "minimum_area": minimum_area}
    if prompts == "amg":
        thresholds = {**vars(grid), "minimum_area": minimum_area}
    provenance = Provenance(
        teacher=name or facts.name,
        weights_sha256=facts.sha256,
        weights_licence=licence or facts.weights_licence,
        training_data_licence=training_data_licence or facts.training_data_licence,
        channels=channels,
        normalisation=f"{described(rule)}; SAM's own mean and deviation",
        outputs=OUTPUTS,
        prompt_mode=prompts,
        thresholds=thresholds | ({"tile": tile, "halo": halo} if tile else {}),
        settings=settings,
        sees_labels=prompts in SEES_LABELS,
        stand_in=stand_in or facts.stand_in,
        notes=_notes(facts, prompts),
    )
    return SamTeacher(
        network.eval().requires_grad_(False).to(place),
        provenance,
        prompts=prompting,
        rule=rule,
        gives=kinds,
        grid=grid,
        minimum_iou=minimum_iou,
        minimum_area=minimum_area,
        tile=tile,
        halo=halo,
        memory=memory,
        precision=precision,
        engine=engine,
    )


def _notes(facts: Facts, prompts: Mode) -> tuple[str, ...]:
    seen = ("prompted with the ground truth of every image",) if prompts in SEES_LABELS else ()
    return (*facts.notes, *seen)
