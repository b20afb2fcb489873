"""What stain normalisation does for a package on images of other sites.

    python benchmarks/stain.py PACKAGE --like IMAGES --sites SITE … [--shift 1.4 0.6]

IMAGES are a folder of pictures that the package was trained on; laid side by side, they are those
whose stains are taken (`abbe predict --stain-like`). A SITE is a folder with `images/` and
`labels/` from elsewhere. Its images are seen as they are and in the stains of IMAGES, in fp32 and
at their own scale; Dice, F1 and PQ are means over images, the difference with a 95 % interval over
images. `--shift` adds each site once more with a simulated change of stain: haematoxylin and eosin
times these factors. Prints a table and, last, one line of JSON.
"""

import argparse
import json
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
from PIL import Image as Picture

from abbe.errors import InputError
from abbe.imaging import open_image, read_labels
from abbe.imaging.stain import restained, stains_of
from abbe.runtime.predictors.predict import predict
from abbe.runtime.predictors.tasks import open_predictor
from abbe.scoring import instance_scores, paired_difference, pixel_scores

METRICS = ("dice", "f1@0.5", "pq")


def main() -> None:
    parser = argparse.ArgumentParser(description="Stain normalisation on other sites.")
    parser.add_argument("package")
    parser.add_argument("--like", type=Path, required=True)
    parser.add_argument("--sites", type=Path, nargs="+", required=True)
    parser.add_argument("--shift", type=float, nargs=2)
    arguments = parser.parse_args()
    runs = [(site, None) for site in arguments.sites]
    if arguments.shift:
        runs += [(site, tuple(arguments.shift)) for site in arguments.sites]
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        like = montage(arguments.like, Path(folder) / "like.png")
        for site, shift in runs:
            name = site.name + (" (simulated shift)" if shift else "")
            rows[name] = measure(arguments.package, site, like, shift)
    print(f"{'site':<36}{'images':>7}{'metric':>8}{'as is':>8}{'normal.':>9}  difference")
    for name, row in rows.items():
        for metric in METRICS:
            plain, stained, value, low, high = row[metric]
            print(
                f"{name:<36}{row['images']:>7}{metric:>8}{plain:8.3f}{stained:9.3f}"
                f"  {value:+.3f} [{low:+.3f}, {high:+.3f}]"
            )
    print(json.dumps(rows))


def montage(folder: Path, path: Path) -> Path:
    """The pictures of a folder in one row."""
    pictures = [read(each) for each in sorted(folder.iterdir())]
    height = min(each.shape[1] for each in pictures)
    row = np.concatenate([each[:, :height] for each in pictures], axis=2)
    Picture.fromarray(row.transpose(1, 2, 0)).save(path)
    return path


def read(path: Path) -> np.ndarray:
    return open_image(path).read(channels=["red", "green", "blue"])


def measure(
    package: str, site: Path, like: Path, shift: tuple[float, float] | None
) -> dict[str, object]:
    scores: dict[str, list[tuple[float, float]]] = {metric: [] for metric in METRICS}
    opened = open_predictor(package, precision="fp32", workers=1)
    for path in sorted((site / "images").iterdir()):
        labels = sorted((site / "labels").glob(f"{path.name.rsplit('.', 1)[0]}.*"))
        pixels, truth = read(path), read_labels(labels[0])
        if shift:
            own = stains_of(pixels, str(path))
            most = (own.most[0] * shift[0], own.most[1] * shift[1])
            pixels = restained(pixels, own, replace(own, most=most))
        try:
            found = [predict(opened, pixels), predict(opened, pixels, stain_like=like)]
        except InputError as error:
            print(f"left out: {error}")
            continue
        pairs = [pixel_scores(each > 0, truth > 0) | instance_scores(each, truth) for each in found]
        for metric in METRICS:
            scores[metric].append((pairs[0][metric], pairs[1][metric]))
    told: dict[str, object] = {"images": len(scores["dice"])}
    for metric, values in scores.items():
        plain, stained = np.array(values).T
        gain = paired_difference(stained, plain)
        told[metric] = [plain.mean(), stained.mean(), gain.mean, gain.low, gain.high]
    return told


if __name__ == "__main__":
    main()
