"""The page and `abbe predict` on the same nuclei: a few for a test, 60 for a benchmark."""

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from visits import labels_of, look, visit

from abbe.runtime.package.places import shipped
from abbe.runtime.predictors.instances import predictor
from abbe.runtime.predictors.predict import predict
from abbe.scoring import instance_scores


@dataclass
class Agreement:
    """How alike answers are: images with equal counts, the PQ of each, objects, large images."""

    images: int
    same: int
    quality: list[float]
    objects: int
    larger: int

    def __str__(self) -> str:
        return (
            f"{self.same} of {self.images} with equal counts, PQ {np.mean(self.quality):.5f}, "
            f"{self.objects} objects, {self.larger} images larger than a window"
        )


def chosen(folder: Path, count: int) -> list[Path]:
    """Images without colours, evenly from all sizes: some are larger than a window."""
    with open(folder / "index.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] in ("fluo", "grey_bright")]
    rows.sort(key=lambda row: (int(row["h"]) * int(row["w"]), row["id"]))
    places = np.linspace(0, len(rows) - 1, count).astype(int)
    return [folder / "images" / f"{rows[place]['id']}.png" for place in places]


def compared(browser: Any, server: Any, folder: Path, count: int) -> Agreement:
    """Ask a served site of `nuclei`, and the package itself in fp32."""
    ready = predictor(shipped()["nuclei"], engine="onnxruntime", precision="fp32", threads=1)
    found = Agreement(count, 0, [], 0, 0)
    with visit(browser, server) as page:
        for image in chosen(folder, count):
            look(page, image)
            assert not page.is_visible("#problem"), page.inner_text("#problem")
            seen, wanted = labels_of(page), predict(ready, image)
            found.same += int(seen.max() == wanted.max())
            found.larger += int(max(wanted.shape) > 512)
            found.objects += int(wanted.max())
            found.quality.append(instance_scores(seen, wanted)["pq"])
    return found
