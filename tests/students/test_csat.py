import logging

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from fvcore.nn import FlopCountAnalysis
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from abbe.errors import ConfigError, InputError
from abbe.students import (
    Classifier,
    build,
    build_classifier,
    load,
    load_classifier,
    load_encoder,
    save,
    save_classifier,
    save_encoder,
)
from abbe.students.csat import ResidualBlock, SpatialAttention, pool_to_grid


@pytest.fixture(scope="module")
def network() -> nn.Module:
    """As in the published budget: colour images, 1000 classes."""
    return timm.create_model("csat_like").eval()


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def macs(hollow: nn.Module, side: int) -> float:
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        hollow(torch.empty(1, 3, side, side, device="meta"))
    return counter.get_total_flops() / 2


@pytest.fixture(scope="module")
def hollow() -> nn.Module:
    with torch.device("meta"):
        return timm.create_model("csat_like").eval()


def test_parameters_are_those_of_the_table(network):
    assert parameters(network) / 1e6 == pytest.approx(3.0, rel=0.02)
    parts = [network.get_submodule("stem"), *network.get_submodule("stages").children()]
    assert [parameters(part) for part in parts] == [928, 110_976, 553_984, 1_239_424, 902_624]
    assert parameters(network.get_submodule("head")) == 225_000


def test_macs_are_those_of_the_budget_by_two_counters(network, hollow):
    assert macs(hollow, 224) / 1e9 == pytest.approx(1.08, rel=0.005)
    logging.getLogger("fvcore").setLevel(logging.ERROR)
    # The budget was counted with fvcore, which counts normalisation and interpolation, too.
    counts = FlopCountAnalysis(network, torch.zeros(1, 3, 224, 224))
    assert counts.total() / 1e9 == pytest.approx(1.08, rel=0.005)
    products = sum(counts.by_operator()[operator] for operator in ("conv", "linear", "matmul"))
    # It takes a product of a matrix with many for a product with one (the pooling of rows).
    assert products == pytest.approx(macs(hollow, 224), rel=0.002)


def test_cost_is_linear_in_the_area(hollow):
    at_224, at_448, at_896 = (macs(hollow, side) for side in (224, 448, 896))
    assert at_448 / at_224 <= 4  # what does not grow are the tokens
    assert at_896 / at_448 <= 4
    assert (at_896 - at_448) / (at_448 - at_224) == pytest.approx(4, rel=1e-3)


@pytest.mark.parametrize("size", [(14, 14), (28, 56), (37, 91), (8, 5)])
def test_pooling_is_torchs_adaptive_pooling(size):
    x = torch.rand(2, 3, *size)
    torch.testing.assert_close(pool_to_grid(x, 14), F.adaptive_avg_pool2d(x, 14))


def test_the_gate_is_within_0_and_1_and_differs_from_place_to_place():
    torch.manual_seed(0)
    attention = SpatialAttention(16, width=8, heads=2, grid=7)
    gate = attention(20 * torch.randn(2, 16, 24, 40))
    assert gate.shape == (2, 16, 24, 40)
    assert gate.min() >= 0
    assert gate.max() <= 1
    assert gate.std((2, 3)).min() > 0


def test_the_gate_multiplies_the_convolutions_and_the_input_is_added():
    block = ResidualBlock(6, 6, attention=nn.Sigmoid()).eval()
    x = torch.randn(1, 6, 8, 8)
    y = block.layers(x)
    torch.testing.assert_close(block(x), (x + y * y.sigmoid()).relu())


def test_the_last_block_of_the_last_two_stages_has_attention(network):
    stages = network.get_submodule("stages").children()
    gated = [[block.attention is not None for block in stage.children()] for stage in stages]
    assert gated == [[False], [False, False], [False, True], [True]]


@pytest.mark.parametrize("kind", ["encoder", "u-net", "classifier"])
def test_files_of_the_first_layout_are_refused_in_words(tmp_path, kind):
    file = tmp_path / "old.safetensors"
    if kind == "classifier":
        save_classifier(file, of_the_first_layout(classifier()), {})
    else:
        model = of_the_first_layout(u_net())
        (save if kind == "u-net" else save_encoder)(file, model, {})
    read = {
        "encoder": lambda: load_encoder(u_net(), file),
        "u-net": lambda: load(file),
        "classifier": lambda: load_classifier(file),
    }
    with pytest.raises(InputError, match=r"csat-like's first layout.*[Tt]rain it again"):
        read[kind]()


def of_the_first_layout(model):
    """It had two blocks in its first stage, both of 64 channels, the second with attention."""
    network = (
        model.timm_network() if isinstance(model, Classifier) else model.encoder.timm_network()
    )
    attention = SpatialAttention(64, width=32, heads=2, grid=14)
    blocks = ResidualBlock(32, 64, stride=2), ResidualBlock(64, 64, attention=attention)
    network.get_submodule("stages").register_module("0", nn.Sequential(*blocks))
    return model


def u_net():
    return build("unet-csat-like", in_channels=3, encoder_weights="random")


def classifier():
    return build_classifier(
        "csat-like", in_channels=3, classes=("a", "b"), encoder_weights="random"
    )


def test_every_part_learns():
    model = build_classifier(
        "csat-like", in_channels=1, classes=("a", "b"), encoder_weights="random"
    )
    model(torch.rand(2, 1, 64, 96)).square().mean().backward()
    still = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not parameter.grad.abs().sum()
    ]
    # A key's bias shifts all of a query's weights alike, which the softmax takes away; it is a part
    # of qkv.bias here, so every tensor has some gradient.
    assert still == []


def test_the_u_net_has_a_light_decoder():
    model = build("unet-csat-like", in_channels=3, outputs=("nuclei",), encoder_weights="random")
    blocks = [block.get_submodule("conv2.0") for block in model.decoder]
    assert [convolution.out_channels for convolution in blocks] == [128, 96, 64, 32]
    assert model.encoder.strides == (2, 4, 8, 16, 32)
    assert model.head.kernel_size == (1, 1)


def test_there_are_no_imagenet_weights():
    with pytest.raises(ConfigError, match=r"no ImageNet weights of csat-like.*random"):
        build("unet-csat-like", in_channels=3, encoder_weights="imagenet")


@pytest.mark.slow
def test_onnx_of_any_size_gives_the_same(tmp_path):
    """A block with attention: the one part of the network that is not plain convolution."""
    import onnxruntime

    torch.manual_seed(0)
    attention = SpatialAttention(8, width=8, heads=2, grid=14)
    model = ResidualBlock(3, 8, stride=2, attention=attention).eval()
    free = torch.export.Dim.DYNAMIC
    program = torch.onnx.export(
        model,
        (torch.rand(2, 3, 64, 96),),
        dynamo=True,
        dynamic_shapes=({0: free, 2: free, 3: free},),
        verbose=False,
    )
    assert program is not None
    program.save(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for shape in [(2, 3, 64, 96), (1, 3, 224, 160), (3, 3, 320, 32)]:
        image = torch.rand(shape)
        with torch.inference_mode():
            expected = model(image).numpy()
        found = session.run(None, {session.get_inputs()[0].name: image.numpy()})[0]
        assert np.abs(np.asarray(found) - expected).max() < 1e-5
