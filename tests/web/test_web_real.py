"""On real nuclei of many sizes the page finds what `abbe predict` finds."""

import csv

import numpy as np
import pytest
from visits import labels_of, look, visit

from abbe.runtime.package.places import shipped
from abbe.runtime.predictors.instances import predictor
from abbe.runtime.predictors.predict import predict
from abbe.scoring import instance_scores
from abbe.web import build_site

pytestmark = [pytest.mark.real, pytest.mark.slow]

IMAGES = 60


def chosen(folder):
    """Images without colours, evenly from all sizes: some are larger than a window."""
    with open(folder / "index.csv", encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["kind"] in ("fluo", "grey_bright")]
    rows.sort(key=lambda row: (int(row["h"]) * int(row["w"]), row["id"]))
    places = np.linspace(0, len(rows) - 1, IMAGES).astype(int)
    return [folder / "images" / f"{rows[place]['id']}.png" for place in places]


def test_the_page_finds_what_predict_finds(tmp_path, runtime, browser, served, data_root):
    build_site(shipped()["nuclei"], tmp_path / "site", runtime=runtime, webgpu=False)
    ready = predictor(shipped()["nuclei"], engine="onnxruntime", precision="fp32", threads=1)
    same, quality, objects, larger = 0, [], 0, 0
    with visit(browser, served(tmp_path / "site")) as page:
        for image in chosen(data_root / "dsb2018"):
            look(page, image)
            assert not page.is_visible("#problem"), page.inner_text("#problem")
            found, wanted = labels_of(page), predict(ready, image)
            same += int(found.max() == wanted.max())
            larger += max(wanted.shape) > 512
            objects += int(wanted.max())
            quality.append(instance_scores(found, wanted)["pq"])
    print(f"{same} of {IMAGES} with equal counts, PQ {np.mean(quality):.5f}, {objects} objects")
    assert larger >= 10
    assert objects > 1000
    assert same >= 0.98 * IMAGES
    assert np.mean(quality) >= 0.995
