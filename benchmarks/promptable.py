"""Time promptable students as packages against SAM and MobileSAM in eager torch, on the CPU.

    python benchmarks/promptable.py [promptable-resnet50 …] [--threads 2] [--repeats 7]
    python benchmarks/promptable.py --packages runs/a/package
    python benchmarks/promptable.py promptable-resnet18 --side 128 --repeats 2    (a quick try)

Encoders, in fp32 and in int8, take turns on one image of side × side px, so that a busy machine
slows all of them. SAM's ViT-B and MobileSAM's TinyViT are the code of the packages segment_anything
and mobile_sam. Weights are random: speed does not depend on them. MobileSAM's code is written for
1024 px and is left out at other sides. A click is a whole call of PromptablePredictor.predict on a
set image of side × side px: one point, one mask, at the image's own size.
"""

import argparse
import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import abbe
from abbe import students
from abbe.exporting.parity.promptable import ParityPicture, Pictures
from abbe.exporting.request import ExportRequest
from abbe.exporting.write import write_package
from abbe.runtime.package import Lineage, Package, read_package
from abbe.runtime.package.engine import Precision

SAM, MOBILE_SAM = "SAM ViT-B, eager torch", "MobileSAM TinyViT, eager torch"
MOBILE_SAM_SIDE = 1024


def main() -> None:
    parser = argparse.ArgumentParser(description="Time promptable packages.")
    parser.add_argument("architectures", nargs="*", default=[])
    parser.add_argument("--packages", type=Path, nargs="*", default=[])
    parser.add_argument("--side", type=int, default=1024)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--clicks", type=int, default=20)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    architectures = arguments.architectures
    if not architectures and not arguments.packages:
        architectures = ["promptable-resnet50"]
    with tempfile.TemporaryDirectory() as folder:
        packages = {str(path): read_package(path) for path in arguments.packages}
        for architecture in architectures:
            out = Path(folder) / architecture
            packages[architecture] = made_package(architecture, arguments.side, out)
        predictors = {
            f"{name}, {precision}": abbe.PromptablePredictor(
                package,
                engine="openvino",
                precision=precision,
                threads=arguments.threads,
                cache=Path(folder) / "cache",
            )
            for name, package in packages.items()
            for precision in precisions_of(package)
        }
        for name, predictor in predictors.items():
            if predictor.networks.side != arguments.side:
                parser.error(f"{name} sees {predictor.networks.side} px: give that as --side")
        encoders = eager_encoders(arguments.side) | {
            name: functools.partial(encode, predictor) for name, predictor in predictors.items()
        }
        seconds = in_turns(encoders, arguments.side, arguments.repeats)
        clicks = {name: click(each, arguments.clicks) for name, each in predictors.items()}
    lines = summary(seconds, clicks)
    print(f"{arguments.side} px, {arguments.threads} threads, medians of {arguments.repeats} turns")
    for name, figures in lines.items():
        print(f"{name}: " + ", ".join(f"{key} {value:.4g}" for key, value in figures.items()))
    if arguments.json:
        arguments.json.write_text(json.dumps(lines, indent=1) + "\n")


def precisions_of(package: Package) -> tuple[Precision, ...]:
    return ("fp32", "int8") if package.has("encoder_int8_xml") else ("fp32",)


def made_package(architecture: str, side: int, out: Path) -> Package:
    """A package of a student with random weights."""
    student = students.build_promptable(architecture, side=side, encoder_weights="random").eval()
    weights = out.with_suffix(".safetensors")
    students.save_promptable(weights, student, {})
    facts: dict[str, Any] = {
        "abbe": abbe.__version__, "name": architecture, "title": architecture,
        "task": "promptable", "architecture": architecture, "channels": ("red", "green", "blue"),
        "three_channels": "colour", "pixel_size": None, "image_size": (side, side),
        "divisor": 16, "tile": side, "halo": 0,
        "lineage": Lineage(
            teacher="none", weights_licence="random weights", training_data_licence="none",
            dataset="none", dataset_licence="none", recipe="benchmark", run="none", stand_in=True,
        ),
    }  # fmt: skip
    box = [side / 4, side / 4, 3 * side / 4, 3 * side / 4]
    shown = ParityPicture("noise", noise(side), ({"box": box},))
    pictures = Pictures([shown], "noise", [noise(side)])
    # Whatever int8 loses is allowed: of random weights it says nothing.
    request = ExportRequest(int8="required", budget_dice=1.0)
    return write_package(out, student, weights, facts, pictures, request)


def eager_encoders(side: int) -> dict[str, Callable[[np.ndarray], Any]]:
    """The encoders of SAM ViT-B and MobileSAM, as their packages build them."""
    from mobile_sam import sam_model_registry
    from segment_anything.modeling import ImageEncoderViT

    norm: Any = functools.partial(nn.LayerNorm, eps=1e-6)
    vit = ImageEncoderViT(
        img_size=side, embed_dim=768, depth=12, num_heads=12, out_chans=256, use_rel_pos=True,
        window_size=14, global_attn_indexes=(2, 5, 8, 11), norm_layer=norm,
    )  # fmt: skip
    networks: dict[str, nn.Module] = {SAM: vit.eval()}
    if side == MOBILE_SAM_SIDE:
        networks[MOBILE_SAM] = sam_model_registry["vit_t"](checkpoint=None).image_encoder.eval()
    return {name: functools.partial(encode_eagerly, each) for name, each in networks.items()}


def encode(predictor: abbe.PromptablePredictor, image: np.ndarray) -> Any:
    return predictor.networks.encode(image)


@torch.inference_mode()
def encode_eagerly(network: nn.Module, image: np.ndarray) -> Any:
    return network(torch.from_numpy(image))


def in_turns(
    encoders: dict[str, Callable[[np.ndarray], Any]], side: int, repeats: int
) -> dict[str, float]:
    """Median seconds of each, after one call to warm up."""
    image = np.random.default_rng(0).normal(size=(1, 3, side, side)).astype(np.float32)
    taken: dict[str, list[float]] = {name: [] for name in encoders}
    for turn in range(repeats + 1):
        for name, run in encoders.items():
            started = time.perf_counter()
            run(image)
            if turn:
                taken[name].append(time.perf_counter() - started)
    return {name: statistics.median(each) for name, each in taken.items()}


def click(predictor: abbe.PromptablePredictor, count: int) -> float:
    """Median seconds of a click."""
    side = predictor.networks.side
    predictor.set_image(noise(side))
    taken = []
    for xy in np.random.default_rng(1).uniform(0, side, (count + 1, 2)):
        started = time.perf_counter()
        predictor.predict([xy], [1], multimask_output=False)
        taken.append(time.perf_counter() - started)
    return statistics.median(taken[1:])


def noise(side: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)


def summary(seconds: dict[str, float], clicks: dict[str, float]) -> dict[str, dict[str, float]]:
    """ms by encoder, how many times faster than the two, and ms a click."""
    lines = {}
    for name, own in seconds.items():
        lines[name] = {"encoder ms": 1000 * own}
        if name in clicks:
            others = {"× SAM": SAM, "× MobileSAM": MOBILE_SAM}
            lines[name] |= {
                title: seconds[other] / own for title, other in others.items() if other in seconds
            }
            lines[name]["click ms"] = 1000 * clicks[name]
    return lines


if __name__ == "__main__":
    main()
