"""What to label next: unlabelled images on which teacher and student differ most.

Where two models disagree, one of them is wrong, so a label there teaches something. The images with
the largest disagreement are often alike, so each choice weighs it with the distance to what is
labelled or chosen already. The rule is ours; it follows query by committee (Seung et al. 1992) and
the greedy cover of core sets (Sener and Savarese 2018).
"""

import csv
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from itertools import combinations
from pathlib import Path

import numpy as np
import torch
from scipy.spatial.distance import cdist

from abbe import config
from abbe.datasets import Dataset, Record, spread
from abbe.errors import ConfigError, InputError
from abbe.files import atomic_path
from abbe.foreign_text import cells
from abbe.imaging import contact_sheet, draw_outlines, view
from abbe.imaging.channels import matching
from abbe.in_words import counted
from abbe.progress import track
from abbe.recipes.recipe import recipe_named
from abbe.runs import build
from abbe.runs.folder import Run, open_run, read_experiment, require_student
from abbe.runs.lost import Lost, readable
from abbe.runs.teaching import STORE
from abbe.runs.trained import trained_models
from abbe.summary import Thresholds
from abbe.targets import TargetStore
from abbe.tasks.maps import Maps, NetworkModel, StoredModel

KNOWN = 200
"""Labelled training images that a choice is to be unlike, evenly spread, at most."""
FEATURES_OF = 512
"""px a side, at most, of the middle of an image whose features are compared."""
LIKELY = 0.5
"""Probability from which on a model says that there is something."""
THICK = 300
"""px of an image's longest side for each px of an outline, so that it is seen on the sheet."""
STUDENT, OTHER = (90, 200, 255), (90, 230, 120)
"""Colours of outlines on the sheet."""


@dataclass(frozen=True)
class Suggestion:
    """An image to label.

    Attributes:
        rank: from 1.
        image: its id.
        disagreement: from 0, where the models say the same, to 1.
        distance: to the nearest image that is labelled or has a better rank, in units of the mean
            over all pairs of images; of the first without any labelled one, 0.
        objects: that the student finds in it.
    """

    rank: int
    image: str
    disagreement: float
    distance: float
    objects: int


@dataclass(frozen=True)
class Suggestions:
    """What to label next, and where that is written.

    Attributes:
        chosen: the images, the first one first.
        between: whose answers were compared, in words.
        looked_at: how many unlabelled images there were.
        table, sheet: the files.
    """

    chosen: tuple[Suggestion, ...]
    between: str
    looked_at: int
    table: Path
    sheet: Path

    def text(self) -> str:
        """A line for each image."""
        lines = [f"{'rank':>4}  {'disagreement':>12}  {'distance':>8}  {'objects':>7}  image"]
        lines += [
            f"{each.rank:4}  {each.disagreement:12.3f}  {each.distance:8.2f}  {each.objects:7}  "
            f"{each.image}"
            for each in self.chosen
        ]
        return "\n".join(lines)


def suggest(
    folder: Path,
    *,
    count: int = 20,
    data: Dataset | None = None,
    out: Path | None = None,
    progress: bool = True,
) -> Suggestions:
    """Choose unlabelled images to label, and write a table and a sheet of pictures.

    The run's stored answers of its teacher are held against its students; where there are none,
    the students of its seeds against each other.

    Args:
        folder: a finished run whose student finds objects.
        count: how many images, fewer where there are no more.
        data: other images; None for the unlabelled training images of the run.
        out: folder of suggestions.csv and suggestions.png; ``suggestions`` in the run where None.
        progress: show a bar.

    Raises:
        InputError: the run is not finished, no image is without a label, or one cannot be read.
        ConfigError: the run's student finds no objects, ``count`` is below 1, or there is but one
            answer for each image.
    """
    if count < 1:
        raise ConfigError(f"--count {count}: at least 1 is needed")
    run = open_run(folder)
    require_student(run)
    experiment = read_experiment(run.folder)
    dataset = build.build_dataset(experiment.data) if data is None else data
    channels = experiment.student.input_channels
    dataset = build.seen_by(dataset, channels, "the student")
    own = data is None
    if own:  # what the run did without is not there for this either
        dataset = dataset.split("train").without(run.summary.left_out)
    else:
        build.tell_problems(dataset)
    dataset = readable(dataset, Lost(0), progress=progress)  # before minutes of work, not after
    records = dataset.unlabelled.records
    if not records:
        raise InputError(
            f"data set '{dataset.name}' has no unlabelled {'training ' if own else ''}image: name "
            "others with --data"
        )
    committee = _Committee.of(run, experiment, channels)
    between = committee.require_two(records)
    known = spread(dataset.labelled.records)[:KNOWN] if own else ()
    seen = [*records, *known]
    features = [committee.features(each) for each in track(seen, "looking", shown=progress)]
    asked = track(records, "asking", shown=progress)
    disagreements = [
        mean_disagreement(list(committee.predictions(each).values())) for each in asked
    ]
    order, distances = choose(np.array(disagreements), np.stack(features), count)
    pictures, chosen = [], []
    for rank, (index, distance) in enumerate(zip(order, distances, strict=True), start=1):
        objects, picture = committee.drawn(records[index])
        pictures.append(picture)
        chosen.append(Suggestion(rank, records[index].id, disagreements[index], distance, objects))
    out = out or run.folder / "suggestions"
    out.mkdir(parents=True, exist_ok=True)
    table, sheet = out / "suggestions.csv", out / "suggestions.png"
    _write_table(table, chosen)
    _write_sheet(sheet, chosen, pictures)
    return Suggestions(tuple(chosen), between, len(records), table, sheet)


def disagreement(first: Maps, second: Maps) -> float:
    """How much two models differ on an image, from 0 to 1: a soft Jaccard distance.

    The sum of |p − q| over that of max(p, q), over pixels where one of them is `LIKELY`: the small
    probabilities of a large background would outweigh a few objects. Of the foreground and, where
    both have it, of the boundary; the mean of both. Where neither finds anything, it is 0.
    """
    pairs = [(first.foreground, second.foreground)]
    if first.boundary is not None and second.boundary is not None:
        pairs.append((first.boundary, second.boundary))
    shares = []
    for one, other in pairs:
        likely = np.maximum(one, other) >= LIKELY
        either = float(np.maximum(one, other)[likely].sum(dtype=np.float64))
        differ = float(np.abs(one - other)[likely].sum(dtype=np.float64))
        shares.append(differ / either if either > 0 else 0.0)
    return float(np.mean(shares))


def mean_disagreement(answers: Sequence[Maps]) -> float:
    """The mean over all pairs."""
    return float(np.mean([disagreement(*pair) for pair in combinations(answers, 2)]))


def choose(
    disagreements: np.ndarray, features: np.ndarray, count: int
) -> tuple[list[int], list[float]]:
    """Greedily the images with the largest disagreement × distance to what is known or chosen.

    Args:
        disagreements: (N,) of the images.
        features: (N + K, F) of these, then of K known ones.
        count: how many to choose.

    Returns:
        Their places, the first choice first, and their distances.
    """
    number = len(disagreements)
    spread_of = features.std(axis=0)
    scaled = features[:, spread_of > 0] / spread_of[spread_of > 0]
    between = cdist(scaled, scaled[:number])
    usual = between[:number][~np.eye(number, dtype=bool)]
    between /= usual.mean() if usual.size and usual.mean() > 0 else 1.0
    known = between[number:]
    distance = known.min(axis=0) if len(known) else np.full(number, np.inf)
    left = np.ones(number, bool)
    order, distances = [], []
    while left.any() and len(order) < count:
        # Before anything is known, disagreement alone decides; equal values go by place.
        value = disagreements * np.where(np.isinf(distance), 1.0, distance)
        index = int(np.argmax(np.where(left, value, -1.0)))
        order.append(index)
        distances.append(0.0 if np.isinf(distance[index]) else float(distance[index]))
        distance = np.minimum(distance, between[index])
        left[index] = False
    return order, distances


@dataclass(frozen=True)
class _Committee:
    """The students of all seeds, and the teacher's stored answers."""

    students: Mapping[int | None, NetworkModel]
    store: TargetStore | None
    thresholds: Thresholds
    minimum_area: int

    @staticmethod
    def of(run: Run, experiment: config.Experiment, channels: tuple[str, ...]) -> "_Committee":
        task = recipe_named(experiment.recipe).task(experiment)
        models, cut = trained_models(run, task, channels)
        students = models["student"]
        if not all(isinstance(each, NetworkModel) for each in students.values()):
            raise ConfigError(
                f"{run.folder}: its student makes no maps of objects, so answers cannot be "
                "compared here. Name a run of cmkd or supervised"
            )
        path = run.folder / STORE
        if not path.exists() and experiment.teacher.kind == "store" and experiment.teacher.path:
            path = experiment.teacher.path
        store = TargetStore(path) if path.exists() else None
        first = next(iter(cut.get("student", {}).values()), Thresholds())
        area = experiment.evaluation.minimum_area
        return _Committee(students, store, first, area)

    def require_two(self, records: Sequence[Record]) -> str:
        """Whose answers are compared; refuse where there is one of each image."""
        taught = sum(map(self.is_taught, records))
        seeds = len(self.students)
        if taught == len(records):
            return "the teacher and the student" + (f"s of {seeds} seeds" if seeds > 1 else "")
        if seeds < 2:
            raise ConfigError(
                f"{len(records) - taught} of {counted(len(records), 'image')}: no answer but the "
                "student's, with which none can be compared. Name images whose teacher's answers "
                "are stored in the run, or a run of several seeds (--evidence standard)"
            )
        some = f" (and the teacher's of {counted(taught, 'image')})" if taught else ""
        return f"the students of {seeds} seeds{some}"

    def is_taught(self, record: Record) -> bool:
        """Whether the stored answer is of this very image: another may have the same name."""
        if self.store is None or record.id not in self.store.ids:
            return False
        image = record.image.open()
        channels = matching(image.channels, self.store.provenance.channels)
        if channels is None:
            return False
        return self.store.entry(record.id).image_sha256 == image.sha256(channels)

    def predictions(self, record: Record) -> dict[str, Maps]:
        """By model. The mean of the students stands for them where the teacher has answered."""
        own = [each.predict(record) for each in self.students.values()]
        if self.store is None or not self.is_taught(record):
            return {f"student {seed}": maps for seed, maps in zip(self.students, own, strict=True)}
        return {"student": _mean(own), "teacher": StoredModel(self.store).predict(record)}

    def features(self, record: Record) -> np.ndarray:
        """(F,) what the first student's encoder says of the middle of an image, on average."""
        model = next(iter(self.students.values()))
        pixels = model.seen(record.image.open())
        divisor = model.network.divisor
        lacking = [(0, max(0, divisor - side)) for side in pixels.shape[1:]]
        pixels = np.pad(pixels, [(0, 0), *lacking], mode="edge")
        height, width = (min(side, FEATURES_OF) // divisor * divisor for side in pixels.shape[1:])
        top, left = (pixels.shape[1] - height) // 2, (pixels.shape[2] - width) // 2
        middle = torch.from_numpy(pixels[None, :, top : top + height, left : left + width].copy())
        model.network.eval()
        with torch.inference_mode():
            return model.network.encoder(middle)[-1].mean(dim=(2, 3))[0].float().numpy()

    def drawn(self, record: Record) -> tuple[int, np.ndarray]:
        """How many objects the first answer has, and the image with outlines of the first two."""
        image = record.image.open()
        picture, counts = view(image.read(), image.channels), []
        thickness = max(1, round(max(picture.shape[:2]) / THICK))
        for maps, colour in zip(self.predictions(record).values(), (STUDENT, OTHER), strict=False):
            objects = maps.objects(self.thresholds, self.minimum_area)
            picture = draw_outlines(picture, objects, colour, thickness=thickness)
            counts.append(len(np.unique(objects[objects > 0])))
        return counts[0], picture


def _mean(answers: Sequence[Maps]) -> Maps:
    foreground = np.mean([each.foreground for each in answers], axis=0)
    edges = [each.boundary for each in answers if each.boundary is not None]
    return Maps(foreground, np.mean(edges, axis=0) if edges else None)


def _write_table(path: Path, chosen: Sequence[Suggestion]) -> None:
    names = [each.name for each in fields(Suggestion)]
    with atomic_path(path) as temporary, open(temporary, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(names)
        for each in chosen:
            values = asdict(each).values()
            rounded = [round(value, 4) if isinstance(value, float) else value for value in values]
            writer.writerow(cells(rounded))


def _write_sheet(path: Path, chosen: Sequence[Suggestion], pictures: Sequence[np.ndarray]) -> None:
    captions = [f"{each.rank}  {each.image}  {each.disagreement:.2f}" for each in chosen]
    with atomic_path(path) as temporary:
        contact_sheet(list(pictures), captions).save(temporary, format="PNG")
