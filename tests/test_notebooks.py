"""What notebooks show of Abbe's objects: short texts, cards whose strings are harmless."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow
import pytest
from pyarrow import parquet

from abbe import datasets
from abbe.curves.folder import Curve
from abbe.datasets import Dataset
from abbe.datasets.collection import FileImage, Record
from abbe.errors import InputError
from abbe.notebooks import LARGEST_PICTURE, card, coloured, grey
from abbe.runs.folder import Run, open_run
from abbe.summary import CurveSummary
from abbe.targets import Provenance, TargetStore, TargetWriter

HOSTILE = "<script>alert('x')</script>"


class Elements(HTMLParser):
    """The elements and the text of a card."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text: list[str] = []
        self.images: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.images += [value or "" for name, value in attrs if name == "src"]

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def picture_of(html: str) -> np.ndarray:
    """The one picture of a card, decoded."""
    (source,) = Elements(html).images
    kind, _, data = source.partition(",")
    assert kind == "data:image/png;base64"
    with PIL.Image.open(io.BytesIO(base64.b64decode(data))) as picture:
        return np.asarray(picture)


def test_a_card_has_a_headline_its_figures_and_a_small_picture():
    picture = np.zeros((1000, 500, 3), np.uint8)
    picture[:500] = (200, 10, 10)
    html = card("Head", {"images": 3, "Dice": "0.9"}, picture)
    elements = Elements(html)
    assert elements.text == ["Head", "images", "3", "Dice", "0.9"]
    shown = picture_of(html)
    assert shown.shape == (LARGEST_PICTURE, LARGEST_PICTURE // 2, 3)
    assert tuple(shown[10, 10]) == (200, 10, 10)
    assert Elements(card("Head", {})).images == []


def test_strings_of_strangers_become_no_elements():
    elements = Elements(card(HOSTILE, {HOSTILE: HOSTILE, "quote": "' onload='x"}))
    assert set(elements.tags) == {"div", "b", "table", "tr", "td"}
    assert elements.text.count(HOSTILE) == 3


def test_labels_and_maps_become_pictures():
    labels = np.array([[0, 1], [2, -1]])
    shown = coloured(labels)
    assert shown.shape == (2, 2, 3)
    assert tuple(shown[0, 0]) == tuple(shown[1, 1]) == (25, 25, 25)
    assert tuple(shown[0, 1]) != tuple(shown[1, 0])
    assert grey(np.array([[0.0, 0.5, 2.0]]))[0, :, 0].tolist() == [0, 127, 255]


def test_a_data_set_tells_its_size_and_shows_an_image():
    data = datasets.assign_splits(datasets.simulated_tissue(12, size=64, seed=1), seed=0)
    assert re.fullmatch(
        r"Dataset\('simulated.*', 12 images, 12 labelled, channels nucleus, membrane, cytoplasm\)",
        repr(data),
    )
    html = data._repr_html_()
    text = Elements(html).text
    assert "(simulated)" in text[0]
    assert "12 images, 12 labelled" in text
    assert any(re.fullmatch(r"train \d, val \d, test \d", each) for each in text)
    assert picture_of(html).shape == (64, 64, 3)


def test_a_data_set_without_a_readable_image_says_why(tmp_path):
    missing = Record("a", FileImage(tmp_path / f"{HOSTILE[:8]}.tif"))
    html = Dataset("d", (missing,), ("nucleus",))._repr_html_()
    elements = Elements(html)
    assert elements.images == []
    assert "first image" in elements.text
    assert "script" not in elements.tags
    assert Elements(Dataset("d", (), ("nucleus",))._repr_html_()).text[2] == "0 images, 0 labelled"


@pytest.fixture
def store(tmp_path: Path) -> TargetStore:
    """Answers for three images: nothing, a probability map and nothing."""
    provenance = Provenance(
        teacher=HOSTILE,
        weights_sha256="a" * 64,
        weights_licence="CC-BY-4.0",
        training_data_licence="not stated",
        channels=("nucleus",),
        normalisation="percentiles 1 and 99.8",
    )
    ramp = np.linspace(0, 1, 24 * 40, dtype=np.float32).reshape(1, 24, 40)
    with TargetWriter.open(tmp_path / "t.zarr", provenance) as writer:
        writer.append("a", {}, image_sha256="5" * 64, shape=(24, 40), empty=True)
        writer.append("b", {"probability": ramp}, image_sha256="5" * 64)
    return TargetStore(tmp_path / "t.zarr")


def test_a_target_store_tells_its_teacher_and_shows_an_answer(store):
    assert repr(store) == f"TargetStore('{store.path}', 2 images, taught by {HOSTILE})"
    html = store._repr_html_()
    elements = Elements(html)
    assert "script" not in elements.tags
    assert elements.text[0] == f"Answers of {HOSTILE}"
    assert "2, 1 of them empty" in elements.text
    assert "CC-BY-4.0" in elements.text
    shown = picture_of(html)
    assert shown.shape == (24, 40, 3)
    assert shown[0, 0, 0] == 0
    assert shown[-1, -1, 0] == 255


def test_a_target_store_stands_for_its_path(store):
    assert TargetStore(store).ids == store.ids


# ------------------------------------------------------------------------- runs, curves, packages


def score(mean: float, low: float, high: float, **more: float) -> dict[str, object]:
    return {"mean": mean, "ci95": [low, high], "n": 12, **more}


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run with figures and one example, as its folder tells them."""
    summary = {
        "recipe": "cmkd",
        "title": HOSTILE,
        "task": "instances",
        "metric_names": {"dice": "Dice"},
        "models": {"student": {"metrics": {"dice": score(0.81, 0.79, 0.83)}}},
        "gain": {"dice": score(0.031, 0.012, 0.05, p=0.01)},
        "retention": {"dice": 0.963},
        "data": {"test": 12},
    }
    (tmp_path / "summary.json").write_text(json.dumps(summary))
    (tmp_path / "examples").mkdir()
    labels = np.zeros((40, 60), np.int32)
    labels[10:20, 10:20] = 1
    np.savez(
        tmp_path / "examples" / "0-best-a.npz",
        id="a", image=np.full((40, 60, 3), 90, np.uint8), truth=labels, student=labels,
    )  # fmt: skip
    rows = [{"image": "a", "group": None, "model": "student", "metric": "dice", "value": 0.9}]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "scores.parquet")
    return open_run(tmp_path)


def test_a_run_tells_its_figures_with_intervals_and_shows_an_example(run):
    assert repr(run) == (
        f"Run('{run.folder}', recipe cmkd, Dice of the student 0.810 [0.790, 0.830], "
        "gain over twin +0.031 [0.012, 0.050])"
    )
    elements = Elements(run._repr_html_())
    assert "script" not in elements.tags
    assert elements.text == [
        HOSTILE,
        "Dice of the student", "0.810 [0.790, 0.830]",
        "gain over twin", "+0.031 [0.012, 0.050]",
        "retention of the teacher", "96.3 %",
        "labelled test images", "12",
    ]  # fmt: skip
    shown = picture_of(run._repr_html_())
    assert shown.shape == (40, 60, 3)
    assert tuple(shown[10, 15]) == (255, 220, 0)  # the outline of the student's object
    assert tuple(shown[30, 30]) == (90, 90, 90)


def test_a_run_has_its_scores_as_a_table_and_its_examples(run):
    assert run.scores.column_names == ["image", "group", "model", "metric", "value"]
    assert run.scores["value"].to_pylist() == [0.9]
    (example,) = run.examples
    assert example.image_id == "a"
    assert set(example.labels) == {"truth", "student"}
    assert open_run(run) == run
    (run.folder / "scores.parquet").unlink()
    with pytest.raises(InputError, match="no scores by image"):
        run.scores  # noqa: B018


def test_a_damaged_example_is_said_where_the_picture_would_be(run):
    (run.folder / "examples" / "0-best-a.npz").write_bytes(b"PK")
    elements = Elements(run._repr_html_())
    assert elements.images == []
    assert any("0-best-a.npz: damaged" in text for text in elements.text)


def test_show_opens_the_report(run, monkeypatch):
    opened = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    assert run.show() == run.report
    assert opened == [run.report.absolute().as_uri()]


def test_a_curve_tells_what_it_compares_and_shows_its_plot(tmp_path):
    level = {"labelled": 4, "metrics": {}}
    summary = CurveSummary.model_validate({
        "format": 2, "title": HOSTILE, "compared": ["twin", "student"], "compared_as": "model",
        "metric": "dice", "metric_names": {"dice": "Dice"}, "reference": "twin",
        "levels": [{"fraction": 0.5, "labelled": 2}, {"fraction": 1, "labelled": 4}],
        "seeds": [0], "planned": 4, "finished": 3, "scores": {},
        "differences": {"student": {"levels": [level], "all": {"dice": score(0.02, 0.01, 0.03)}}},
    })  # fmt: skip
    curve = Curve(tmp_path, summary)
    assert repr(curve) == f"Curve('{tmp_path}', twin, student, 3 of 4 trainings)"
    PIL.Image.new("RGB", (80, 50), (1, 2, 3)).save(curve.picture)
    html = curve._repr_html_()
    assert "script" not in Elements(html).tags
    assert Elements(html).text[1:] == [
        "compared", "twin, student", "labelled images", "2, 4", "trainings", "3 of 4",
        "Dice, student − twin", "+0.020 [0.010, 0.030]",
    ]  # fmt: skip
    assert picture_of(html).shape == (50, 80, 3)
    assert Elements(Curve(tmp_path / "other", None)._repr_html_()).text == [str(tmp_path / "other")]
