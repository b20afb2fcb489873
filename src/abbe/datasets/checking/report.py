"""The report of a check: lines for the console, values for programs, a sheet to look at."""

import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from abbe.datasets.checking.facts import facts_of, parts_of
from abbe.datasets.class_check import region_pixels
from abbe.datasets.classes import class_counts
from abbe.datasets.collection import Dataset, Record
from abbe.datasets.crops import recommended_crop
from abbe.datasets.inspection import ImageFacts, LabelFacts, Problem, RegionFacts
from abbe.errors import InputError
from abbe.files import atomic_path
from abbe.imaging import contact_sheet
from abbe.imaging.pictures.thumbnail import LONGEST, thumbnail
from abbe.in_words import counted, listing

SHEET_IMAGES = 24


@dataclass(frozen=True)
class CheckReport:
    """What was found: `text` for the console, `to_json` for programs, `contact_sheet` to look at.

    ``images`` and ``labels`` hold what could be read, by id.
    """

    dataset: Dataset
    images: dict[str, ImageFacts]
    labels: dict[str, LabelFacts]
    problems: tuple[Problem, ...]
    regions: dict[str, RegionFacts] = field(default_factory=dict)

    @property
    def crop(self) -> tuple[int, str] | None:
        """The side of a training crop that is recommended, px, and why; None without an image."""
        if not self.images:
            return None
        areas = [area for facts in self.labels.values() for area in facts.areas]
        diameter = float(np.median(2 * np.sqrt(np.array(areas) / np.pi))) if areas else None
        return recommended_crop(diameter, min(min(each.shape) for each in self.images.values()))

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong that would stop or spoil a run; warnings are allowed."""
        return all(problem.severity != "error" for problem in self.problems)

    def text(self) -> str:
        """The report as lines of at most about 100 characters."""
        lines = [f"{self.dataset.name}: {counted(len(self.dataset), 'image')}"]
        lines += [
            f"  {name:<13} {value}"
            for name, value in facts_of(
                self.dataset, self.images, self.labels, self.regions, self.crop
            )
        ]
        lines += [f"  note          {note}" for note in self.dataset.notes]
        lines += [
            f"  note          {of}{'s' if len(ids) > 1 else ''} {listing(ids, 3)}: {note}"
            for (of, note), ids in self._read_notes().items()
        ]
        for problem in self.problems:
            mark = "ERROR  " if problem.severity == "error" else "warning"
            count = f" ({len(problem.where)})" if len(problem.where) > 1 else ""
            lines.append(f"{mark} {problem.what}{count}")
            lines += [f"          {id}: {detail}" if id else f"          {detail}"
                      for id, detail in problem.where[:5]]  # fmt: skip
            if len(problem.where) > 5:
                lines.append(f"          … and {len(problem.where) - 5} more")
        if not self.problems:
            lines.append("no problem found")
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The same as plain values, with every problem and the facts of each image."""
        return {
            "name": self.dataset.name,
            "simulated": self.dataset.simulated,
            "licence": self.dataset.licence,
            "ok": self.ok,
            "summary": dict(
                facts_of(self.dataset, self.images, self.labels, self.regions, self.crop)
            ),
            "splits": {
                name: {"images": len(part), "labelled": len(part.annotated)}
                | ({"classes": class_counts(part)} if self.dataset.classes else {})
                for name, part in parts_of(self.dataset)
            },
            "crop": None
            if self.crop is None
            else dict(zip(("side", "why"), self.crop, strict=True)),
            "regions": region_pixels(self.dataset, self.regions) if self.regions else {},
            "notes": list(self.dataset.notes),
            "read_notes": [
                {"of": of, "note": note, "where": ids}
                for (of, note), ids in self._read_notes().items()
            ],
            "problems": [
                {
                    "severity": problem.severity,
                    "what": problem.what,
                    "where": [{"id": id or None, "detail": detail} for id, detail in problem.where],
                }
                for problem in self.problems
            ],
            "images": {
                id: asdict(facts)
                | {"label": asdict(self.labels[id]) if id in self.labels else None}
                | {"regions": asdict(self.regions[id]) if id in self.regions else None}
                for id, facts in self.images.items()
            },
        }

    def contact_sheet(self, path: str | os.PathLike[str]) -> Path:
        """Write a picture (PNG) of up to 24 images, spread over the set, with label outlines.

        Raises:
            InputError: No image could be read.
        """
        readable = [record for record in self.dataset if record.id in self.images]
        if not readable:
            raise InputError(f"data set '{self.dataset.name}' has no readable image to show")
        count = min(SHEET_IMAGES, len(readable))
        chosen = [readable[index] for index in np.linspace(0, len(readable) - 1, count).astype(int)]
        sheet = contact_sheet(
            [self._picture(record) for record in chosen],
            [self._caption(record) for record in chosen],
        )
        target = Path(path)
        with atomic_path(target) as temporary:
            sheet.save(temporary, format="PNG")
        return target

    def _read_notes(self) -> dict[tuple[str, str], list[str]]:
        """What was done when images and labels were read, with the ids of those."""
        found: dict[tuple[str, str], list[str]] = {}
        for of, all_facts in (("image", self.images), ("label", self.labels)):
            for id, facts in all_facts.items():
                for note in facts.notes:
                    found.setdefault((of, note), []).append(id)
        return found

    def _fits(self, id: str) -> bool:
        """Whether there is a readable label of the image's size."""
        facts = self.labels.get(id) or self.regions.get(id)
        return facts is not None and facts.shape == self.images[id].shape

    def _picture(self, record: Record) -> np.ndarray:
        label = record.label if self._fits(record.id) else None
        return thumbnail(record.image.open(), None if label is None else label.read())

    def _caption(self, record: Record) -> str:
        if record.label is None:
            objects = record.columns.get("class") or "no label"
        elif not self._fits(record.id):
            objects = "label unusable"
        elif record.id not in self.labels:
            objects = "classes of regions"
        else:
            count = len(self.labels[record.id].areas)
            objects = counted(count, "object")
        shape = self.images[record.id].shape
        part = "(middle shown)" if max(shape) > LONGEST else ""
        parts = [record.id, record.split or "", objects, part]
        return " · ".join(part for part in parts if part)
