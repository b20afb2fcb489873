"""How far a package's int8 network is from its fp32 one, on this processor.

    python benchmarks/int8.py PACKAGE DATA [--where kind fluo]

DATA is a folder of labelled images with splits. Of those of the test split the middle 1024 px are
seen, by OpenVINO in both precisions; the first map is cut at a half. A package that was exported
where there is VNNI may differ more where there is none, which its own parity check cannot see.
"""

import argparse
from pathlib import Path

import numpy as np

from abbe.config import Data
from abbe.exporting.comparison import predict_padded
from abbe.exporting.parity.instances import LARGEST_SIDE
from abbe.runs.build import collect
from abbe.runs.export_inputs.common import parity_image
from abbe.runtime.package import read_package
from abbe.runtime.package.engine import open_engine
from abbe.scoring import pixel_scores


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("package")
    parser.add_argument("data", type=Path)
    parser.add_argument("--where", nargs=2, metavar=("COLUMN", "VALUE"))
    given = parser.parse_args()
    package = read_package(given.package)
    described = package.description
    channels, scaling = described.channels, described.normalisation.scaling
    where = dict([given.where]) if given.where else {}
    tests = collect(Data(path=given.data, where=where, channels=channels)).split("test").labelled
    rounded = open_engine(package, engine="openvino", precision="int8")
    exact = open_engine(package, engine="openvino", precision="fp32")
    agreed, lost, largest = [], [], 0.0
    for record in tests:
        image = parity_image(record, channels, scaling, LARGEST_SIDE)
        assert image.label is not None  # only labelled ones are taken
        ours, theirs = (
            predict_padded(engine.probabilities, image.pixels, described.divisor)[0]
            for engine in (rounded, exact)
        )
        truth, known = image.label > 0, image.label >= 0
        agreed.append(pixel_scores(ours >= 0.5, theirs >= 0.5, known)["dice"])
        dice = [pixel_scores(maps >= 0.5, truth, known)["dice"] for maps in (theirs, ours)]
        lost.append(dice[0] - dice[1])
        largest = max(largest, float(abs(ours - theirs).max()))
    print(
        f"{len(agreed)} images: Dice of int8 with fp32 {np.nanmean(agreed):.4f}, least "
        f"{np.nanmin(agreed):.3f}; Dice lost against labels {np.nanmean(lost):+.4f}, most "
        f"{np.nanmax(lost):+.3f}; probabilities differ by up to {largest:.2f}"
    )


if __name__ == "__main__":
    main()
