"""``abbe export``: a finished run becomes a package."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import tyro

from abbe.cli.arguments import parse, say


@dataclass(frozen=True)
class ExportArguments:
    """Arguments of ``abbe export``."""

    run: tyro.conf.Positional[Path]
    """The finished run."""
    out: Path | None = None
    """The package, a folder to make; RUN/package where omitted."""
    data_path: Path | None = None
    """Where the run's images are now, if they were moved."""
    int8: Literal["auto", "required", "none"] = "auto"
    """auto: keep an int8 network that stays within the budget; required: fail without one."""
    pixel_size: float | None = None
    """µm per px of the training images, where the run does not know it."""
    budget_dice: float = 0.002
    """Most mean Dice that an engine may lose (0.002 is 0.2 points)."""
    budget_pq: float = 0.01
    """Most mean panoptic quality that an engine may lose."""
    budget_mean_iou: float = 0.005
    """Of regions: most IoU, mean over classes, that an engine may lose."""
    budget_accuracy: float = 0.005
    """Of a classification: most accuracy that an engine may lose."""
    budget_probability: float = 0.02
    """Of a classification: how far an image's probabilities may move, as mean over the images."""
    budget_ms: float | None = None
    """Most milliseconds of a tile: choose engine, precision, tile and threads that meet it."""
    tile: tuple[int, ...] = ()
    """Sides of the network's windows in px, 1024; several are tried with --budget-ms."""
    halo: int | None = None
    """px around a tile in which its objects are looked for; the largest's extent where omitted."""
    context: int | None = None
    """px at a window's edges that only lend the rest their context; 64 where omitted."""
    threads: int | None = None
    """Processor threads to run with; all cores where omitted."""
    images: int | None = None
    """Validation images on which the package is proven; 48, or 500 of a classification."""
    calibration_images: int = 128
    """Training images from which the ranges of int8 are measured."""
    bioimageio: Path | None = None
    """Also write a bioimage.io package, a .zip file, and test it."""
    torchscript: Path | None = None
    """Also write TorchScript, a .pt file, for QuPath and deepImageJ."""
    authors: tuple[str, ...] = ("unknown",)
    """Names for the bioimage.io package."""
    licence: str | None = None
    """Its licence, an SPDX name such as MIT."""


def run(words: list[str]) -> int:
    """``abbe export``."""
    description = """Make a package of a finished run's student, and prove that it answers alike.

Writes ONNX, OpenVINO and int8 networks, and compares each with the student on validation images:
probabilities, masks and instances. What loses more than the budget is not kept.

A run of RCKD becomes a package that classifies images, compared on probabilities and accuracy, or
one that segments regions, compared on IoU and Dice over the classes.

A run of KD SAM becomes a promptable package: encoder and decoder, compared on embeddings and on
masks; the encoder in int8, too, if its masks lose no more Dice than the budget. Options of tiles
and time are not for it.

examples:
  abbe export runs/a --out nuclei
  abbe export runs/a --out nuclei --int8 required --budget-dice 0.005
  abbe export runs/a --out nuclei --budget-ms 20 --tile 512
  abbe export runs/a --out nuclei --pixel-size 0.5
  abbe export runs/a --out nuclei --bioimageio nuclei.zip --torchscript nuclei.pt --licence MIT"""
    arguments = parse(ExportArguments, "export", words, description)
    from abbe.exporting.comparison import Budget
    from abbe.recipes.export import export_run

    package = export_run(
        arguments.run,
        arguments.out,
        data_path=arguments.data_path,
        pixel_size=arguments.pixel_size,
        int8=arguments.int8,
        budget=Budget(
            arguments.budget_dice,
            arguments.budget_pq,
            arguments.budget_mean_iou,
            arguments.budget_accuracy,
            arguments.budget_probability,
        ),
        budget_ms=arguments.budget_ms,
        tile=arguments.tile,
        halo=arguments.halo,
        context=arguments.context,
        threads=arguments.threads,
        images=arguments.images,
        calibration_images=arguments.calibration_images,
        bioimageio=arguments.bioimageio,
        torchscript=arguments.torchscript,
        authors=arguments.authors,
        licence=arguments.licence,
        say=say,
    )
    prompts = " --prompts PROMPTS.csv" if package.description.task == "promptable" else ""
    run_it = f"abbe predict {package.folder} IMAGES…{prompts} --out results"
    say(f"\npackage: {package.folder}\nrun it: {run_it}")
    return 0
