"""The arms of benchmarks/teach.py that set the SAM family beside `segment-anything` as shipped.

Weights are random: what is computed costs the same, and both sides have the same ones. The heads
are scaled so that masks are sharp and ratings differ, else a grid would keep everything or nothing.
"""

import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from abbe import datasets, teachers
from abbe.machine.precision import autocast_for, choose_precision
from abbe.sam import SAM, Layout, Letterbox, Prompts, build_sam, named_layout
from abbe.sam.grid import automatic_masks, grid_points
from abbe.teachers.sam.encoders import openvino_encoder
from abbe.teachers.sam.int8 import rounded_encoder

CPU = torch.device("cpu")
NMS = 1.0
"""Random networks answer alike everywhere; the usual 0.7 would leave one mask to compare."""
NEIGHBOURS = 10
"""Ranks up and down in which a mask's counterpart is looked for."""


def picture(size: int, seed: int = 0) -> np.ndarray:
    """Simulated tissue as an RGB picture."""
    record = datasets.simulated_tissue(1, size=size, seed=seed).records[0]
    pixels = record.image.open().read()
    return (pixels.transpose(1, 2, 0)[..., :3] / pixels.max() * 255).astype(np.uint8)


def pair(layout: Layout) -> tuple[SAM, Any]:
    """Our network and segment-anything's, with the same random weights."""
    ours = our_network(layout)
    theirs = their_network(layout)
    theirs.load_state_dict(ours.state_dict(), strict=False)
    return ours, theirs.eval()


def our_network(layout: Layout) -> SAM:
    ours = build_sam(layout, seed=0).eval()
    for head in ours.mask_decoder.output_hypernetworks_mlps:
        head.get_submodule("layers.2").weight.data *= 100  # pyright: ignore
    ratings: Any = ours.mask_decoder.iou_prediction_head.get_submodule("layers.2")
    ratings.weight.data *= 10
    ratings.bias.data += 3  # segment-anything applies positive thresholds only
    return ours


def their_network(layout: Layout) -> Any:
    if layout.encoder == "tiny_vit":  # the code of MobileSAM's own package
        from mobile_sam import sam_model_registry

        return sam_model_registry["vit_t"]()
    from segment_anything.modeling import (
        ImageEncoderViT,
        MaskDecoder,
        PromptEncoder,
        Sam,
        TwoWayTransformer,
    )

    grid = layout.grid
    return Sam(
        image_encoder=ImageEncoderViT(
            depth=layout.depth,
            embed_dim=layout.width,
            img_size=layout.image_size,
            mlp_ratio=4,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),  # pyright: ignore
            num_heads=layout.heads,
            patch_size=16,
            qkv_bias=True,
            use_rel_pos=True,
            global_attn_indexes=layout.global_layers,
            window_size=layout.window,
            out_chans=256,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=256,
            image_embedding_size=(grid, grid),
            input_image_size=(layout.image_size, layout.image_size),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            num_multimask_outputs=3,
            transformer=TwoWayTransformer(depth=2, embedding_dim=256, mlp_dim=2048, num_heads=8),
            transformer_dim=256,
            iou_head_depth=3,
            iou_head_hidden_dim=256,
        ),
    )


def in_turns(arms: dict[str, Callable[[], Any]], repeats: int) -> dict[str, float]:
    """Median seconds of each arm; the arms take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(repeats):
        for name, arm in arms.items():
            start = time.perf_counter()
            arm()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(each) for name, each in seconds.items()}


@torch.inference_mode()
def measure_encoder(name: str, repeats: int, int8: bool) -> dict[str, Any]:
    """One 1024² image through the image encoder, and what that does to masks of 20 boxes.

    With ``int8`` also by an encoder in int8, whose ranges are those of two other images.
    """
    layout = named_layout(name)
    ours, theirs = pair(layout)
    letterbox = Letterbox.of((1024, 1024), 1024)
    image = letterbox.image(picture(1024))[None]
    answers: dict[str, torch.Tensor] = {}

    def by_theirs() -> None:
        answers["segment-anything"] = theirs.image_encoder(image)

    def by_ours(precision: str) -> None:
        with autocast_for(CPU, precision):
            answers[precision] = ours.encode(image).float()

    arms: dict[str, Callable[[], Any]] = {
        "segment-anything": by_theirs,
        "fp32": partial(by_ours, "fp32"),
    }
    half = choose_precision("auto", CPU)
    if half != "fp32":
        arms[half] = partial(by_ours, half)
    converting = time.perf_counter()
    engines = {half: openvino_encoder(ours, half)}
    converting = time.perf_counter() - converting
    if int8:
        others = [letterbox.image(picture(1024, seed))[None] for seed in (1, 2)]
        engines["int8"] = rounded_encoder(ours, others)

    def by_engine(precision: str) -> None:
        answers[f"openvino {precision}"] = engines[precision](image)

    for precision in engines:
        by_engine(precision)  # the first call prepares memory
        arms[f"openvino {precision}"] = partial(by_engine, precision)
    seconds = in_turns(arms, repeats)
    corners = np.random.default_rng(0).uniform(0, 900, (20, 2))
    boxes = Prompts(boxes=letterbox.boxes(np.hstack([corners, corners + 100])))
    masks = {
        arm: ours.decode(embedding, boxes, multimask=False)[0] > 0
        for arm, embedding in answers.items()
    }
    row: dict[str, Any] = {"arm": f"encoder {name}, 1024², {torch.get_num_threads()} threads"}
    for arm, each in seconds.items():
        row[f"{arm} s"] = round(each, 2)
        if arm != "segment-anything":
            row[f"{arm} ratio"] = round(seconds["segment-anything"] / each, 2)
            wanted = answers["segment-anything"]
            error = (answers[arm] - wanted).abs().max() / wanted.abs().max()
            row[f"{arm} error"] = f"{float(error):.1e}"
            overlap = (masks[arm] & masks["segment-anything"]).sum((-2, -1))
            union = (masks[arm] | masks["segment-anything"]).sum((-2, -1)).clamp(min=1)
            row[f"{arm} mask IoU"] = round(float((overlap / union).mean()), 5)
    row["hardware's format"], row["converting s"] = half, round(converting, 1)
    row["openvino against torch"] = round(seconds[half] / seconds[f"openvino {half}"], 2)
    return row


def measure_grid(points: int, repeats: int) -> dict[str, Any]:
    """Everything in one image by a grid of points, with half of the masks rated too low."""
    from segment_anything import SamAutomaticMaskGenerator

    layout = Layout("vit", width=64, depth=2, heads=2, global_layers=(1,))
    ours, theirs = pair(layout)
    shown = picture(1024)
    letterbox = Letterbox.of((1024, 1024), 1024)
    with torch.inference_mode():
        embedding = ours.encode(letterbox.image(shown)[None])
        some = letterbox.points(grid_points(8, letterbox.size))[:, None]
        asked = Prompts(points=some, point_labels=torch.ones(64, 1, dtype=torch.int64))
        ratings = ours.attend(ours.prepare(embedding), asked).iou[:, 1:]
    middle = float(ratings.median())
    results: dict[str, Any] = {}

    def by_ours() -> None:
        with torch.inference_mode():  # the image is encoded too, as the other side does
            fresh = ours.encode(letterbox.image(shown)[None])
        results["ours"] = automatic_masks(
            ours,
            fresh,
            letterbox,
            points_per_side=points,
            minimum_iou=middle,
            minimum_stability=0.6,
            box_nms=NMS,
            prompts_at_once=6,  # as the teacher does on a CPU
        )

    def by_theirs() -> None:
        generator = SamAutomaticMaskGenerator(
            theirs,
            points_per_side=points,
            pred_iou_thresh=middle,
            stability_score_thresh=0.6,
            box_nms_thresh=NMS,
        )
        results["theirs"] = generator.generate(shown)

    seconds = in_turns({"segment-anything": by_theirs, "abbe": by_ours}, repeats)
    return {
        "arm": f"grid {points} x {points}, 1024², {torch.get_num_threads()} threads",
        **{f"{name} s": round(each, 2) for name, each in seconds.items()},
        "ratio": round(seconds["segment-anything"] / seconds["abbe"], 2),
        "masks": f"{len(results['ours'])} and {len(results['theirs'])}",
        "differing px": differing(results["ours"], results["theirs"]),
    }


def differing(ours: list[Any], theirs: list[dict[str, Any]]) -> int:
    """Pixels in which the masks differ, each from the most alike of those rated next to it.

    Random networks rate hundreds of masks the same to six digits, so that a rounding error changes
    who comes first; hence the neighbours.
    """
    assert len(ours) == len(theirs)
    different = 0
    for rank, found in enumerate(ours):
        near = theirs[max(0, rank - NEIGHBOURS) : rank + NEIGHBOURS + 1]
        whole = np.zeros_like(near[0]["segmentation"])
        height, width = found.mask.shape
        whole[found.top : found.top + height, found.left : found.left + width] = found.mask
        different += min(int((whole != other["segmentation"]).sum()) for other in near)
    return different


def measure_busy(name: str, images: int, size: int) -> dict[str, Any]:
    """Share of the wall time that `abbe teach` spends inside the network, with boxes as prompts."""
    from safetensors.torch import save_file
    from teach import peak_mb, resident_mb

    tissue = datasets.simulated_tissue(images, size=size, channels=("nucleus", "membrane"))
    with tempfile.TemporaryDirectory() as place:
        weights = Path(place) / "random.safetensors"
        state = our_network(named_layout(name)).state_dict()
        save_file({key: value.contiguous() for key, value in state.items()}, weights)
        del state
        teacher = teachers.sam(
            weights, tissue.channels, prompts="oracle_box", labels=tissue, stand_in=True
        )
        inside = Clock(teacher.network)
        teacher.predict(tissue.records[0].image.open(), tissue.ids[0])
        inside.seconds, before = 0.0, resident_mb()
        start = time.perf_counter()
        report = teachers.teach(teacher, tissue, Path(place) / "targets.zarr", progress=False)
        seconds = time.perf_counter() - start
    if report.failed:
        raise SystemExit(report.summary())
    return {
        "arm": f"busy sam {name}: {images} images of {size}² px",
        "images/s": round(images / seconds, 3),
        "network ms/image": round(1000 * inside.seconds / images, 1),
        "share in network": round(inside.seconds / seconds, 4),
        "peak MB above start": round(peak_mb() - before),
    }


class Clock:
    """Adds up the time inside a network: encoder, prompt encoder and mask decoder."""

    def __init__(self, network: SAM) -> None:
        self.seconds = 0.0
        for name in ("encode", "prepare", "attend", "draw"):
            setattr(network, name, self._timed(getattr(network, name)))

    def _timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            start = time.perf_counter()
            answer = function(*arguments, **named)
            self.seconds += time.perf_counter() - start
            return answer

        return call
