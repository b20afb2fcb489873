"""Nuclei with two types from three labelled pictures and from all: he_nucls15, five seeds.

    python benchmarks/typed.py DATA WEIGHTS OUT [--labels 3 8] [--seeds 1 2 3 4 5] [--steps 100]

DATA holds he_nucls15, WEIGHTS tf_efficientnet_lite0_imagenet.safetensors. Of its ten training
pictures the last two choose weights and thresholds; so many of the other eight keep their labels,
drawn anew for each seed. The five test pictures are scored as any run's: nuclei match at an IoU
above 0.5. A supervised U-Net on EfficientNet-Lite0 that tells the two types apart. A run that is
there is not run again. Prints, for each number of labels, mean, lowest and highest of the seeds;
then what answering the more frequent type of the test pictures for every nucleus would get.
"""

import argparse
import csv
import json
import shutil
from pathlib import Path

import numpy as np

from abbe.cli import main as abbe
from abbe.imaging import read_labels

METRICS = ("dice", "f1@0.5", "pq", "type_accuracy", "type_f1", "type_pq")
TYPES = ("type-1", "type-2")
"""The set numbers its types and does not name them."""


def main() -> None:
    parser = argparse.ArgumentParser(description="Typed nuclei from few labelled pictures.")
    parser.add_argument("data", type=Path)
    parser.add_argument("weights", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--labels", type=int, nargs="+", default=[3, 8])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4, 5])
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    nuclei = prepare(arguments.data / "he_nucls15", arguments.out / "nuclei")
    found: dict[int, dict[str, list[float]]] = {}
    for labels in arguments.labels:
        scores = [run(nuclei, arguments, labels, seed) for seed in arguments.seeds]
        found[labels] = {name: [each[name] for each in scores] for name in METRICS}
        for name, values in found[labels].items():
            print(
                f"{labels} labelled  {name:<14}{np.mean(values):.3f}  "
                f"[{min(values):.3f}, {max(values):.3f}] over {len(values)} seeds"
            )
    print(f"the more frequent type for all nuclei: accuracy {most_frequent(nuclei):.3f}")
    print(json.dumps(found))


def prepare(source: Path, folder: Path) -> Path:
    """The set with a table of splits, copied once."""
    if not folder.exists():
        shutil.copytree(source, folder)
    with open(folder / "index.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "split"])
        for path in sorted((folder / "images").glob("*.png")):
            kind, number = path.stem.split("_")
            held_out = "val" if int(number) > 8 else "train"
            writer.writerow([path.stem, "test" if kind == "test" else held_out])
    return folder


def run(nuclei: Path, arguments: argparse.Namespace, labels: int, seed: int) -> dict[str, float]:
    """Train and score one network, unless that is done."""
    out = arguments.out / f"labels-{labels}-seed-{seed}"
    if not (out / "summary.json").exists():
        weights = arguments.weights / "tf_efficientnet_lite0_imagenet.safetensors"
        words = (
            f"distill supervised --data.kind folder --data.path {nuclei} --data.types types "
            f"--data.classes {' '.join(TYPES)} --data.labelled {labels} --data.split-seed {seed} "
            f"--student.types auto --student.architecture unet-timm-tf_efficientnet_lite0 "
            f"--student.encoder-weights {weights} --student.input-channels red green blue "
            f"--training.steps {arguments.steps} --training.batch-size 4 --training.crop 128 "
            f"--training.learning-rate 0.002 --training.validate-every 50 --seed {seed} "
            f"--training.workers 0 --out {out}"
        )
        if abbe(words.split()):
            raise SystemExit(f"{out}: the run failed")
    metrics = json.loads((out / "summary.json").read_text())["models"]["student"]["metrics"]
    return {name: metrics[name]["mean"] for name in METRICS}


def most_frequent(nuclei: Path) -> float:
    """The share of the test pictures' nuclei that are of their more frequent type."""
    counts = np.zeros(3, np.int64)
    for path in sorted((nuclei / "labels").glob("test_*")):
        labels, types = read_labels(path), read_labels(nuclei / "types" / path.name)
        kinds = [np.bincount(types[labels == n], minlength=3) for n in np.unique(labels)[1:]]
        counts += np.bincount([each.argmax() for each in kinds], minlength=3)
    return float(counts.max() / counts.sum())


if __name__ == "__main__":
    main()
