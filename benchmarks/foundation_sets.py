"""The data sets of benchmarks/foundation.py, cut and thinned out from whole ones.

All take ``thin``: 1, or one picture of so many, where no more is wanted than to see it run.
"""

import csv
import random
import shutil
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image as Picture
from scipy import ndimage
from skimage import color, feature, filters, measure, morphology, segmentation

from abbe import datasets
from abbe.datasets import Record
from abbe.imaging import read_labels, write_labels

TRAIN, TEST = "R001_X003_Y004", "R001_X004_Y003"
PIECE = 336
"""Side of what the CODEX tiles of 1008 x 1344 px are cut into: twelve each."""
VALIDATED = (1, 6, 11)
"""Pieces of the training tile that choose weights and thresholds."""
PROGRAMS = {
    "labels": "expert1",
    "expert2": "expert2",
    "mesmer": "DeepCell-0.9.0_membrane",
    "cellpose": "Cellpose-0.6.1",
}
"""Folder here, and there."""
LESION = 192
"""Longest side, px, of ultrasound pictures that are told apart."""
POLYP_FOLDS = 6
"""Of the 24 videos of polyps: each fold tests four, and learns from the 20 others."""
FRAMES = 4
"""At most so many frames of a video are tested, evenly spread."""
STAINED_FOLDS = 5
"""Of the 15 stained pictures: each fold tests three, two choose, ten are to learn from."""
SMALLEST = 40
"""Least area of a blob, px."""
CELLS, GROWN = 192, 4
"""Side of simulated images, and by how much their nuclei are grown, px."""


def codex(data: Path, out: Path, thin: int = 1) -> None:
    """Both tiles in pieces: one tile to learn from, the other to test on."""
    source, rows = data / "codex_2ch", []
    for folder in ("images", *PROGRAMS):
        (out / folder).mkdir(parents=True, exist_ok=True)
    for tile in (TRAIN, TEST):
        pixels = tifffile.imread(source / "images" / f"{tile}.tif")
        drawn = {
            folder: read_labels(source / "labels" / name / f"{tile}.png")
            for folder, name in PROGRAMS.items()
        }
        height, width = drawn["labels"].shape
        corners = [(y, x) for y in range(0, height, PIECE) for x in range(0, width, PIECE)]
        for number, (top, left) in enumerate(corners):
            if thin > 1 and number % 2 and number not in VALIDATED:
                continue
            cut = np.s_[..., top : top + PIECE, left : left + PIECE]
            name = f"{tile}_{number:02}"
            tifffile.imwrite(out / "images" / f"{name}.tif", pixels[cut], metadata={"axes": "CYX"})
            for folder, labels in drawn.items():
                write_labels(out / folder / f"{name}.tif", labels[cut])
            part = "test" if tile == TEST else "val" if number in VALIDATED else "train"
            rows.append({"id": name, "split": part})
    write_index(out, rows)


def polyp_folds(data: Path, out: Path, thin: int = 1) -> None:
    """All frames; a column for each fold says which are for training and which for testing.

    Which videos a fold tests is drawn once, by a fixed seed, before anything is trained.
    """
    copy_some(data / "polyp_cvc", out, lambda number, _: number % thin == 0, ("sequence",))
    frames: dict[str, list[str]] = defaultdict(list)
    for record in datasets.folder(out):
        frames[record.columns["sequence"]].append(record.id)
    videos = drawn(sorted(frames))
    columns = [split_column(fold) for fold in range(POLYP_FOLDS)]
    rows = []
    for number, video in enumerate(videos):
        tested = set(spread(frames[video], FRAMES))
        for frame in frames[video]:
            splits = dict.fromkeys(columns, "train")
            fold = number * POLYP_FOLDS // len(videos)
            splits[columns[fold]] = "test" if frame in tested else ""
            rows.append({"id": frame, "sequence": video, **splits})
    write_index(out, rows)


def tissue(out: Path, thin: int = 1) -> None:
    """Simulated tissue: nucleus and membrane, with whole cells as labels.

    The first ten slides are to learn from, two choose and eight are tested. Boxes for MobileSAM
    come from watershed/, which no label has a part in: nuclei by a threshold, ``GROWN`` px larger.
    """
    rows = []
    for part in ("images", "labels", "watershed"):
        (out / part).mkdir(parents=True, exist_ok=True)
    for number, record in enumerate(datasets.simulated_tissue(80, size=CELLS, seed=11)):
        slide = number // 4
        split = "train" if slide < 10 else "val" if slide < 12 else "test"
        if thin > 1 and split != "val" and number % thin:
            continue
        pixels = record.image.open().read(channels=("nucleus", "membrane"))
        axes = {"axes": "CYX", "Channel": {"Name": ["nucleus", "membrane"]}}
        tifffile.imwrite(out / "images" / f"{number:02}.ome.tif", pixels, metadata=axes)
        assert record.label is not None  # simulated
        write_labels(out / "labels" / f"{number:02}.tif", record.label.read())
        found = blobs(filters.gaussian(pixels[0], 1, preserve_range=True))
        grown = segmentation.expand_labels(found, GROWN)
        write_labels(out / "watershed" / f"{number:02}.tif", grown)
        rows.append({"id": f"{number:02}", "split": split, "slide": str(slide)})
    write_index(out, rows)


def stained(data: Path, out: Path, thin: int = 1) -> None:
    """Fifteen stained pictures of NuCLS with labels, and 24 pieces of gliomas without any.

    A column for each fold says what the fifteen are for. Boxes for MobileSAM come from
    haematoxylin/, which no label has a part in.
    """
    nucls, gliomas = data / "he_nucls15", data / "he_tcga_glioma"
    for part in ("images", "labels", "haematoxylin"):
        (out / part).mkdir(parents=True, exist_ok=True)
    names = drawn(sorted(path.stem for path in (nucls / "images").glob("*.png")))
    for part in ("images", "labels"):
        for name in names:
            shutil.copy(nucls / part / f"{name}.png", out / part)
    whole = sorted((gliomas / "images").glob("*.png"))[::thin]
    pieces = [f"glioma_{number:02}" for number in range(len(whole))]
    for piece, path in zip(pieces, whole, strict=True):
        Picture.open(path).convert("RGB").crop((128, 128, 384, 384)).save(
            out / "images" / f"{piece}.png"
        )
    for path in (out / "images").glob("*.png"):
        pixels = np.asarray(Picture.open(path).convert("RGB"))
        write_labels(out / "haematoxylin" / f"{path.stem}.tif", dark_blobs(pixels))
    rows = rotated(names, STAINED_FOLDS, choosing=2)
    trained = {split_column(fold): "train" for fold in range(STAINED_FOLDS)}
    write_index(out, [*rows, *({"id": piece, **trained} for piece in pieces)])


def regions(data: Path, stained: Path, out: Path) -> None:
    """The stained pictures of NuCLS with the types of their nuclei; the gliomas in tiles/."""
    for part in ("images", "types", "tiles/images"):
        (out / part).mkdir(parents=True, exist_ok=True)
    for part in ("images", "types"):
        for path in (data / "he_nucls15" / part).glob("*.png"):
            shutil.copy(path, out / part)
    for path in (stained / "images").glob("glioma_*.png"):
        shutil.copy(path, out / "tiles" / "images")
    with (stained / "index.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if not row["id"].startswith("glioma_")]
    write_index(out, rows)


def rotated(names: Sequence[str], folds: int, choosing: int) -> list[dict[str, str]]:
    """Rows of an index: each fold tests the next part, and the ``choosing`` behind it choose."""
    size, rows = len(names) // folds, []
    for number, name in enumerate(names):
        row = {"id": name}
        for fold in range(folds):
            behind = (number - fold * size) % len(names)
            split = "test" if behind < size else "val" if behind < size + choosing else "train"
            row[split_column(fold)] = split
        rows.append(row)
    return rows


def dark_blobs(pixels: np.ndarray) -> np.ndarray:
    """Nuclei as the haematoxylin stain alone shows them."""
    return blobs(filters.gaussian(color.rgb2hed(pixels)[..., 0], 1))


def blobs(stain: np.ndarray) -> np.ndarray:
    """What lies above Otsu's threshold, parted by a watershed; small ones are left out."""
    mask = morphology.opening(stain > filters.threshold_otsu(stain), morphology.disk(2))
    mask = np.asarray(ndimage.binary_fill_holes(mask))
    depth = filters.gaussian(ndimage.distance_transform_edt(mask), 1)
    peaks = feature.peak_local_max(depth, min_distance=6, labels=measure.label(mask))
    seeds = np.zeros(mask.shape, np.int32)
    seeds[tuple(peaks.T)] = np.arange(1, len(peaks) + 1)
    found = segmentation.watershed(-depth, seeds, mask=mask)
    areas = np.bincount(found.ravel())
    return np.where(areas[found] < SMALLEST, 0, found).astype(np.uint16)


def split_column(fold: int) -> str:
    return f"fold{fold:02}"


def drawn(names: Sequence[str]) -> list[str]:
    """The names in an order that is always the same."""
    return random.Random(0).sample(names, len(names))


def spread(names: Sequence[str], count: int) -> list[str]:
    """At most ``count`` of them, from the first to the last."""
    places = np.linspace(0, len(names) - 1, min(count, len(names))).round()
    return [names[int(place)] for place in places]


def ultrasound(data: Path, out: Path, thin: int = 1) -> None:
    """Pictures with a lesion: all of those to learn from, half of the others."""

    def taken(number: int, record: Record) -> bool:
        step = thin * (1 if record.split == "train" else 2)
        return record.columns["class"] != "normal" and number % step == 0

    copy_some(data / "us_busi", out, taken, ("split",))


def copy_some(
    source: Path, out: Path, taken: Callable[[int, Record], bool], columns: Iterable[str]
) -> None:
    """Some pictures of a folder with their labels and these columns of its index."""
    rows = []
    for number, record in enumerate(datasets.folder(source)):
        if not taken(number, record):
            continue
        for part in ("images", "labels"):
            (out / part).mkdir(parents=True, exist_ok=True)
            shutil.copy(source / part / f"{record.id}.png", out / part)
        known = {"split": record.split or "", **record.columns}
        rows.append({"id": record.id, **{column: known[column] for column in columns}})
    write_index(out, rows)


def lesions(data: Path, out: Path, thin: int = 1) -> None:
    """Ultrasound at 192 px with its class, and a fifth of the training part in tiles/."""
    rows, tiles = [], []
    for number, record in enumerate(datasets.folder(data / "us_busi")):
        picture = Picture.open(data / "us_busi" / "images" / f"{record.id}.png").convert("RGB")
        picture.thumbnail((LESION, LESION))
        places = [out] + [out / "tiles"] * (record.split == "train" and number % (5 * thin) == 0)
        for place in places:
            (place / "images").mkdir(parents=True, exist_ok=True)
            picture.save(place / "images" / f"{record.id}.png")
        row = {"id": record.id, "split": record.split or ""}
        rows.append({**row, "class": record.columns["class"]})
        tiles += [row] * (len(places) == 2)
    write_index(out, rows)
    write_index(out / "tiles", tiles)


def write_index(out: Path, rows: list[dict[str, str]]) -> None:
    with (out / "index.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
