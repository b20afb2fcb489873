"""The inputs and commands of `benchmarks/kills.py`: tiny, but whole jobs of every kind."""

import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from forked import bright_package
from PIL import Image as Picture
from safetensors.torch import save_file

from abbe.imaging import write_labels
from abbe.sam import Layout, build_sam

_STUDENT = (
    "--training.batch-size 2 --training.validate-every 2 --training.workers 0 --training.ema 0 "
    "--training.precision fp32 --student.encoder-weights random "
)
_TISSUE = shlex.split(
    _STUDENT + "--data.kind simulated --data.count 16 --data.size 64 --data.seed 5 "
    "--data.fractions 0.25 0.25 0.5 --training.steps 8 --training.crop 32 "
    "--training.learning-rate 0.01 --student.architecture unet-mobilenetv3 "
    "--student.input-channels nucleus membrane"
)
_TILES = shlex.split(
    _STUDENT + "--student.architecture unet-mobilenetv3 --student.input-channels red green blue "
    "--pretraining.steps 4 --pretraining.batch-size 2 --pretraining.crop 32 --training.steps 4 "
    "--training.crop 32 --training.learning-rate 0.01 --teacher.kind masks"
)
_DISCS = shlex.split(
    _STUDENT + "--student.architecture promptable-resnet18 --promptable.side 64 "
    "--promptable.decoder-steps 4 --promptable.objects 1 --promptable.perceptual-mode decoder "
    "--promptable.rounds 2 --training.steps 4 --teacher.options stand_in true"
)
_RESULTS = ("labels", "zarr", "probability", "geojson", "geoparquet", "table", "overview")

SERVED = (120, 160)
"""Height and width of the images that are served, px."""


@dataclass(frozen=True)
class Job:
    """A command that ends by itself.

    Attributes:
        words: The command without ``--out``.
        resumed: The verb whose ``VERB FOLDER --resume`` goes on; None: the same command does.
        script: Whether TorchScript is written beside the result, too.
    """

    words: Sequence[str | Path]
    resumed: str | None = None
    script: bool = False

    def command(self, out: Path) -> list[str]:
        """The words of the first start."""
        beside = ["--torchscript", str(out.with_suffix(".pt"))] if self.script else []
        return [*map(str, self.words), "--out", str(out), *beside]

    def going_on(self, out: Path) -> list[str]:
        """The words that go on with what was killed."""
        if self.resumed and (out / "config.yaml").exists():
            return [self.resumed, str(out), "--resume"]
        return self.command(out)


def make_jobs(inputs: Path, run: Callable[[Sequence[str]], None]) -> dict[str, Job]:
    """The jobs by name, with their inputs in the folder; ``run`` carries a command out.

    Of the promptable package that is asked by prompts and served, the folder is
    ``inputs/promptable``; the images to serve are in ``inputs/served``.
    """
    tiles, discs, many = inputs / "tiles", inputs / "discs", inputs / "many"
    sam = inputs / "tiny_random.safetensors"
    distilled = [
        "rckd", *_TILES, "--data.path", tiles / "classes", "--pretrain-data.kind", "folder",
        "--pretrain-data.path", tiles / "pretraining", "--teacher.path", tiles / "masks",
    ]  # fmt: skip
    kdsam = ["distill", "kdsam", *_DISCS, "--data.path", discs, "--teacher.path", sam]
    curve = "--fractions 0.5 1 --seeds 0 --initialisations rckd random"
    jobs = {
        "teach": Job(
            ["teach", "--data.path", many, "--data.channels", "grey", "--teacher.kind", "masks",
             "--teacher.path", inputs / "many_masks"]
        ),
        "cmkd": Job(
            ["distill", "cmkd", *_TISSUE, "--teacher.kind", "run", "--teacher.path",
             inputs / "teacher", "--data.labelled", "2"], "distill",
        ),
        "rckd": Job(
            ["distill", *distilled, "--pretraining.method", "rckd+contrastive"], "distill"
        ),
        "kdsam": Job(kdsam, "distill"),
        "predict": Job(
            ["predict", inputs / "bright", inputs / "mixed", "--results", *_RESULTS,
             "--threads", "1", "--workers", "2"]
        ),
        "prompted": Job(
            ["predict", inputs / "promptable", discs / "images", "--prompts",
             discs / "prompts.csv", "--results", *(r for r in _RESULTS if r != "probability")]
        ),
        "curve": Job(["curve", *distilled, *shlex.split(curve)], "curve"),
        "export": Job(
            ["export", inputs / "teacher", "--int8", "none", "--images", "2", "--tile", "256",
             "--budget-dice", "1", "--budget-pq", "1", "--threads", "1"],
            script=True,
        ),
    }  # fmt: skip
    if not (inputs / "made").exists():
        inputs.mkdir(parents=True, exist_ok=True)
        _draw_all(inputs)
        layout = Layout("vit", image_size=64, width=32, depth=2, heads=2, global_layers=(1,))
        weights = build_sam(layout, seed=2).state_dict()
        save_file({name: value.contiguous() for name, value in weights.items()}, sam)
        bright_package(inputs / "bright", side=3, tile=128, halo=16)
        run(["distill", "supervised", *_TISSUE, "--out", str(inputs / "teacher")])
        run([*jobs["kdsam"].command(inputs / "student"), "--evidence", "quick"])
        export = ["--int8", "none", "--images", "2", "--budget-dice", "1"]
        run(["export", str(inputs / "student"), *export, "--out", str(inputs / "promptable")])
        (inputs / "made").touch()
    return jobs


def _draw_all(inputs: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(60):
        _save(inputs / f"many/images/{number}.png", *_tile(random, 6), inputs / "many_masks",
              grey=True)  # fmt: skip
    for split, count in (("train", 4), ("val", 2), ("test", 3)):
        for name, found in (("dense", 12), ("sparse", 3)):
            for number in range(count):
                _save(inputs / f"tiles/classes/{split}/{name}/{number}.png", *_tile(random, found))
    for number in range(6):
        path = inputs / f"tiles/pretraining/images/t{number}.png"
        _save(path, *_tile(random, 5 + number), inputs / "tiles/masks")
    rows, prompts = ["id,split"], ["id,x0,y0,x1,y1"]
    for number in range(9):
        picture, labels = _tile(random, 1, side=56, radius=9)
        path = inputs / f"discs/images/{number}.png"
        _save(path, picture, labels, inputs / "discs/labels")
        rows.append(f"{number},{('train', 'val', 'test')[number // 3]}")
        y, x = np.nonzero(labels)
        prompts.append(f"{number},{x.min()},{y.min()},{x.max() + 1},{y.max() + 1}")
    (inputs / "discs/index.csv").write_text("\n".join(rows))
    (inputs / "discs/prompts.csv").write_text("\n".join(prompts))
    for number in range(8):
        picture, labels = _tile(random, 700, side=900) if number == 4 else _tile(random, 9, 100)
        _save(inputs / f"mixed/{number}.png", picture, labels, grey=True)
    for number in range(4):
        picture = random.integers(0, 255, (*SERVED, 3), dtype=np.uint8)
        _save(inputs / f"served/{number}.png", picture, np.zeros(SERVED, np.int32))


def _tile(
    random: np.random.Generator, count: int, side: int = 64, radius: int = 5
) -> tuple[np.ndarray, np.ndarray]:
    """(side, side, 3) uint8 with bright discs, and their labels; some overlap."""
    pixels = random.integers(0, 40, (side, side, 3), dtype=np.uint8)
    labels = np.zeros((side, side), np.int32)
    grid = np.mgrid[-radius : radius + 1, -radius : radius + 1]
    inside = np.argwhere(np.hypot(*grid) < radius) - radius
    for number in range(1, count + 1):
        rows, columns = (inside + random.integers(radius, side - radius, 2)).T
        labels[rows, columns] = number
    pixels[labels > 0] = 170 + pixels[labels > 0] % 60
    return pixels, labels


def _save(
    path: Path, picture: np.ndarray, labels: np.ndarray, masks: Path | None = None,
    *, grey: bool = False,
) -> None:  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    Picture.fromarray(picture[..., 0] if grey else picture).save(path)
    if masks is not None:
        write_labels(masks / path.name, labels)
