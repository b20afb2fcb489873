"""Students whose squeeze-and-excitation looks at squares answer alike however an image is cut."""

import pytest
import timm
import torch
from torch import nn

from abbe import students
from abbe.exporting.request import ExportRequest
from abbe.network_size import macs_of, parameters_of
from abbe.students.encoders import create_network, read_weights
from abbe.students.local_pooling import BASES, LocalSqueezeExcite, with_local_pooling

NAMES = ("mobilenetv3-local", "mobilenetv3-large-local", "efficientnet-b0-local")


def gates_that_matter(network: nn.Module) -> nn.Module:
    """Weights of squeeze-and-excitation so large that what it saw shows in the answer."""
    torch.manual_seed(1)
    for name, weight in network.named_parameters():
        if "conv_reduce.weight" in name or "conv_expand.weight" in name:
            nn.init.normal_(weight, std=2 / weight.shape[1] ** 0.5)
    return network.eval()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("depth", [4, 5])
def test_what_lies_far_away_changes_nothing(name: str, depth: int) -> None:
    """Each layer's square alone counts; with convolutions between, nothing 350 px away is seen."""
    torch.manual_seed(0)
    network = students.build(f"unet-{name}", in_channels=1, encoder_weights="random", depth=depth)
    layers = [each for each in network.modules() if isinstance(each, LocalSqueezeExcite)]
    assert layers
    assert {each.cells for each in layers} <= {1, 2, 4, 8, 16}
    gates_that_matter(network)
    image = torch.rand(1, 1, 64, 512)
    other = image.clone()
    other[..., 384:] = 1
    near = slice(0, 32)
    for layer in layers:  # layer by layer: convolutions alone reach across squares
        x = torch.rand(1, layer.conv_reduce.in_channels, 2 * layer.cells, 4 * layer.cells)
        changed = x.clone()
        changed[..., layer.cells :] += 1
        with torch.inference_mode():
            one, two = layer(x)[..., : layer.cells], layer(changed)[..., : layer.cells]
        assert torch.equal(one, two)
    with torch.inference_mode():
        one, two = network(image)[..., near], network(other)[..., near]
    assert (one - two).abs().max() < 1e-3 * one.abs().max()


def test_timms_own_layer_sees_what_lies_far_away() -> None:
    """Without which the test above would show nothing."""
    torch.manual_seed(0)
    network = students.build("unet-mobilenetv3", in_channels=1, encoder_weights="random")
    gates_that_matter(network)
    image = torch.rand(1, 1, 64, 512)
    other = image.clone()
    other[..., 384:] = 1
    with torch.inference_mode():
        one, two = network(image)[..., :32], network(other)[..., :32]
    assert (one - two).abs().max() > 0.01 * one.abs().max()


def test_a_square_of_the_whole_map_is_timms_own_layer() -> None:
    torch.manual_seed(0)
    theirs = timm.create_model("mobilenetv3_small_100").eval()
    ours = timm.create_model("mobilenetv3_small_100_local").eval()
    ours.load_state_dict(theirs.state_dict())
    image = torch.rand(2, 3, 32, 32)  # one square
    with torch.inference_mode():
        torch.testing.assert_close(ours(image), theirs(image))


@pytest.mark.parametrize("base", BASES)
def test_parameters_weights_and_standardisation_are_timms(base: str, tmp_path) -> None:
    name = {
        "mobilenetv3_small_100": "mobilenetv3",
        "mobilenetv3_large_100": "mobilenetv3-large",
        "efficientnet_b0": "efficientnet-b0",
    }[base]
    theirs = create_network(name, 3)
    ours = create_network(f"{name}-local", 3)
    assert parameters_of(ours) == parameters_of(theirs)
    path = tmp_path / "weights.pt"
    torch.save(theirs.state_dict(), path)
    read = read_weights(f"{name}-local", path)
    assert read.standardisation == read_weights(name, path).standardisation
    encoder = students.build(f"unet-{name}-local", in_channels=1, encoder_weights=path).encoder
    kept = encoder.timm_network().state_dict()
    assert kept.keys() <= theirs.state_dict().keys()
    assert all(torch.equal(value, theirs.state_dict()[key]) for key, value in kept.items())
    assert timm.is_model_pretrained(f"{base}_local")
    image = torch.empty(1, 1, 256, 256, device="meta")
    own, more = (
        macs_of(
            students.build(f"unet-{each}", in_channels=1, encoder_weights="random")
            .to("meta")
            .eval(),
            image,
        )
        for each in (name, f"{name}-local")
    )
    assert own < more < 1.05 * own


@pytest.mark.parametrize(
    ("asked", "context"),
    [({}, 256), ({"tile": (512,)}, 128), ({"tile": (256,)}, 64), ({"context": 32}, 32)],
)
def test_packages_of_them_look_further_beyond_a_cut(asked: dict, context: int) -> None:
    plain, local = (
        students.build(f"unet-{name}", in_channels=1, encoder_weights="random")
        for name in ("mobilenetv3", "mobilenetv3-local")
    )
    request = ExportRequest(**asked)
    assert request.tiling(local.divisor, local.reach)["context"] == context
    assert request.tiling(plain.divisor, plain.reach)["context"] == min(context, 64)


def test_a_size_that_squares_do_not_divide_is_answered() -> None:
    network = timm.create_model("efficientnet_b0_local", num_classes=3).eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 75, 100)).shape == (1, 3)


def test_networks_without_such_layers_stay_as_they_are() -> None:
    network = timm.create_model("resnet18", features_only=True, feature_cls="getter")
    before = [type(each) for each in network.modules()]
    assert [type(each) for each in with_local_pooling(network).modules()] == before
