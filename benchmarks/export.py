"""How much faster a package's networks are than the student in eager torch, on this processor.

    python benchmarks/export.py                     # three students, tiles of 512 px
    python benchmarks/export.py --threads 1 --repeats 5 --students unet-mobilenetv3

Every engine of a student is timed in one process, taking turns, so that a busy moment hits all.
Weights are random: they change nothing about time. What int8 costs in Dice and instances is
measured by ``abbe export`` on a trained student.
"""

import argparse
import json
import os
import platform
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from abbe import students
from abbe.exporting.builder import PackageBuilder
from abbe.exporting.networks import openvino_files
from abbe.exporting.networks.eager import eager_probabilities
from abbe.exporting.networks.graphs import segmentation_graphs
from abbe.exporting.networks.int8 import PRESETS, quantise
from abbe.exporting.networks.onnx_files import write_onnx
from abbe.runtime.package import InstanceRule, Lineage, Thresholds
from abbe.runtime.package.engine import open_engine
from abbe.runtime.package.openvino_core import computes_bf16

STUDENTS = ("unet-resnet18", "unet-efficientnet-b0", "unet-mobilenetv3")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--students", nargs="+", default=list(STUDENTS))
    parser.add_argument("--tile", type=int, default=512)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    hardware = describe_hardware(arguments.threads)
    for name, value in hardware.items():
        print(f"{name}: {value}")
    figures = {}
    for name in arguments.students:
        figures[name] = measure(name, arguments.tile, arguments.threads, arguments.repeats)
        print_figures(name, figures[name])
    if arguments.json:
        arguments.json.write_text(json.dumps({"hardware": hardware, "figures": figures}, indent=1))


def describe_hardware(threads: int) -> dict[str, str]:
    """What decides how much bf16 and int8 can bring."""
    flags = ""
    information = Path("/proc/cpuinfo")
    model = platform.processor()
    if information.exists():
        for line in information.read_text().splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "flags":
                flags = value
            if key.strip() == "model name":
                model = value.strip()
    words = set(flags.split())
    vnni = {"avx_vnni", "avx512_vnni", "amx_int8"} & words
    return {
        "processor": f"{model}, {os.cpu_count()} cores, {threads} threads used",
        "bf16": "yes" if computes_bf16() else "no: this processor lacks it, so it is not timed",
        "int8 instructions": ", ".join(sorted(vnni))
        or "none (no VNNI, no AMX): int8 gains less here than on processors that have them",
        "load": " ".join(f"{load:.1f}" for load in os.getloadavg()),
    }


def measure(name: str, tile: int, threads: int, repeats: int) -> dict[str, float]:
    """Median milliseconds of a tile, by engine and precision."""
    torch.manual_seed(0)
    student = students.build(name, in_channels=1, encoder_weights="random").eval()
    batch = np.random.default_rng(0).random((1, 1, tile, tile), np.float32)
    with tempfile.TemporaryDirectory() as folder:
        builder = PackageBuilder(Path(folder), Path(folder) / "cache", facts(student))
        make_networks(builder, student, batch)
        package = builder.package()
        engines: dict[str, Callable[[np.ndarray], np.ndarray]] = {
            "torch/fp32": eager_probabilities(student)
        }
        for engine, precision in settings():
            opened = open_engine(
                package, engine=engine, precision=precision, threads=threads, cache=builder.cache
            )
            engines[f"{engine}/{precision}"] = opened.probabilities
        return in_turns(engines, batch, repeats)


def settings():
    yield "onnxruntime", "fp32"
    yield "openvino", "fp32"
    if computes_bf16():
        yield "openvino", "bf16"
    yield "openvino", "int8"


def facts(student: students.UNet) -> dict[str, object]:
    return {
        "abbe": "0",
        "name": "benchmark",
        "title": student.architecture,
        "task": "segmentation",
        "architecture": student.architecture,
        "channels": ("image",),
        "pixel_size": None,
        "divisor": student.divisor,
        "tile": 512,
        "halo": 64,
        "outputs": student.outputs,
        "thresholds": Thresholds(),
        "instances": InstanceRule(),
        "lineage": Lineage(
            teacher="none", weights_licence="none", training_data_licence="none", dataset="none",
            dataset_licence="none", recipe="none", run="none",
        ),
    }  # fmt: skip


def make_networks(builder: PackageBuilder, student: students.UNet, batch: np.ndarray) -> None:
    graph = segmentation_graphs(student)[0]
    write_onnx(graph, builder.folder / "model.onnx")
    model = openvino_files.convert(builder.folder / "model.onnx")
    openvino_files.save(model, builder.folder / "model.xml")
    rounded = quantise(model, [batch[:, :, :256, :256]] * 4, PRESETS[0])
    openvino_files.save(rounded, builder.folder / "int8.xml")
    builder.add("onnx", "model.onnx")
    for role, name in (("openvino", "model"), ("int8", "int8")):
        builder.add(f"{role}_xml", f"{name}.xml")  # pyright: ignore[reportArgumentType]
        builder.add(f"{role}_bin", f"{name}.bin")  # pyright: ignore[reportArgumentType]


def in_turns(
    engines: dict[str, Callable[[np.ndarray], np.ndarray]], batch: np.ndarray, repeats: int
) -> dict[str, float]:
    """Median milliseconds; the first run of each is left out."""
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    for turn in range(repeats + 1):
        for name, run in engines.items():
            started = time.perf_counter()
            run(batch)
            if turn:
                seconds[name].append(time.perf_counter() - started)
    return {name: 1000 * float(np.median(each)) for name, each in seconds.items()}


def print_figures(name: str, milliseconds: dict[str, float]) -> None:
    eager = milliseconds["torch/fp32"]
    print(f"\n{name}")
    for engine, each in milliseconds.items():
        print(f"  {engine:18} {each:8.1f} ms {eager / each:6.2f}x")


if __name__ == "__main__":
    main()
