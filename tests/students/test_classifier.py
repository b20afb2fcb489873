from typing import Any

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import load_file, save_file

from abbe.errors import ConfigError, InputError
from abbe.students import (
    Classifier,
    build,
    build_classifier,
    encoder_facts,
    encoder_of,
    encoder_state,
    load_encoder,
    save_encoder,
)
from abbe.students.encoders import timm_name

CLASSES = ("benign", "in situ", "invasive")
SMALL = "resnet18"
NAMES = ("csat-like", "efficientnet-b0", "convnextv2-atto", "resnet18", "timm-resnet10t")


def classifier(name: str = SMALL, in_channels: int = 3, **arguments) -> Classifier:
    weights = arguments.pop("encoder_weights", "random")
    return build_classifier(
        name, in_channels=in_channels, classes=CLASSES, encoder_weights=weights, **arguments
    )


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize("name", NAMES)
def test_an_encoder_moves_from_a_u_net_to_a_classifier_and_back(name, tmp_path):
    unet = build(f"unet-{name}", in_channels=2, encoder_weights="random")
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, unet, {"pretrained_on": "tiles"})
    model = classifier(name, 2)
    linear = model.network.get_classifier().weight.clone()  # pyright: ignore[reportCallIssue]
    assert load_encoder(model, path) == {"pretrained_on": "tiles"}
    assert same(encoder_state(model), encoder_state(unet))
    assert torch.equal(model.network.get_classifier().weight, linear)  # pyright: ignore[reportCallIssue]

    save_encoder(path, model, {})
    other = build(f"unet-{name}", in_channels=2, encoder_weights="random")
    assert not same(encoder_state(other), encoder_state(unet))
    load_encoder(other, path)
    assert same(encoder_state(other), encoder_state(unet))
    built = build(f"unet-{name}", in_channels=2, encoder_weights=path)
    assert same(encoder_state(built), encoder_state(unet))


@pytest.mark.parametrize("name", NAMES)
def test_an_embedding_is_the_mean_of_the_encoders_last_map(name):
    model, image = classifier(name).eval(), torch.rand(2, 3, 64, 96)
    with torch.inference_mode():
        expected = encoder_of(model).eval()(image)[-1].mean((2, 3))
        torch.testing.assert_close(model.embed(image), expected)
        assert model(image).shape == (2, len(CLASSES))


@pytest.mark.parametrize("name", ["resnet18", "efficientnet-b0", "csat-like"])
def test_the_encoder_is_all_but_the_head(name):
    model = classifier(name)
    encoder = set(map(id, model.encoder_parameters()))
    head = [each for each in model.parameters() if id(each) not in encoder]
    assert len(encoder) + len(head) == len(list(model.parameters()))
    linear = model.network.get_classifier().weight  # pyright: ignore[reportCallIssue]
    assert any(parameter is linear for parameter in head)


@pytest.mark.parametrize("name", ["resnet18", "efficientnet-b0", "convnextv2-atto", "csat-like"])
@pytest.mark.parametrize("save_from", ["u-net", "classifier"])
def test_timm_and_smp_take_the_file_as_documented(name, save_from, tmp_path):
    if save_from == "u-net":
        model = build(f"unet-{name}", in_channels=3, encoder_weights="random").eval()
    else:
        model = classifier(name).eval()
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, model, {})
    ours = encoder_state(model)

    file = {"file": str(path)}
    theirs = timm.create_model(
        timm_name(name), num_classes=9, pretrained=True, pretrained_cfg_overlay=file
    )
    state = theirs.state_dict()
    assert all(torch.equal(state[key], ours[key]) for key in ours)

    from_file: dict[str, Any] = {"encoder_weights": True, "pretrained_cfg_overlay": file}
    unet = smp.Unet(f"tu-{timm_name(name)}", **from_file).eval()
    image = torch.rand(1, 3, 64, 64)
    encoder = model.encoder if save_from == "u-net" else encoder_of(model).eval()  # pyright: ignore[reportArgumentType, reportCallIssue]
    with torch.inference_mode():
        torch.testing.assert_close(unet.encoder(image)[-1], encoder(image)[-1])  # pyright: ignore[reportCallIssue]


def test_the_file_is_flat_safetensors_in_timms_names_and_says_what_it_is(tmp_path):
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, classifier(in_channels=1), {"licence": "CC0", "pixel_size": 0.5})
    assert {"conv1.weight", "layer4.1.bn2.running_var"} <= load_file(path).keys()
    assert not any(key.startswith("fc") for key in load_file(path))
    assert encoder_facts(path) == {
        "format_version": 2,
        "encoder": "resnet18",
        "timm": "resnet18",
        "in_channels": 1,
        "pretrained_cfg": {
            "architecture": "resnet18",
            "input_size": [1, 224, 224],
            "mean": [0.0],
            "std": [1.0],
            "interpolation": "bicubic",
        },
        "facts": {"licence": "CC0", "pixel_size": 0.5},
    }


def test_a_whole_classifier_of_timm_gives_all_but_the_linear_layer(tmp_path):
    network = timm.create_model("efficientnet_b0", num_classes=5)
    save_file(network.state_dict(), tmp_path / "timm.safetensors")
    model = classifier("efficientnet-b0", encoder_weights=tmp_path / "timm.safetensors")
    state, theirs = model.network.state_dict(), network.state_dict()
    own = {"classifier.weight", "classifier.bias"}
    assert all(torch.equal(state[key], theirs[key]) for key in state.keys() - own)
    assert state["classifier.weight"].shape[0] == len(CLASSES)


def test_rgb_weights_see_grey_as_three_equal_colours(tmp_path):
    path = tmp_path / "encoder.safetensors"
    rgb, grey = classifier().eval(), classifier(in_channels=1).eval()
    save_encoder(path, rgb, {})
    load_encoder(grey, path)
    image = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(grey.embed(image), rgb.embed(image.expand(2, 3, 64, 64)))


def test_another_encoders_file_is_refused_naming_both(tmp_path):
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, classifier("timm-resnet10t"), {})
    with pytest.raises(InputError, match="encoder 'timm-resnet10t', but the model has 'resnet18'"):
        load_encoder(classifier(), path)
    save_file(encoder_state(classifier("timm-resnet10t")), path)  # without a name
    with pytest.raises(InputError, match="not the weights of timm's resnet18"):
        load_encoder(classifier(), path)


def test_a_file_with_half_of_the_encoder_is_refused(tmp_path):
    path = tmp_path / "encoder.safetensors"
    state = encoder_state(classifier())
    save_file({key: state[key] for key in state if not key.startswith("layer4")}, path)
    with pytest.raises(InputError, match=r"Missing: layer4.0.conv1.weight"):
        load_encoder(classifier(), path)


def test_a_file_that_is_no_encoder_of_ours_says_so(tmp_path):
    save_file({"a": torch.zeros(1)}, tmp_path / "other.safetensors")
    with pytest.raises(InputError, match="not an encoder saved by Abbe"):
        encoder_facts(tmp_path / "other.safetensors")
    with pytest.raises(ValueError, match=r"ends in \.safetensors"):
        save_encoder(tmp_path / "encoder.pt", classifier(), {})


def test_unusual_strides_are_refused():
    with pytest.raises(ConfigError, match=r"strides \(16, .*are needed"):
        classifier("timm-test_vit")


def test_unknown_names_and_wrong_classes():
    with pytest.raises(ConfigError, match=r"encoder 'vgg': unknown.*csat-like.*timm-NAME"):
        classifier("vgg")
    with pytest.raises(ConfigError, match="two or more different classes"):
        build_classifier(SMALL, in_channels=3, classes=("one",), encoder_weights="random")
    with pytest.raises(ConfigError, match="two or more different classes"):
        build_classifier(SMALL, in_channels=3, classes=("a", "a"), encoder_weights="random")
    with pytest.raises(ConfigError, match="in_channels 0"):
        classifier(in_channels=0)
    with pytest.raises(ValueError, match="3 channels, resnet18 was built for 1"):
        classifier(in_channels=1)(torch.rand(1, 3, 32, 32))


def test_dropout_is_in_front_of_the_linear_layer():
    torch.manual_seed(0)
    model, image = classifier("csat-like", drop_rate=0.5), torch.rand(2, 3, 32, 32)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.eval()
    assert not torch.equal(model(image), model(image))
    model.eval()
    assert torch.equal(model(image), model(image))
