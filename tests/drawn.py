"""Small pictures that tests draw, and a network of SAM's family whose weights are random."""

from pathlib import Path

import numpy as np
from PIL import Image as Picture

from abbe.imaging import write_labels

SIDE = 64
"""Side in px of the squares that the random network sees."""


def draw_tile(random: np.random.Generator, discs: int) -> tuple[np.ndarray, np.ndarray]:
    """Purple discs on pink, (64, 64, 3) uint8, and their label."""
    grid, label = np.mgrid[:64, :64], np.zeros((64, 64), np.int32)
    for number in range(discs):
        centre = random.integers(6, 58, 2)
        label[np.hypot(grid[0] - centre[0], grid[1] - centre[1]) < 5] = number + 1
    pink = np.array([230, 170, 200]) - random.integers(0, 20, (64, 64, 1))
    return np.where(label[..., None] > 0, np.array([110, 70, 140]), pink).astype(np.uint8), label


def draw_tiles(root: Path) -> Path:
    """Tiles in folders of classes; tiles with labels that cannot be read; masks of a teacher."""
    random = np.random.default_rng(0)
    for split, count in (("train", 3), ("val", 2), ("test", 3)):
        for name, discs in (("dense", 12), ("sparse", 3)):
            folder = root / "classes" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                picture, _ = draw_tile(random, discs)
                Picture.fromarray(picture).save(folder / f"{number}.png")
    rows = ["id,split"]
    for folder in ("tiles/images", "tiles/labels", "masks", "regions/images"):
        (root / folder).mkdir(parents=True)
    for number in range(6):
        picture, label = draw_tile(random, 5 + number)
        Picture.fromarray(picture).save(root / "tiles/images" / f"t{number}.png")
        Picture.fromarray(picture).save(root / "regions/images" / f"t{number}.png")
        (root / "tiles/labels" / f"t{number}.png").write_bytes(b"whoever reads this fails")
        write_labels(root / "regions/labels" / f"t{number}.png", label)
        write_labels(root / "masks" / f"t{number}.png", label)
        rows.append(f"t{number},{('train', 'val', 'test')[number // 2]}")
    (root / "regions/index.csv").write_text("\n".join(rows))
    return root


def draw_discs(root: Path, seed: int = 0) -> Path:
    """Nine colour pictures of one or two bright discs, with binary masks; three without any."""
    (root / "images").mkdir(parents=True)
    random = np.random.default_rng(seed)
    rows = ["id,split"]
    for number in range(9):
        label = np.zeros((50, 70), np.int32)
        grid = np.mgrid[:50, :70]
        for disc in range(number % 3):
            centre = random.integers(12, 38), 18 + 34 * disc
            label[np.hypot(grid[0] - centre[0], grid[1] - centre[1]) < 9] = disc + 1
        picture = random.integers(0, 60, (50, 70, 3)) + 150 * (label > 0)[..., None]
        Picture.fromarray(picture.astype(np.uint8)).save(root / "images" / f"{number}.png")
        write_labels(root / "labels" / f"{number}.png", (label > 0).astype(np.int32) * 255)
        rows.append(f"{number},{('train', 'val', 'test')[number // 3]}")
    (root / "index.csv").write_text("\n".join(rows))
    return root


def random_sam(path: Path, seed: int) -> Path:
    """The smallest SAM, with random weights."""
    from safetensors.torch import save_file

    from abbe.sam import Layout, build_sam

    layout = Layout("vit", image_size=SIDE, width=32, depth=2, heads=2, global_layers=(1,))
    network = build_sam(layout, seed=seed)
    save_file({k: v.contiguous() for k, v in network.state_dict().items()}, path)
    return path
