"""Speed and memory of csat-like beside other encoders, as the runtime computes them.

    python benchmarks/csat.py speed [--side 224] [--threads 2] [--repeats 15]
    python benchmarks/csat.py memory [--sides 224 448 896 1344 2048]

speed   Classifiers of 9 classes with random weights, converted as a package is (OpenVINO, fp32, one
        image at a time), take turns on one image; the median of --repeats turns of five calls.
        resnet10t has csat-like's MACs and no attention: about what a network of that budget can
        reach.
memory  Peak of resident memory above that of the process before, for one image of side² px through
        csat-like in eager torch, each side in a process of its own; and bytes a pixel, which stay
        the same where memory grows linearly.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from typing import Any

import numpy as np
import timm
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import abbe.students.csat  # noqa: F401 (registers csat_like with timm)
from abbe.runtime.package.openvino_core import load_openvino

NETWORKS = ("efficientnet_b0", "csat_like", "resnet10t", "resnet18")
REFERENCE = "efficientnet_b0"
CALLS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description="Time csat-like and measure its memory.")
    parser.add_argument("arms", nargs="+", choices=("speed", "memory"))
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
    if "speed" in arguments.arms:
        table(speed(arguments.side, arguments.threads, arguments.repeats))
    if "memory" in arguments.arms:
        table([memory(side) for side in arguments.sides])


def speed(side: int, threads: int, repeats: int) -> list[dict[str, Any]]:
    networks = {name: timm.create_model(name, num_classes=9).eval() for name in NETWORKS}
    ready = {name: compiled(network, side, threads) for name, network in networks.items()}
    image = np.random.default_rng(0).random((1, 3, side, side), np.float32)
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    for _ in range(repeats):
        for name, request in ready.items():
            request.infer([image])  # the other networks have emptied the caches
            start = time.perf_counter()
            for _ in range(CALLS):
                request.infer([image])
            seconds[name].append((time.perf_counter() - start) / CALLS)
    medians = {name: statistics.median(each) for name, each in seconds.items()}
    return [
        {
            "network": name,
            "parameters, M": round(sum(p.numel() for p in network.parameters()) / 1e6, 2),
            "GMACs": round(macs(network, side) / 1e9, 3),
            "ms": round(1e3 * medians[name], 1),
            "images/s ÷ EfficientNet-B0's": round(medians[REFERENCE] / medians[name], 2),
        }
        for name, network in networks.items()
    ]


def compiled(network: nn.Module, side: int, threads: int) -> Any:
    openvino = load_openvino()
    model = openvino.convert_model(network, example_input=torch.zeros(1, 3, side, side))
    model.reshape([1, 3, side, side])
    options = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
    return openvino.Core().compile_model(model, "CPU", options).create_infer_request()


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
