"""MobileNetV3 and EfficientNet whose answer does not depend on how an image is cut.

Their squeeze-and-excitation layers weigh channels by means over the whole map: of a tile, other
means than of the image. Here the means are over squares as wide as the network's coarsest pixel
(32 px), which lie the same wherever windows begin at multiples of that, as Abbe's do. Layers, their
tensors' names and sizes are timm's, so that timm's weights fit.

``import abbe.students.local_pooling`` makes ``timm.create_model("mobilenetv3_small_100_local")``
work, and the others of `BASES` likewise.
"""

import copy
from collections.abc import Callable
from typing import Any

import timm
import torch
import torch.nn.functional as F
from timm.models import generate_default_cfgs, register_model
from timm.models._efficientnet_blocks import SqueezeExcite
from torch import Tensor, nn

BASES = ("mobilenetv3_small_100", "mobilenetv3_large_100", "efficientnet_b0")
"""timm's networks; ours are called so with "_local" behind."""
REACH = 256
"""px from a cut within which a U-Net on such an encoder still sees it: of objects in a mosaic cut
in windows of 1024 px, PQ against the uncut one is 0.984 with 64 px, 0.998 with 192 and 0.9998 with
these."""
_SIDE = 128
"""px of the image by which strides are found out; nothing is computed."""


def _as_its_base(name: str) -> tuple[str, dict[str, Any]]:
    found = timm.get_pretrained_cfg(name)
    assert found is not None
    return f"{name}_local.{found.tag}", found.to_dict(remove_source=False, remove_null=True)


# timm looks for this name in the module of a registered model.
default_cfgs = generate_default_cfgs(dict(map(_as_its_base, BASES)))


class LocalSqueezeExcite(nn.Module):
    """Weights of the channels from their means over squares of ``cells`` x ``cells`` positions.

    Args:
        whole: timm's layer, whose parts are taken over.
        cells: Side of a square.
    """

    def __init__(self, whole: SqueezeExcite, cells: int) -> None:
        super().__init__()
        self.cells = cells
        assert whole.act1 is not None
        assert whole.gate is not None
        self.conv_reduce, self.act1 = whole.conv_reduce, whole.act1
        self.conv_expand, self.gate = whole.conv_expand, whole.gate

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to the same; what is left over beside whole squares goes with the last."""
        means = F.avg_pool2d(x, self.cells) if self.cells > 1 else x
        gate = self.gate(self.conv_expand(self.act1(self.conv_reduce(means))))
        if self.cells > 1:
            gate = F.interpolate(gate, size=x.shape[-2:], mode="nearest")
        return x * gate


def has_local_pooling(network: nn.Module) -> bool:
    """Whether any of its layers is `LocalSqueezeExcite`."""
    return any(isinstance(each, LocalSqueezeExcite) for each in network.modules())


def with_local_pooling(network: nn.Module) -> nn.Module:
    """The network with `LocalSqueezeExcite` for each squeeze-and-excitation, changed in place."""
    strides, deepest = _strides(network)
    for name, stride in strides.items():
        place, _, last = name.rpartition(".")
        parent = network.get_submodule(place)
        whole = network.get_submodule(name)
        assert isinstance(whole, SqueezeExcite)
        setattr(parent, last, LocalSqueezeExcite(whole, deepest // stride))
    return network


def _strides(network: nn.Module) -> tuple[dict[str, int], int]:
    """The stride in px of each such layer, by name, and the network's last."""
    shadow = copy.deepcopy(network).to("meta").eval()
    widths: dict[str, int] = {}

    def noting(name: str) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
        return lambda _, seen: widths.update({name: seen[0].shape[-1]})

    for name, module in shadow.named_modules():
        if isinstance(module, SqueezeExcite):
            module.register_forward_pre_hook(noting(name))
    channels = next(each for each in shadow.modules() if isinstance(each, nn.Conv2d)).in_channels
    image = torch.empty(1, channels, _SIDE, _SIDE, device="meta")
    maps = shadow(image)
    last = maps[-1].shape[-1] if isinstance(maps, list) else _SIDE // 32
    return {name: _SIDE // width for name, width in widths.items()}, _SIDE // last


@register_model
def mobilenetv3_small_100_local(pretrained: bool = False, **arguments: Any) -> nn.Module:
    """MobileNetV3-Small."""
    return _local("mobilenetv3_small_100", pretrained, arguments)


@register_model
def mobilenetv3_large_100_local(pretrained: bool = False, **arguments: Any) -> nn.Module:
    """MobileNetV3-Large."""
    return _local("mobilenetv3_large_100", pretrained, arguments)


@register_model
def efficientnet_b0_local(pretrained: bool = False, **arguments: Any) -> nn.Module:
    """EfficientNet-B0."""
    return _local("efficientnet_b0", pretrained, arguments)


def _local(base: str, pretrained: bool, arguments: dict[str, Any]) -> nn.Module:
    return with_local_pooling(timm.create_model(base, pretrained=pretrained, **arguments))
