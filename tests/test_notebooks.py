"""What notebooks show of Abbe's objects: short texts, cards whose strings are harmless."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from abbe import datasets
from abbe.datasets import Dataset
from abbe.datasets.collection import FileImage, Record
from abbe.notebooks import LARGEST_PICTURE, card, coloured, grey
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
