"""A finished run of KD SAM becomes a promptable package."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import abbe
from abbe import students
from abbe.datasets import Record
from abbe.datasets.training.eval_prompts import inner_points, tight_box
from abbe.exporting.promptable_parity import ProofPicture
from abbe.exporting.promptable_write import write_promptable_package
from abbe.imaging import choose_rule, three_channels
from abbe.recipes.export_common import Request, kept, spread
from abbe.runs.folder import Run
from abbe.runtime.package import Lineage, Package
from abbe.students.promptable import architecture_of
from abbe.tasks.prompted import objects_of

RECIPE = "kdsam"
MOST_OBJECTS = 8
"""Objects of an image that the package is asked for in its proof."""
CALIBRATED = 32
"""Training images that int8 ranges are measured on, at most: at 1024 px each takes 13 MB."""


def export_promptable(
    run: Run,
    out: Path,
    records: Sequence[Record],
    split: str,
    lineage: Callable[[Run, dict[str, Any]], Lineage],
    request: Request,
    say: Callable[[str], None],
    calibration: Sequence[Record] = (),
) -> Package:
    """Export the promptable student of a run, and prove that the package answers alike.

    Args:
        run: The run.
        out: The folder to make.
        records: Images of the proof.
        split: Of which split they are.
        lineage: From the run and the facts beside its weights to the package's lineage.
        request: Threads, and what is wanted of int8.
        say: Told of each step, in a line.
        calibration: Training images, from which int8 ranges are measured.

    Raises:
        InputError: Weights or images are missing, or torch cannot export the network.
        ConfigError: ``out`` is taken.
        PackageError: An engine answers otherwise than eager torch.
    """
    network, learned = students.load_promptable(run.student)
    side = network.side
    facts = {
        "abbe": abbe.__version__,
        "name": re.sub(r"[^A-Za-z0-9._-]+", "-", out.name).strip("-._")[:100] or "package",
        "title": run.summary["title"],
        "task": "promptable",
        "architecture": architecture_of(network)[0],
        "channels": tuple(learned["channels"]),
        "three_channels": learned["inputs"],
        "pixel_size": None,
        "image_size": (side, side),
        "divisor": 16,
        "tile": side,
        "halo": 0,
        "engine": {"threads": request.threads},
        "lineage": lineage(run, learned),
        "training": kept(run.summary),
    }
    pictures = [_picture(record, learned) for record in records]
    return write_promptable_package(
        out,
        network,
        run.student,
        facts,
        pictures,
        split,
        say,
        int8=request.int8,
        calibration=[_shown(record, learned) for record in spread(calibration, CALIBRATED)],
        most_lost=request.budget.dice,
    )


def _picture(record: Record, learned: dict[str, Any]) -> ProofPicture:
    """The image as the network is shown it, with a box and a point for each of its objects."""
    picture = _shown(record, learned)
    masks = [] if record.label is None else objects_of(record.label.read())[:MOST_OBJECTS]
    prompts: list[dict[str, Any]] = []
    truths: list[np.ndarray] = []
    for mask in masks:
        prompts += [{"box": tight_box(mask)}, _click(inner_points(mask, 1))]
        truths += [mask, mask]
    if not prompts:  # nothing is labelled: the middle is as good a question as any
        height, width = picture.shape[:2]
        middle = [width / 4, height / 4, 3 * width / 4, 3 * height / 4]
        prompts = [{"box": middle}, _click([[width / 2, height / 2]])]
    return ProofPicture(record.id, picture, tuple(prompts), tuple(truths))


def _shown(record: Record, learned: dict[str, Any]) -> np.ndarray:
    """The image in three channels, (H, W, 3) uint8, as the network is shown it."""
    pixels = record.image.open().read(channels=tuple(learned["channels"]))
    return three_channels(pixels, choose_rule(learned["inputs"], len(pixels)))


def _click(points: Any) -> dict[str, Any]:
    return {"point_coords": points, "point_labels": [1] * len(points)}
