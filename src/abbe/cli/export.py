"""``abbe export``: a finished run becomes a package."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from abbe.cli.shared.arguments import parse, say
from abbe.exporting.request import ExportRequest


@dataclass(frozen=True, kw_only=True)
class ExportArguments(ExportRequest):
    """Arguments of ``abbe export``."""

    run: tyro.conf.Positional[Path]
    """The finished run."""
    out: Path | None = None
    """The package, a folder to make; RUN/package where omitted."""
    data_path: Path | None = None
    """Where the run's images are now, if they were moved."""


def run(words: list[str]) -> int:
    """``abbe export``."""
    description = """Make a package of a finished run's student, and check that it answers alike.

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
  abbe export runs/a --out nuclei --engine onnxruntime      (for an edge device)
  abbe export runs/a --out nuclei --pixel-size 0.5
  abbe export runs/a --out nuclei --bioimageio nuclei.zip --torchscript nuclei.pt --licence MIT"""
    arguments = parse(ExportArguments, "export", words, description)
    from abbe.runs.export import export_run

    package = export_run(
        arguments.run, arguments.out, arguments, data_path=arguments.data_path, say=say
    )
    prompts = " --prompts PROMPTS.csv" if package.description.traits.prompted else ""
    run_it = f"abbe predict {package.folder} IMAGES…{prompts} --out results"
    say(f"\npackage: {package.folder}\nrun it: {run_it}")
    return 0
