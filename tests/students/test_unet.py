import pytest
import torch

from abbe.errors import ConfigError
from abbe.students import ARCHITECTURES, UNet, build, count

LARGE = ("unet-resnet50", "unet-mobilenetv3-large")


def unet(architecture: str = "unet-mobilenetv3", in_channels: int = 1, **arguments) -> UNet:
    return build(architecture, in_channels=in_channels, encoder_weights="random", **arguments)


@pytest.mark.parametrize(
    "architecture",
    [pytest.param(a, marks=pytest.mark.slow if a in LARGE else ()) for a in ARCHITECTURES],
)
def test_every_parameter_learns_and_the_logits_have_the_images_size(architecture):
    model = unet(architecture, in_channels=2)
    logits = model(torch.rand(2, 2, 64, 96))
    assert logits.shape == (2, 2, 64, 96)
    logits.square().mean().backward()
    idle = [name for name, parameter in model.named_parameters() if parameter.grad is None]
    assert idle == []


@pytest.mark.parametrize(
    "size", [(32, 32), (32, 160), pytest.param((256, 288), marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("architecture", ["unet-swin-tiny", "unet-mobilenetv3"])
def test_any_multiple_of_32_will_do(architecture, size):
    model = unet(architecture).eval()
    with torch.inference_mode():
        logits = model(torch.rand(1, 1, *size))
    assert logits.shape == (1, 2, *size)
    assert torch.isfinite(logits).all()


@pytest.mark.parametrize("in_channels", [1, 2, 3, 5])
def test_channels_and_outputs(in_channels):
    model = unet(in_channels=in_channels, outputs=("foreground", "boundary", "edge")).eval()
    assert model(torch.rand(1, in_channels, 32, 32)).shape == (1, 3, 32, 32)
    assert (model.in_channels, model.outputs) == (in_channels, ("foreground", "boundary", "edge"))
    assert (model.architecture, model.divisor) == ("unet-mobilenetv3", 32)


@pytest.mark.parametrize("architecture", ["unet-swin-tiny", "unet-resnet18"])
def test_channels_last_gives_the_same(architecture):
    model, image = unet(architecture).eval(), torch.rand(1, 1, 64, 64)
    with torch.inference_mode():
        expected = model(image)
        model.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
        ours = model(image.to(memory_format=torch.channels_last))
    torch.testing.assert_close(ours, expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("size", [(33, 64), (64, 100)])
def test_other_sizes_are_refused_naming_them(size):
    with pytest.raises(ValueError, match=rf"{size[0]} x {size[1]} px.*multiples of 32"):
        unet()(torch.rand(1, 1, *size))


def test_other_channels_are_refused_naming_them():
    with pytest.raises(ValueError, match=r"3 channels.*built for 1"):
        unet()(torch.rand(1, 3, 32, 32))


def test_equal_seeds_make_equal_students():
    torch.manual_seed(3)
    first = unet().state_dict()
    torch.manual_seed(3)
    second = unet().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_unknown_architecture_lists_those_there_are():
    with pytest.raises(ConfigError, match=r"'unet-vgg'.*unet-swin-tiny"):
        unet("unet-vgg")


@pytest.mark.parametrize("outputs", [(), ("foreground", "foreground")])
def test_outputs_need_different_names(outputs):
    with pytest.raises(ConfigError, match="outputs"):
        unet(outputs=outputs)


def test_a_student_sees_at_least_one_channel():
    with pytest.raises(ConfigError, match="in_channels 0"):
        unet(in_channels=0)


@pytest.mark.parametrize(
    ("depth", "widths"),
    [(4, (24, 16, 8, 8)), (4, (24, 16, 8)), (3, (16, 8, 8)), (5, (32, 16, 8, 8))],
)
@pytest.mark.parametrize("architecture", ["unet-mobilenetv3", "unet-csat-like", "unet-swin-tiny"])
def test_depth_and_widths_make_a_lighter_student(architecture, depth, widths):
    model = unet(architecture, depth=depth, decoder_widths=widths)
    assert (model.depth, model.divisor, model.decoder_widths) == (depth, 2**depth, widths)
    side = 8 * model.divisor  # more than one of Swin's windows
    logits = model(torch.rand(2, 1, side, side))
    assert logits.shape == (2, 2, side, side)
    logits.square().mean().backward()
    assert [name for name, each in model.named_parameters() if each.grad is None] == []


def test_what_lies_deeper_is_left_out():
    sizes = [count(unet(depth=depth), 1, 64).encoder_parameters for depth in (3, 4, 5)]
    assert sizes[0] < sizes[1] / 2 < sizes[2] / 4
    whole, cut = unet().encoder.state_dict(), unet(depth=4).encoder.state_dict()
    assert set(cut) < set(whole)
    assert all(cut[name].shape == whole[name].shape for name in cut)


def test_a_student_of_usual_layout_is_the_one_it_always_was():
    torch.manual_seed(3)
    usual = unet().state_dict()
    torch.manual_seed(3)
    said = unet(depth=5, decoder_widths=(256, 128, 64, 32, 16)).state_dict()
    assert all(torch.equal(usual[name], said[name]) for name in usual.keys() | said.keys())


def test_widths_that_do_not_go_with_the_depth_are_refused():
    with pytest.raises(ConfigError, match=r"decoder widths \[8, 8\].*depth 4 wants 4.*or 3"):
        unet(depth=4, decoder_widths=(8, 8))
    with pytest.raises(ConfigError, match="depth 2"):
        unet(depth=2)
