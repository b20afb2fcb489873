"""How long models take for one image: in turn, so that other work slows all of them alike."""

import os
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np
import torch
from torch import nn

from abbe import students
from abbe.machine.threads import cores
from abbe.summary import Timing

Network = TypeVar("Network", bound=nn.Module)

REPEATS = 9
"""Runs of each model that count, the first left out."""
LARGEST = 1024
"""Larger images are timed on a part of so many px a side."""
BUDGET = 10.0
"""Seconds after which a model is not run again: slow ones are timed by fewer runs, down to one."""


class Timed(NamedTuple):
    """The median of a call's runs in milliseconds, and how many of them count."""

    milliseconds: float
    runs: int


def time_in_turn(calls: Mapping[str, Callable[[], object]]) -> dict[str, Timed]:
    """Time each call in rounds that make each once, until it has had `REPEATS` or its `BUDGET`.

    First runs are slow: where a call is made again, its first does not count.
    """
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(1 + REPEATS):
        for name, call in calls.items():
            if not seconds[name] or sum(seconds[name]) < BUDGET:
                started = time.perf_counter()
                call()
                seconds[name].append(time.perf_counter() - started)
    counted = {name: each[1:] or each for name, each in seconds.items()}
    return {n: Timed(1000 * statistics.median(each), len(each)) for n, each in counted.items()}


def first_alike(networks: Mapping[str, nn.Module]) -> dict[str, str]:
    """For each network the name of the first that is built alike: it takes the same time.

    Promptable networks of one build may see squares of different sides, which weights do not tell.
    """
    built: dict[Any, str] = {}
    found = {}
    for name, network in networks.items():
        shapes = tuple((key, tuple(each.shape)) for key, each in network.state_dict().items())
        side = getattr(network, "side", None)
        found[name] = built.setdefault((type(network), side, shapes), name)
    return found


def circumstances(image_size: tuple[int, int] | None, runs: Mapping[str, int]) -> Timing:
    """What a reader must know of times: size of the image (width, height), runs, other work.

    There is no size where each network has its own. ``repeats`` is how many runs most models had,
    ``runs`` how many those that had fewer.

    The machine counts as busy where more wants to compute than there are cores; its load includes
    the threads of this process itself.
    """
    available = cores()
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None  # Windows has none
    threads = torch.get_num_threads()
    repeats = max(runs.values(), default=0)
    return Timing(
        image_size=image_size,
        repeats=repeats,
        runs={name: count for name, count in runs.items() if count < repeats},
        threads=threads,
        cores=available,
        load=load,
        busy=load is not None and load > max(threads, available) + 1,
    )


def costs_of(
    networks: Mapping[str, Network],
    run: Callable[[Network, np.ndarray], object],
    channels: int,
    shape: tuple[int, int],
) -> tuple[dict[str, dict[str, Any]], Timing]:
    """Size and time of networks, timed in turn, and the circumstances.

    Args:
        networks: by model; those that are built alike share one time.
        run: has a network answer for pixels (C, H, W) float32 in [0, 1].
        channels: C.
        shape: height and width of the run's images, px; larger ones than `LARGEST` a side are
            timed on a part.

    Returns:
        By model, fields of `abbe.summary.Model`; MACs are those of one image of 256 px.
    """
    height, width = (min(side, LARGEST) for side in shape)
    # Noise will do: what an image shows does not change how long a network takes for it.
    pixels = np.random.default_rng(0).random((channels, height, width), np.float32)
    first = first_alike(networks)
    calls = {name: partial(run, networks[name], pixels) for name in dict.fromkeys(first.values())}
    timed = time_in_turn(calls)
    sizes = {name: size_of(networks[name], channels) for name in calls}
    costs = {
        name: sizes[alike] | {"ms_per_image": timed[alike].milliseconds}
        for name, alike in first.items()
    }
    runs = {name: timed[alike].runs for name, alike in first.items()}
    return costs, circumstances((width, height), runs)


def size_of(network: nn.Module, channels: int, side: int = 256) -> dict[str, Any]:
    """Parameters, and MACs of one image of so many px a side."""
    base = network.classifier if isinstance(network, students.LinearProbe) else network
    return students.count(base, channels, side)._asdict() | {"macs_image_size": side}
