"""Tiles for label-efficiency curves of RCKD, words for the smallest, and what a curve leaves."""

import csv
import json
import shlex

import numpy as np
from drawn import draw_tile
from PIL import Image as Picture

from abbe.imaging import write_labels

TINY = shlex.split(
    "--student.architecture unet-mobilenetv3 --student.encoder-weights random "
    "--student.input-channels red green blue --pretraining.steps 2 --pretraining.batch-size 2 "
    "--pretraining.crop 32 --training.steps 2 --training.batch-size 2 --training.crop 32 "
    "--training.validate-every 2 --training.workers 0 --training.ema 0 "
    "--training.learning-rate 0.01"
)


def draw_curve_tiles(root):
    """Tiles in folders of classes; tiles without labels and a teacher's masks; regions."""
    random = np.random.default_rng(0)
    for split, count in (("train", 5), ("val", 1), ("test", 3)):
        for name, discs in (("dense", 12), ("sparse", 3)):
            folder = root / "classes" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Picture.fromarray(draw_tile(random, discs)[0]).save(folder / f"{number}.png")
    rows = ["id,split,group"]
    for folder in ("tiles/images", "masks", "regions/images"):
        (root / folder).mkdir(parents=True)
    for number in range(8):
        picture, label = draw_tile(random, 5 + number)
        for folder in ("tiles", "regions"):
            Picture.fromarray(picture).save(root / folder / "images" / f"t{number}.png")
        write_labels(root / "regions/labels" / f"t{number}.png", label)
        write_labels(root / "masks" / f"t{number}.png", label)
        split = "test" if number > 4 else "train"
        rows.append(f"t{number},{split},{split} slide {number % 2}")
    (root / "regions/index.csv").write_text("\n".join(rows))
    return root


def words_of_curve(tiles):
    return [
        "curve", "rckd", *TINY, "--data.path", str(tiles / "classes"),
        "--pretrain-data.kind", "folder", "--pretrain-data.path", str(tiles / "tiles"),
        "--teacher.kind", "masks", "--teacher.path", str(tiles / "masks"),
    ]  # fmt: skip


def rows_of(folder):
    return list(csv.DictReader((folder / "curve.csv").open()))


def summary_of(folder):
    return json.loads((folder / "summary.json").read_text())
