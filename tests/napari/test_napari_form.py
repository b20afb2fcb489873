"""The form, used as a person would use it: choose, press, look at the layers."""

import csv
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from commands import abbe
from napari.layers import Labels
from prompt_package import make_prompt_package

from abbe.runtime.predictors.predict import predict

pytestmark = pytest.mark.usefixtures("application")


@pytest.fixture
def form(application, viewer) -> Any:
    """The form as napari makes it: plugins see the viewer through a proxy."""
    from napari.utils._proxies import PublicOnlyProxy

    from abbe.napari.form import FindObjects

    proxy: Any = PublicOnlyProxy(viewer)
    return FindObjects(proxy)


@pytest.fixture
def shown() -> list[str]:
    """What napari has told the user since the test began."""
    from napari.utils.notifications import notification_manager

    notification_manager.records.clear()
    return notification_manager.records  # type: ignore[return-value]


def wait_for(application, condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "nothing happened"
        application.processEvents()
        time.sleep(0.005)


def shapes_in(path) -> dict[int, Any]:
    """Geometry and measurements of a GeoJSON by the number of the object."""
    features = json.loads(path.read_text("utf-8"))["features"]
    return {
        int(each["properties"]["name"]): (each["geometry"], each["properties"]["measurements"])
        for each in features
    }


def press(application, form) -> None:
    """Press the button, and wait until the search is over."""
    form.start.native.click()
    wait_for(application, lambda: form.start.enabled)


def test_objects_come_as_a_layer_equal_to_what_predict_finds(
    application, form, viewer, package, blobs
):
    image = viewer.add_image(blobs(300, 420), name="cells", scale=(0.5, 0.5), units=("um", "um"))
    form.package.value = package
    assert form.about.value == "Bright blobs: sees nucleus"
    assert form.image.value is image
    assert form.pixel_size.value == "0.5"
    form.maps.value = True
    press(application, form)
    objects, foreground, boundary = list(viewer.layers)[1:]
    assert isinstance(objects, Labels)
    np.testing.assert_array_equal(objects.data, predict(package, image.data))
    assert (objects.name, foreground.name) == ("cells brightness", "cells brightness foreground")
    assert "area_um2" in objects.features
    assert form.told == f"{np.asarray(objects.data).max()} objects"
    assert np.max(boundary.data) > 128


def test_an_opened_package_is_remembered(
    application, form, viewer, package, with_test_image, blobs
):
    with_test_image(package, blobs(64, 64)[None])
    viewer.open(str(package), plugin="abbe")
    assert form.package.value == package
    press(application, form)
    _, expected, found = viewer.layers
    np.testing.assert_array_equal(found.data, expected.data)


def test_a_package_opened_before_the_form_is_remembered_too(
    application, viewer, package, with_test_image, blobs
):
    from abbe.napari.form import FindObjects

    with_test_image(package, blobs(64, 64)[None])
    viewer.open(str(package), plugin="abbe")
    assert FindObjects(viewer).package.value == package


def test_channels_are_offered_for_each_that_the_package_sees(
    application, form, viewer, tmp_path, make_package, blobs
):
    two = make_package(tmp_path / "two", channels=("nucleus", "membrane"))
    pixels = np.stack([blobs(64, 80), blobs(64, 80, 1), blobs(64, 80, 2)])
    viewer.add_image(pixels, name="cells")
    form.package.value = two
    form.axis.value = 0
    nucleus, membrane = form.channels
    assert nucleus.label == "nucleus"
    assert nucleus.value is None  # three channels, two wanted, no names: not for us to say
    nucleus.value = next(each for each in nucleus.choices if each and each.index == 2)
    membrane.value = next(each for each in membrane.choices if each and each.index == 0)
    press(application, form)
    expected = predict(two, pixels[[2, 0]])
    np.testing.assert_array_equal(viewer.layers[-1].data, expected)
    assert nucleus.value.index == 2  # the choice outlives the layer that came


def test_a_wrong_number_of_channels_is_told(form, viewer, tmp_path, make_package, blobs, shown):
    form.package.value = make_package(tmp_path / "two", channels=("nucleus", "membrane"))
    viewer.add_image(blobs(64, 80), name="cells")
    form.start.native.click()
    told = (
        "cells: the package sees 2 channels (nucleus, membrane), and this layer has 1. Choose "
        "which is nucleus and which is membrane; it may be another layer of the same size"
    )
    assert form.told == told
    assert [record.message for record in shown] == [told]
    assert len(viewer.layers) == 1


def test_the_slice_shown_or_all_slices(application, form, viewer, package, blobs):
    pixels = np.stack([blobs(64, 80, seed) for seed in range(3)])
    form.package.value = package
    viewer.add_image(pixels, name="stack", scale=(2, 1, 1))
    viewer.dims.set_current_step(0, 1)
    press(application, form)
    one = viewer.layers[-1]
    np.testing.assert_array_equal(one.data[0], predict(package, pixels[1]))
    assert tuple(one.translate) == (2, 0, 0)
    form.slices.value = form.slices.choices[1]
    press(application, form)
    assert viewer.layers[-1].data.shape == pixels.shape


def test_errors_while_searching_are_shown(application, form, viewer, package, blobs, shown):
    viewer.add_image(blobs(64, 80))
    form.package.value = package
    (package / "model.onnx").write_bytes(b"no network")
    press(application, form)
    assert "not the file that was packed" in form.told
    assert "not the file that was packed" in shown[-1].message
    assert len(viewer.layers) == 1
    assert not form.cancel.enabled


def test_a_search_can_be_stopped(application, form, viewer, package, blobs):
    viewer.add_image(blobs(1500, 1500), name="large")
    form.package.value = package
    form.threads.value = 1
    form.start.native.click()
    wait_for(application, lambda: form.progress.value >= 2)
    assert form.cancel.enabled
    assert not form.start.enabled
    form.cancel.native.click()
    wait_for(application, lambda: form.start.enabled)
    assert form.told == "stopped; nothing was added"
    assert len(viewer.layers) == 1


def test_the_first_click_finds_nuclei(application, form, viewer):
    """With the package that comes with Abbe, on its own test image, and nothing chosen."""
    from abbe.imaging import open_image
    from abbe.runtime.package import read_package

    package = read_package("nuclei")
    image = open_image(package.file("test_image")).read()[0]
    viewer.add_image(image, name="dapi")
    assert form.about.value.startswith(package.description.title)
    press(application, form)
    found = np.asarray(viewer.layers[-1].data)
    np.testing.assert_array_equal(found, predict("nuclei", image))
    assert found.max() > 10


def test_what_is_wrong_is_said_below_what_it_is_about(form, viewer, tmp_path, make_package, blobs):
    def places() -> list[str]:
        shown = [name for name, note in form.notes.items() if not note.native.isHidden()]
        assert shown == [name for name, note in form.notes.items() if note.value]
        return shown

    assert places() == []
    form.start.native.click()
    assert places() == ["image"]
    viewer.add_image(blobs(64, 80), name="cells")
    form.package.value = tmp_path
    assert places() == ["package"]
    form.package.value = make_package(tmp_path / "sized", pixel_size=0.5)
    assert places() == []
    form.start.native.click()
    assert places() == ["pixel size"]
    form.package.value = make_package(tmp_path / "two", channels=("nucleus", "membrane"))
    form.start.native.click()
    assert places() == ["channels"]
    form.package.value = make_prompt_package(make_package, tmp_path / "clicks")
    form.start.native.click()
    assert places() == ["prompts"]


def test_results_are_saved_as_abbe_predict_writes_them(
    application, form, viewer, package, blobs, tmp_path
):
    pixels = blobs(120, 140)
    assert not form.save.enabled
    viewer.add_image(pixels, name="a/b: cells", scale=(0.5, 0.5), units=("um", "um"))
    form.package.value = package
    press(application, form)
    form.save.native.click()
    assert form.notes["save"].value == "Choose a folder to save to"
    form.folder.value = tmp_path / "saved"
    form.save.native.click()
    assert form.told == "saved: a_b_ cells brightness.csv, a_b_ cells brightness.geojson"
    np.save(tmp_path / "cells.npy", pixels)
    words = "--out", tmp_path / "out", "--results", "geojson", "table"
    named = "--pixel-size", "0.5", "--channels", "nucleus"
    assert abbe("predict", package, tmp_path / "cells.npy", *words, *named) == 0
    saved = tmp_path / "saved" / "a_b_ cells brightness"
    table = saved.with_suffix(".csv").read_text("utf-8")
    assert table == (tmp_path / "out" / "cells.csv").read_text("utf-8")
    assert shapes_in(saved.with_suffix(".geojson")) == shapes_in(tmp_path / "out" / "cells.geojson")


def test_objects_that_were_edited_are_saved_as_they_are_now(
    application, form, viewer, package, blobs, tmp_path
):
    viewer.add_image(blobs(120, 140), name="cells")
    form.package.value = package
    press(application, form)
    layer = viewer.layers[-1]
    count = int(np.asarray(layer.data).max())
    area = int((np.asarray(layer.data) == 1).sum())
    layer.data[layer.data == 2] = 0
    layer.data[layer.data == 3] = 1
    form.folder.value = tmp_path
    form.save.native.click()
    with open(tmp_path / "cells brightness.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["label"]) for row in rows] == [1, *range(4, count + 1)]
    assert int(rows[0]["area_px"]) > area
    assert "confidence" not in rows[0]
    assert len(shapes_in(tmp_path / "cells brightness.geojson")) == count - 2
    layer.data[layer.data == 4] = 0
    form.save.native.click()  # its own files are written over
    assert len(shapes_in(tmp_path / "cells brightness.geojson")) == count - 3


def test_files_of_others_are_not_written_over(application, form, viewer, package, blobs, tmp_path):
    (tmp_path / "cells brightness.geojson").write_text("somebody's")
    viewer.add_image(blobs(64, 80), name="cells")
    form.package.value = package
    press(application, form)
    form.folder.value = tmp_path
    form.save.native.click()
    assert "cells brightness.geojson: is there already" in form.notes["save"].value
    assert (tmp_path / "cells brightness.geojson").read_text() == "somebody's"
    assert not (tmp_path / "cells brightness.csv").exists()


def test_a_stack_is_saved_slice_by_slice(application, form, viewer, package, blobs, tmp_path):
    pixels = np.stack([blobs(64, 80, seed) for seed in range(2)])
    viewer.add_image(pixels, name="stack", axis_labels=("z", "y", "x"))
    form.package.value = package
    form.slices.value = form.slices.choices[1]
    press(application, form)
    form.folder.value = tmp_path
    form.save.native.click()
    labels = np.asarray(viewer.layers[-1].data)
    for z in (0, 1):
        own = set(np.unique(labels[z]).tolist()) - {0}
        assert set(shapes_in(tmp_path / f"stack brightness.z{z}.geojson")) == own
    with open(tmp_path / "stack brightness.csv", encoding="utf-8") as file:
        assert {row["slice z"] for row in csv.DictReader(file)} == {"0", "1"}


def test_objects_lie_where_the_image_lies(application, form, viewer, package, blobs):
    """Turned, moved and scaled: a pixel of the objects is at the place of the image's pixel."""
    turned = np.array([[0.8, -0.6, 5], [0.6, 0.8, -7], [0, 0, 1]])
    image = viewer.add_image(
        blobs(64, 80), scale=(0.5, 0.5), translate=(10, 20), affine=turned, units=("um", "um")
    )
    form.package.value = package
    press(application, form)
    found = viewer.layers[-1]
    for place in ((0, 0), (63, 79), (10, 30)):
        np.testing.assert_allclose(found.data_to_world(place), image.data_to_world(place))


@pytest.mark.parametrize(
    ("text", "told"),
    [("half", "'half' is no number"), ("-1", "no pixel is -1 µm wide"), ("", "Enter")],
)
def test_a_pixel_size_must_be_one(
    application, form, viewer, tmp_path, make_package, blobs, text, told
):
    form.package.value = make_package(tmp_path / "sized", pixel_size=0.5)
    viewer.add_image(blobs(64, 80))
    form.pixel_size.value = text
    press(application, form)
    assert told in form.told
    assert len(viewer.layers) == 1


def test_a_form_that_lacks_something_says_what(form, tmp_path, package, shown):
    form.package.value = None
    form.start.native.click()
    assert "Choose a package" in form.told
    form.package.value = package
    form.start.native.click()
    assert "Choose an image layer" in form.told
    form.package.value = tmp_path
    assert "holds no package" in form.told
    assert len(shown) == 3


def test_the_choice_follows_the_layers(form, viewer, blobs):
    assert form.image.value is None
    first = viewer.add_image(blobs(20, 20), scale=(0.5, 0.5), units=("um", "um"))
    second = viewer.add_image(blobs(20, 20))
    assert form.image.value is first
    viewer.layers.remove(first)
    assert form.image.value is second
    assert form.pixel_size.value == ""


def test_a_promptable_package_asks_for_prompts(application, form, viewer, tmp_path, make_package):
    form.package.value = make_prompt_package(make_package, tmp_path / "clicks")
    pixels = np.random.default_rng(0).random((2, 64, 64))
    viewer.add_image(pixels, name="cells", scale=(3, 0.5, 0.5))
    viewer.dims.set_current_step(0, 1)
    press(application, form)
    assert "draw boxes around them in a shapes layer" in form.told
    boxes = [
        np.array([[0, 8, 4], [0, 8, 20], [0, 24, 20], [0, 24, 4]]) + np.array([1, 0, step])
        for step in (0, 30)
    ]
    drawn = viewer.add_shapes(boxes, name="boxes", scale=(3, 0.5, 0.5))
    assert form.prompts.value is None  # nothing is asked for that was not chosen
    form.prompts.value = drawn
    press(application, form)
    found = viewer.layers[-1]
    assert form.told == "2 objects"
    assert found.data.shape == (1, 64, 64)
    assert tuple(found.translate) == (3, 0, 0)
    assert found.data[0, 16, 12] == 1
    assert found.data[0, 16, 42] == 2
    assert found.features["x"].iloc[1] - found.features["x"].iloc[0] == pytest.approx(30, abs=2)


def test_the_form_shows_what_the_package_can_be_asked(form, tmp_path, make_package):
    def shown() -> list[bool]:
        return [not widget.native.isHidden() for widget in (form.prompts, form.slices, form.maps)]

    assert shown() == [False, True, True]
    form.package.value = make_prompt_package(make_package, tmp_path / "clicks")
    assert shown() == [True, False, False]
    form.package.value = make_package(tmp_path / "objects")
    assert shown() == [False, True, True]


IN_A_WINDOW = """
import sys, napari
viewer = napari.Viewer(show=False)
_, form = viewer.window.add_plugin_dock_widget("abbe", "Find objects")
form.package.value = sys.argv[1]
form.start.native.click()
print(form.about.value, form.told, sep="; ")
viewer.close()
"""


@pytest.mark.slow
def test_napari_docks_the_form_in_its_window(package):
    """Layers are left out: drawing them needs OpenGL, which there is none of without a screen."""
    command = [sys.executable, "-c", IN_A_WINDOW, str(package)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    told = "Bright blobs: sees nucleus; Choose an image layer; open an image first if there is none"
    assert told in done.stdout, done.stderr
