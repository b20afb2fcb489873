"""An earlier run as teacher: the student's own prediction, with the facts of its training."""

from pathlib import Path

import numpy as np
import PIL.Image
import pytest
import torch
from helpers_of_teachers import SeededImage

from abbe.errors import ConfigError, InputError
from abbe.files import sha256_of_file
from abbe.imaging import Image, normalise, percentile_limits
from abbe.machine.precision import choose_precision
from abbe.students import build, predict, save
from abbe.teachers import run

CHANNELS = ("nucleus", "membrane")
FACTS = {
    "channels": list(CHANNELS),
    "pixel_size": 0.5,
    "normalisation": "percentile 1-99.8 per image and channel",
    "thresholds": {"foreground": 0.4},
    "simulated": True,
    "trained_on": "squares",
    "data_licence": "CC0",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    model = build("unet-mobilenetv3", in_channels=2, encoder_weights="random")
    path = tmp_path_factory.mktemp("earlier")
    save(path / "student.safetensors", model, FACTS)
    save(path / "bare.safetensors", model, {})
    save(path / "unsized.safetensors", model, {**FACTS, "pixel_size": None})
    save(path / "other.safetensors", model, {**FACTS, "normalisation": "none"})
    return path


def test_maps_are_the_students(folder: Path):
    teacher = run(folder, device="cpu", precision="fp32")
    image = SeededImage(2, shape=(70, 45)).open()
    pixels = image.read(channels=CHANNELS)
    values = normalise(pixels, percentile_limits(pixels))
    found = teacher.predict(image, "a").maps["probability"]
    np.testing.assert_allclose(found, predict(teacher.network, values), atol=1e-6)
    half = run(folder, device="cpu", precision="bf16").predict(image, "a").maps["probability"]
    expected = predict(teacher.network, values, precision=torch.bfloat16)
    np.testing.assert_allclose(half, expected, atol=2e-3)
    assert 0 < np.abs(half - found).max() < 0.02
    assert found.shape == (2, 70, 45)
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())


def test_facts_become_provenance(folder: Path):
    teacher = run(folder)
    found, device = teacher.provenance, next(teacher.network.parameters()).device
    assert found.teacher == f"{folder.name}/unet-mobilenetv3, trained on simulated images"
    assert found.notes == ("trained by Abbe on squares",)
    assert run(folder, precision="bf16").provenance.settings["precision"] == "bf16"
    assert found.settings["precision"] == choose_precision("auto", device)
    assert found.differences(run(folder, tile=512).provenance)
    assert found.differences(run(folder, halo=32).provenance)
    assert found.weights_sha256 == sha256_of_file(folder / "student.safetensors")
    assert (found.channels, found.outputs) == (CHANNELS, ("foreground", "boundary"))
    assert found.thresholds == {"foreground": 0.4}
    assert (teacher.pixel_size, run(folder / "unsized.safetensors").pixel_size) == (0.5, None)
    assert found.training_data_licence == "CC0"
    named = run(folder / "student.safetensors", CHANNELS, name="big", stand_in=True).provenance
    assert (named.teacher, named.stand_in) == ("big, trained on simulated images", True)


@pytest.mark.parametrize(("size", "shape"), [(1.0, (96, 80)), (0.25, (24, 20)), (0.51, (48, 40))])
def test_images_are_resampled_to_the_pixel_size_of_the_training(folder: Path, size, shape):
    teacher = run(folder, device="cpu", precision="fp32")
    image = SeededImage(2).open()
    image.pixel_size = size
    pixels = image.read(channels=CHANNELS)
    values = normalise(pixels, percentile_limits(pixels))
    expected = resize(predict(teacher.network, resize(values, shape)), (48, 40))
    found = teacher.predict(image, "a").maps["probability"]
    assert found.shape == (2, 48, 40)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def resize(planes: np.ndarray, shape: tuple[int, int]) -> np.ndarray:
    if planes.shape[1:] == shape:
        return planes
    pictures = [PIL.Image.fromarray(plane) for plane in planes]
    method = PIL.Image.Resampling.BILINEAR
    return np.stack([np.asarray(each.resize((shape[1], shape[0]), method)) for each in pictures])


def test_what_has_no_pixel_size_is_refused_or_said(folder: Path):
    image = SeededImage(2).open()
    image.pixel_size = None
    with pytest.raises(InputError, match=r"image-2: its pixel size is not known.*data\.pixel_size"):
        run(folder, device="cpu").predict(image, "a")
    image.pixel_size = 50.0
    with pytest.raises(InputError, match=r"One of the two is likely wrong.*--override-pixel-size"):
        run(folder, device="cpu").predict(image, "a")
    image.pixel_size = 0.25
    with pytest.warns(UserWarning, match="does not say for which pixel size it was trained"):
        run(folder / "unsized.safetensors", device="cpu").predict(image, "a")


def test_what_can_be_wrong(folder: Path, tmp_path: Path):
    with pytest.raises(InputError, match=r"student\.safetensors: there is no such"):
        run(tmp_path)
    with pytest.raises(InputError, match=r"bare\.safetensors: does not say which channels"):
        run(folder / "bare.safetensors")
    with pytest.raises(InputError, match=r"other\.safetensors: reads images normalised by 'none'"):
        run(folder / "other.safetensors")
    with pytest.raises(ConfigError, match="tile 100 and halo 64 must be multiples of 32 px"):
        run(folder, tile=100)
    with pytest.raises(ConfigError, match="trained on the channels nucleus, membrane"):
        run(folder, ("nucleus",))


def test_a_set_of_one_channel_can_be_shown_twice(folder: Path):
    teacher = run(folder, ("nucleus", "nucleus"), device="cpu")
    image = SeededImage(2).open()
    pixels = image.read(channels=["nucleus"] * 2)
    twice = Image.from_array(pixels, ["nucleus", "membrane"], image.pixel_size)
    expected = run(folder, device="cpu").predict(twice, "a").maps["probability"]
    assert teacher.provenance.channels == ("nucleus", "nucleus")
    np.testing.assert_array_equal(teacher.predict(image, "a").maps["probability"], expected)


def test_a_large_image_is_predicted_by_tile(folder: Path):
    image = SeededImage(2, shape=(200, 150)).open()
    found = run(folder, device="cpu", tile=96, halo=32).predict(image, "a").maps["probability"]
    assert found.shape == (2, 200, 150)
    assert 0.3 < found.mean() < 0.7
