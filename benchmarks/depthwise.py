"""Convolutions forward and back on one core: bf16 against fp32, and networks with Abbe's choice.

    python benchmarks/depthwise.py [--repeats 5]

Prints milliseconds of processor time of convolutions with 8 images, channels-last; then seconds of
a step of whole networks, U-Nets on 8 x 128² and KD SAM's encoder on 4 x 256²: in bf16, in bf16 with
slow depthwise convolutions in fp32 (as Abbe trains on CPUs that compute bf16), in fp32, and in fp32
with tensors laid out plainly. The least of all repeats; ratios hold within one call. An older
processor: ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 before it; its bf16 says nothing.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from abbe import students
from abbe.machine.memory import freed_memory_kept
from abbe.training.depthwise import DepthwiseInFull

CONVOLUTIONS = {
    "depthwise 3 x 3, stride 1": (96, 3, 1, 96, 64),
    "depthwise 3 x 3, stride 2": (96, 3, 2, 96, 64),
    "depthwise 5 x 5, stride 1": (240, 5, 1, 240, 32),
    "depthwise 5 x 5, stride 2": (144, 5, 2, 144, 64),
    "depthwise 5 x 5, small": (576, 5, 1, 576, 8),
    "depthwise 7 x 7": (40, 7, 1, 40, 32),
    "grouped 3 x 3": (128, 3, 1, 32, 32),
    "3 x 3": (64, 3, 1, 1, 32),
}
"""Channels, kernel, stride, groups and px on a side."""

NETWORKS = (
    "unet-mobilenetv3",
    "unet-efficientnet-lite0",
    "unet-efficientnet-b0",
    "unet-resnet18",
    "unet-csat-like",
    "promptable-timm-tf_efficientnet_lite0",
)


def main() -> None:
    parser = argparse.ArgumentParser(description="bf16 and fp32 in training on a CPU.")
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    with freed_memory_kept():
        print("| convolution | bf16, ms | fp32, ms | ratio |\n|---|---:|---:|---:|")
        for name, (channels, kernel, stride, groups, side) in CONVOLUTIONS.items():
            layer = nn.Conv2d(channels, channels, kernel, stride, kernel // 2, groups=groups)
            image = torch.rand(8, channels, side, side)
            half, full = (1000 * fastest(layer, image, mode, repeats) for mode in (bf16, fp32))
            print(f"| {name} | {half:.1f} | {full:.1f} | {half / full:.2f} |", flush=True)
        print("\n| network | bf16, s | as Abbe trains | faster | fp32 | plain | faster |")
        print("|---|---:|---:|---:|---:|---:|---:|")
        for name in NETWORKS:
            network, image = built(name)
            half, ours, full = (
                fastest(network, image, mode, repeats) for mode in (bf16, as_abbe_trains, fp32)
            )
            plain = fastest(network, image, fp32, repeats, torch.contiguous_format)
            print(
                f"| {name} | {half:.3f} | {ours:.3f} | {half / ours:.2f} | {full:.3f} | "
                f"{plain:.3f} | {plain / full:.2f} |",
                flush=True,
            )


def built(name: str) -> tuple[nn.Module, Tensor]:
    """A network as it begins to train, and images for it."""
    if name.startswith("promptable-"):
        whole = students.build_promptable(name, side=256, encoder_weights="random")
        return whole.image_encoder.train(), torch.rand(4, 3, 256, 256)
    network = students.build(name, in_channels=3, encoder_weights="random")
    return network.train(), torch.rand(8, 3, 128, 128)


def fp32(network: nn.Module, image: Tensor) -> Tensor:
    return network(image)


def bf16(network: nn.Module, image: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        return network(image)


def as_abbe_trains(network: nn.Module, image: Tensor) -> Tensor:
    with DepthwiseInFull():
        return bf16(network, image)


def fastest(
    network: nn.Module,
    image: Tensor,
    forward: Callable[[nn.Module, Tensor], Tensor],
    repeats: int,
    layout: torch.memory_format = torch.channels_last,
) -> float:
    """Seconds of processor time of the fastest step, forward and back."""
    network = network.to(memory_format=layout)  # pyright: ignore[reportCallIssue]
    image = image.contiguous(memory_format=layout).requires_grad_()
    return min(step(network, image, forward) for _ in range(repeats))


def step(
    network: nn.Module, image: Tensor, forward: Callable[[nn.Module, Tensor], Tensor]
) -> float:
    started = time.thread_time()
    forward(network, image).float().square().mean().backward()
    return time.thread_time() - started


if __name__ == "__main__":
    main()
