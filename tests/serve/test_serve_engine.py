"""What the page is told by this machine's engine is what `abbe predict` finds."""

import json
import struct
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from starlette.testclient import TestClient

from abbe.imaging import Image, Region, read_labels
from abbe.runtime.batch.find_images import find_images
from abbe.runtime.package import InstanceRule, Thresholds, read_package
from abbe.runtime.predictors.predict import predict
from abbe.runtime.predictors.tasks import open_predictor
from abbe.serve import Session, application
from abbe.serve.native import Asked, Native, Rule, StoppedError
from abbe.serve.packed import packed
from abbe.serve.site import site_of

sys.path.append(str(Path(__file__).parents[1] / "runtime"))
made = import_module("made_packages")

KINDS = {"Uint8": "u1", "Uint16": "<u2", "Int32": "<i4", "Float32": "<f4", "Float64": "<f8"}
RULE = {"foreground": 0.5, "boundary": 0.5, "minimum_area": 1}
FP32: Any = {"engine": "onnxruntime", "precision": "fp32"}


def read(content: bytes) -> Any:
    """The arrays of an answer, as the page reads them."""
    (length,) = struct.unpack("<I", content[:4])
    first = -(-(4 + length) // 8) * 8

    def array(value: dict[str, Any]) -> Any:
        if value.keys() != {"kind", "start", "length"}:
            return value
        kind, start = KINDS[value["kind"]], first + value["start"]
        return np.frombuffer(content, kind, value["length"], start)

    return json.loads(content[4 : 4 + length], object_hook=array)


@pytest.fixture
def served(tmp_path):
    """Serves a package and an image of 230 × 310 px in two channels."""

    def serve(package: Path) -> tuple[TestClient, Path, Path]:
        folder, out = tmp_path / "images", tmp_path / "out"
        folder.mkdir(exist_ok=True)
        image = folder / "cells.ome.tif"
        other = np.zeros((230, 310), np.uint16)
        tifffile.imwrite(
            image, np.stack([other, made.blobs(230, 310)]), tile=(64, 64),
            metadata={"axes": "CYX", "Channel": {"Name": ["actin", "nucleus"]}},
        )  # fmt: skip
        native = Native(open_predictor(package, **FP32))
        session = Session(
            "cells", find_images([folder]), None, out, channels_of=native.predictor.channels_of
        )
        client = TestClient(
            application(session, site_of(read_package(package)), native),
            base_url="http://127.0.0.1:5000",
        )
        return client, image, out

    return serve


def look(client: TestClient, **rule: Any) -> Any:
    asked = {"channels": [1], "pixel_size": None, "diameter": None, "rule": RULE | rule}
    answer = client.post("/api/images/0/look", json=asked)
    assert answer.status_code == 200, answer.text
    return read(answer.content)


def labels(client: TestClient, region: tuple[int, ...] = (0, 0, 230, 310)) -> np.ndarray:
    top, left, bottom, right = region
    query = f"level=0&top={top}&left={left}&bottom={bottom}&right={right}"
    answer = client.get(f"/api/images/0/labels?{query}")
    assert answer.status_code == 200, answer.text
    return read(answer.content)["values"].reshape(bottom - top, right - left)


def features(client: TestClient, out: Path) -> Any:
    done = client.post("/api/images/0/results", json={"what": "geojson"})
    assert done.json() == {"file": str(out / "cells.geojson")}
    return json.loads((out / "cells.geojson").read_text())["features"]


def rule_of(package: Path) -> dict[str, Any]:
    description = read_package(package).description
    cuts = description.thresholds
    return {
        "foreground": cuts.foreground, "boundary": cuts.boundary,
        "minimum_area": description.instances.minimum_area,
    }  # fmt: skip


def test_objects_pixels_and_files_are_those_of_predict(served, tmp_path):
    package = made.make_package(tmp_path / "package")
    client, image, out = served(package)
    facts = client.get("/api/images/0").json()
    assert facts["channels"] == ["actin", "nucleus"]
    assert facts["seen"] == [1]
    assert facts["levels"] == [{"width": 310, "height": 230}]
    query = "level=0&top=20&left=30&bottom=90&right=200"
    planes = read(client.get(f"/api/images/0/pixels?{query}").content)["planes"]
    wanted = tifffile.imread(image)[:, 20:90, 30:200]
    np.testing.assert_array_equal(np.reshape(planes, wanted.shape), wanted)

    told = look(client, **rule_of(package))
    wanted = predict(package, image, **FP32)
    assert told["count"] == wanted.max()
    np.testing.assert_array_equal(labels(client), wanted)
    np.testing.assert_array_equal(labels(client, (40, 50, 141, 160)), wanted[40:141, 50:160])
    np.testing.assert_array_equal(told["columns"]["area_px"], np.bincount(wanted.ravel())[1:])
    assert "mean_actin" in told["columns"]
    for what, name in (("labels", "cells.labels.tif"), ("csv", "cells.csv")):
        done = client.post("/api/images/0/results", json={"what": what})
        assert done.json() == {"file": str(out / name)}
    np.testing.assert_array_equal(read_labels(out / "cells.labels.tif"), wanted)


def test_other_thresholds_need_no_network(served, tmp_path, monkeypatch):
    package = made.make_package(tmp_path / "package")
    client, image, _ = served(package)
    look(client, **rule_of(package))
    monkeypatch.setattr(
        "abbe.runtime.package.engine.Engine.probabilities", lambda *_: pytest.fail("asked again")
    )
    rule = {"foreground": 0.7, "boundary": 0.4, "minimum_area": 90}
    answer = client.post("/api/images/0/change", json={"rule": rule})
    told = read(answer.content)
    monkeypatch.undo()
    path = package / "package.json"
    values = json.loads(path.read_text())
    values["thresholds"] |= Thresholds(foreground=0.7, boundary=0.4).model_dump(mode="json")
    values["instances"] |= InstanceRule(minimum_area=90).model_dump(mode="json")
    path.write_text(json.dumps(values))
    wanted = predict(package, image, **FP32)
    np.testing.assert_array_equal(labels(client), wanted)
    assert told["count"] == wanted.max()
    assert 0 < told["count"] < predict(made.make_package(tmp_path / "again"), image, **FP32).max()


def test_regions_are_those_of_predict(served, tmp_path):
    package = made.make_region_package(tmp_path / "package")
    client, image, out = served(package)
    told = look(client)
    assert told["has_pixels"]
    query = "top=0&left=0&bottom=230&right=310"
    values = read(client.get(f"/api/images/0/classes?{query}").content)["values"]
    wanted = predict(package, image, **FP32)
    np.testing.assert_array_equal(values.reshape(wanted.shape), wanted)
    areas = labels(client)
    assert areas.max() == told["count"]
    np.testing.assert_array_equal(told["class_of"][areas[areas > 0]], wanted[areas > 0])
    assert len(features(client, out)) == told["count"]


def test_classes_of_tiles_are_those_of_predict(served, tmp_path):
    package = made.make_class_package(tmp_path / "package")
    client, image, out = served(package)
    told = look(client)
    np.testing.assert_allclose(told["whole"], predict(package, image, **FP32), atol=1e-6)
    numbers = labels(client)
    assert set(np.unique(numbers)) == set(range(1, told["count"] + 1))
    assert len(told["class_of"]) == told["count"] + 1
    assert len(features(client, out)) == told["count"]


def test_a_new_look_ends_the_one_before_and_what_is_wrong_is_told(served, tmp_path):
    package = made.make_package(tmp_path / "package")
    client, _, _ = served(package)
    assert (
        client.get("/api/images/0/labels?level=0&top=0&left=0&bottom=9&right=9").status_code == 422
    )
    wrong = {"channels": [7], "pixel_size": None, "diameter": None, "rule": RULE}
    answer = client.post("/api/images/0/look", json=wrong)
    assert (answer.status_code, "say which channels" in answer.json()["error"]) == (422, True)
    wrong["rule"] = RULE | {"foreground": 2}
    assert client.post("/api/images/0/look", json=wrong).status_code == 400
    assert (
        client.get("/api/images/0/pixels?level=4&top=0&left=0&bottom=9&right=9").status_code == 422
    )
    assert client.post("/api/images/0/masks", json={"points": [[5, 5]], "labels": [1]}).json() == {
        "error": "this package takes no points and boxes"
    }

    native = Native(open_predictor(package, **FP32))
    image = Image.from_array(made.blobs(200, 200)[None], ["nucleus"])
    once = native.predictor.engine.probabilities  # pyright: ignore[reportAttributeAccessIssue]

    def stopped(*given: Any) -> Any:
        native.stop()
        return once(*given)

    object.__setattr__(native.predictor.engine, "probabilities", stopped)
    with pytest.raises(StoppedError):
        native.look(0, image, Asked((0,), None, None), Rule(0.5, 0.5, 1))
    native.close()


def test_labels_from_afar_are_the_nearest_ones(tmp_path):
    package = made.make_package(tmp_path / "package")
    native = Native(open_predictor(package, **FP32))
    image = Image.from_array(made.blobs(320, 400)[None], ["nucleus"])
    native.look(0, image, Asked((0,), None, None), Rule(0.5, 0.5, 1))
    whole = native.labels(0, Region(0, 0, 320, 400), (320, 400))
    for factor in (2, 16):  # read from all of them, and from the copy that is kept
        shape = 320 // factor, 400 // factor
        small = native.labels(0, Region(0, 0, *shape), shape)
        assert whole[factor // 2 :: factor, factor // 2 :: factor].shape == shape
        np.testing.assert_array_equal(small, whole[factor // 2 :: factor, factor // 2 :: factor])
    native.close()


def test_arrays_come_as_they_are():
    values = {"a": np.arange(5, dtype=np.uint16), "b": [np.array([1.5, -2]), "text"], "c": None}
    found = read(packed(values | {"d": np.array([True, False])}))
    np.testing.assert_array_equal(found["a"], values["a"])
    np.testing.assert_array_equal(found["b"][0], [1.5, -2])
    assert (found["b"][1], found["c"], found["d"].tolist()) == ("text", None, [1, 0])
