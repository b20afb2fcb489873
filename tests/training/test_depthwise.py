"""Depthwise convolutions within bf16 training on a CPU."""

import pytest
import torch
from torch import nn

from abbe.training.depthwise import DepthwiseInFull, depthwise_format

CPU = torch.device("cpu")


def trained(layer: nn.Conv2d, image: torch.Tensor, *, mode: bool) -> tuple[torch.Tensor, ...]:
    """Result and gradients of the weights and of the image, in bf16."""
    layer.zero_grad()
    image = image.clone().requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        if mode:
            with DepthwiseInFull():
                result = layer(image)
        else:
            result = layer(image)
    result.float().square().sum().backward()
    assert layer.weight.grad is not None
    assert image.grad is not None
    return result.detach(), layer.weight.grad.clone(), image.grad


@pytest.mark.parametrize(
    "shape",
    [{"kernel_size": 5, "padding": 2}, {"kernel_size": 3, "stride": 2}, {"kernel_size": (1, 7)},
     {"kernel_size": 3, "dilation": 2, "padding": "same"}, {"kernel_size": 3, "stride": (2, 1)}],
)  # fmt: skip
@pytest.mark.parametrize("bias", [True, False])
def test_slow_ones_are_computed_in_fp32(shape, bias):
    torch.manual_seed(0)
    layer, image = nn.Conv2d(8, 8, groups=8, bias=bias, **shape), torch.randn(2, 8, 16, 16)
    result, of_weight, of_image = trained(layer, image, mode=True)
    assert result.dtype is torch.bfloat16
    plain = layer(image.requires_grad_())
    assert torch.equal(result, plain.bfloat16())
    # The gradient begins at the result, which is in bf16.
    weights = torch.autograd.grad(
        plain, (layer.weight, image), 2 * result.float().bfloat16().float()
    )
    for ours, exact in zip((of_weight, of_image), weights, strict=True):
        torch.testing.assert_close(ours, exact, rtol=0.01, atol=0.01)


@pytest.mark.parametrize("layer", [
    nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.Conv2d(8, 8, 5, groups=2), nn.Conv2d(8, 8, 5),
    nn.Conv2d(8, 4, 1),
])  # fmt: skip
def test_all_others_stay_in_bf16(layer):
    image = torch.randn(2, 8, 16, 16)
    with_mode, without = trained(layer, image, mode=True), trained(layer, image, mode=False)
    assert all(torch.equal(a, b) for a, b in zip(with_mode, without, strict=True))


def test_answers_without_a_gradient_stay_in_bf16():
    layer, image = nn.Conv2d(8, 8, 5, groups=8), torch.randn(2, 8, 16, 16)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        expected = layer(image)
        with DepthwiseInFull():
            assert torch.equal(layer(image), expected)


def test_only_bf16_on_a_cpu_is_changed():
    assert isinstance(depthwise_format(CPU, "bf16"), DepthwiseInFull)
    assert not isinstance(depthwise_format(CPU, "no"), DepthwiseInFull)
    assert not isinstance(depthwise_format(torch.device("cuda"), "bf16"), DepthwiseInFull)
