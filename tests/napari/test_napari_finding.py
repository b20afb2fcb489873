"""Objects in layers: those that ``abbe predict`` finds in files."""

import csv
import json
from collections.abc import Generator
from threading import Event
from typing import TypeVar

import numpy as np
import pytest
import tifffile
from commands import abbe
from napari.layers import Image, Labels, Layer

from abbe.errors import ConfigError, InputError, PackageError
from abbe.imaging import read_labels
from abbe.napari.channels import channels_of
from abbe.napari.finding import Search, check, find, layers_of
from abbe.napari.percents import percents
from abbe.napari.saving import save
from abbe.runtime.package import read_package

Result = TypeVar("Result")


def ignore(share: float) -> None:
    """Nobody watches."""


def drained(steps: Generator[int, None, Result]) -> tuple[list[int], Result]:
    """All that a generator yields, and what it returns."""
    told = []
    while True:
        try:
            told.append(next(steps))
        except StopIteration as end:
            return told, end.value


def search_of(package, layer, axis=None, positions=((),), **options) -> Search:
    channels = tuple(channels_of(layer, axis))
    return Search(read_package(package), channels, tuple(positions), **options)


def test_objects_and_measurements_are_those_of_abbe_predict(package, tmp_path, blobs):
    pixels = blobs(300, 420)
    np.save(tmp_path / "cells.npy", pixels)
    words = "--out", tmp_path / "out", "--results", "labels", "table", "probability"
    named = "--pixel-size", "0.5", "--channels", "nucleus"
    assert abbe("predict", package, tmp_path / "cells.npy", *words, *named) == 0
    search = search_of(package, Image(pixels), pixel_size=0.5, threads=1, keep_maps=True)
    shares: list[float] = []
    found = find(search, shares.append)
    np.testing.assert_array_equal(found.labels, read_labels(tmp_path / "out/cells.labels.tif"))
    assert found.labels.max() > 30
    with open(tmp_path / "out" / "cells.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert list(found.table) == list(rows[0])
    for name, values in found.table.items():
        np.testing.assert_allclose(values, [float(row[name]) for row in rows], rtol=1e-6)
    maps = tifffile.imread(tmp_path / "out" / "cells.probability.tif")
    np.testing.assert_array_equal(np.stack(list(found.maps.values())), maps)
    assert sum(shares) == pytest.approx(1)
    assert len(shares) > 4  # tile by tile


@pytest.mark.parametrize("edited", [False, True])
def test_types_of_objects_are_saved_and_stay_when_one_is_edited(tmp_path, edited):
    import made_packages  # pyright: ignore[reportMissingImports]

    package = made_packages.slide_types(tmp_path / "typed", ("dark", "bright"))
    pixels = np.full((3, 60, 90), 255, np.uint8)
    pixels[:, 10:30, 10:30] = np.array([0, 0, 0])[:, None, None]
    pixels[:, 10:30, 50:70] = np.array([255, 0, 0])[:, None, None]
    layer = Image(pixels, axis_labels=("c", "y", "x"))
    search = search_of(package, layer, axis=0, threads=1)
    found = find(search, ignore)
    kinds = dict(zip(found.table["label"].tolist(), found.table["class"].tolist(), strict=True))
    assert set(kinds.values()) == {"dark", "bright"}
    labels = found.labels.copy()
    if edited:
        labels[40:50, 40:50] = 9  # drawn by hand
    table, shapes = save(tmp_path, "cells", search, found, labels, edited=edited)
    with open(table, encoding="utf-8", newline="") as file:
        rows = {int(row["label"]): row for row in csv.DictReader(file)}
    assert {number: rows[number]["class"] for number in kinds} == kinds
    assert all(float(rows[n][f"probability_{kind}"]) > 0.5 for n, kind in kinds.items())
    features = json.loads(shapes.read_text("utf-8"))["features"]
    told = {int(each["properties"]["name"]): each["properties"] for each in features}
    assert {number: told[number]["classification"]["name"] for number in kinds} == kinds
    assert (9 in told) == edited
    if edited:
        assert rows[9]["class"] == ""
        assert "classification" not in told[9]


def test_a_stack_is_searched_slice_by_slice(package, blobs):
    pixels = np.stack([blobs(70, 80, seed) for seed in range(3)])
    layer = Image(pixels, axis_labels=("z", "y", "x"))
    found = find(search_of(package, layer, positions=[(0,), (1,), (2,)]), ignore)
    assert found.labels.shape == (3, 70, 80)
    seen: set[int] = set()
    for index in range(3):
        alone = find(search_of(package, layer, positions=[(index,)]), ignore)
        assert alone.labels.shape == (1, 70, 80)
        np.testing.assert_array_equal(found.labels[index] > 0, alone.labels[0] > 0)
        own = set(np.unique(found.labels[index]).tolist()) - {0}
        assert len(own) == alone.labels.max()
        assert not own & seen
        seen |= own
        of_slice = found.table["slice z"] == index
        assert set(found.table["label"][of_slice].tolist()) == own
    assert list(found.table["label"]) == sorted(seen)


def test_results_become_layers_with_the_table_as_features(package, blobs):
    layer = Image(blobs(90, 70), name="cells", scale=(0.5, 0.5), units=("um", "um"))
    search = search_of(package, layer, pixel_size=0.5, keep_maps=True)
    found = find(search, ignore)
    objects, *maps = [Layer.create(*each) for each in layers_of(search, found)]
    assert isinstance(objects, Labels)
    assert [objects.name, *(each.name for each in maps)] == [
        "cells brightness", "cells brightness foreground", "cells brightness boundary",
    ]  # fmt: skip
    table = objects.features
    assert list(table["index"]) == list(range(1, len(table) + 1))
    pixels = np.sum(np.asarray(objects.data) == 1)
    assert table["area_um2"].iloc[0] == pytest.approx(0.25 * pixels)
    assert isinstance(maps[0], Image)
    assert maps[0].contrast_limits == [0, 255]
    for each in (objects, *maps):
        assert tuple(each.scale) == (0.5, 0.5)
        assert each.metadata == {"abbe package": str(package)}


def test_a_pyramid_is_read_at_the_level_that_suffices(tmp_path, make_package, blobs):
    """The coarse level is upside down here, which tells that it was read."""
    package = make_package(tmp_path / "coarse", pixel_size=1.0)
    small = blobs(120, 160)
    layer = Image([np.kron(small, np.ones((4, 4), np.uint16)), small[::-1]], multiscale=True)
    found = find(search_of(package, layer, pixel_size=0.25), ignore).labels
    alone = find(search_of(package, Image(small[::-1]), pixel_size=1.0), ignore).labels
    assert found.shape == (480, 640)
    np.testing.assert_array_equal(found[2::4, 2::4] > 0, alone > 0)


def test_an_image_without_objects_gives_an_empty_table(package):
    found = find(search_of(package, Image(np.zeros((40, 50), np.uint8))), ignore)
    assert found.labels.max() == 0
    assert len(found.table["label"]) == 0


def test_what_would_fail_is_refused_beforehand(tmp_path, make_package, package):
    layer = Image(np.zeros((40, 50), np.uint8), name="cells")
    needing = make_package(tmp_path / "sized", pixel_size=0.5)
    with pytest.raises(InputError, match=r"cells: its pixel size is not known.*0\.5 µm"):
        check(search_of(needing, layer))
    check(search_of(needing, layer, pixel_size=0.4))
    two = make_package(tmp_path / "two", channels=("nucleus", "membrane"))
    (channel,) = channels_of(layer, None)
    with pytest.raises(ConfigError, match="a channel was chosen twice"):
        check(Search(read_package(two), (channel, channel), ((),)))
    huge = Image(np.broadcast_to(np.uint8(0), (40_000, 40_000)), contrast_limits=(0, 1))
    with pytest.raises(InputError, match=r"would fill 6 GiB.*abbe predict"):
        check(search_of(package, huge))
    classes = make_package(tmp_path / "classes", task="classification", classes=("a", "b"))
    with pytest.raises(ConfigError, match="this is a classification package"):
        check(search_of(classes, layer))


def test_a_damaged_network_is_an_error_not_an_empty_mask(package):
    (package / "model.onnx").write_bytes(b"no network")
    with pytest.raises(PackageError, match="not the file that was packed"):
        find(search_of(package, Image(np.zeros((40, 50), np.uint8))), ignore)


def test_a_search_tells_whole_percents_and_gives_its_result(package, blobs):
    search = search_of(package, Image(blobs(300, 420)))
    told, found = drained(percents(lambda advance: find(search, advance), Event()))
    assert told == list(range(1, 101))
    assert found is not None
    assert found.labels.max() > 30


def test_a_search_stops_at_the_next_tile_when_asked(package, blobs):
    search = search_of(package, Image(blobs(300, 420)), threads=1)
    stop, shares = Event(), []

    def call(advance):
        def watched(share):
            shares.append(share)
            stop.set()
            advance(share)

        return find(search, watched)

    assert drained(percents(call, stop)) == ([], None)
    assert len(shares) == 1


def test_a_search_stops_when_nobody_asks_for_more():
    stop, ended = Event(), Event()

    def call(advance):
        try:
            while True:
                advance(0.01)
        finally:
            ended.set()

    steps = percents(call, stop)
    assert next(steps) == 1
    steps.close()
    assert ended.wait(5)


def test_errors_come_out_of_the_thread():
    def call(advance):
        raise InputError("cells: no good")

    with pytest.raises(InputError, match="no good"):
        next(percents(call, Event()))
