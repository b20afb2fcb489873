"""A package for edge devices: one engine in one precision, its size and memory stated."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from abbe.exporting.builder import PackageBuilder
from abbe.in_words import counted
from abbe.runtime.bench.common import in_child, peak_mib
from abbe.runtime.package import Role, read_package
from abbe.runtime.package.engine import open_engine

_NETWORKS: Mapping[str, tuple[Role, ...]] = {
    "onnxruntime/fp32": ("onnx",),
    "openvino/fp32": ("openvino_xml", "openvino_bin"),
    "openvino/bf16": ("openvino_xml", "openvino_bin"),
    "openvino/int8": ("int8_xml", "int8_bin"),
}
_OF_NETWORKS: tuple[Role, ...] = (
    "onnx", "openvino_xml", "openvino_bin", "int8_xml", "int8_bin", "weights",
)  # fmt: skip


def one_engine(
    builder: PackageBuilder, described: Mapping[str, Any], say: Callable[[str], None]
) -> dict[str, Any]:
    """Take out what the engine that was chosen does not need, and measure what is left.

    Args:
        builder: Of the package.
        described: What was chosen: ``engine``, ``tile`` and ``timings``.
        say: Told of size and memory.

    Returns:
        The same, its timing with ``peak_mib``, the most memory of a process that computes one
        tile, and ``network_bytes``.
    """
    engine = described["engine"]
    name = f"{engine['engine']}/{engine['precision']}"
    needed = _NETWORKS[name]
    builder.remove(*(set(_OF_NETWORKS) & set(builder.files) - set(needed)))
    for other, each in builder.parity.items():
        if each.get("kept") and set(_NETWORKS[other]) != set(needed):
            builder.parity[other] = {**each, "kept": False, "reason": f"left out: made for {name}"}
    builder.package(**described)
    task = {"package": str(builder.folder), "cache": str(builder.cache)}
    memory = in_child(f"{__name__}:memory_of_a_tile", task)
    size = sum(builder.files[role].bytes for role in needed)
    say(
        f"for one engine: {name}, network {size / 1e6:.1f} MB, {memory:.0f} MiB of memory for a "
        f"tile of {described['tile']} px"
    )
    figures = {"peak_mib": round(memory), "network_bytes": size}
    timings = dict(described["timings"])
    chosen = f"{name}, tile {described['tile']}, "  # as a `Setting` is written
    if engine["threads"] is not None:  # else all were timed with as many as there are cores
        chosen += counted(engine["threads"], "thread")
    chosen = next(setting for setting in timings if setting.startswith(chosen))
    timings[chosen] = {**timings[chosen], **figures}
    return {**described, "timings": timings}


def memory_of_a_tile(task: Mapping[str, str]) -> float:
    """In a process of its own: open the package, compute one tile; the most memory held, MiB."""
    package = read_package(Path(task["package"]))
    told = package.description
    engine = open_engine(package, cache=Path(task["cache"]))
    height, width = told.image_size or (told.tile, told.tile)
    engine.logits(np.zeros((1, len(told.channels), height, width), np.float32))
    return peak_mib()
