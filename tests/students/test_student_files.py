import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from abbe.errors import InputError
from abbe.students import UNet, build, load, save


@pytest.fixture(scope="module")
def model() -> UNet:
    torch.manual_seed(0)
    return build(
        "unet-mobilenetv3", in_channels=2, outputs=("foreground",), encoder_weights="random"
    )


@pytest.fixture
def path(model, tmp_path):
    save(tmp_path / "student.safetensors", model, {"pixel_size": 0.5, "channels": ["nucleus"]})
    return tmp_path / "student.safetensors"


def rewrite(path, change) -> None:
    """Let ``change(tensors, description)`` alter the file."""
    with safe_open(path, framework="pt") as file:
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        description = json.loads(file.metadata()["abbe"])
    change(tensors, description)
    save_file(tensors, path, {"abbe": json.dumps(description)})


def test_round_trip(model, path):
    again, facts = load(path)
    assert facts == {"pixel_size": 0.5, "channels": ["nucleus"]}
    assert (again.architecture, again.in_channels, again.outputs) == (
        "unet-mobilenetv3",
        2,
        ("foreground",),
    )
    assert not again.training
    image = torch.rand(1, 2, 64, 64)
    with torch.inference_mode():
        assert torch.equal(again(image), model.eval()(image))


def test_depth_and_widths_are_kept(tmp_path):
    light = build(
        "unet-mobilenetv3", in_channels=1, encoder_weights="random", depth=4,
        decoder_widths=(16, 8, 8),
    )  # fmt: skip
    save(tmp_path / "light.safetensors", light, {})
    again, _ = load(tmp_path / "light.safetensors")
    assert (again.depth, again.decoder_widths) == (4, (16, 8, 8))
    image = torch.rand(1, 1, 48, 80)
    with torch.inference_mode():
        assert torch.equal(again(image), light.eval()(image))


def test_files_of_earlier_versions_have_the_usual_layout(model, path):
    def forget(tensors, description):
        del description["depth"], description["decoder_widths"]

    rewrite(path, forget)
    assert load(path)[0].decoder_widths == model.decoder_widths == (256, 128, 64, 32, 16)


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("depth", "5", "none of a student's"),
        ("decoder_widths", [8, -1], "none of a student's"),
        ("decoder_widths", [1 << 20] * 5, "none of a student's"),
        ("decoder_widths", 5, "none of a student's"),
    ],
)
def test_an_impossible_layout_is_refused(path, key, value, words):
    rewrite(path, lambda tensors, description: description.update({key: value}))
    with pytest.raises(InputError, match=words):
        load(path)


def test_loading_does_not_shift_random_numbers(path):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    load(path)
    assert torch.equal(torch.rand(3), expected)


def test_channels_last_weights_are_saved(model, path, tmp_path):
    model.to(memory_format=torch.channels_last)
    save(tmp_path / "other.safetensors", model, {})
    expected, ours = load(path)[0].state_dict(), load(tmp_path / "other.safetensors")[0]
    assert all(torch.equal(value, expected[name]) for name, value in ours.state_dict().items())


def test_a_failed_save_leaves_the_old_file(model, path):
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save(path, model, {"model": model})
    with pytest.raises(ValueError, match="JSON"):
        save(path, model, {"dice": float("nan")})
    assert path.read_bytes() == before
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_ending_is_fixed(model, tmp_path):
    with pytest.raises(ValueError, match=r"student.pt: .*\.safetensors"):
        save(tmp_path / "student.pt", model, {})


@pytest.mark.parametrize(
    ("field", "value", "words"),
    [
        ("format_version", 99, "format_version 99; this version of Abbe reads 1"),
        ("format_version", None, "format_version None"),
        ("architecture", "unet-vgg", "architecture 'unet-vgg' is unknown"),
        ("architecture", 3, "lacks a proper 'architecture'"),
        ("in_channels", "two", "lacks a proper 'in_channels'"),
        ("outputs", None, "lacks a proper 'outputs'"),
        ("facts", None, "lacks a proper 'facts'"),
        ("in_channels", 1, "Other shape: encoder.features.model.conv_stem.weight"),
        ("architecture", "unet-resnet18", "not those of unet-resnet18. Missing: encoder."),
    ],
)
def test_what_is_not_known_is_refused(path, field, value, words):
    rewrite(path, lambda tensors, description: description.update({field: value}))
    with pytest.raises(InputError, match=r"student\.safetensors") as caught:
        load(path)
    assert words in str(caught.value)


def test_missing_and_surplus_tensors_are_named(path):
    def change(tensors, description):
        tensors["surplus"] = tensors.pop("head.bias")

    rewrite(path, change)
    with pytest.raises(InputError, match=r"Missing: head.bias. Not expected: surplus."):
        load(path)


def test_files_of_others_are_refused(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({"weight": torch.zeros(1)}, path)
    with pytest.raises(InputError, match=r"other.safetensors: not a student saved by Abbe"):
        load(path)
    for text, words in (("{", "metadata is damaged"), ("[]", "no table of fields")):
        save_file({"weight": torch.zeros(1)}, path, {"abbe": text})
        with pytest.raises(InputError, match=words):
            load(path)


def test_missing_and_damaged_files(path, tmp_path):
    with pytest.raises(InputError, match=r"nowhere.safetensors: no such file"):
        load(tmp_path / "nowhere.safetensors")
    path.write_bytes(path.read_bytes()[:-1000])
    with pytest.raises(InputError, match=r"student.safetensors: damaged"):
        load(path)
