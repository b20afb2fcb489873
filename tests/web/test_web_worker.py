"""The page's worker, where answers of `abbe serve` come late or in another order."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import tifffile
from twins import PAGE, node


def happens(scenario: str, page: Path = PAGE) -> Any:
    """What a scenario of worker.mjs finds."""
    script = Path(__file__).with_name("worker.mjs")
    command = [node(), "--no-warnings", str(script), str(page), scenario]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_an_image_that_arrives_late_takes_no_place_of_the_one_turned_to():
    found = happens("late")
    assert found["shown"] == "2.png"
    assert found["late"] == "outdated"
    assert found["encoded"] == ["images/2/encode"]
    assert found["sent"] == ["images/2/unsaved"]


def test_until_the_next_image_is_here_masks_are_those_of_the_one_shown():
    found = happens("meanwhile")
    assert found["sent"] == ["images/1/unsaved", "images/1/objects"]
    assert found["saved"] == {"files": ["1.png"], "count": 1, "number": 1, "unsaved": False}


def test_a_look_that_ends_after_another_image_was_opened_is_dropped():
    assert happens("looking") == {"outcome": "outdated", "area": 3, "grey": 2}


def test_a_look_that_is_outdated_does_not_stop_the_newer_one():
    assert happens("again") == {"first": "outdated", "second": "outdated", "stops": [0, 1]}


@pytest.mark.parametrize("scenario", ["covered", "coveredTiles"])
def test_an_object_that_a_later_one_covers_is_in_table_and_files(tmp_path, scenario):
    found = happens(scenario)
    first, second = json.loads(found["geojson"])["features"]
    assert first["geometry"]["coordinates"] == [[[2, 1], [2, 2], [1, 2], [1, 1], [2, 1]]]
    assert [each["properties"]["measurements"]["Area px^2"] for each in (first, second)] == [1, 9]
    assert second["properties"]["classification"]["name"] == "a"
    rows = [line.split(",") for line in found["csv"].splitlines()]
    table = {name: values for name, *values in zip(*rows, strict=True)}
    assert table["label"] == ["1", "2"]
    assert table["area_px"] == ["1", "9"]
    assert (table["x"], table["y"]) == (["1", "1"], ["1", "2"])
    assert table["confidence"] == ["0.5", "1"]
    if scenario == "covered":  # of tiles the page has no pixels to measure
        assert table["mean_grey"] == ["1", "1"]
    assert found["shown"]["area_px"] == [1, 9]
    (tmp_path / "labels.tif").write_bytes(bytes(found["tiff"]))
    labels = tifffile.imread(tmp_path / "labels.tif")
    assert labels.shape == (4, 4)
    assert (labels[1:, :3] == 2).all()
    assert labels.sum() == 18


def test_colours_of_objects_stay_when_another_is_deleted():
    before, after, beside, added = happens("colours")
    assert before == after == beside
    assert added != beside


def test_after_another_look_the_objects_that_it_found_are_corrected(tmp_path):
    page = tmp_path / "page"
    shutil.copytree(PAGE, page)
    (page / "lib").mkdir()
    fake = Path(__file__).with_name("fake_runtime.js")
    shutil.copyfile(fake, page / "lib" / "ort.wasm.min.js")
    # Found, one deleted, found again, one named; then the name and the new look are taken back.
    assert happens("corrected", page) == [2, 1, 2, 2, 2, 1]


def test_a_file_has_the_name_of_its_image_although_another_was_opened():
    assert happens("saving") == "1.png"


def test_saved_objects_stay_until_another_look_or_threshold_is_asked_for():
    found = happens("savedBefore")
    assert found["stopped"] == "outdated"
    assert found["states"] == [[2, None], [1, True], [2, False]]
