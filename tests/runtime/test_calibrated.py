"""Packages with a temperature: what is told changes, what is found does not."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from made_packages import blobs, make_class_package, make_package, make_region_package

from abbe.errors import PackageError
from abbe.imaging import Image
from abbe.runtime.package import read_package
from abbe.runtime.package.engine import open_engine
from abbe.runtime.postprocess.calibration import calibrated
from abbe.runtime.predictors.instances import predictor
from abbe.runtime.predictors.predict import predict
from abbe.runtime.predictors.regions import region_predictor
from abbe.runtime.tiling.work import Work


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def scaled(p: np.ndarray, temperature: float) -> np.ndarray:
    """The sigmoid of the logit divided by T."""
    p = p.astype(np.float64).clip(1e-7, 1 - 1e-7)
    return 1 / (1 + np.exp(-np.log(p / (1 - p)) / temperature))


def test_objects_stay_and_their_confidence_is_the_mean_of_what_is_told(tmp_path: Path) -> None:
    pixels = blobs(200, 260)
    image = Image.from_array(pixels, ("nucleus",))
    found = {}
    for name, temperature in {"plain": (), "calibrated": (3.0, 0.5)}.items():
        package = make_package(tmp_path / name, format=6, temperature=temperature)
        ready = predictor(package)
        with ThreadPoolExecutor(1) as pool:
            found[name] = ready.run(image, pool, Work(None), keep_maps=True)
    plain, told = found["plain"], found["calibrated"]
    labels = plain.labels.read()
    np.testing.assert_array_equal(told.labels.read(), labels)
    assert labels.max() > 5
    before, after = (each.maps.read() for each in (plain, told))
    for place, temperature in enumerate((3.0, 0.5)):
        expected = scaled(before[place] / 255, temperature)
        # Eight bits of what was divided by T are all that can be compared.
        sure = (before[place] > 25) & (before[place] < 230)
        assert sure.sum() > 100
        assert np.abs(after[place] / 255 - expected)[sure].max() < 0.02
        assert ((after[place] >= 128) == (before[place] >= 128)).all()
    one = told.labels.numbering.confidence[1]
    assert one == pytest.approx((after[0][labels == 1] / 255).mean(), abs=0.003)
    assert one < plain.labels.numbering.confidence[1]


def test_probabilities_of_images_and_pixels_are_told_so_too(tmp_path: Path) -> None:
    dark = np.full((64, 64), 12_000, np.uint16)
    dark[::2, ::3] = 40_000
    classes = {t: make_class_package(tmp_path / f"c{t}", format=6, temperature=(t,))
               for t in (1.0, 4.0)}  # fmt: skip
    before, after = (predict(package, dark) for package in classes.values())
    np.testing.assert_allclose(after, scaled(before, 4.0), atol=1e-4)  # float32 near 1
    assert after.argmax() == before.argmax()
    pixels = blobs(100, 100)
    image = Image.from_array(pixels, ("nucleus",))
    regions = [make_region_package(tmp_path / f"r{t}", format=6, temperature=(t,))
               for t in (1.0, 5.0)]  # fmt: skip
    maps = []
    for package in regions:
        prediction = _regions(package, image)
        assert prediction.maps is not None
        maps.append(prediction.maps.read().astype(float) / 255)
        np.testing.assert_array_equal(
            prediction.classes.read(), _regions(regions[0], image).classes.read()
        )
    assert np.abs(maps[1].sum(0) - 1).max() < 0.01
    assert (maps[1].max(0) <= maps[0].max(0) + 0.01).all()
    assert maps[1].max(0).mean() < maps[0].max(0).mean() - 0.05


def _regions(package: Path, image: Image):
    from abbe.runtime.job import Tools
    from abbe.runtime.tiling.timing import Timings

    ready = region_predictor(package)
    with ThreadPoolExecutor(1) as pool:
        tools = Tools(pool, Work(None), Timings(), lambda share: None)
        return ready.run(image, tools, keep_maps=True)


def test_what_no_network_was_asked_about_stays_0() -> None:
    p = np.array([[0.0, 0.2], [1.0, 0.8]], np.float32)
    assert calibrated(p, (5.0,), exclusive=True)[:, 0].tolist() == [0.0, 1.0]
    first = calibrated(p, (5.0, 5.0), exclusive=False)[0]
    assert first.tolist() == pytest.approx([0.0, scaled(p[0, 1], 5)], abs=1e-6)
    assert first[0] == 0


def test_the_engine_gives_what_the_network_says(tmp_path: Path) -> None:
    """Parity and checks compare networks, not what is made of them."""
    batch = np.random.default_rng(0).random((1, 1, 32, 32), np.float32)
    answers = [
        open_engine(read_package(make_package(tmp_path / name, format=6, temperature=t)))
        .probabilities(batch)
        for name, t in {"a": (), "b": (2.0, 2.0)}.items()
    ]  # fmt: skip
    np.testing.assert_array_equal(answers[0], answers[1])


def test_a_temperature_that_cannot_be_is_refused(tmp_path: Path) -> None:
    for name, values, message in (
        ("old", {"format": 5, "temperature": (2.0, 2.0)}, "5 knows no temperature; 6 does"),
        ("few", {"format": 6, "temperature": (2.0,)}, "one for each of outputs"),
        ("none", {"format": 6, "temperature": (2.0, 0.0)}, "greater than 0"),
    ):
        with pytest.raises((PackageError, ValueError), match=message):
            read_package(make_package(tmp_path / name, **values))
