"""Torch modules by import path: numbers against calling the module, and what can be wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from helpers_of_teachers import SeededImage
from modules_of_teachers import Mix
from safetensors.torch import save_file

from abbe.errors import ConfigError, InputError
from abbe.files import sha256_of_file
from abbe.imaging import normalise, percentile_limits
from abbe.machine.precision import autocast_for
from abbe.teachers import torch_module
from abbe.teachers.networks.full_activations import FullActivations
from abbe.training.stage import probabilities

CHANNELS = ("nucleus", "membrane")
HERE = "modules_of_teachers"


@pytest.fixture(autouse=True)
def importable(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))


def normalised(seed: int) -> np.ndarray:
    pixels = SeededImage(seed).open().read(channels=CHANNELS)
    return normalise(pixels, percentile_limits(pixels))


def test_probabilities_and_live_logits_are_the_modules():
    teacher = torch_module(f"{HERE}:Mix", CHANNELS, device="cpu", precision="fp32", divisor=8)
    values = torch.from_numpy(normalised(3))[None]
    logits = Mix()(values)
    found = teacher.predict(SeededImage(3).open(), "a").maps["probability"]
    np.testing.assert_allclose(found, logits.sigmoid()[0].detach(), atol=1e-6)
    torch.testing.assert_close(teacher.network(values), logits)
    assert not any(parameter.requires_grad for parameter in teacher.network.parameters())


THREE = {"arguments": {"outputs": 3}, "outputs": "-,a,foreground"}
GIVING = {
    "its own sigmoid": ("probabilities", {"activation": "none"}),
    "its own softmax": ("shares", {"activation": "none", "outputs": "-,a,foreground"}),
    "scripted": ("scripted", {"activation": "none"}),
    "softmax": ("Mix", {"activation": "softmax", **THREE}),
    "sigmoid": ("Mix", THREE),
}


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("giving", GIVING)
def test_live_logits_give_the_stored_probabilities(giving: str, precision: str):
    factory, options = GIVING[giving]
    options = {"device": "cpu", "precision": precision, **options}
    teacher = torch_module(f"{HERE}:{factory}", CHANNELS, **options)
    found = teacher.predict(SeededImage(3).open(), "a").maps["probability"]
    with autocast_for(torch.device("cpu"), precision), torch.inference_mode():
        batch = {"teacher_image": torch.from_numpy(normalised(3))[None]}
        live = probabilities(teacher.network, batch)[0]
    assert len(found) == len(teacher.provenance.outputs)
    np.testing.assert_allclose(live, found, atol=1e-5)


@pytest.mark.parametrize("giving", GIVING)
def test_a_sure_teacher_is_as_sure_in_half_precision(giving: str):
    """Only its convolution rounds: in bf16 a sigmoid of 7 would be 1, and its logit infinite."""
    factory, options = GIVING[giving]
    arguments = {**options.get("arguments", {}), "times": -32.0}
    options = {
        "device": "cpu",
        "precision": "bf16",
        "divisor": 8,
        **options,
        "arguments": arguments,
    }
    teacher = torch_module(f"{HERE}:{factory}", CHANNELS, **options)
    found = teacher.predict(SeededImage(3).open(), "a").maps["probability"]
    values = torch.from_numpy(normalised(3))[None]
    with torch.autocast("cpu", torch.bfloat16):
        logits = Mix(outputs=3 if "foreground" in options.get("outputs", "") else 1)(values)
        live = teacher.network(values)
    logits = -32 * logits.double()
    several = giving in ("its own softmax", "softmax")
    expected = logits.softmax(1) if several else logits.sigmoid()
    expected = expected[0, -len(found) :].detach().numpy()
    assert expected.max() > 0.999
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert live.dtype == torch.float32
    assert live.isfinite().all()


def test_a_module_that_reads_other_pixels_cannot_teach_live():
    teacher = torch_module(f"{HERE}:Mix", CHANNELS, preprocessing="zero_mean_unit_variance")
    assert teacher.predict(SeededImage(3).open(), "a").maps
    with pytest.raises(ConfigError, match=r"zero_mean_unit_variance.*Store its targets instead"):
        _ = teacher.network


@pytest.mark.parametrize("ending", [".pt", ".safetensors"])
def test_weights_are_loaded_and_hashed(tmp_path: Path, ending: str):
    state, path = Mix(seed=7).state_dict(), tmp_path / f"w{ending}"
    save_file(state, path) if ending == ".safetensors" else torch.save(state, path)
    teacher = torch_module(f"{HERE}:Mix", CHANNELS, weights=path, device="cpu", precision="fp32")
    assert teacher.provenance.weights_sha256 == sha256_of_file(path)
    expected = Mix(seed=7)(torch.from_numpy(normalised(3))[None]).sigmoid()[0].detach()
    found = teacher.predict(SeededImage(3).open(), "a").maps["probability"]
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_without_a_file_the_weights_themselves_are_hashed():
    def hash_of(seed: int) -> str | None:
        as_on_the_command_line = Path(f"{HERE}:Mix"), CHANNELS
        teacher = torch_module(*as_on_the_command_line, arguments=f'{{"seed": {seed}}}')
        return teacher.provenance.weights_sha256

    assert hash_of(1) == hash_of(1) != hash_of(2)


def test_other_weights_are_listed(tmp_path: Path):
    torch.save({"mix.weight": torch.zeros(1, 2, 1, 1), "extra": torch.zeros(1)}, tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"w\.pt.*mix\.bias.*extra"):
        torch_module(f"{HERE}:Mix", CHANNELS, weights=tmp_path / "w.pt")


def test_pickled_code_is_not_run(tmp_path: Path):
    torch.save(Mix(), tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"w\.pt"):
        torch_module(f"{HERE}:Mix", CHANNELS, weights=tmp_path / "w.pt")


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        ("nowhere:Mix", "nowhere:Mix cannot be imported or called.*PYTHONPATH"),
        (f"{HERE}:Missing", "Missing cannot be imported"),
        (HERE, "no import path: write package.module:function"),
        (f"{HERE}:number", "gives a int, not a torch.nn.Module"),
    ],
)
def test_wrong_factories(factory: str, message: str):
    with pytest.raises(ConfigError, match=message):
        torch_module(factory, CHANNELS)


def test_wrong_arguments_and_channels():
    with pytest.raises(ConfigError, match=r"Mix cannot be imported or called.*unexpected"):
        torch_module(f"{HERE}:Mix", CHANNELS, arguments={"depth": 4})
    with pytest.raises(ConfigError, match=r"arguments '\{outputs' are no JSON"):
        torch_module(f"{HERE}:Mix", CHANNELS, arguments="{outputs")
    with pytest.raises(ConfigError, match="must be a JSON object, not '3'"):
        torch_module(f"{HERE}:Mix", CHANNELS, arguments="3")
    with pytest.raises(ConfigError, match="Mix: say which of the image's channels"):
        torch_module(f"{HERE}:Mix")


def test_answers_that_are_no_map_or_too_many():
    image = SeededImage(3).open()
    with pytest.raises(InputError, match=r"dictionary answers with .*dict.*wraps the module"):
        torch_module(f"{HERE}:dictionary", CHANNELS).predict(image, "a")
    with pytest.raises(InputError, match=r"Mix gave 2 maps but 1 outputs are named: foreground"):
        torch_module(f"{HERE}:Mix", CHANNELS, arguments={"outputs": 2}).predict(image, "a")


def test_other_arguments_of_the_same_weights_are_other_settings():
    plain, surer = (
        torch_module(f"{HERE}:Mix", CHANNELS, device="cpu", arguments={"times": times})
        for times in (1.0, 4.0)
    )
    assert plain.provenance.weights_sha256 == surer.provenance.weights_sha256
    (differing,) = plain.provenance.differences(surer.provenance)
    assert """{'arguments': '{"times": 4.0}'} now""" in differing


def test_half_precision_is_said_and_near(tmp_path: Path):
    image = SeededImage(3).open()
    full = torch_module(f"{HERE}:Mix", CHANNELS, device="cpu", precision="fp32")
    half = torch_module(f"{HERE}:Mix", CHANNELS, device="cpu", precision="bf16")
    (differing,) = full.provenance.differences(half.provenance)
    assert differing == "settings: {'precision': 'fp32'} here, {'precision': 'bf16'} now"
    difference = (
        full.predict(image, "a").maps["probability"]
        - (half.predict(image, "a").maps["probability"])
    )
    assert 0 < np.abs(difference).max() < 0.01
    with pytest.raises(ConfigError, match="precision 'int8'"):
        torch_module(f"{HERE}:Mix", CHANNELS, precision="int8")


@pytest.mark.parametrize(
    "preprocessing", ["percentile", "zero_mean_unit_variance", "scale_255", "none"]
)
def test_a_large_image_is_read_by_tile(monkeypatch: pytest.MonkeyPatch, preprocessing: str):
    from abbe.teachers.networks import preprocessing as preparing

    monkeypatch.setattr(preparing, "BAND", 2 * 150 * 40)
    large: list[int] = []
    whole = SeededImage(3, shape=(300, 150))
    image = whole.open()
    read = image.read

    def watched(region=None, channels=None):
        pixels = read(region, channels)
        large.append(pixels[0].size)
        return pixels

    monkeypatch.setattr(image, "read", watched)
    options: dict[str, Any] = {
        "preprocessing": preprocessing, "device": "cpu", "precision": "fp32", "divisor": 8,
    }  # fmt: skip
    tiled = torch_module(f"{HERE}:Mix", CHANNELS, tile=64, halo=8, **options)
    found = tiled.predict(image, "a").maps["probability"]
    if preprocessing != "percentile":  # its limits come from up to 16.8 million pixels at once
        assert max(large) <= 150 * 40
    expected = torch_module(f"{HERE}:Mix", CHANNELS, tile=512, **options)
    image_again = whole.open()
    np.testing.assert_allclose(
        found, expected.predict(image_again, "a").maps["probability"], atol=1e-5
    )


SPELLINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "torch.sigmoid": torch.sigmoid,
    "Tensor.sigmoid": lambda x: x.sigmoid(),
    "expit": torch.special.expit,
    "F.sigmoid": torch.nn.functional.sigmoid,
    "torch.softmax": lambda x: torch.softmax(x, 1),
    "F.softmax": lambda x: torch.nn.functional.softmax(x, dim=1),
    "special.softmax": lambda x: torch.special.softmax(x, 1),
    "in fp64": lambda x: x.double().sigmoid(),
    "with a type": lambda x: torch.softmax(x, 1, dtype=torch.float32),
}


@pytest.mark.parametrize("guard", [torch.inference_mode, torch.no_grad, torch.enable_grad])
@pytest.mark.parametrize("spelling", SPELLINGS)
def test_a_modules_own_activation_is_taken_in_full(spelling: str, guard: Any):
    class Squashed(torch.nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            return SPELLINGS[spelling](image.bfloat16())

    values = torch.linspace(-9, 9, 60).view(1, 3, 4, 5)
    with guard():
        found = FullActivations(Squashed())(values)
    exact = values.bfloat16().double()
    expected = exact.softmax(1) if "softmax" in spelling or "type" in spelling else exact.sigmoid()
    assert found.dtype == (torch.float64 if spelling == "in fp64" else torch.float32)
    torch.testing.assert_close(found.double(), expected, atol=1e-6, rtol=0)
