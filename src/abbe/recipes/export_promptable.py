"""A finished run of KD SAM becomes a promptable package."""

import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import abbe
from abbe import students
from abbe.datasets import Record
from abbe.datasets.eval_prompts import inner_points, tight_box
from abbe.exporting.promptable_parity import ProofPicture
from abbe.exporting.promptable_write import write_promptable_package
from abbe.imaging import choose_rule, three_channels
from abbe.recipes.promptable_scores import objects_of
from abbe.recipes.run_folder import Run
from abbe.runtime.package import Lineage, Package
from abbe.students.promptable import architecture_of

RECIPE = "kdsam"
MOST_OBJECTS = 8
"""Objects of an image that the package is asked for in its proof."""
_KEPT = ("data", "teacher_sees", "models", "gain", "retention", "retention_ci95", "warnings")


def export_promptable(
    run: Run,
    out: Path,
    records: Sequence[Record],
    split: str,
    lineage: Callable[[Run, dict[str, Any]], Lineage],
    threads: int | None,
    say: Callable[[str], None],
) -> Package:
    """Export the promptable student of a run, and prove that the package answers alike.

    Args:
        run: The run.
        out: The folder to make.
        records: Images of the proof.
        split: Of which split they are.
        lineage: From the run and the facts beside its weights to the package's lineage.
        threads: Threads to run with; None for all cores.
        say: Told of each step, in a line.

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
        "engine": {"threads": threads},
        "lineage": lineage(run, learned),
        "training": {key: run.summary[key] for key in _KEPT if key in run.summary},
    }
    pictures = [_picture(record, learned) for record in records]
    return write_promptable_package(out, network, run.student, facts, pictures, split, say)


def _picture(record: Record, learned: dict[str, Any]) -> ProofPicture:
    """The image as the network is shown it, with a box and a point for each of its objects."""
    pixels = record.image.open().read(channels=tuple(learned["channels"]))
    picture = three_channels(pixels, choose_rule(learned["inputs"], len(pixels)))
    masks = [] if record.label is None else objects_of(record.label.read())[:MOST_OBJECTS]
    prompts: list[dict[str, Any]] = []
    for mask in masks:
        prompts += [{"box": tight_box(mask)}, _click(inner_points(mask, 1))]
    if not prompts:  # nothing is labelled: the middle is as good a question as any
        height, width = picture.shape[:2]
        middle = [width / 4, height / 4, 3 * width / 4, 3 * height / 4]
        prompts = [{"box": middle}, _click([[width / 2, height / 2]])]
    return ProofPicture(record.id, picture, tuple(prompts))


def _click(points: Any) -> dict[str, Any]:
    return {"point_coords": points, "point_labels": [1] * len(points)}
