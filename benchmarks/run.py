"""A whole job on one large image: Abbe against a sliding window, scipy and scikit-image.

    python benchmarks/run.py IMAGES [--side 8192] [--peer-side 4096] [--package FOLDER]
        [--precision fp32 int8] [--workers 2] [--tile 1024] [--results labels] [--work FOLDER]

IMAGES is a folder of nuclei pictures; they are mirrored and laid side by side, each scaled to its
own percentiles, to an image of SIDE × SIDE px, stored as a tiled TIFF. Without --package, a
ResNet18 U-Net of random weights is exported (its maps mean nothing, so the instances of that run
mean nothing either: give a package for figures that count).

- abbe: `abbe predict` as a process: read, normalise, network, instances, labels as TIFF.
- peer: MONAI's SlidingWindowInferer (roi 512, overlap 0.125, Gaussian) around the same student in
  eager torch, then scipy's distance transform, scikit-image's peak_local_max and watershed, labels
  as TIFF. It holds everything in memory, so it may get a smaller image (--peer-side).

Each is a process of its own; wall time leaves out starting Python and loading, memory is the most
that the process held. Prints a table and, last, one line of JSON.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np


def main() -> None:
    parser = argparse.ArgumentParser(description="A whole job, ours and the usual way.")
    parser.add_argument("images", type=Path, nargs="?")
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--peer-side", type=int, default=4096)
    parser.add_argument("--package", type=Path)
    parser.add_argument("--precision", nargs="+", default=["fp32"])
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--tile", type=int, default=1024)
    parser.add_argument("--results", nargs="+", default=["labels"])
    parser.add_argument("--work", type=Path, help="where large files go; kept")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        print(
            json.dumps(CHILDREN[json.loads(arguments.child)["what"]](json.loads(arguments.child)))
        )
        return
    if arguments.images is None:
        parser.error("name a folder of pictures")
    with tempfile.TemporaryDirectory() as temporary:
        measure(arguments, arguments.work or Path(temporary))


def measure(arguments: argparse.Namespace, work: Path) -> None:
    work.mkdir(parents=True, exist_ok=True)
    package = arguments.package or random_package(work / "package")
    large = mosaic(arguments.images, arguments.side, work)
    task = {
        "package": str(package),
        "image": str(large),
        "workers": arguments.workers,
        "tile": arguments.tile,
        "results": arguments.results,
    }
    figures: dict[str, Any] = {}
    for precision in arguments.precision:
        out = work / f"out-{precision}"
        figures[f"abbe {precision}"] = in_child(
            {**task, "what": "abbe", "precision": precision, "out": str(out)}
        )
    if arguments.peer_side:
        smaller = mosaic(arguments.images, arguments.peer_side, work)
        figures["peer"] = in_child(
            {**task, "what": "peer", "image": str(smaller), "out": str(work / "peer.tif")}
        )
    columns = "read", "network", "instances", "write"
    print(f"{'':12}{'side':>7}{'s':>8}{'MP/s':>8}{'MiB':>7}{'objects':>9}", end="")
    print("".join(f"{name:>11}" for name in columns))
    for name, row in figures.items():
        total = sum(row["parts"].values())
        print(
            f"{name:12}{row['side']:7}{row['seconds']:8.1f}{row['mp_s']:8.3f}{row['peak_mib']:7.0f}"
            f"{row['objects']:9}"
            + "".join(f"{100 * row['parts'][part] / total:9.0f} %" for part in columns)
        )
    if "peer" in figures:
        for name, row in figures.items():
            if name != "peer":
                print(f"{name}: {row['mp_s'] / figures['peer']['mp_s']:.2f} times the peer's MP/s")
    print(json.dumps(figures))


def in_child(task: dict[str, Any]) -> dict[str, Any]:
    """Run a task in a process of its own and add the most memory that it held."""
    command = [sys.executable, __file__, "--child", json.dumps(task)]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, stdout=output)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"{task['what']} failed with exit code {process.returncode}")
        output.seek(0)
        figures = json.loads(output.read().splitlines()[-1])
    return figures | {"peak_mib": usage.ru_maxrss / 1024}


def run_abbe(task: dict[str, Any]) -> dict[str, Any]:
    from abbe.imaging.opening import Reading
    from abbe.runtime.batch.find_images import find_images
    from abbe.runtime.batch.many import Job, predict_many
    from abbe.runtime.predictors.instances import predictor

    ready = predictor(
        task["package"],
        engine="openvino",
        precision=task["precision"],
        tile=task["tile"],
        workers=task["workers"],
    )
    images = find_images([task["image"]])
    channels = ready.package.description.channels
    reading = Reading(channels=channels, pixel_size=ready.package.description.pixel_size)
    job = Job(tuple(task["results"]), reading)
    outcome = predict_many(ready, images, Path(task["out"]), job)
    if outcome.failed or outcome.kept:
        raise SystemExit(outcome.summary())
    return {
        "side": round((outcome.megapixels * 1e6) ** 0.5),
        "seconds": outcome.seconds,
        "mp_s": outcome.megapixels / outcome.seconds,
        "objects": sum(outcome.done.values()),
        "parts": dict(outcome.timings.seconds),
    }


def run_peer(task: dict[str, Any]) -> dict[str, Any]:
    import tifffile
    import torch
    from monai.inferers.inferer import SlidingWindowInferer
    from scipy import ndimage
    from skimage.feature import peak_local_max
    from skimage.segmentation import watershed

    from abbe import students
    from abbe.imaging import normalise
    from abbe.runtime.package import read_package

    package = read_package(task["package"])
    student = students.load(package.file("weights"))[0]
    scaling = package.description.normalisation.scaling
    threshold = package.description.thresholds.foreground
    torch.set_num_threads(os.cpu_count() or 1)
    marks = [time.perf_counter()]
    pixels = tifffile.imread(task["image"])
    image = normalise(pixels[None], scaling.limits(pixels[None]))[0]
    marks.append(time.perf_counter())
    with torch.inference_mode():
        inferer = SlidingWindowInferer(512, overlap=0.125, mode="gaussian")
        logits = inferer(torch.from_numpy(image)[None, None], student)
        assert isinstance(logits, torch.Tensor)
        maps = torch.sigmoid(logits)[0].numpy()
    marks.append(time.perf_counter())
    mask = maps[0] >= threshold
    distance = np.asarray(ndimage.distance_transform_edt(mask))
    components = np.empty(mask.shape, np.int32)
    ndimage.label(mask, output=components)
    peaks = peak_local_max(distance, min_distance=5, labels=components)
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    labels = watershed(-distance, seeds, mask=mask)
    marks.append(time.perf_counter())
    tifffile.imwrite(task["out"], labels, compression="zlib")
    marks.append(time.perf_counter())
    seconds = marks[-1] - marks[0]
    parts = np.diff(marks).tolist()
    return {
        "side": len(pixels),
        "seconds": seconds,
        "mp_s": pixels.size / 1e6 / seconds,
        "objects": int(labels.max()),
        "parts": dict(zip(("read", "network", "instances", "write"), parts, strict=True)),
    }


CHILDREN = {"abbe": run_abbe, "peer": run_peer}


def mosaic(folder: Path, side: int, work: Path) -> Path:
    """Grey pictures with bright nuclei side by side, each scaled, as a tiled TIFF of uint8."""
    import tifffile

    from abbe.imaging import normalise, open_image, percentile_limits

    path = work / f"mosaic-{side}.tif"
    if path.exists():
        return path
    block = 256
    tiles = []
    for picture in sorted(folder.rglob("*.png"))[:400]:
        image = open_image(picture)
        if min(image.shape) < block:
            continue
        pixels = image.read()
        if (pixels != pixels[:1]).any():
            continue  # stained, not fluorescent
        values = normalise(pixels[:1], percentile_limits(pixels[:1]))[0, :block, :block]
        if np.median(values) > 0.5:
            continue  # dark nuclei on a bright ground
        tiles.append((255 * values).astype(np.uint8))
    if not tiles:
        raise SystemExit(f"{folder}: no grey PNG with bright nuclei and {block} px a side")
    random = np.random.default_rng(0)
    image = np.lib.format.open_memmap(work / "mosaic.npy", "w+", np.uint8, (side, side))
    for top in range(0, side, block):
        for left in range(0, side, block):
            tile = np.rot90(tiles[int(random.integers(len(tiles)))], int(random.integers(4)))
            part = image[top : top + block, left : left + block]
            part[:] = tile[: part.shape[0], : part.shape[1]]
    tifffile.imwrite(path, image, tile=(512, 512), compression="zlib", photometric="minisblack")
    (work / "mosaic.npy").unlink()
    return path


def random_package(folder: Path) -> Path:
    """A ResNet18 U-Net of random weights as a package without parity, for its speed alone."""
    import torch

    from abbe import students
    from abbe.exporting.networks import openvino_files
    from abbe.exporting.networks.graphs import segmentation_graphs
    from abbe.exporting.networks.onnx_files import write_onnx
    from abbe.runtime.package import (
        Lineage,
        PackageDescription,
        Role,
        describe_file,
        write_description,
    )

    if (folder / "package.json").exists():
        return folder
    folder.mkdir(parents=True)
    torch.manual_seed(0)
    student = students.build("unet-resnet18", in_channels=1, encoder_weights="random").eval()
    students.save(folder / "model.safetensors", student, {})
    write_onnx(segmentation_graphs(student)[0], folder / "model.onnx")
    openvino_files.save(openvino_files.convert(folder / "model.onnx"), folder / "model.xml")
    roles: dict[Role, str] = {
        "onnx": "model.onnx",
        "openvino_xml": "model.xml",
        "openvino_bin": "model.bin",
        "weights": "model.safetensors",
    }
    none = "none"
    description = PackageDescription(
        abbe="0",
        name="random",
        title="Random weights",
        task="segmentation",
        architecture=student.architecture,
        channels=("nucleus",),
        pixel_size=None,
        divisor=student.divisor,
        tile=1024,
        halo=64,
        outputs=student.outputs,
        files={role: describe_file(folder, path) for role, path in roles.items()},
        lineage=Lineage(
            teacher=none, weights_licence=none, training_data_licence=none, dataset=none,
            dataset_licence=none, recipe=none, run=none, stand_in=True,
        ),
    )  # fmt: skip
    write_description(folder, description)
    return folder


if __name__ == "__main__":
    main()
