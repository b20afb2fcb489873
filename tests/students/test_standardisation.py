"""What a pretrained encoder wants done to images is the network's first operation."""

import json

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import abbe.students
from abbe.errors import ConfigError, InputError
from abbe.students import (
    NOTHING,
    LinearProbe,
    Standardisation,
    build,
    build_classifier,
    build_promptable,
    copy_encoder,
    encoder_of,
    load,
    load_classifier,
    load_encoder,
    load_promptable,
    save,
    save_classifier,
    save_encoder,
    save_promptable,
)
from abbe.students.encoders import create_encoder, timm_name
from abbe.students.standardisation import described, standardised_in

IMAGENET = Standardisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
HALF = Standardisation((0.5,) * 3, (0.5,) * 3)
LITE, SMALL = "timm-tf_efficientnet_lite0", "resnet18"


def weights_of(name, folder, **arguments):
    """A file of timm's network of this name, with weights that nothing else has."""
    torch.manual_seed(3)
    network = timm.create_model(timm_name(name), **arguments).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.get_buffer("running_mean"), -0.2, 0.2)
    path = folder / "weights.safetensors"
    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, path)
    return path, network


def last_map(network, image):
    return network.eval()(image)[-1]


@pytest.mark.parametrize(("name", "expected"), [(LITE, HALF), (SMALL, IMAGENET)])
def test_mean_and_deviation_are_those_of_timms_network(name, expected, tmp_path):
    path, network = weights_of(name, tmp_path)
    encoder = create_encoder(name, 3, path).eval()
    assert encoder.standardisation == expected
    image = torch.rand(2, 3, 64, 96)
    mean, std = (torch.tensor(each)[:, None, None] for each in (expected.mean, expected.std))
    with torch.inference_mode():
        features = network.forward_features((image - mean) / std)  # pyright: ignore[reportCallIssue]
        whole = build_classifier(name, in_channels=3, classes=("a", "b"), encoder_weights=path)
        found = whole.eval().network.forward_features(whole.standardise(image))  # pyright: ignore[reportCallIssue]
        torch.testing.assert_close(found, features)
        torch.testing.assert_close(whole.embed(image), last_map(encoder, image).mean((2, 3)))


@pytest.mark.parametrize("name", [SMALL, LITE, pytest.param("swin-tiny", marks=pytest.mark.slow)])
def test_grey_gives_the_features_of_three_equal_colours(name, tmp_path):
    path, _ = weights_of(name, tmp_path)
    grey = torch.rand(2, 1, 64, 64)
    with torch.inference_mode():
        for found, expected in zip(
            create_encoder(name, 1, path).eval()(grey),
            create_encoder(name, 3, path).eval()(grey.expand(2, 3, 64, 64)),
            strict=True,
        ):
            torch.testing.assert_close(found, expected)


def test_other_channels_get_the_average_of_the_colours(tmp_path):
    path, network = weights_of(SMALL, tmp_path)
    encoder = create_encoder(SMALL, 2, path)
    mean, std = sum(IMAGENET.mean) / 3, sum(IMAGENET.std) / 3
    assert encoder.standardisation.mean == pytest.approx((mean,))
    assert encoder.standardisation.std == pytest.approx((std,))
    image = torch.rand(1, 2, 64, 64)
    rgb = network.get_parameter("conv1.weight")
    first = encoder.timm_network().get_submodule("conv1")
    with torch.inference_mode():
        expected = nn.functional.conv2d(
            (image - mean) / std, rgb[:, :2] * 3 / 2, stride=2, padding=3
        )
        torch.testing.assert_close(first(encoder.standardise(image)), expected)


def test_weights_of_one_channel_get_the_average_too(tmp_path):
    path, _ = weights_of(SMALL, tmp_path, in_chans=1)
    found = create_encoder(SMALL, 1, path)
    assert found.standardisation.mean == pytest.approx((sum(IMAGENET.mean) / 3,))
    assert found.timm_network().get_parameter("conv1.weight").shape[1] == 1


def test_random_weights_see_images_as_they_are():
    model = build(f"unet-{SMALL}", in_channels=1, encoder_weights="random")
    assert described(model) is None
    assert not any("standardise" in key for key in model.state_dict())


def test_the_user_has_the_last_word(tmp_path):
    path, _ = weights_of("timm-mobilenetv2_100", tmp_path)
    name = "timm-mobilenetv2_100"
    assert create_encoder(name, 3, path).standardisation == IMAGENET
    half = Standardisation((0.5,), (0.5,))
    grey = create_encoder(name, 1, path, half)
    assert grey.standardisation == HALF
    assert create_encoder(name, 3, path, NOTHING).standardisation == NOTHING
    assert create_encoder(name, 3, "random", half).standardisation == half
    with pytest.raises(ConfigError, match="sees 3 channels: give one value, or 3"):
        create_encoder(name, 1, path, Standardisation((0.5,) * 2, (0.5,) * 2))


@pytest.mark.parametrize(
    ("mean", "std"), [((0.5,), (0.5, 0.5)), ((), ()), ((0.5,), (0.0,)), ((float("nan"),), (1.0,))]
)
def test_numbers_that_cannot_be_are_refused(mean, std):
    with pytest.raises(ConfigError, match="of an encoder"):
        Standardisation(mean, std)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"pretrained_cfg": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}}', (0.1, 0.2, 0.3)),
        ('{"architectures": ["of something else"]}', IMAGENET.mean),
    ],
)
def test_timms_config_beside_the_file_says_more_than_timm(text, expected, tmp_path):
    path, _ = weights_of(SMALL, tmp_path)
    (tmp_path / "config.json").write_text(text)
    assert create_encoder(SMALL, 3, path).standardisation.mean == expected


@pytest.mark.parametrize("text", ["[", '{"pretrained_cfg": {"mean": [0.5], "std": [0]}}'])
def test_a_damaged_config_beside_the_file_is_named(text, tmp_path):
    path, _ = weights_of(SMALL, tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(InputError, match=r"config\.json: its pretrained_cfg is damaged"):
        create_encoder(SMALL, 3, path)


@pytest.mark.parametrize("in_channels", [1, 3, 4])
@pytest.mark.parametrize("kind", ["u-net", "classifier", "probe"])
def test_it_travels_with_the_weights(kind, in_channels, tmp_path):
    weights, _ = weights_of(SMALL, tmp_path)
    path, image = tmp_path / "student.safetensors", torch.rand(1, in_channels, 64, 64)
    if kind == "u-net":
        model = build("unet-resnet18", in_channels=in_channels, encoder_weights=weights).eval()
        save(path, model, {})
        again, _ = load(path)
    else:
        classes = ("a", "b")
        model = build_classifier(
            SMALL, in_channels=in_channels, classes=classes, encoder_weights=weights
        )
        model = (LinearProbe(model) if kind == "probe" else model).eval()
        save_classifier(path, model, {})
        again, _ = load_classifier(path)
    assert described(again) == described(model) is not None
    with torch.inference_mode():
        assert torch.equal(again(image), model(image))


def test_students_of_earlier_versions_see_images_as_they_did(tmp_path):
    """Their files have no such tensors; one of RGB weights had a convolution of one channel."""
    path = tmp_path / "student.safetensors"
    model = build("unet-resnet18", in_channels=1, encoder_weights="random").eval()
    save(path, model, {})
    again, _ = load(path)
    assert standardised_in(again).standardisation == NOTHING
    assert again.encoder.timm_network().get_parameter("conv1.weight").shape[1] == 1


@pytest.mark.parametrize("in_channels", [1, 3])
@pytest.mark.parametrize("kind", ["u-net", "classifier"])
def test_timm_and_smp_prepare_images_as_abbe_does(kind, in_channels, tmp_path):
    """From the same image in [0, 1], by nothing but timm and what the file says."""
    weights, _ = weights_of(LITE, tmp_path)
    if kind == "u-net":
        model = build(f"unet-{LITE}", in_channels=in_channels, encoder_weights=weights).eval()
        encoder = model.encoder
    else:
        model = build_classifier(
            LITE, in_channels=in_channels, classes=("a", "b"), encoder_weights=weights
        ).eval()
        encoder = encoder_of(model)
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, model, {})
    overlay = abbe.students.pretrained_cfg(path)
    theirs = timm.create_model(
        timm_name(LITE), features_only=True, pretrained=True, pretrained_cfg_overlay=overlay
    ).eval()
    prepared = timm.data.resolve_data_config(model=theirs)  # pyright: ignore[reportAttributeAccessIssue]
    assert (prepared["mean"], prepared["std"]) == ([0.5] * 3, [0.5] * 3)
    assert (prepared["input_size"], prepared["interpolation"]) == ([3, 224, 224], "bicubic")

    image = torch.rand(1, in_channels, 64, 64)
    mean, std = (torch.tensor(prepared[key])[:, None, None] for key in ("mean", "std"))
    seen = (image.expand(1, 3, 64, 64) - mean) / std
    unet = smp.Unet(f"tu-{timm_name(LITE)}", encoder_weights=True, pretrained_cfg_overlay=overlay)  # pyright: ignore[reportArgumentType]
    with torch.inference_mode():
        expected = last_map(encoder, image)
        torch.testing.assert_close(theirs(seen)[-1], expected)
        torch.testing.assert_close(unet.eval().encoder(seen)[-1], expected)


def test_an_encoder_file_says_its_own_and_earlier_ones_nothing(tmp_path):
    weights, _ = weights_of("timm-mobilenetv2_100", tmp_path)
    name, path = "timm-mobilenetv2_100", tmp_path / "encoder.safetensors"
    half = Standardisation((0.5,), (0.5,))
    model = build(f"unet-{name}", in_channels=3, encoder_weights=weights, standardisation=half)
    save_encoder(path, model, {})
    assert create_encoder(name, 3, path).standardisation.mean == (0.5,) * 3

    again = build_classifier(name, in_channels=3, classes=("a", "b"), encoder_weights=weights)
    load_encoder(again, path)
    assert again.standardisation.std == (0.5,) * 3

    description = {"format_version": 1, "encoder": name, "timm": "mobilenetv2_100"}
    description |= {"in_channels": 3, "facts": {}}
    save_file(load_file(path), path, {"abbe-encoder": json.dumps(description)})
    assert create_encoder(name, 3, path).standardisation == NOTHING
    assert abbe.students.pretrained_cfg(path)["mean"] == (0.0,) * 3
    load_encoder(again, path)
    assert again.standardisation == NOTHING


@pytest.mark.parametrize("in_channels", [1, 3])
def test_a_copied_encoder_sees_images_alike(in_channels, tmp_path):
    weights, _ = weights_of(SMALL, tmp_path)
    classifier = build_classifier(
        SMALL, in_channels=in_channels, classes=("a", "b"), encoder_weights=weights
    ).eval()
    unet = build("unet-resnet18", in_channels=in_channels, encoder_weights="random").eval()
    copy_encoder(unet, classifier)
    image = torch.rand(1, in_channels, 64, 64)
    with torch.inference_mode():
        found = unet.encoder(image)[-1].mean((2, 3))
        torch.testing.assert_close(found, classifier.embed(image))


def test_promptable_students_undo_sams_own_first(tmp_path):
    """Images come with ImageNet's mean and deviation, which ResNets want and others do not."""
    weights, _ = weights_of("resnet18", tmp_path)
    plain = build_promptable("promptable-resnet18", side=64, encoder_weights=weights)
    assert described(plain) is None

    weights, _ = weights_of(LITE, tmp_path)
    student = build_promptable(f"promptable-{LITE}", side=64, encoder_weights=weights).eval()
    image = torch.rand(1, 3, 64, 64)
    sams, half = (
        (image - torch.tensor(each.mean)[:, None, None]) / torch.tensor(each.std)[:, None, None]
        for each in (IMAGENET, HALF)
    )
    trunk = student.image_encoder.get_submodule("trunk")
    expected = create_encoder(LITE, 3, weights, NOTHING).eval()
    path = tmp_path / "student.safetensors"
    save_promptable(path, student, {})
    again, _ = load_promptable(path)
    with torch.inference_mode():
        torch.testing.assert_close(trunk(sams)[-1], expected(half)[-1], atol=1e-4, rtol=1e-4)
        assert torch.equal(again.image_encoder(sams), student.image_encoder(sams))


def test_half_precision_begins_after_it(tmp_path):
    """Subtracting in bfloat16 would lose grey levels; autocast leaves it in single precision."""
    weights, _ = weights_of(SMALL, tmp_path)
    model = build("unet-resnet18", in_channels=1, encoder_weights=weights).eval()
    with torch.autocast("cpu", torch.bfloat16):
        seen = model.encoder.standardise(torch.rand(1, 1, 32, 32))
    assert (seen.dtype, seen.shape) == (torch.float32, (1, 3, 32, 32))
