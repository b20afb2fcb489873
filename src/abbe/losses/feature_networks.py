"""Frozen networks whose features say how alike two pictures look."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

import torch
import torchvision
from torch import Tensor, nn

from abbe.errors import ConfigError, InputError
from abbe.files.tensors import differences, read_tensors

FeatureWeights: TypeAlias = Literal["imagenet", "random"] | Path


class FeatureNetwork(nn.Module):
    """Several stages of a classification network, one after the other; the maps after each.

    It never trains: its parameters take no gradient, and it stays in evaluation mode.

    Attributes:
        layers: What each map is called, such as relu1_2.
    """

    def __init__(self, stages: nn.ModuleList, layers: tuple[str, ...]) -> None:
        super().__init__()
        self.stages, self.layers = stages, layers
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "FeatureNetwork":
        """Stay in evaluation mode, whatever ``mode`` is."""
        return super().train(False)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Maps (B, channels, h, w), from fine to coarse, of images (B, 3, H, W)."""
        maps = []
        for stage in self.stages:
            images = stage(images)
            maps.append(images)
        return maps


def _vgg_stages(network: nn.Module) -> nn.ModuleList:
    """Up to relu1_2, relu2_2 and relu3_3, which VGG16 and VGG19 have at the same places."""
    layers = list(network.get_submodule("features").children())
    return nn.ModuleList(nn.Sequential(*layers[a:b]) for a, b in ((0, 4), (4, 9), (9, 16)))


def _resnet_stages(network: nn.Module) -> nn.ModuleList:
    """Up to the first ReLU, the first group of blocks and the second."""
    parts = (("conv1", "bn1", "relu"), ("maxpool", "layer1"), ("layer2",))
    return nn.ModuleList(
        nn.Sequential(*(network.get_submodule(name) for name in part)) for part in parts
    )


_STAGES: dict[str, Callable[[nn.Module], nn.ModuleList]] = {
    "vgg16": _vgg_stages,
    "vgg19": _vgg_stages,
    "resnet50": _resnet_stages,
}

_VGG_LAYERS = ("relu1_2", "relu2_2", "relu3_3")
_LAYERS = {"vgg16": _VGG_LAYERS, "vgg19": _VGG_LAYERS, "resnet50": ("relu", "layer1", "layer2")}

FEATURE_NETWORKS = tuple(_STAGES)
"""The networks, by torchvision's names."""


def feature_network(
    name: str = "vgg16", *, weights: FeatureWeights = "imagenet", seed: int = 0
) -> FeatureNetwork:
    """Build a frozen feature network.

    Args:
        name: One of `FEATURE_NETWORKS`. The maps are relu1_2, relu2_2 and relu3_3 of the VGGs, and
            of ResNet-50 those after the first convolution and the first two groups of blocks.
        weights: ``"imagenet"``, which torchvision fetches; a file in torchvision's layout of the
            whole network, with or without its classifier; or ``"random"``, whose features are no
            measure of likeness that anyone has shown to help: for tests and comparisons.
        seed: Of random weights.

    Raises:
        ConfigError: The network is unknown, ``weights`` is none of these, or cannot be fetched.
        InputError: The file is missing or damaged, or holds another network.
    """
    if name not in _STAGES:
        raise ConfigError(
            f"feature network '{name}': unknown. Choose one of {', '.join(FEATURE_NETWORKS)}"
        )
    with torch.device("meta"):  # the whole VGG has 138 M parameters, most of them never used
        whole = torchvision.models.get_model(name, weights=None)
    used = FeatureNetwork(_STAGES[name](whole), _LAYERS[name])
    if weights == "random":
        return _initialised(used, seed)
    if weights == "imagenet":
        origin, tensors = f"torchvision's weights of {name}", _fetched(name)
    elif isinstance(weights, Path):
        origin, tensors = str(weights), read_tensors(weights)
    else:
        raise ConfigError(
            f"weights of the feature network {weights!r}: must be 'imagenet', the path of a file, "
            "or 'random'"
        )
    return _filled(used, whole, tensors, origin)


def _filled(
    used: FeatureNetwork, whole: nn.Module, tensors: dict[str, Tensor], origin: str
) -> FeatureNetwork:
    """Give ``used``, whose layers ``whole`` shares, its part of the whole network's tensors."""
    kept = {id(tensor) for tensor in used.state_dict(keep_vars=True).values()}
    everything = whole.state_dict(keep_vars=True)
    needed = {name: tensor for name, tensor in everything.items() if id(tensor) in kept}
    if problems := differences(needed, tensors, also_allowed=everything.keys()):
        raise InputError(f"{origin}: not the weights of the feature network. {problems}")
    filled = {
        # Batch norm's counters may be missing. A copy, as tensors may be mapped from the file.
        name: tensors.get(name, torch.zeros(empty.shape)).to(empty.dtype, copy=True)
        for name, empty in needed.items()
    }
    whole.load_state_dict(filled, strict=False, assign=True)
    return used.requires_grad_(False)


def _initialised(used: FeatureNetwork, seed: int) -> FeatureNetwork:
    """Draw weights as torchvision does before training (He et al. 2015, of what goes out)."""
    used.to_empty(device="cpu")
    generator = torch.Generator().manual_seed(seed)
    for module in used.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(
                module.weight, mode="fan_out", nonlinearity="relu", generator=generator
            )
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
    return used


def _fetched(name: str) -> dict[str, Tensor]:
    """torchvision's weights, kept where torch keeps what it downloads."""
    url: str = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].value.url
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if not file.exists():
        digits = file.stem.rpartition("-")[2]  # of the SHA-256, which torch compares
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(file), digits)
        except (OSError, RuntimeError) as error:
            raise ConfigError(
                f"the ImageNet weights of {name} cannot be fetched from {url}: {error}\n"
                "Fetch the file on a machine with a network and give it with "
                "--promptable.vgg-weights PATH."
            ) from error
    return read_tensors(file)
