import re
from functools import cache
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from abbe.errors import ConfigError, InputError
from abbe.students import build, encoders
from abbe.students.encoders import ENCODERS, create_encoder, timm_name

SMALL = "mobilenetv3"
LARGE = ("swin-tiny", "resnet50", "mobilenetv3-large", "efficientnet-b0")


@cache
def classifier(name: str = SMALL, **arguments) -> nn.Module:
    """timm's whole network, with batch statistics that show whether they were loaded."""
    torch.manual_seed(1)
    network = timm.create_model(timm_name(name), **arguments)
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.weight, 1, 0.1)
            nn.init.uniform_(module.get_buffer("running_var"), 0.8, 1.2)
    return network.eval()


def saved(state: dict[str, Any], path: Path) -> Path:
    if path.suffix == ".safetensors":
        save_file({key: value.contiguous() for key, value in state.items()}, path)
    else:
        torch.save(state, path)
    return path


def features_of(network: nn.Module, name: str, image: Tensor) -> list[Tensor]:
    """The same features by timm's older way, which runs the stages one after the other."""
    options: dict[str, Any] = {"strict_img_size": False} if name.startswith("swin") else {}
    if name == "csat-like":
        maps = [network.get_submodule("stem")(image)]
        for stage in network.get_submodule("stages").children():
            maps.append(stage(maps[-1]))
        return maps
    by_stages = timm.create_model(timm_name(name), features_only=True, **options).eval()
    state = network.state_dict()
    if name.startswith("swin"):
        state = {key.replace("layers.", "layers_", 1): value for key, value in state.items()}
    if name == "convnextv2-atto":
        state = {re.sub(r"^(stem|stages)\.", r"\1_", key): state[key] for key in state}
    used = {key: value for key, value in state.items() if key in by_stages.state_dict()}
    by_stages.load_state_dict(used)
    with torch.inference_mode():
        maps = by_stages(image)
    return [m.permute(0, 3, 1, 2) for m in maps] if name.startswith("swin") else maps


def standardised(image: Tensor, name: str = SMALL) -> Tensor:
    """As timm prepares images from 0 to 1 for a network of this name."""
    found = timm.get_pretrained_cfg(timm_name(name))
    assert found is not None
    mean, std = (torch.tensor(each)[:, None, None] for each in (found.mean, found.std))
    return (image - mean) / std


def assert_same_features(encoder: nn.Module, image: Tensor, expected: list[Tensor]) -> None:
    with torch.inference_mode():
        ours = encoder.eval()(image)
    assert len(ours) == len(expected)
    for one, other in zip(ours, expected, strict=True):
        torch.testing.assert_close(one, other, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in LARGE else ()) for n in ENCODERS]
)
def test_a_file_in_timms_layout_gives_timms_features(name, tmp_path):
    network, image = classifier(name), torch.rand(1, 3, 64, 96)
    path = saved(network.state_dict(), tmp_path / "weights.safetensors")
    expected = features_of(network, name, standardised(image, name))
    assert_same_features(create_encoder(name, 3, path), image, expected)


@pytest.mark.parametrize(
    ("suffix", "wrapper"),
    [(".safetensors", None), (".pth", None), (".pt", "state_dict"), (".pt", "model")],
)
def test_every_kind_of_file(suffix, wrapper, tmp_path):
    state = classifier().state_dict()
    content = {wrapper: state} if wrapper else state
    path = saved(content, tmp_path / f"weights{suffix}")
    model = build(f"unet-{SMALL}", in_channels=3, encoder_weights=path)
    stem = "conv_stem.weight"
    assert torch.equal(model.encoder.state_dict()[f"features.model.{stem}"], state[stem])


def test_a_file_without_the_classifier_or_the_counters_will_do(tmp_path):
    state = {
        key: value
        for key, value in classifier(num_classes=0).state_dict().items()
        if not key.endswith("num_batches_tracked") and not key.startswith("conv_head")
    }
    create_encoder(SMALL, 3, saved(state, tmp_path / "weights.pt"))


@pytest.mark.parametrize(
    "name", [SMALL, "resnet18", pytest.param("swin-tiny", marks=pytest.mark.slow)]
)
def test_rgb_weights_fed_with_grey_see_grey_as_rgb(name, tmp_path):
    network, grey = classifier(name), torch.rand(1, 1, 64, 64)
    path = saved(network.state_dict(), tmp_path / "weights.pt")
    expected = features_of(network, name, standardised(grey.expand(1, 3, 64, 64), name))
    assert_same_features(create_encoder(name, 1, path), grey, expected)


def test_rgb_weights_are_repeated_in_turn_and_scaled_for_more_channels(tmp_path):
    state = classifier().state_dict()
    path = saved(state, tmp_path / "weights.pt")
    encoder = create_encoder(SMALL, 5, path)
    rgb = state["conv_stem.weight"]
    ours = encoder.state_dict()["features.model.conv_stem.weight"]
    torch.testing.assert_close(ours, rgb[:, [0, 1, 2, 0, 1]] * 3 / 5)


def test_weights_of_as_many_channels_as_the_image_are_taken_as_they_are(tmp_path):
    state = classifier(in_chans=2).state_dict()
    encoder = create_encoder(SMALL, 2, saved(state, tmp_path / "weights.pt"))
    ours = encoder.state_dict()["features.model.conv_stem.weight"]
    assert torch.equal(ours, state["conv_stem.weight"])
    with pytest.raises(InputError, match=r"Other shape: conv_stem.weight \(16, 2, 3, 3\)"):
        create_encoder(SMALL, 1, tmp_path / "weights.pt")


@pytest.mark.slow
def test_swin_files_of_the_first_release(tmp_path):
    """They count the downsampling to the stage before, and hold indices that timm computes."""
    state = classifier("swin-tiny").state_dict()
    old = {
        re.sub(
            r"layers.(\d).downsample", lambda m: f"layers.{int(m[1]) - 1}.downsample", key
        ): value
        for key, value in state.items()
        if not key.startswith("head")
    }
    old["layers.0.blocks.0.attn.relative_position_index"] = torch.zeros(49, 49)
    encoder = create_encoder("swin-tiny", 3, saved(old, tmp_path / "weights.pth"))
    ours = encoder.state_dict()["features.model.layers.3.downsample.reduction.weight"]
    assert torch.equal(ours, state["layers.3.downsample.reduction.weight"])


def test_another_architecture_is_refused_listing_names(tmp_path):
    path = saved(classifier("resnet18").state_dict(), tmp_path / "resnet.safetensors")
    with pytest.raises(InputError) as caught:
        create_encoder(SMALL, 1, path)
    message = str(caught.value)
    assert "resnet.safetensors: not the weights of timm's mobilenetv3_small_100" in message
    assert "Missing: conv_stem.weight" in message
    assert "Not expected: layer1.0.conv1.weight" in message or "Not expected: conv1" in message


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("share", [0, 0.5])
def test_a_truncated_file_is_refused(suffix, share, tmp_path):
    path = saved(classifier().state_dict(), tmp_path / f"weights{suffix}")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(InputError, match=rf"weights\{suffix}: damaged"):
        create_encoder(SMALL, 1, path)


class _Harmful:
    def __reduce__(self):
        return (print, ("unpickled",))


def test_pickled_code_is_not_run(tmp_path, capsys):
    path = tmp_path / "weights.pt"
    torch.save({"state_dict": _Harmful()}, path)
    with pytest.raises(InputError, match=r"weights.pt: .*unpickling can run code"):
        create_encoder(SMALL, 1, path)
    assert "unpickled" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [torch.zeros(3), {"epoch": 3}, [1, 2]])
def test_a_file_of_something_else_is_refused(content, tmp_path):
    path = tmp_path / "weights.pt"
    torch.save(content, path)
    with pytest.raises(InputError, match=r"weights.pt: holds no dictionary of named tensors"):
        create_encoder(SMALL, 1, path)


def test_a_missing_file_and_an_unknown_ending(tmp_path):
    with pytest.raises(InputError, match=r"weights.pt: no such file"):
        create_encoder(SMALL, 1, tmp_path / "weights.pt")
    (tmp_path / "weights.h5").touch()
    with pytest.raises(InputError, match=r"weights.h5: must end in .safetensors, .pt or .pth"):
        create_encoder(SMALL, 1, tmp_path / "weights.h5")


def test_a_choice_that_is_none_is_refused():
    with pytest.raises(ConfigError, match="'imagnet': must be 'random', 'imagenet'"):
        create_encoder(SMALL, 1, "imagnet")  # pyright: ignore[reportArgumentType]


def test_unreachable_imagenet_weights_say_what_to_do(tmp_path, monkeypatch):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(ConfigError) as caught:
        create_encoder(SMALL, 1, "imagenet")
    assert "mobilenetv3_small_100" in str(caught.value)
    assert "--student.encoder-weights PATH" in str(caught.value)
    assert "--student.encoder-weights random" in str(caught.value)


def test_imagenet_weights_come_from_timm_and_are_adapted(monkeypatch):
    network = classifier()
    create = timm.create_model

    def offline(name, **arguments):
        return network if arguments.pop("pretrained", False) else create(name, **arguments)

    monkeypatch.setattr(timm, "create_model", offline)
    monkeypatch.setattr(encoders, "reachable", lambda endpoint: True)
    encoder = create_encoder(SMALL, 1, "imagenet")
    ours = encoder.state_dict()["features.model.conv_stem.weight"]
    assert torch.equal(ours, network.state_dict()["conv_stem.weight"])
    grey = torch.rand(1, 1, 64, 64)
    expected = features_of(network, SMALL, standardised(grey.expand(1, 3, 64, 64)))
    assert_same_features(encoder, grey, expected)
