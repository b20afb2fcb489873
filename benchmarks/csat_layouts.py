"""Whether one layout of csat-like learns as well as another: trained alike, compared in pairs.

    python benchmarks/csat_layouts.py train DATA old.npz          # with the one version of Abbe
    python benchmarks/csat_layouts.py train DATA new.npz          # with the other
    python benchmarks/csat_layouts.py compare old.npz new.npz

DATA has two sets, with their own splits; all runs begin with random weights, and a seed sees the
same batches in both versions. Each ends after so many steps; nothing is chosen by validation.

lesions  us_busi, whole pictures of 64 px: benign, malignant or normal. Balanced accuracy, and what
         an image costs in nats (cross entropy).
nuclei   dsb2018 of all kinds, crops of 96 px: a U-Net of the foreground. Dice at 0.5 of the test
         images' middle 128 px.

Intervals cover test images and seeds (docs/statistics.md). BUSI names no patients, so each image
stands by itself.
"""

import argparse
import csv
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from PIL import Image as Picture
from torch import Tensor, nn

from abbe.machine.precision import autocast_for
from abbe.scoring.seeds import measured_means
from abbe.students import build, build_classifier

SIDE, WHOLE = {"lesions": 64, "nuclei": 96}, 128
BATCH, STEPS = {"lesions": 16, "nuclei": 4}, {"lesions": 150, "nuclei": 80}
CLASSES = ("benign", "malignant", "normal")
RATE = {"lesions": 5e-4, "nuclei": 1e-3}
Rows = list[tuple[Tensor, Tensor]]


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare layouts of csat-like.")
    parser.add_argument("arm", choices=("train", "compare"))
    parser.add_argument("paths", nargs=2, type=Path)
    parser.add_argument("--tasks", nargs="+", default=list(BATCH), choices=list(BATCH))
    parser.add_argument("--seeds", type=int, default=5)
    arguments = parser.parse_args()
    if arguments.arm == "compare":
        compare(*arguments.paths)
        return
    data, out = arguments.paths
    scores: dict[str, list[NDArray[np.float64]]] = {}
    for task in arguments.tasks:
        train, test = lesions(data) if task == "lesions" else nuclei(data)
        for seed in range(arguments.seeds):
            network = trained(task, train, seed)
            for name, each in scored(task, network, test).items():
                scores.setdefault(name, []).append(each)
                print(task, seed, name, round(float(each.mean()), 4), flush=True)
            np.savez(out, **{name: np.stack(each) for name, each in scores.items()})  # pyright: ignore


def lesions(data: Path) -> tuple[Rows, Rows]:
    parts: dict[str, Rows] = {"train": [], "test": []}
    side = SIDE["lesions"]
    for row in rows(data / "us_busi"):
        if row["split"] in parts:
            picture = Picture.open(data / "us_busi" / "images" / f"{row['id']}.png").convert("RGB")
            image = tensor_of(np.asarray(picture.resize((side, side), Picture.Resampling.BOX)))
            parts[row["split"]].append((image, torch.tensor(CLASSES.index(row["class"]))))
    return parts["train"], parts["test"]


def nuclei(data: Path) -> tuple[Rows, Rows]:
    parts: dict[str, Rows] = {"train": [], "test": []}
    for row in rows(data / "dsb2018"):
        if row["split"] in parts:
            picture, label = (
                np.asarray(Picture.open(data / "dsb2018" / kind / f"{row['id']}.png").convert(mode))
                for kind, mode in (("images", "RGB"), ("labels", "I"))
            )
            mask = torch.tensor(label > 0, dtype=torch.float32)[None]
            parts[row["split"]].append((tensor_of(picture), mask))
    return parts["train"], parts["test"]


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "index.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def tensor_of(pixels: NDArray[np.uint8]) -> Tensor:
    return torch.tensor(pixels).permute(2, 0, 1).float() / 255


def trained(task: str, train: Rows, seed: int) -> nn.Module:
    """AdamW, a tenth of warm-up, half a cosine; mirrored crops."""
    torch.manual_seed(seed)
    if task == "lesions":
        network: nn.Module = build_classifier(
            "csat-like", in_channels=3, classes=CLASSES, encoder_weights="random"
        )
    else:
        network = build(
            "unet-csat-like", in_channels=3, outputs=("foreground",), encoder_weights="random"
        )
    network.train()
    steps = STEPS[task]
    optimizer = torch.optim.AdamW(network.parameters(), weight_decay=0.05)
    random = np.random.default_rng(seed)  # of its own: layouts draw different numbers of weights
    for step in range(steps):
        share = min((step + 1) / (steps / 10), (1 + np.cos(np.pi * step / steps)) / 2)
        for group in optimizer.param_groups:
            group["lr"] = RATE[task] * share
        chosen = random.choice(len(train), BATCH[task], replace=False)
        drawn = [train[int(index)] for index in chosen]
        pairs = [changed(image, truth, SIDE[task], random) for image, truth in drawn]
        images, truth = (torch.stack(each) for each in zip(*pairs, strict=True))
        with autocast_for(torch.device("cpu")):
            loss = loss_of(task, network(images), truth).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return network.eval()


def changed(
    image: Tensor, truth: Tensor, crop: int, random: np.random.Generator
) -> tuple[Tensor, Tensor]:
    """A mirrored crop; smaller pictures are reflected."""
    both = image if truth.ndim == 0 else torch.cat([image, truth])
    height, width = both.shape[1:]
    lacking = (0, max(crop - width, 0), 0, max(crop - height, 0))
    both = F.pad(both[None], lacking, mode="reflect")[0]
    top, left = (random.integers(side - crop + 1) for side in both.shape[1:])
    both = both[:, top : top + crop, left : left + crop]
    both = both.flip([axis for axis in (1, 2) if random.random() < 0.5])
    return both[:3], truth if truth.ndim == 0 else both[3:]


def loss_of(task: str, logits: Tensor, truth: Tensor) -> Tensor:
    if task == "lesions":
        return F.cross_entropy(logits.float(), truth, reduction="none")
    logits = logits.float()
    entropy = F.binary_cross_entropy_with_logits(logits, truth)
    return entropy + 1 - dice(logits.sigmoid(), truth)


def dice(found: Tensor, truth: Tensor) -> Tensor:
    """(B,) 2 |A ∩ B| / (|A| + |B|)."""
    both = (found * truth).sum((1, 2, 3))
    return (2 * both + 1) / (found.sum((1, 2, 3)) + truth.sum((1, 2, 3)) + 1)


@torch.inference_mode()
def scored(task: str, network: nn.Module, test: Rows) -> dict[str, NDArray[np.float64]]:
    """A value an image, whose mean is the score."""
    if task == "nuclei":
        each = []
        for image, truth in test:
            image, truth = middle(image), middle(truth)
            with autocast_for(torch.device("cpu")):
                found = (network(image[None]) > 0).float()
            each.append(float(dice(found, truth[None])))
        return {"nuclei, Dice": np.array(each)}
    images, truth = (torch.stack(each) for each in zip(*test, strict=True))
    logits = torch.cat([network(part) for part in images.split(16)])
    # so weighted, the mean over images is the mean of the classes' recalls
    weights = len(truth) / (len(CLASSES) * truth.bincount())
    return {
        "lesions, balanced accuracy": ((logits.argmax(1) == truth) * weights[truth])
        .double()
        .numpy(),
        "lesions, nats": loss_of(task, logits, truth).double().numpy(),
    }


def middle(picture: Tensor) -> Tensor:
    """At most WHOLE px a side, and a multiple of 32."""
    height, width = (min(side // 32 * 32, WHOLE) for side in picture.shape[1:])
    top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
    return picture[:, top : top + height, left : left + width]


def compare(old: Path, new: Path) -> None:
    print("| | old | new | new - old | p |\n|---|---|---|---|---|")
    first, second = np.load(old), np.load(new)
    for name in first:
        units = np.arange(first[name].shape[1])
        one, other = (measured_means(each[name], units) for each in (first, second))
        scale = "positive" if name.endswith("nats") else "share"
        shown = [f"{mean:.3f} [{low:.3f}, {high:.3f}]" for mean, low, high, _ in
                 (one.interval(scale), other.interval(scale))]  # fmt: skip
        mean, low, high, p, n = other.minus(one).difference()
        print(f"| {name}, {n} images, {len(first[name])} seeds | {shown[0]} | {shown[1]} "
              f"| {mean:+.3f} [{low:+.3f}, {high:+.3f}] | {p:.2f} |")  # fmt: skip


if __name__ == "__main__":
    main()
