"""The model card: what the package is, what it was made from, how good it is, who may use it."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from pydantic import BaseModel

from abbe.caveats import listed
from abbe.exporting.cards import classes, limits, promptable
from abbe.exporting.cards.parity import number, parity
from abbe.foreign_text import markdown_text
from abbe.in_words import counted
from abbe.runtime.package import PackageDescription
from abbe.summary import BASELINES

Section = Callable[[PackageDescription], str]
Use = Callable[[PackageDescription, str], str]
METRICS = {"dice": "Dice", "f1@0.5": "F1 at IoU 0.5", "pq": "Panoptic quality", "aji": "AJI"}
METRICS |= {"dice_1_point": "Dice, one point", "dice_3_points": "Dice, three points"}
METRICS |= {"balanced_accuracy": "Balanced accuracy", "accuracy": "Accuracy"}
METRICS |= {"macro_f1": "Macro F1", "auroc": "AUROC", "mean_iou": "IoU, mean over classes"}
METRICS |= {"pixel_accuracy": "Accuracy of pixels"}


def model_card(package: PackageDescription, place: str | None = None) -> str:
    """README.md of a package, with the metadata that Hugging Face reads at its head.

    Args:
        package: What is described.
        place: What commands find it by, such as "hf:OWNER/NAME"; a path to be put in if omitted.
    """
    place = place or f"PATH/TO/{package.name}"  # the name alone may be that of another package
    package = _harmless(package)
    sections = SECTIONS[package.task]
    parts = [_metadata(package, sections.kind), f"# {package.title}", sections.summary(package)]
    parts += [_marks(package), limits.use_and_limits(package), sections.use(package, place)]
    parts += [_scores(package), limits.by_subgroup(package, METRICS)]
    if not package.traits.prompted:
        parts.append(limits.calibration(package, str(package.training.get("network", "student"))))
    parts += [_origin(package), sections.parity(package), _speed(package)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _harmless(value: Any) -> Any:
    """The same with all text as Markdown may hold it: titles and licences come from run folders."""
    if isinstance(value, str):
        return markdown_text(value)
    if isinstance(value, BaseModel):
        fields = {key: _harmless(getattr(value, key)) for key in type(value).model_fields}
        return value.model_copy(update=fields)
    if isinstance(value, dict):
        return {markdown_text(key): _harmless(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_harmless(inner) for inner in value)
    return value


def _metadata(package: PackageDescription, kind: str) -> str:
    tags = ["microscopy", "openvino", "onnx", "knowledge-distillation"]
    lines = ["---", "library_name: abbe", f"pipeline_tag: {kind}", "license: other"]
    lines += ["license_name: see-lineage", "tags:", *(f"- {tag}" for tag in tags), "---"]
    return "\n".join(lines)


def _summary(package: PackageDescription) -> str:
    size = f" at {package.pixel_size:g} µm per px" if package.pixel_size else ""
    gives = ", ".join(package.logit_names)
    return (
        f"{package.architecture} for {package.task}, made with Abbe {package.abbe}. It sees "
        f"{', '.join(package.channels)}{size} ({package.normalisation.words}) and gives: "
        f"{gives}.{_unknown_size(package)}{_standardised(package)}{_calibrated(package)}"
    )


def _calibrated(package: PackageDescription) -> str:
    """What is said of probabilities where they are calibrated."""
    if not package.temperature:
        return ""
    divided = ", ".join(f"{value:.3g}" for value in package.temperature)
    return (
        f" Where probabilities are told, logits are divided by {divided}, which was fitted on "
        "validation images; what is found does not depend on it."
    )


def _unknown_size(package: PackageDescription) -> str:
    if package.pixel_size is not None or package.image_size is not None:
        return ""
    across = package.object_diameter
    known = "" if across is None else f", {across:.3g} px across (median), or --diameter be given"
    return (
        " For which pixel size it was made is not known: images are seen as they are, and should "
        f"show objects as large in px as the training images did{known}."
    )


def _standardised(package: PackageDescription) -> str:
    own = package.standardised
    if own is None:
        return ""
    mean, std = (", ".join(f"{value:g}" for value in part) for part in (own.mean, own.std))
    return (
        f" The network itself subtracts {mean} and divides by {std}, as its encoder was "
        "pretrained: nobody else has to."
    )


def _marks(package: PackageDescription) -> str:
    """What nobody may overlook."""
    lineage = package.lineage
    marks = []
    if lineage.simulated:
        marks.append("**Trained on simulated images.** Its scores say nothing about real tissue.")
    if lineage.stand_in:
        marks.append(
            f"**The teacher is a stand-in** ({lineage.teacher}) for a model that was not at hand."
        )
    if lineage.sees_labels:
        marks.append("**The teacher was prompted with the labels**: its scores are no model's.")
    return "\n".join(f"> {mark}\n>" for mark in marks).removesuffix("\n>")


def _use(package: PackageDescription, place: str) -> str:
    return f"""## Use

```
pip install abbe
abbe predict {place} image.tif --out results
```

```python
import abbe

labels = abbe.predict("{place}", "image.tif")
```"""


def _scores(package: PackageDescription) -> str:
    models = package.training.get("models")
    if not isinstance(models, dict) or not models:
        return ""
    data = package.training.get("data")
    tests = data.get("test") if isinstance(data, dict) else None
    names = [name for name in ("student", *BASELINES, "teacher") if name in models]
    rows = [["", *names], ["---"] * (len(names) + 1)]
    for metric, title in METRICS.items():
        cells = [_cell(models[name], metric) for name in names]
        if any(cell != "—" for cell in cells):
            rows.append([title, *cells])
    text = "\n".join("| " + " | ".join(row) + " |" for row in rows)
    about = (
        f"Means over {counted(tests, 'test image')} of {limits.tested_on(package)}"
        if tests
        else "Means"
    )
    about += _groups(data)
    others = [name for name in BASELINES if name in names]
    about += ", with 95 % intervals"
    if seeds := _seeds(package):
        network = package.training.get("network", "student")
        about += f" over images and {counted(seeds, 'seed')}; the package is the first "
        about += f"seed's {network}, named before any was scored"
    told = (
        f" {listed(others).capitalize()}: the same network without the teacher." if others else ""
    )
    return f"## Scores\n\n{about}.{told}\n\n{text}"


def _groups(data: Any) -> str:
    """How many groups of test images there are, where images are known to belong together."""
    if not isinstance(data, dict) or not data.get("grouped") or not data.get("test_groups"):
        return ""
    count = data["test_groups"]
    return f" in {count} group{'s' * (count != 1)} (patients, slides …)"


def _seeds(package: PackageDescription) -> int | None:
    """How many seeds the scores are means over, where there are several."""
    evidence = package.training.get("evidence")
    seeds = evidence.get("seeds") if isinstance(evidence, dict) else None
    return len(seeds) if isinstance(seeds, list) and len(seeds) > 1 else None


def _cell(model: Any, metric: str) -> str:
    value = model.get("metrics", {}).get(metric) if isinstance(model, dict) else None
    return limits.interval(value)


def _origin(package: PackageDescription) -> str:
    lineage = package.lineage
    rows = {
        "Recipe": lineage.recipe,
        "Run": lineage.run,
        "Student trained on": lineage.dataset,
        "Licence of these images": lineage.dataset_licence,
        "Teacher": lineage.teacher,
        "Teacher prompted with": lineage.prompt_mode or "nothing",
        "Weights that this one learned from, and their licence": lineage.weights_licence,
        "Licence of what the teacher was trained on": lineage.training_data_licence,
    }
    lines = [f"| {name} | {value} |" for name, value in rows.items()]
    notes = "\n".join(f"- {note}" for note in lineage.notes)
    table = "\n".join(["| | |", "| --- | --- |", *lines])
    licence = (
        "Licences of the teacher's weights and of all training images may bind the student. "
        "This list says what is known; it is no legal advice."
    )
    parts = ["## Lineage and licences", table, licence, notes]
    return "\n\n".join(part for part in parts if part)


def _speed(package: PackageDescription) -> str:
    if not package.timings:
        return ""
    rows = ["| setting | ms per tile | megapixels/s |", "| --- " * 3 + "|"]
    for name, figures in package.timings.items():
        speed = number(figures.get("megapixels_per_s"), ".2f")
        rows.append(f"| {name} | {number(figures.get('ms_per_tile'), '.1f')} | {speed} |")
    return (
        "## Speed of the network where it was exported\n\nMedian of one tile; megapixels of image "
        f"after {package.margin} px at each side are taken off.\n\n" + "\n".join(rows)
    )


class Sections(NamedTuple):
    """The sections of a card that differ between tasks, and the task in Hugging Face's words."""

    kind: str
    summary: Section
    use: Use
    parity: Section


SECTIONS: Mapping[str, Sections] = {
    "segmentation": Sections("image-segmentation", _summary, _use, parity),
    "regions": Sections("image-segmentation", _summary, classes.use, parity),
    "classification": Sections("image-classification", _summary, classes.use, parity),
    "promptable": Sections(
        "mask-generation", promptable.summary, promptable.use, promptable.parity
    ),
}
"""By task of the package."""
