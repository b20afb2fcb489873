"""The table of a model card that says how far each engine agrees with the student."""

from collections.abc import Callable, Mapping
from typing import Any

from abbe.in_words import counted
from abbe.object_types import types_in
from abbe.runtime.package import PackageDescription

Cell = Callable[[Mapping[str, Any]], str]


def number(value: Any, form: str) -> str:
    """A figure, or a dash where there is none."""
    return format(value, form) if isinstance(value, int | float) else "—"


def _figure(key: str, form: str) -> Cell:
    return lambda figures: number(figures.get(key), form)


_DIFFERENCE = {"max. difference of probabilities": _figure("max_difference", ".2g")}
_COLUMNS: Mapping[str, Mapping[str, Cell]] = {
    "segmentation": {
        **_DIFFERENCE,
        "Dice against eager": _figure("agreement_dice", ".4f"),
        "PQ against eager": _figure("agreement_pq", ".4f"),
        "objects (eager)": lambda each: f"{each.get('objects')} ({each.get('objects_eager')})",
        "Dice lost": _figure("lost_dice", "+.4f"),
        "PQ lost": _figure("lost_pq", "+.4f"),
    },
    "classification": {
        "same class as eager": _figure("agreement_accuracy", ".4f"),
        **_DIFFERENCE,
        "accuracy": _figure("accuracy", ".4f"),
        "accuracy lost": _figure("lost_accuracy", "+.4f"),
        "mean difference of probabilities": _figure("lost_probability", ".4f"),
    },
    "regions": {
        "px of the same class as eager's": _figure("agreement_pixel_accuracy", ".4f"),
        **_DIFFERENCE,
        "mean IoU with eager": _figure("agreement_mean_iou", ".4f"),
        "mean IoU lost": _figure("lost_mean_iou", "+.4f"),
        "Dice lost": _figure("lost_dice", "+.4f"),
    },
}
"""By task: figures of the parity check, by their titles."""


_TYPES: Mapping[str, Cell] = {"types lost": _figure("lost_accuracy", ".4f")}
"""Of segmentation that tells types of objects: the share of objects that get another type."""


def parity(package: PackageDescription) -> str:
    """How far each engine agrees with eager torch."""
    columns = dict(_COLUMNS[package.task])
    if types_in(package.outputs):
        columns |= _TYPES
    titles = ["engine/precision", "kept", *columns]
    rows = ["| " + " | ".join(titles) + " |", "| --- " * len(titles) + "|"]
    notes = []
    about: Mapping[str, Any] = {}
    for name, figures in package.parity.items():
        if "images" not in figures:
            notes.append(f"- {name}: {figures.get('reason', 'not measured')}")
            continue
        about = figures
        cells = [name, "yes" if figures.get("kept") else "no"]
        cells += [cell(figures) for cell in columns.values()]
        rows.append("| " + " | ".join(cells) + " |")
        if figures.get("reason"):
            notes.append(f"- {name}: {figures['reason']}")
    text = (
        f"## Does it answer as the student did?\n\nCompared with the student in eager torch on "
        f"{counted(about.get('images', 0), 'image')} ({about.get('images_of', 'none')}). Lost: "
        "fp32 against "
        "eager's answers, the others against labels where there are some.\n\n" + "\n".join(rows)
    )
    return text + ("\n\n" + "\n".join(notes) if notes else "")
