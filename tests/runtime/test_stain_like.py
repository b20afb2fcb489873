"""`abbe predict --stain-like`: networks see other stains, results are of the image."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from made_he import tissue
from made_packages import make_package, slide_types
from PIL import Image as Picture

from abbe.errors import ConfigError
from abbe.imaging import open_image
from abbe.imaging.stain import restained, stains_of_image
from abbe.runtime.batch.many import Outcome
from abbe.runtime.batch.predict_files import predict_files
from abbe.runtime.predictors.predict import predict


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def write(path: Path, pixels: np.ndarray) -> Path:
    Picture.fromarray(pixels.transpose(1, 2, 0)).save(path)
    return path


def test_the_network_sees_the_other_stain_and_the_table_measures_the_image(tmp_path):
    package = slide_types(tmp_path / "package", ("a", "b"))
    pixels = np.kron(tissue(40, strength=0.5), np.ones((1, 8, 8), np.uint8))
    path = write(tmp_path / "a.png", pixels)
    like = write(tmp_path / "like.png", tissue(100, 3, strength=2.0))

    def found(stain_like: Path) -> Outcome:
        return predict_files(
            package, [path], tmp_path / "out", results=["labels", "table"],
            stain_like=stain_like, progress=False, precision="fp32",
        )  # fmt: skip

    outcome = found(like)
    assert not outcome.failed
    own, wanted = (stains_of_image(open_image(each)) for each in (path, like))
    seen = predict(package, restained(pixels, own, wanted), precision="fp32")
    labels = predict(package, path, precision="fp32", stain_like=like)
    np.testing.assert_array_equal(labels, seen)
    assert (labels != predict(package, path, precision="fp32")).any()
    with open(tmp_path / "out" / "a.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    number = int(rows[0]["label"])
    assert float(rows[0]["mean_red"]) == pytest.approx(pixels[0][labels == number].mean())
    line = json.loads((tmp_path / "out" / "predicted.jsonl").read_text().splitlines()[-1])
    assert line["task"]["stain"]["most"] == list(wanted.most)
    assert found(like).kept == [str(path)]
    assert list(found(path).done) == [str(path)]


def test_what_cannot_be_is_refused(tmp_path):
    package = slide_types(tmp_path / "package", ("a", "b"))
    path = write(tmp_path / "a.png", tissue(64))
    with pytest.raises(ConfigError, match="this package has no test image"):
        predict(package, path, stain_like="package")
    grey = make_package(tmp_path / "grey")
    with pytest.raises(ConfigError, match="packages that see red, green and blue"):
        predict(grey, path, stain_like=path)
