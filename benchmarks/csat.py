"""Speed and memory of csat-like beside other encoders, as the runtime computes them.

    python benchmarks/csat.py speed operators [--side 224] [--threads 2] [--repeats 15]
    python benchmarks/csat.py memory [--sides 224 448 896 1344 2048]

speed   Classifiers of 9 classes with random weights, in OpenVINO, one image at a time, take turns
        on one image, in fp32, where the processor has it in bf16, and in int8, exported and rounded
        as `abbe export` does it, by its first preset; the median of --repeats
        turns of five calls, and the quickest; and the median of the processor's time, which says
        more on a busy machine (--threads 1). "without attention" is csat-like with gates that are
        constants: what its convolutions alone take. resnet10t has csat-like's MACs and no
        attention: about what a network of that budget can reach. "of peak" is the quickest turn's
        share of the speed of a product of matrices (torch, 1024 x 1024, the same threads and number
        format; not for int8); in fp32 it may pass 100 %, since 3 x 3 convolutions have ways with
        fewer products.
operators
        What csat-like spends on each kind of operator, the least of 60 calls, in milliseconds.
memory  Peak of resident memory above that of the process before, for one image of side² px through
        csat-like in eager torch, each side in a process of its own; and bytes a pixel, which stay
        the same where memory grows linearly.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from abbe.exporting.networks import openvino_files
from abbe.exporting.networks.graphs import classification_graphs
from abbe.exporting.networks.int8 import PRESETS, quantise
from abbe.exporting.networks.onnx_files import write_onnx
from abbe.runtime.package.openvino_core import computes_bf16, load_openvino
from abbe.students.csat import SpatialAttention  # registers csat_like with timm

NETWORKS = ("efficientnet_b0", "csat_like", "resnet10t", "resnet18")
REFERENCE = "efficientnet_b0"
CALLS, QUIET = 5, 0.3
FORMATS = {"fp32": torch.float32, "bf16": torch.bfloat16}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time csat-like and measure its memory.")
    parser.add_argument("arms", nargs="+", choices=("speed", "operators", "memory"))
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--sides", type=int, nargs="*", default=[224, 448, 896, 1344, 2048])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.child:
        print(json.dumps({"bytes": peak_memory(arguments.child)}))
        return
    load = os.getloadavg()[0]
    print(f"load at the start {load:.2f}{' (not quiet: begin again)' if load > QUIET else ''}")
    if "speed" in arguments.arms:
        table(speed(arguments.side, arguments.threads, arguments.repeats))
    if "operators" in arguments.arms:
        for precision in precisions():
            table(operators(arguments.side, arguments.threads, precision))
    if "memory" in arguments.arms:
        table([memory(side) for side in arguments.sides])


def precisions() -> list[str]:
    return ["fp32", "bf16", "int8"] if computes_bf16() else ["fp32", "int8"]


def speed(side: int, threads: int, repeats: int) -> list[dict[str, Any]]:
    networks = {name: timm.create_model(name, num_classes=9).eval() for name in NETWORKS}
    networks["csat_like without attention"] = without_attention()
    ready = {
        (name, precision): compiled(model, threads, precision).create_infer_request()
        for name, network in networks.items()
        for precision, model in converted(network, side).items()
    }
    image = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    seconds: dict[tuple[str, str], list[float]] = {key: [] for key in ready}
    computed: dict[tuple[str, str], list[float]] = {key: [] for key in ready}
    for _ in range(repeats):
        for key, request in ready.items():
            request.infer([image])  # the other networks have emptied the caches
            start, used = time.perf_counter(), time.process_time()
            for _ in range(CALLS):
                request.infer([image])
            seconds[key].append((time.perf_counter() - start) / CALLS)
            computed[key].append((time.process_time() - used) / CALLS)
    peaks = {name: matrix_speed(FORMATS[name]) for name in precisions() if name in FORMATS}
    rows = []
    for (name, precision), each in seconds.items():
        network, reference = networks[name], seconds[REFERENCE, precision]
        cost = macs(network, side)
        rows.append(
            {
                "network": f"{name}, {precision}",
                "parameters, M": round(sum(p.numel() for p in network.parameters()) / 1e6, 2),
                "GMACs": round(cost / 1e9, 3),
                "ms": round(1e3 * statistics.median(each), 1),
                "quickest ms": round(1e3 * min(each), 1),
                "images/s ÷ EfficientNet-B0's": round(
                    statistics.median(reference) / statistics.median(each), 2
                ),
                "of the quickest": round(min(reference) / min(each), 2),
                "of processor time": round(
                    statistics.median(computed[REFERENCE, precision])
                    / statistics.median(computed[name, precision]),
                    2,
                ),
                "of peak": f"{2 * cost / min(each) / peaks[precision]:.0%}"
                if precision in peaks
                else "",
            }
        )
    return rows


def without_attention() -> nn.Module:
    network = timm.create_model("csat_like", num_classes=9).eval()
    for part in network.modules():
        if isinstance(part, SpatialAttention):
            part.forward = lambda x: x.new_full((1, 1, 1, 1), 0.5)
    return network


def matrix_speed(kind: torch.dtype) -> float:
    """Operations a second of a product of square matrices, the best of some."""
    left, right = torch.rand(2, 1024, 1024).to(kind)
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        torch.matmul(left, right)
        seconds.append(time.perf_counter() - start)
    return 2 * 1024**3 / min(seconds)


def operators(side: int, threads: int, precision: str) -> list[dict[str, Any]]:
    model = converted(timm.create_model("csat_like", num_classes=9).eval(), side)[precision]
    request = compiled(model, threads, precision, PERF_COUNT=True).create_infer_request()
    image = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    least: dict[tuple[str, str], float] = {}
    for _ in range(60):
        request.infer([image])
        for node in request.profiling_info:
            key, spent = (node.node_type, node.node_name), node.real_time.total_seconds()
            if spent:
                least[key] = min(spent, least.get(key, spent))
    kinds = dict.fromkeys(kind for kind, _ in least)
    sums = {kind: sum(s for (own, _), s in least.items() if own == kind) for kind in kinds}
    rows = [
        {
            f"operator, {precision}": kind,
            "how many": sum(own == kind for own, _ in least),
            "ms": round(1e3 * spent, 2),
            "share": f"{spent / sum(sums.values()):.0%}",
        }
        for kind, spent in sorted(sums.items(), key=lambda item: -item[1])
    ]
    return rows


def converted(network: nn.Module, side: int) -> dict[str, Any]:
    """By precision the network as `abbe export` writes it, of this size of image."""
    (graph,) = classification_graphs(network, 3, 32)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        write_onnx(graph, path)
        model = openvino_files.convert(path)
    random = np.random.default_rng(0)
    images = [random.random((1, 3, side, side), np.float32) for _ in range(4)]
    models: dict[str, Any] = dict.fromkeys(precisions(), model)
    models["int8"] = quantise(model, images, PRESETS[0])
    for each in models.values():
        each.reshape([1, 3, side, side])
    return models


def compiled(model: Any, threads: int, precision: str, **more: Any) -> Any:
    options = {
        "INFERENCE_NUM_THREADS": threads,
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "bf16" if precision == "bf16" else "f32",
        **more,
    }
    return load_openvino().Core().compile_model(model, "CPU", options)


def macs(network: nn.Module, side: int) -> float:
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 3, side, side))
    return counter.get_total_flops() / 2


def memory(side: int) -> dict[str, Any]:
    command = [sys.executable, __file__, "memory", "--child", str(side)]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    return {
        "side, px": side,
        "memory, MB": round(found["bytes"] / 1e6, 1),
        "bytes a pixel": round(found["bytes"] / side**2),
    }


def peak_memory(side: int) -> int:
    network = timm.create_model("csat_like", num_classes=9).eval()
    with torch.inference_mode():
        network(torch.zeros(1, 3, 64, 64))  # what the first call loads is not the image's
        before = resident("VmRSS")
        network(torch.zeros(1, 3, side, side))
    return resident("VmHWM") - before


def resident(key: str) -> int:
    """Bytes of resident memory: VmRSS now, VmHWM at its peak."""
    with open("/proc/self/status") as status:
        (line,) = [line for line in status if line.startswith(key)]
    return int(line.split()[1]) * 1024


def table(rows: list[dict[str, Any]]) -> None:
    print("| " + " | ".join(rows[0]) + " |\n|" + "---|" * len(rows[0]))
    for row in rows:
        print("| " + " | ".join(str(value) for value in row.values()) + " |")


if __name__ == "__main__":
    main()
