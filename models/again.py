"""A starter package's networks, written again by today's exporter from the weights in the package.

    python models/again.py PACKAGE DATA OUT [--where kind fluo] [--tile 1024]

DATA is the folder of images that the package was trained and chosen on (--where as in
`--data.where`): int8 is calibrated on training images and engines are compared on validation
images, as `abbe export` does of a run. Weights, thresholds and what the package tells of its
training stay as they are; ONNX, int8, parity, timings and the choice of engine are new. The card
calls the package by its name, as Abbe does.
"""

import argparse
from hashlib import sha256
from pathlib import Path

import tifffile

from abbe import students
from abbe.config import Data
from abbe.exporting.cards.model_card import model_card
from abbe.exporting.comparison import Images
from abbe.exporting.parity.instances import LARGEST_SIDE
from abbe.exporting.request import ExportRequest
from abbe.exporting.write import write_package
from abbe.runs.build import collect
from abbe.runs.export_inputs.common import calibration_pixels, parity_image, spread
from abbe.runs.export_inputs.instances import IMAGES
from abbe.runtime.package import read_package

NEW = {"format", "files", "engine", "parity", "timings"}


def main() -> None:
    parser = argparse.ArgumentParser(description="Write a starter package's networks again.")
    parser.add_argument("package", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--where", nargs=2, metavar=("COLUMN", "VALUE"))
    parser.add_argument("--tile", type=int, help="side of the network's windows, px; as before")
    arguments = parser.parse_args()
    package = read_package(arguments.package)
    described = package.description
    channels, scaling = described.channels, described.normalisation.scaling
    where = dict([arguments.where]) if arguments.where else {}
    dataset = collect(Data(path=arguments.data, where=where, channels=channels))
    request = ExportRequest(compact=True, tile=(arguments.tile or described.tile,))
    pixels = tifffile.imread(package.file("test_image"))
    images = Images(
        [
            parity_image(record, channels, scaling, LARGEST_SIDE)
            for record in spread(list(dataset.split("val")), IMAGES)
        ],
        "val",
        calibration_pixels(dataset, channels, scaling, request),
        pixels.reshape(len(channels), *pixels.shape[-2:]),
    )
    kept = {key: getattr(described, key) for key in type(described).model_fields if key not in NEW}
    weights = package.file("weights")
    write_package(arguments.out, students.load(weights)[0].eval(), weights, kept, images, request)
    call_by_name(arguments.out)


def call_by_name(folder: Path) -> None:
    """Write the card anew: commands name the package, not a folder."""
    described = read_package(folder).description
    card = described.files["card"]
    text = model_card(described, described.name).encode()
    changed = card.model_copy(update={"sha256": sha256(text).hexdigest(), "bytes": len(text)})
    files = {**described.files, "card": changed}
    (folder / card.path).write_bytes(text)
    told = described.model_copy(update={"files": files})
    (folder / "package.json").write_text(told.model_dump_json(indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
