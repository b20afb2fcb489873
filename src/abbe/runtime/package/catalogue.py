"""What packages there are and what they are for, in figures and in words."""

import os
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

from abbe.errors import AbbeError, PackageError
from abbe.in_words import counted
from abbe.remote import as_path
from abbe.runtime.package.description import DESCRIPTION, Package, PackageDescription
from abbe.runtime.package.places import HUB, Place, fetched, repository_of, shipped
from abbe.runtime.package.reading import read_package

SCORES: Mapping[str, tuple[str, ...]] = {
    "segmentation": ("dice", "f1@0.5", "pq"),
    "regions": ("mean_iou", "dice"),
    "classification": ("balanced_accuracy", "auroc"),
    "promptable": ("dice_1_point", "dice_3_points"),
}
"""By task, the scores that matter first, by their names in a run's summary."""
NAMES = {"dice": "Dice", "f1@0.5": "F1 at IoU 0.5", "pq": "PQ", "mean_iou": "IoU",
         "balanced_accuracy": "balanced accuracy", "auroc": "AUROC",
         "dice_1_point": "Dice of one point", "dice_3_points": "Dice of three points"}  # fmt: skip


@dataclass(frozen=True)
class Score:
    """A mean over test images, and its 95 % interval where there is one."""

    mean: float
    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.mean:.3f}"
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Entry:
    """A package, as far as its description tells.

    Attributes:
        name: What `abbe.predict` and ``abbe predict`` take: a name, a folder, "hf:OWNER/NAME".
        origin: Whether it comes with Abbe, lies in a folder, or in a repository.
        title, task, architecture: As the package says.
        channels: That it sees.
        normalisation: How pixels reach it, in words.
        pixel_size: µm per px that images are brought to; None for images as they are.
        object_diameter: Median diameter of the objects that it was trained on, in px it sees.
        gives: Names of its maps, or of its classes.
        engine: What it runs as, such as "openvino/int8".
        bytes: Of all its files.
        dataset, dataset_licence, weights_licence: What it was trained on, and what that allows.
        test_images: How many the scores are means over.
        scores: Those that matter first for its task.
        simulated: Whether it was trained on simulated images.
    """

    name: str
    origin: Literal["shipped", "folder", "hub"]
    title: str
    task: str
    architecture: str
    channels: tuple[str, ...]
    normalisation: str
    pixel_size: float | None
    object_diameter: float | None
    gives: tuple[str, ...]
    engine: str
    bytes: int
    dataset: str
    dataset_licence: str
    weights_licence: str
    test_images: int | None
    scores: dict[str, Score]
    simulated: bool

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)

    def __str__(self) -> str:
        rows = {
            "sees": f"{', '.join(self.channels)}; {self.normalisation}",
            "scale": self._scale(),
            "gives": f"{_TASKS[self.task]} ({', '.join(self.gives)})",
            "scores": self._scores(),
            "data": f"{self.dataset} ({self.dataset_licence})",
            "weights": self.weights_licence,
            "runs as": f"{self.engine}, {self.architecture}, {self.bytes / 1e6:.1f} MB",
        }
        lines = [f"{self.name}: {self.title}"]
        lines += [f"  {key:8} {value}" for key, value in rows.items() if value]
        if self.simulated:
            lines.append("  Trained on simulated images: its scores say nothing of real ones.")
        return "\n".join(lines)

    def _scale(self) -> str:
        size = "images as they are" if self.pixel_size is None else f"{self.pixel_size:g} µm per px"
        if self.object_diameter is None:
            return size
        return f"{size}; trained on objects of about {self.object_diameter:.3g} px across (median)"

    def _scores(self) -> str:
        told = ", ".join(f"{NAMES[name]} {score}" for name, score in self.scores.items())
        tests = f" on {counted(self.test_images, 'test image')}" if self.test_images else ""
        return f"{told}{tests}" if told else ""


_TASKS = {
    "segmentation": "objects",
    "regions": "a class for each pixel",
    "classification": "a class for each image",
    "promptable": "the object at a point or in a box",
}


@dataclass(frozen=True)
class Catalogue:
    """What was found.

    Attributes:
        entries: Packages that come with Abbe first, then those of the places, as given.
        problems: By place, why nothing of it could be listed.
    """

    entries: list[Entry]
    problems: dict[str, str]

    def __str__(self) -> str:
        blocks = [str(entry) for entry in self.entries]
        blocks += [f"cannot be listed: {reason}" for reason in self.problems.values()]
        return "\n\n".join(blocks)


def catalogue(places: Iterable[Place] = ()) -> Catalogue:
    """The packages that come with Abbe, and those in places that are named.

    Args:
        places: Folders of packages, folders in which such folders lie, and repositories on Hugging
            Face, "hf:OWNER/NAME", of which only the description is fetched.
    """
    found = [entry_of(read_package(folder), name, "shipped") for name, folder in shipped().items()]
    problems: dict[str, str] = {}
    for place in places:
        if os.fspath(place) in shipped() and not os.path.exists(place):
            continue  # it is listed already
        try:
            found += _entries_at(place)
        except AbbeError as error:
            problems[os.fspath(place)] = str(error)
    return Catalogue(found, problems)


def _entries_at(place: Place) -> list[Entry]:
    repository = repository_of(place)
    if repository is not None:
        package = read_package(fetched(repository, only=[DESCRIPTION]))
        return [entry_of(package, f"{HUB}{repository}", "hub")]
    folder = as_path(place)
    if (folder / DESCRIPTION).is_file():
        return [entry_of(read_package(folder), str(folder), "folder")]
    within = sorted(path.parent for path in folder.glob(f"*/{DESCRIPTION}"))
    if not within:
        raise PackageError(
            f"{folder}: is no package, and none lies in it ({DESCRIPTION} is missing). Give the "
            f"folder that 'abbe export' wrote, or {HUB}OWNER/NAME"
        )
    return [entry_of(read_package(path), str(path), "folder") for path in within]


def entry_of(package: Package, name: str, origin: Literal["shipped", "folder", "hub"]) -> Entry:
    """What a package's description tells."""
    told = package.description
    data = told.training.get("data")
    tests = data.get("test") if isinstance(data, dict) else None
    return Entry(
        name=name,
        origin=origin,
        title=told.title,
        task=told.task,
        architecture=told.architecture,
        channels=told.channels,
        normalisation=told.normalisation.words,
        pixel_size=told.pixel_size,
        object_diameter=told.object_diameter,
        gives=told.logit_names,
        engine=f"{told.engine.engine}/{told.engine.precision}",
        bytes=sum(file.bytes for file in told.files.values()),
        dataset=told.lineage.dataset,
        dataset_licence=told.lineage.dataset_licence,
        weights_licence=told.lineage.weights_licence,
        test_images=tests if isinstance(tests, int) else None,
        scores=_scores_of(told),
        simulated=told.lineage.simulated,
    )


def _scores_of(told: PackageDescription) -> dict[str, Score]:
    """Those of the network that it holds, where it has figures of its run in the usual form."""
    figures: Any = told.training
    for key in ("models", str(told.training.get("network", "student")), "metrics"):
        figures = figures.get(key) if isinstance(figures, dict) else None
    scores = {}
    for name in SCORES[told.task]:
        found = figures.get(name) if isinstance(figures, dict) else None
        mean = found.get("mean") if isinstance(found, dict) else None
        if isinstance(found, dict) and isinstance(mean, int | float):
            interval = found.get("ci95")
            if not (isinstance(interval, list) and len(interval) == 2):
                interval = (None, None)
            scores[name] = Score(mean, *interval)
    return scores
