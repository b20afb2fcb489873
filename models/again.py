"""A starter package's networks, written again by today's exporter from the weights in the package.

    python models/again.py PACKAGE DATA OUT [--where kind fluo] [--tile 1024]

DATA is the folder of images that the package was trained and chosen on (--where as in
`--data.where`): int8 is calibrated on training images and engines are compared on validation
images, as `abbe export` does of a run. Weights, thresholds and what the package tells of its
training stay as they are; ONNX, int8, parity, timings and the choice of engine are new.
"""

import argparse
from pathlib import Path

import tifffile

from abbe import students
from abbe.config import Data
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


if __name__ == "__main__":
    main()
