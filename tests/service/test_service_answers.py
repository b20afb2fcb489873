import io
import json
from collections import Counter
from importlib import import_module
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image as Pillow

import abbe
from abbe.files.tables import read_csv
from abbe.imaging import read_labels
from abbe.runtime.batch.predict_files import predict_files

BOXES = [{"box": [20, 20, 90, 80]}, {"points": [[200, 100]]}, {"box": [120, 30, 260, 170]}]


@pytest.fixture
def asked(client, picture):
    """Asks a package about the picture."""

    def ask(package, answer="json", **query):
        sent: dict[str, Any] = {"image": ("a name.png", picture.read_bytes())}
        if package == "prompted":
            sent["prompts"] = (None, json.dumps(BOXES))
        response = client.post(
            f"/v1/packages/{package}/predict", params={"answer": answer, **query}, files=sent
        )
        assert response.status_code == 200, response.text
        return response

    return ask


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.csv"
    path.write_text("id,x0,y0,x1,y1\nimage,20,20,90,80\nimage,120,30,260,170\n")
    return path


@pytest.mark.parametrize("package", ["cells", "regions", "tiles"])
def test_answers_are_the_files_of_predict(package, packages, picture, asked, tmp_path):
    results: dict[Any, str] = {
        "table": ".csv", "geojson": ".geojson", "overview": ".overview.png",
    }  # fmt: skip
    predict_files(packages[package], [picture], tmp_path / "out", results=list(results),
                  progress=False, workers=1)  # fmt: skip
    for result, suffix in results.items():
        expected = (tmp_path / "out" / f"image{suffix}").read_bytes()
        assert asked(package, result).content == expected
    assert len(json.loads((tmp_path / "out" / "image.geojson").read_text())["features"]) > 3


@pytest.mark.parametrize("package", ["cells", "regions"])
def test_labels_are_those_of_predict_as_png_and_tiff(package, packages, picture, asked):
    expected = abbe.predict(packages[package], picture)
    assert len(np.unique(expected)) >= 3
    png = Pillow.open(io.BytesIO(asked(package, "png").content))
    np.testing.assert_array_equal(np.asarray(png), expected)
    response = asked(package, "tiff")
    assert response.headers["content-type"] == "image/tiff"
    np.testing.assert_array_equal(tifffile.imread(io.BytesIO(response.content)), expected)


def test_maps_are_those_of_predict(packages, picture, asked, tmp_path):
    predict_files(packages["cells"], [picture], tmp_path, results=["probability"], progress=False)
    expected = tifffile.imread(tmp_path / "image.probability.tif")
    found = tifffile.imread(io.BytesIO(asked("cells", "probability").content))
    np.testing.assert_array_equal(found, expected)


def test_objects_of_prompts_are_those_of_predict(packages, picture, client, prompts, tmp_path):
    predict_files(
        packages["prompted"], [picture], tmp_path / "out", prompts=prompts, progress=False
    )
    expected = read_labels(tmp_path / "out" / "image.labels.tif")
    sent = {
        "image": ("x.png", picture.read_bytes()),
        "prompts": (None, json.dumps([BOXES[0], BOXES[2]])),
    }
    response = client.post("/v1/packages/prompted/predict", params={"answer": "png"}, files=sent)
    found = np.asarray(Pillow.open(io.BytesIO(response.content)))
    np.testing.assert_array_equal(found, expected)
    assert set(np.unique(found)) == {0, 1, 2}


def test_numbers_of_objects(packages, picture, asked, tmp_path):
    predict_files(packages["cells"], [picture], tmp_path, results=["table"], progress=False)
    rows = read_csv(tmp_path / "image.csv")[1]
    told = asked("cells").json()
    assert told["task"] == "segmentation"
    assert told["image"] == {"height": 200, "width": 300, "channels": ["grey"], "pixel_size": None}
    assert told["count"] == len(told["objects"]) == len(rows) > 10
    for row, each in zip(rows, told["objects"], strict=True):
        assert {name: float(value) for name, value in row.items()} == each
    assert type(told["objects"][0]["area_px"]) is int
    assert "grey, is taken for nucleus" in told["notes"][0]


def test_numbers_of_regions_classes_and_prompts(packages, picture, asked):
    classes = asked("regions").json()["classes"]
    labels = Counter(abbe.predict(packages["regions"], picture).ravel().tolist())
    assert [each["class"] for each in classes] == ["background", "grey", "bright"]
    assert [each["area_px"] for each in classes] == [labels[0], labels[1], labels[2]]
    told = asked("tiles").json()
    expected = abbe.predict(packages["tiles"], picture)
    assert told["probabilities"] == dict(
        zip(["mostly dark", "mostly bright"], expected.tolist(), strict=True)
    )
    assert told["class"] == max(told["probabilities"], key=told["probabilities"].get)
    assert len(told["tiles"]) == 20
    assert asked("prompted").json()["count"] == 3


def test_a_tile_that_is_classified_answers_with_the_table_of_images(packages, client, tmp_path):
    image = tmp_path / "image.npy"
    np.save(image, np.eye(60, dtype=np.uint16) * 1000)
    predict_files(packages["tiles"], [image], tmp_path / "out", progress=False)
    expected = (tmp_path / "out" / "classes.csv").read_text().replace("image.npy", "image")
    response = client.post(
        "/v1/packages/tiles/predict", params={"answer": "table"}, content=image.read_bytes()
    )
    assert response.text == expected


def test_the_body_may_be_the_image_and_a_name_says_its_kind(client, asked, picture, tmp_path):
    pixels = np.asarray(Pillow.open(picture))
    np.savez_compressed(tmp_path / "a.npz", image=pixels)
    expected = asked("cells", "png").content
    for body, name in ((picture.read_bytes(), ""), ((tmp_path / "a.npz").read_bytes(), "my a.npz")):
        response = client.post(
            "/v1/packages/cells/predict", params={"answer": "png", "name": name}, content=body
        )
        assert response.content == expected


def test_pixel_sizes_outlines_and_channels_are_as_asked(asked):
    assert "area_um2" in asked("cells", pixel_size=0.5).json()["objects"][0]
    assert asked("cells", override_pixel_size=2).json()["image"]["pixel_size"] == 2
    assert asked("cells", channels="nucleus").json()["image"]["channels"] == ["nucleus"]
    named = asked("cells", "geojson", class_name="Cell").json()["features"][0]
    assert named["properties"]["classification"] == {"name": "Cell"}
    whole, fewer = (len(asked("cells", "geojson", simplify=s).content) for s in (0, 1))
    assert fewer < 0.8 * whole
    areas = [len(asked("regions", "geojson", minimum_area=s).json()["features"]) for s in (1, 90)]
    assert areas[1] < areas[0]


def test_a_dicom_image_is_answered_in_dicom(packages, client, picture, tmp_path):
    pytest.importorskip("highdicom")
    made_dicom, pydicom = import_module("made_dicom"), import_module("pydicom")
    pixels = np.asarray(Pillow.open(picture))
    image = made_dicom.write_image(tmp_path / "image.dcm", pixels)
    query = {"answer": "dicom-seg", "class_name": "Cell"}
    response = client.post("/v1/packages/cells/predict", params=query, content=image.read_bytes())
    assert response.headers["content-type"] == "application/dicom"
    read = pydicom.dcmread(io.BytesIO(response.content))
    expected = abbe.predict(packages["cells"], image)
    assert [each.SegmentLabel for each in read.SegmentSequence] == [
        f"Cell {number}" for number in range(1, expected.max() + 1)
    ]
    assert read.pixel_array.sum() == np.count_nonzero(expected)
    response = client.post("/v1/packages/cells/predict", params=query, content=picture.read_bytes())
    assert response.status_code == 422
    assert "Take dicom-seg and dicom-ann out of answer" in response.json()["error"]


def test_packages_are_told_of(client):
    listed = client.get("/v1/packages").json()["packages"]
    assert [each["name"] for each in listed] == ["cells", "regions", "tiles", "prompted"]
    assert listed[2]["answers"][:4] == ["json", "geojson", "table", "overview"]
    assert "png" not in listed[2]["answers"]
    assert client.get("/v1/packages/prompted").json() == listed[3]
    assert listed[3]["prompted"] is True
    assert client.get("/v1/packages/none").status_code == 404


def test_what_was_asked_is_counted(client, asked):
    asked("cells")
    client.post("/v1/packages/cells/predict", content=b"no image")
    text = client.get("/metrics").text
    assert 'abbe_requests_total{package="cells",status="200"} 1.0' in text
    assert 'abbe_requests_total{package="cells",status="415"} 1.0' in text
    assert 'abbe_pixels_total{package="cells"} 60000.0' in text
    assert 'abbe_request_seconds_count{package="cells"} 1.0' in text
    assert "abbe_requests_waiting 0.0" in text
    assert client.get("/health/live").json()["status"] == "alive"
    assert client.get("/health/ready").json() == {"status": "ready"}
