"""How good the starter packages are, on every set they fit: tables of docs/models.md.

    python benchmarks/starter.py DATA [--packages nuclei nuclei-he] [--json FILE] [--precision int8]
    python benchmarks/starter.py DATA --speed        ms an image of 256 x 256 px, nothing else

DATA holds dsb2018, he_nucls15, he_miccai2015, he_tcga_glioma and codex_2ch. Packages run
as ``abbe predict`` runs them: images as they are; with the diameter estimated (--diameter auto);
and with the diameter that the labels of each image have, as a user would state it who has measured
some objects. Dice is of the mask, F1 and PQ of objects; means over images, 95 % intervals by the
jackknife over images, or over patients where they are known. Nothing is chosen here.
"""

import argparse
import csv
import json
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import PIL.Image

from abbe.imaging import Diameter, Image, open_image, read_labels
from abbe.runtime.package import read_package
from abbe.runtime.package.engine import open_engine
from abbe.runtime.package.network import Precision
from abbe.runtime.package.openvino_core import computes_bf16
from abbe.runtime.postprocess.diameters import diameters_of
from abbe.runtime.predictors.instances import InstancePredictor, predictor
from abbe.runtime.tiling.work import Work
from abbe.scoring import instance_scores, mean_interval, pixel_scores

METRICS = ("dice", "f1@0.5", "pq")


class Labelled(NamedTuple):
    image: Image
    label: np.ndarray
    group: str


def dsb(data: Path, kind: str, split: str) -> Iterator[Labelled]:
    with open(data / "dsb2018" / "index.csv", newline="") as file:
        for row in csv.DictReader(file):
            if row["kind"] == kind and row["split"] == split:
                yield labelled(data / "dsb2018", row["id"], row["id"])


def folder(
    data: Path, name: str, pattern: str = "*", patient: int | None = None
) -> Iterator[Labelled]:
    for path in sorted((data / name / "images").glob(f"{pattern}.png")):
        group = "-".join(path.stem.split("-")[:patient]) if patient else path.stem
        yield labelled(data / name, path.stem, group)


def codex(data: Path, expert: str) -> Iterator[Labelled]:
    for path in sorted((data / "codex_2ch" / "images").glob("*.tif")):
        image = open_image(path, channels=("nucleus", "cytoplasm", "membrane"))
        label = read_labels(data / "codex_2ch" / "labels" / expert / f"{path.stem}.png")
        yield Labelled(image, label, path.stem)


def labelled(root: Path, stem: str, group: str) -> Labelled:
    image = open_image(root / "images" / f"{stem}.png")
    return Labelled(image, read_labels(root / "labels" / f"{stem}.png"), group)


def zoomed(data: Path, factor: float) -> Iterator[Labelled]:
    """Every fourth of DSB-2018's fluorescent test images, at another scale."""
    for place, found in enumerate(dsb(data, "fluo", "test")):
        if place % 4:
            continue
        picture = PIL.Image.fromarray(found.image.read()[0])
        size = round(picture.width * factor), round(picture.height * factor)
        pixels = np.asarray(picture.resize(size, PIL.Image.Resampling.BILINEAR))
        rows, columns = (
            np.minimum((np.arange(side) + 0.5) / factor, length - 1).astype(int)
            for side, length in zip(size[::-1], found.label.shape, strict=True)
        )
        label = found.label[np.ix_(rows, columns)]
        yield Labelled(Image.from_array(pixels, name=found.image.name), label, found.group)


SETS: dict[str, dict[str, Callable[[Path], Iterator[Labelled]]]] = {
    "nuclei": {
        "DSB-2018 fluorescence, test": lambda data: dsb(data, "fluo", "test"),
        "every fourth of these": lambda data: zoomed(data, 1),
        "enlarged 2 x": lambda data: zoomed(data, 2),
        "enlarged 4 x": lambda data: zoomed(data, 4),
        "reduced 2 x": lambda data: zoomed(data, 0.5),
        "DSB-2018 dark nuclei on grey, test": lambda data: dsb(data, "grey_bright", "test"),
        "CODEX nuclei, whole cells by expert 1": lambda data: codex(data, "expert1"),
        "CODEX nuclei, whole cells by expert 2": lambda data: codex(data, "expert2"),
    },
    "nuclei-he": {
        "NuCLS, test": lambda data: folder(data, "he_nucls15", "test_*"),
        "DSB-2018 stained, test": lambda data: dsb(data, "colour", "test"),
        "MICCAI-2015 H&E": lambda data: folder(data, "he_miccai2015"),
        "TCGA glioma H&E": lambda data: folder(data, "he_tcga_glioma", patient=3),
    },
}  # fmt: skip
"""By package, what it fits; a set that is none of its training's says how far it reaches."""


def score(ready: InstancePredictor, found: Labelled, scale: str) -> dict[str, float]:
    described = ready.package.description
    image = found.image
    diameter: Diameter | None = None
    if scale == "auto":
        diameter = "auto"
    elif scale == "labels":
        diameter = float(np.median(diameters_of(found.label)))
    with ThreadPoolExecutor(ready.workers) as pool:
        image = ready.measured(image.with_diameter(diameter), pool)
        prediction = ready.run(image, pool, Work(None), keep_maps=True)
        assert prediction.maps is not None
        foreground = prediction.maps.read()[described.outputs.index("foreground")]
    mask = foreground >= described.thresholds.mask * 255
    objects = prediction.labels.read()
    return {
        "dice": pixel_scores(mask, found.label > 0, found.label >= 0)["dice"],
        **{name: instance_scores(objects, found.label)[name] for name in ("f1@0.5", "pq")},
        "objects": float(objects.max(initial=0)),
        "labelled": float(len(np.unique(found.label[found.label > 0]))),
        "diameter": float(image.diameter) if isinstance(image.diameter, float) else np.nan,
    }


def table(name: str, data: Path, precision: Any, scales: list[str], wanted: str) -> dict[str, Any]:
    ready = predictor(read_package(name), precision=precision)
    rows: dict[str, Any] = {}
    for title, images in SETS[name].items():
        if wanted not in title:
            continue
        for scale in scales:
            scores, groups = [], []
            for found in images(data):
                if scale != "as it is" and not (found.label > 0).any():
                    continue
                scores.append(score(ready, found, scale))
                groups.append(found.group)
            row = {}
            for metric in METRICS:
                told = mean_interval([each[metric] for each in scores], groups)
                row[metric] = {"mean": told.mean, "ci95": [told.low, told.high], "n": told.n}
            for count in ("objects", "labelled"):
                row[count] = sum(each[count] for each in scores)
            rows[f"{title} / {scale}"] = row
            say(title, scale, len(scores), row)
    return {"engine": str(ready.engine), "rows": rows}


def say(title: str, scale: str, images: int, row: dict[str, Any]) -> None:
    cells = [title, scale, str(images)]
    for metric in METRICS:
        low, high = row[metric]["ci95"]
        interval = f" [{low:.3f}, {high:.3f}]" if np.isfinite(low) else ""
        cells.append(f"{row[metric]['mean']:.3f}{interval}")
    cells.append(f"{row['objects']:,.0f} ({row['labelled']:,.0f})")
    print("| " + " | ".join(cells) + " |", flush=True)


def speed(name: str, threads: int, repeats: int = 200) -> None:
    package = read_package(name)
    channels = len(package.description.channels)
    image = np.random.default_rng(0).random((1, channels, 256, 256), np.float32)
    computed: tuple[Precision, ...] = ("fp32", "bf16", "int8")
    for precision in computed if computes_bf16() else ("fp32", "int8"):
        engine = open_engine(package, precision=precision, threads=threads)
        for _ in range(10):
            engine.logits(image)
        taken = []
        for _ in range(repeats):
            start = time.perf_counter()
            engine.logits(image)
            taken.append(1000 * (time.perf_counter() - start))
        load = os.getloadavg()[0]
        print(
            f"{name} {precision}: fastest {min(taken):.2f} ms, median {np.median(taken):.2f} ms of "
            f"{repeats}; load {load:.1f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--packages", nargs="+", default=list(SETS))
    parser.add_argument("--precision")
    parser.add_argument("--scales", nargs="+", default=["as it is", "auto", "labels"])
    parser.add_argument("--sets", default="", help="only sets with this in their names")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--speed", action="store_true")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    if arguments.speed:
        for name in arguments.packages:
            speed(name, arguments.threads)
        return
    found = {
        name: table(name, arguments.data, arguments.precision, arguments.scales, arguments.sets)
        for name in arguments.packages
    }
    if arguments.json is not None:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
