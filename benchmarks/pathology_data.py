"""Lay out the data of the runs in docs/rckd.md, from folders of H&E pictures and a slide.

    python benchmarks/pathology_data.py DATA OUT

Makes five folders in OUT:

nuclei   he_miccai2015 and he_tcga_glioma in one set, split by picture (by case in glioma): what the
         teacher of nuclei learns from.
tiles    256 px tiles of every H&E picture that no task tests on, and of the slide's tissue at
         0.5 µm, without labels: what encoders are pretrained on.
types    nuclei of he_nucls15, cut out as 64 px pictures: index.csv says the class of each and the
         picture it comes from. The pictures test_1 to test_5 stay for the test.
colour   the stained pictures of dsb2018, with its own splits.
lesions  us_busi at 192 px, its grey three times: index.csv says benign, malignant or normal.
"""

import csv
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image as Picture

from abbe import datasets
from abbe.imaging import read_labels, write_labels

TILE, NUCLEUS, LESION = 256, 64, 192
SLIDE_PIXEL_SIZE = 0.5
VALIDATED = ("train_9", "train_10")
HELD_OUT = {"he_miccai2015": (2, 2), "he_tcga_glioma": (0, 1)}
"""Cases to validate and to test on."""
CLASSES = {1: "type_1", 2: "type_2"}
"""he_nucls15 numbers its two types and does not name them."""


def main() -> None:
    data, out = Path(sys.argv[1]), Path(sys.argv[2])
    for make in (nuclei, tiles, types, colour, lesions):
        folder = out / make.__name__
        if folder.exists():
            shutil.rmtree(folder)
        (folder / "images").mkdir(parents=True)
        rows = list(make(data, folder))
        with (folder / "index.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, fieldnames=list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        print(f"{folder}: {len(rows)} images")


def nuclei(data: Path, folder: Path) -> Iterator[dict[str, str]]:
    for name, (validated, tested) in HELD_OUT.items():
        files = sorted((data / name / "images").iterdir())
        cases = sorted({case(file) for file in files})
        trained = len(cases) - validated - tested
        parts = ["train"] * trained + ["val"] * validated + ["test"] * tested
        for file in files:
            identifier = f"{name}_{file.stem}".replace(".", "_")
            shutil.copy(file, folder / "images" / f"{identifier}.png")
            label = read_labels(data / name / "labels" / f"{file.stem}.png")
            write_labels(folder / "labels" / f"{identifier}.png", label)
            yield {"id": identifier, "split": parts[cases.index(case(file))]}


def case(file: Path) -> str:
    """A patient's pictures in TCGA begin alike; the others are one each."""
    return file.stem[:12]


def tiles(data: Path, folder: Path) -> Iterator[dict[str, str]]:
    rules = datasets.TileRules(tile=TILE, pixel_size=SLIDE_PIXEL_SIZE)
    for record in datasets.slide_tiles(data / "wsi" / "cmu-1-small-region.svs", rules):
        pixels = record.image.open().read().transpose(1, 2, 0)
        yield saved(folder, record.id.replace("/", "_"), pixels)
    for file in unlabelled_pictures(data):
        pixels = np.asarray(Picture.open(file).convert("RGB"))
        height, width = pixels.shape[:2]
        for top in range(0, max(1, height - TILE + 1), TILE):
            for left in range(0, max(1, width - TILE + 1), TILE):
                cut = pixels[top : top + TILE, left : left + TILE]
                name = f"{file.parent.parent.name}_{file.stem}_{top}_{left}".replace(".", "_")
                yield saved(folder, name, cut)


def unlabelled_pictures(data: Path) -> Iterator[Path]:
    for name in HELD_OUT:
        yield from sorted((data / name / "images").iterdir())
    yield from sorted((data / "he_nucls15" / "images").glob("train_*"))
    stained = datasets.folder(data / "dsb2018").where(kind="colour").split("train")
    yield from (data / "dsb2018" / "images" / f"{record.id}.png" for record in stained)


def types(data: Path, folder: Path) -> Iterator[dict[str, str]]:
    source = data / "he_nucls15"
    for file in sorted((source / "images").iterdir()):
        pixels = np.asarray(Picture.open(file).convert("RGB"))
        labels = read_labels(source / "labels" / file.name)
        kinds = np.asarray(Picture.open(source / "types" / file.name))
        half = NUCLEUS // 2
        padded = np.pad(pixels, ((half, half), (half, half), (0, 0)), mode="reflect")
        part = "val" if file.stem in VALIDATED else file.stem.partition("_")[0]
        for number in np.unique(labels)[1:]:
            rows, columns = np.nonzero(labels == number)
            y, x = round(rows.mean()), round(columns.mean())
            kind = int(np.bincount(kinds[rows, columns]).argmax())
            name = f"{file.stem}_{number}"
            saved(folder, name, padded[y : y + NUCLEUS, x : x + NUCLEUS])
            yield {"id": name, "class": CLASSES[kind], "picture": file.stem, "split": part}


def colour(data: Path, folder: Path) -> Iterator[dict[str, str]]:
    source = data / "dsb2018"
    for record in datasets.folder(source).where(kind="colour"):
        pixels = np.asarray(Picture.open(source / "images" / f"{record.id}.png").convert("RGB"))
        label = read_labels(source / "labels" / f"{record.id}.png")
        write_labels(folder / "labels" / f"{record.id}.png", label)
        yield {**saved(folder, record.id, pixels), "split": record.split or ""}


def lesions(data: Path, folder: Path) -> Iterator[dict[str, str]]:
    source = data / "us_busi"
    for record in datasets.folder(source):
        picture = Picture.open(source / "images" / f"{record.id}.png").convert("RGB")
        picture.thumbnail((LESION, LESION))
        row = saved(folder, record.id, np.asarray(picture))
        yield {**row, "class": record.columns["class"], "split": record.split or ""}


def saved(folder: Path, name: str, pixels: NDArray[np.uint8]) -> dict[str, str]:
    Picture.fromarray(np.ascontiguousarray(pixels)).save(folder / "images" / f"{name}.png")
    return {"id": name}


if __name__ == "__main__":
    main()
