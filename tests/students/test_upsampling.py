"""The shorter way through a decoder's block answers and learns as the plain one does."""

import copy

import pytest
import torch
import torch.nn.functional as F

from abbe import students
from abbe.students import upsampling
from abbe.students.upsampling import convolved_double


@pytest.mark.parametrize("joined", [0, 5])
def test_a_transposed_convolution_is_that_of_the_doubled_map(joined: int) -> None:
    random = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        values = torch.randn(*shape, generator=random, dtype=torch.float64)
        return values.requires_grad_()

    x, weight = draw(2, 4, 5, 7), draw(3, 4 + joined, 3, 3)
    skip = draw(2, joined, 10, 14) if joined else None
    inputs = [each for each in (x, weight, skip) if each is not None]
    doubled = F.interpolate(x, scale_factor=2.0, mode="nearest")
    plain = F.conv2d(doubled if skip is None else torch.cat([doubled, skip], 1), weight, padding=1)
    shorter = convolved_double(x, skip, weight)
    torch.testing.assert_close(shorter, plain, rtol=1e-12, atol=1e-12)
    upstream = torch.randn(plain.shape, generator=random, dtype=torch.float64)
    of_plain = torch.autograd.grad(plain, inputs, upstream)
    of_shorter = torch.autograd.grad(shorter, inputs, upstream)
    torch.testing.assert_close(of_shorter, of_plain, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", ["unet-resnet18", "unet-csat-like", "unet-timm-test_convnext"])
def test_a_step_of_training_is_the_same_on_both_ways(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    network = students.build(name, in_channels=2, encoder_weights="random").train().double()
    other, image = copy.deepcopy(network), torch.rand(2, 2, 64, 64, dtype=torch.float64)
    taken: list[int] = []

    def counted(*arguments: torch.Tensor) -> torch.Tensor:
        x = arguments[0]
        taken.append(x.numel() // x.shape[1])
        return convolved_double(*arguments)

    monkeypatch.setattr(upsampling, "convolved_double", counted)
    monkeypatch.setattr(upsampling, "FEWEST_PIXELS", 32)
    torch.manual_seed(1)  # csat-like drops paths
    answer = network(image)
    assert len(taken) > 1
    assert min(taken) == 32
    answer.square().mean().backward()
    monkeypatch.setattr(upsampling, "FEWEST_PIXELS", 1 << 20)
    ways = len(taken)
    torch.manual_seed(1)
    plain = other(image)
    assert len(taken) == ways
    plain.square().mean().backward()
    torch.testing.assert_close(answer, plain, rtol=1e-9, atol=1e-9)
    for (key, one), two in zip(network.named_parameters(), other.parameters(), strict=True):
        torch.testing.assert_close(one.grad, two.grad, rtol=1e-6, atol=1e-10, msg=key)


def test_packages_are_made_of_the_plain_operations(monkeypatch: pytest.MonkeyPatch) -> None:
    network = students.build("unet-timm-test_efficientnet", in_channels=1, encoder_weights="random")

    def refused(*_: torch.Tensor) -> torch.Tensor:
        raise AssertionError("an answer that is not for learning took the way of training")

    monkeypatch.setattr(upsampling, "convolved_double", refused)
    assert network.eval()(torch.rand(1, 1, 64, 64)).shape == (1, 2, 64, 64)
