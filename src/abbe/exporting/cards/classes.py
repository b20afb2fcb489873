"""What the model cards of packages that tell classes apart say otherwise."""

from collections.abc import Mapping
from typing import Any

from abbe.runtime.package import PackageDescription

_COLUMNS: Mapping[str, Mapping[str, tuple[str, str]]] = {
    "classification": {
        "agreement_accuracy": ("same class as eager", ".4f"),
        "max_difference": ("max. difference of probabilities", ".2g"),
        "accuracy": ("accuracy", ".4f"),
        "lost_accuracy": ("accuracy lost", "+.4f"),
        "lost_probability": ("mean difference of probabilities", ".4f"),
    },
    "regions": {
        "agreement_pixel_accuracy": ("px of the same class as eager's", ".4f"),
        "max_difference": ("max. difference of probabilities", ".2g"),
        "agreement_mean_iou": ("mean IoU with eager", ".4f"),
        "lost_mean_iou": ("mean IoU lost", "+.4f"),
        "lost_dice": ("Dice lost", "+.4f"),
    },
}
"""By task: figures of the parity check, with their titles and formats."""
_FOUND = {
    "classification": 'probabilities = abbe.predict("{name}", "image.png")  # one for each class',
    "regions": 'classes = abbe.predict("{name}", "image.tif")  # the number of each pixel\'s class',
}


def use(package: PackageDescription) -> str:
    """How to run it, and what the numbers stand for."""
    numbers = ", ".join(f"{number} {name}" for number, name in enumerate(package.classes))
    return f"""## Use

```
pip install abbe
abbe predict {package.name} images/ --out results
```

```python
import abbe

{_FOUND[package.task].format(name=package.name)}
```

Classes: {numbers}."""


def parity(package: PackageDescription) -> str:
    """How far each engine agrees with eager torch."""
    columns = _COLUMNS[package.task]
    titles = ["engine/precision", "kept", *(title for title, _ in columns.values())]
    rows = ["| " + " | ".join(titles) + " |", "| --- " * len(titles) + "|"]
    notes = []
    about: Mapping[str, Any] = {}
    for name, figures in package.parity.items():
        if "images" in figures:
            about = figures
            cells = [_number(figures.get(key), form) for key, (_, form) in columns.items()]
            kept = "yes" if figures.get("kept") else "no"
            rows.append("| " + " | ".join([name, kept, *cells]) + " |")
        if figures.get("reason"):
            notes.append(f"- {name}: {figures['reason']}")
    text = (
        f"## Does it answer as the student did?\n\nCompared with the student in eager torch on "
        f"{about.get('images', 0)} images ({about.get('images_of', 'none')}). Lost: fp32 against "
        "eager's answers, the others against labels where there are some.\n\n" + "\n".join(rows)
    )
    return text + ("\n\n" + "\n".join(notes) if notes else "")


def _number(value: Any, form: str) -> str:
    return format(value, form) if isinstance(value, int | float) else "—"
