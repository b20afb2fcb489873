"""How many tiles are worked on at a time."""

from typing import Any

import imagecodecs
import numpy as np
import pytest
from made_packages import blobs, make_package

from abbe.errors import ConfigError, InputError
from abbe.machine import threads
from abbe.runtime.batch.many import Job, predict_many
from abbe.runtime.package import read_package
from abbe.runtime.package.engine import Engine
from abbe.runtime.predictors import opening as running
from abbe.runtime.predictors import tasks
from abbe.runtime.predictors.predict import predict
from abbe.runtime.predictors.tasks import open_predictor_for
from abbe.runtime.tiling import workers
from abbe.runtime.tiling.workers import useful_workers


def four_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    for module in (threads, running, workers):
        monkeypatch.setattr(module, "cores", lambda: 4)


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        ([(100, 100)], 1),
        ([(128, 128)], 1),
        ([(129, 128)], 2),
        ([(100, 100)] * 3, 3),
        ([(100, 100)] * 9, 8),
        ([(4000, 4000)], 8),
        ([(0.4, 0.2)], 1),
        ([], 1),
    ],
)
def test_a_worker_a_tile_and_no_more_than_cores(shapes, expected):
    assert useful_workers(shapes, 128, 8) == expected


def test_no_more_images_are_looked_at_than_needed():
    def shapes():
        yield from [(100, 100)] * 4
        raise AssertionError("a fifth was asked for")

    assert useful_workers(shapes(), 128, 4) == 4


@pytest.fixture
def package(tmp_path):
    return read_package(make_package(tmp_path / "package"))


def written(folder, count, side):
    folder.mkdir()
    paths = [folder / f"{number}.png" for number in range(count)]
    for number, path in enumerate(paths):
        path.write_bytes(imagecodecs.png_encode(blobs(side, side, seed=number)))
    return paths


@pytest.mark.parametrize(
    ("count", "side", "streams"), [(1, 100, 1), (2, 100, 2), (1, 300, 4), (6, 100, 4)]
)
def test_a_lone_tile_gets_all_cores(package, tmp_path, monkeypatch, count, side, streams):
    four_cores(monkeypatch)
    images = written(tmp_path / "images", count, side)
    ready = open_predictor_for(package, images)
    assert isinstance(ready.engine, Engine)
    assert (ready.workers, ready.engine.threads, ready.engine.streams) == (streams, 4, streams)
    asked = open_predictor_for(package, images, workers=3)
    assert asked.workers == 3


def test_a_broken_image_is_told_of_when_it_is_due(package, tmp_path):
    images = written(tmp_path / "images", 1, 100)
    broken = tmp_path / "images" / "broken.png"
    broken.write_bytes(b"no picture")
    both = {broken: broken.relative_to(tmp_path), images[0]: images[0].relative_to(tmp_path)}
    ready = open_predictor_for(package, both)
    outcome = predict_many(ready, both, tmp_path / "out", Job())
    assert list(outcome.failed) == [str(broken)]
    assert list(outcome.done) == [str(images[0])]


def test_one_array_from_python(package, monkeypatch):
    seen = []
    make = running.open_engine
    monkeypatch.setattr(
        running, "open_engine", lambda *words, **told: seen.append(told) or make(*words, **told)
    )
    four_cores(monkeypatch)
    pixels = blobs(300, 300)
    tiled = predict(package, pixels)
    whole = predict(package, pixels, tile=320)
    assert [told["streams"] for told in seen] == [4, 1]
    np.testing.assert_array_equal(tiled, whole)


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("threads", 0, "threads 0: at least 1"),
        ("threads", -2, "threads -2: at least 1"),
        ("workers", 0, "workers 0: at least 1"),
        ("workers", -3, "workers -3: at least 1"),
        ("tile", 0, "tile 0: at least 1"),
        ("tile", -128, "tile -128: at least 1"),
        ("engine", "tensorrt", "engine 'tensorrt': known are openvino, onnxruntime"),
        ("precision", "fp16", "precision 'fp16': known are fp32, bf16, int8"),
    ],
)
def test_options_that_mean_nothing_are_refused_by_name(package, tmp_path, option, value, complaint):
    images = written(tmp_path / "images", 1, 100)
    options: dict[str, Any] = {option: value}
    with pytest.raises(ConfigError, match=complaint):
        open_predictor_for(package, images, **options)


def test_a_package_that_is_ready_takes_no_options(package):
    ready = tasks.open_predictor(package)
    with pytest.raises(ConfigError, match="tile: this package runs as it was opened"):
        predict(ready, blobs(64, 64), tile=64)
    with pytest.raises(ConfigError, match="precision: this package runs"):
        predict(ready, blobs(64, 64), precision="fp32")


def test_what_numpy_makes_an_array_of_is_an_image(package):
    pixels = blobs(64, 80)
    np.testing.assert_array_equal(predict(package, pixels.tolist()), predict(package, pixels))


def test_channels_that_come_last_are_told(tmp_path):
    colour = make_package(tmp_path / "colour", channels=("red", "green", "blue"))
    with pytest.raises(InputError, match=r"channels last. They come first: give np.moveaxis"):
        predict(colour, np.zeros((40, 50, 3), np.uint8))
