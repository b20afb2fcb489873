"""Tiny data sets and weights in their publishers' own layouts, with something to find in each."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import PIL.Image
import timm
import torch
from safetensors.torch import save_file

from abbe.sam import Layout, build_sam
from abbe.students.encoders import ENCODERS

SIZE = (48, 64)


def scene(seed: int, discs: int = 3, size: Sequence[int] = SIZE) -> np.ndarray:
    """Discs numbered 1, 2, … that do not touch, on 0."""
    random, label = np.random.default_rng(seed), np.zeros(size, np.int32)
    rows, columns = np.mgrid[: size[0], : size[1]]
    for number in range(discs):
        centre = random.integers(9, size[0] - 9), 10 + number * (size[1] - 20) // max(1, discs - 1)
        label[np.hypot(rows - centre[0], columns - centre[1]) < 6] = number + 1
    return label


def grey(label: np.ndarray, seed: int) -> np.ndarray:
    """Bright discs in noise, uint8."""
    noise = np.random.default_rng(seed).integers(0, 60, label.shape)
    return (noise + 150 * (label > 0)).astype(np.uint8)


def colour(label: np.ndarray, seed: int, shade: int = 0) -> np.ndarray:
    """The same in pink and violet, uint8."""
    noise = np.random.default_rng(seed).integers(0, 30, (*label.shape, 1))
    pixels = np.where(label[..., None] > 0, [110, 70, 140], [230 - shade, 170, 200])
    return (pixels - noise).astype(np.uint8)


def save(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    PIL.Image.fromarray(values).save(path)


def masked(label: np.ndarray) -> np.ndarray:
    return np.where(label > 0, 255, 0).astype(np.uint8)


def tissuenet(root: Path) -> None:
    """tissuenet_v1.1_{train,val,test}.npz: X (N, H, W, 2), nucleus and membrane; y alike, cells."""
    root.mkdir(parents=True, exist_ok=True)
    for place, (split, side) in enumerate((("train", 96), ("val", 64), ("test", 64))):
        labels = [scene(10 * place + n, size=(side, side)) for n in range(3)]
        x = np.stack([np.stack([grey(y, 1), grey(y, 2)], -1) for y in labels]).astype(np.float32)
        y = np.stack([np.stack([y, y], -1) for y in labels])
        np.savez_compressed(root / f"tissuenet_v1.1_{split}.npz", X=x, y=y)


def bbbc038(root: Path) -> None:
    """stage1_train/<id>/images and masks, RGBA; stage1_test without masks, and no solution."""
    for subset, first, count in (("stage1_train", 0, 10), ("stage1_test", 90, 1)):
        for number in range(first, first + count):
            id, label = f"{number:064x}", scene(number)
            shown = grey(label, 100 + number)
            rgba = np.stack([shown, shown, shown, np.full_like(shown, 255)], -1)
            save(root / subset / id / "images" / f"{id}.png", rgba)
            for value in range(1, 4) if subset == "stage1_train" else ():
                mask = masked(label == value)
                save(root / subset / id / "masks" / f"{value:064x}.png", mask)


def kvasir(root: Path) -> None:
    """Kvasir-SEG/images and masks, JPEG."""
    for number in range(10):
        label = scene(number, 2)
        save(root / "Kvasir-SEG" / "images" / f"cju{number}.jpg", colour(label, number))
        save(root / "Kvasir-SEG" / "masks" / f"cju{number}.jpg", masked(label))


def isic2017(root: Path) -> None:
    """ISIC-2017_*_Data and ISIC-2017_*_Part1_GroundTruth."""
    for place, name in enumerate(("Training", "Validation", "Test_v2")):
        for number in range(3 * place, 3 * place + 3):
            label = scene(number, 1)
            stem = f"ISIC_{number:07d}"
            data, truth = (f"ISIC-2017_{name}_{end}" for end in ("Data", "Part1_GroundTruth"))
            save(root / data / f"{stem}.jpg", colour(label, number))
            save(root / truth / f"{stem}_segmentation.png", masked(label))


def hc18(root: Path) -> None:
    """training_set/<number>_HC.png with an ellipse as a line, and the table of pixel sizes."""
    rows, columns = np.mgrid[: SIZE[0], : SIZE[1]]
    table = ["filename,pixel size(mm),head circumference (mm)"]
    for number in range(10):
        centre = 22 + number % 4, 30 + number % 3
        inside = ((rows - centre[0]) / 12) ** 2 + ((columns - centre[1]) / 18) ** 2 <= 1
        wide = np.pad(inside, 1)
        line = inside & ~(wide[:-2, 1:-1] & wide[2:, 1:-1] & wide[1:-1, :-2] & wide[1:-1, 2:])
        stem = f"{number:03d}_HC"
        save(root / "training_set" / f"{stem}.png", grey(inside.astype(np.int32), number))
        save(root / "training_set" / f"{stem}_Annotation.png", masked(line))
        table.append(f"{stem}.png,0.07,44.3")
    (root / "training_set_pixel_size_and_HC.csv").write_text("\n".join(table) + "\n")


def busi(root: Path) -> None:
    """Dataset_BUSI_with_GT/{benign,malignant,normal}/<class> (1).png and its _mask."""
    for place, kind in enumerate(("benign", "malignant", "normal")):
        for number in range(1, 7):
            label = scene(10 * place + number, 0 if kind == "normal" else 1)
            file = root / "Dataset_BUSI_with_GT" / kind / f"{kind} ({number}).png"
            save(file, grey(label, number))
            save(file.with_name(f"{file.stem}_mask.png"), masked(label))


def nct_crc(root: Path) -> None:
    """NCT-CRC-HE-100K/<class> and CRC-VAL-HE-7K/<class>, TIFF."""
    for part, count in (("NCT-CRC-HE-100K", 3), ("CRC-VAL-HE-7K", 2)):
        for place, name in enumerate(("ADI", "LYM", "TUM")):
            for number in range(count):
                label = scene(number, 1 + 2 * place, (64, 64))
                save(root / part / name / f"{name}-{part[:1]}{number}.tif", colour(label, number))


def bach(root: Path) -> None:
    """ICIAR2018_BACH_Challenge/Photos/<class>."""
    photos = root / "ICIAR2018_BACH_Challenge" / "Photos"
    for name, begin in (("Normal", "n"), ("Benign", "b"), ("InSitu", "is"), ("Invasive", "iv")):
        for number in range(1, 11):
            pixels = colour(scene(number), number, 10 * len(begin))
            save(photos / name / f"{begin}{number:03d}.tif", pixels)


def breakhis(root: Path) -> None:
    """BreaKHis_v1/histology_slides/breast/… 40X; all facts in the name."""
    breast = root / "BreaKHis_v1" / "histology_slides" / "breast"
    for kind, type, short, folder in (
        ("benign", "B", "A", "adenosis"),
        ("malignant", "M", "DC", "ductal_carcinoma"),
    ):
        for case in range(10):
            name = f"SOB_{type}_{short}-14-{1000 + case}{'A' * (short == 'A')}-40-001"
            slide = breast / kind / "SOB" / folder / f"SOB_{type}_{short}_14-{1000 + case}" / "40X"
            save(slide / f"{name}.png", colour(scene(case), case))


def chaoyang(root: Path) -> None:
    """train.json and test.json, and the images they name."""
    for split, count in (("train", 3), ("test", 2)):
        entries = []
        for label in range(4):
            for number in range(count):
                name = f"{split}/{label}-{number}.JPG"
                save(root / name, colour(scene(number, 1 + label), number))
                entries.append({"name": name, "label": label})
        (root / f"{split}.json").write_text(json.dumps(entries))


def glas(root: Path) -> None:
    """train_1.bmp with train_1_anno.bmp, and Grade.csv."""
    rows = ["name,patient ID, grade (GlaS), grade (Sirinukunwattana et al. 2015)"]
    for number in range(1, 13):
        label = scene(number)
        save(root / f"train_{number}.bmp", colour(label, number))
        save(root / f"train_{number}_anno.bmp", label.astype(np.uint8))
        grade = "benign, adenomatous" if number % 2 else "malignant, poorly differentiated"
        rows.append(f"train_{number},{number}, {grade}")
    (root / "Grade.csv").write_text("\n".join(rows) + "\n")


def bcss(root: Path) -> None:
    """rgbs_colorNormalized and masks of the same names, codes 0 to 21."""
    for number in range(10):
        name = f"TCGA-A1-A0S{number}-DX1_xmin1_ymin1_MPP-0.2500.png"
        label = scene(number)
        save(root / "rgbs_colorNormalized" / name, colour(label, number))
        save(root / "masks" / name, np.where(label > 0, label, 5).astype(np.uint8))


MAKERS: dict[str, Callable[[Path], None]] = {
    maker.__name__: maker
    for maker in (tissuenet, bbbc038, kvasir, isic2017, hc18, busi, nct_crc, bach, breakhis,
                  chaoyang, glas, bcss)
}  # fmt: skip


def made(root: Path, *names: str) -> Path:
    """The folder that holds the sets, each in a folder of its name."""
    for name in names:
        MAKERS[name](root / name)
    return root


def sam_file(path: Path, seed: int) -> Path:
    """A network of SAM's form with random weights, in SAM's own layout, that sees 64 px.

    It rates its masks above 0.5, so that they count.
    """
    layout = Layout("vit", image_size=64, width=32, depth=2, heads=2, global_layers=(1,))
    network = build_sam(layout, seed=seed)
    weights = {key: value.contiguous() for key, value in network.state_dict().items()}
    weights["mask_decoder.iou_prediction_head.layers.2.bias"] += 1
    save_file(weights, path)
    return path


def encoder_file(path: Path, name: str) -> Path:
    """An encoder with random weights, in timm's layout."""
    torch.manual_seed(0)
    place = ENCODERS[name]
    assert ":" not in place or timm.is_model(name.replace("-", "_"))
    model = name.replace("-", "_") if ":" in place else place
    save_file(timm.create_model(model).state_dict(), path)
    return path
