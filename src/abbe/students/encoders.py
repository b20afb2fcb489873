"""Encoders from timm as plain feature pyramids, and the three ways to give them weights."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import timm
import torch
from timm.models import FeatureInfo, adapt_input_conv
from timm.models.swin_transformer import checkpoint_filter_fn as swin_layout_of
from torch import Tensor, nn

import abbe.students.csat  # noqa: F401 (registers csat_like with timm)
from abbe.errors import ConfigError, InputError
from abbe.tensors import differences, read_tensors

EncoderWeights: TypeAlias = Literal["random", "imagenet"] | Path

ENCODERS: dict[str, str] = {
    "swin-tiny": "swin_tiny_patch4_window7_224",
    "resnet18": "resnet18",
    "resnet50": "resnet50",
    "efficientnet-b0": "efficientnet_b0",
    "mobilenetv3": "mobilenetv3_small_100",
    "mobilenetv3-large": "mobilenetv3_large_100",
    "convnextv2-atto": "convnextv2_atto",
    "csat-like": "csat_like",
}
"""Our name of an encoder → timm's."""

_ANY_TIMM = "timm-"
_STRIDES = ((2, 4, 8, 16, 32), (4, 8, 16, 32))


class Encoder(nn.Module):
    """A timm network cut down to its feature maps, whatever the image's size.

    To export Swin with free image size, trace it at 256 x 320 px or so: where a stage has but one
    window of 7 x 7 positions, that one is taken for a constant.

    Attributes:
        channels: Channels of the feature maps, from the finest to the coarsest.
        strides: Their strides in px: 2, 4, 8, 16, 32; Swin and ConvNeXt have no map at stride 2.

    Raises:
        ConfigError: timm's network has no feature maps, or others than at these strides.
    """

    def __init__(self, name: str, in_channels: int) -> None:
        super().__init__()
        try:
            self.features = create_network(
                name, in_channels, features_only=True, feature_cls="getter"
            )
        except (RuntimeError, AttributeError, AssertionError) as error:
            # timm's ways to say that a network has no feature maps
            raise ConfigError(f"encoder '{name}': timm gives no feature maps of it") from error
        maps = cast(FeatureInfo, self.features.feature_info)
        self.channels: tuple[int, ...] = tuple(maps.channels())
        self.strides: tuple[int, ...] = tuple(maps.reduction())
        if self.strides not in _STRIDES:
            raise ConfigError(
                f"encoder '{name}': its feature maps have the strides {self.strides} px; "
                "2, 4, 8, 16, 32 or 4, 8, 16, 32 are needed. Choose another network"
            )

    def forward(self, image: Tensor) -> list[Tensor]:
        """Maps (B, channels[i], H / strides[i], W / strides[i]) of ``image`` (B, C, H, W)."""
        return self.features(image)


def is_encoder(name: str) -> bool:
    """Whether there is such an encoder: a key of `ENCODERS`, or "timm-" and a name of timm's."""
    other = name.removeprefix(_ANY_TIMM)
    return name in ENCODERS or (name.startswith(_ANY_TIMM) and timm.is_model(other))


def timm_name(name: str) -> str:
    """timm's name of an encoder.

    Raises:
        ConfigError: There is no such encoder.
    """
    if not is_encoder(name):
        raise ConfigError(
            f"encoder '{name}': unknown. Choose one of {', '.join(ENCODERS)}, or {_ANY_TIMM}NAME "
            f"for any network of timm with feature maps, such as {_ANY_TIMM}regnety_004"
        )
    return ENCODERS.get(name) or name.removeprefix(_ANY_TIMM)


def create_encoder(name: str, in_channels: int, weights: EncoderWeights) -> Encoder:
    """Build an encoder and give it weights.

    Where the weights were trained on RGB and ``in_channels`` is not 3, the first convolution is
    adapted as timm does: summed over RGB for one channel, else R, G, B repeated in turn and scaled
    by 3 / ``in_channels``, so that activations keep their size.

    Args:
        name: A key of `ENCODERS`, or "timm-" and a name of timm's; see `timm_name`.
        in_channels: Channels of the image.
        weights: ``"random"``; ``"imagenet"``, which timm fetches; or a file in timm's layout of
            this network (.safetensors, .pt, .pth), with or without its classifier.

    Raises:
        ConfigError: The encoder is unknown, ``weights`` is none of these, or the ImageNet weights
            cannot be fetched.
        InputError: The file is missing or damaged, or holds another network.
    """
    encoder = Encoder(name, in_channels)
    if weights != "random":
        fill(network_of(encoder), name, *read_weights(name, weights))
    return encoder


def network_of(encoder: Encoder) -> nn.Module:
    """timm's network inside an encoder; its tensors have timm's names."""
    return encoder.features.get_submodule("model")


def create_network(name: str, in_channels: int, **arguments: Any) -> nn.Module:
    """timm's network of this name, for images of any size."""
    if timm_name(name).startswith("swin"):
        arguments["strict_img_size"] = False  # timm's Swin otherwise takes 224 x 224 px only
    return timm.create_model(timm_name(name), in_chans=in_channels, **arguments)


def read_weights(name: str, weights: EncoderWeights) -> tuple[str, dict[str, Tensor]]:
    """Weights in timm's layout of the network ``name``, and in words where they are from.

    Raises:
        ConfigError: ``weights`` is neither "imagenet" nor a path, or cannot be fetched.
        InputError: The file is missing or damaged.
    """
    if weights == "imagenet":
        return f"timm's ImageNet weights of {name}", _fetch_imagenet(name)
    if isinstance(weights, Path):
        return str(weights), read_tensors(weights)
    raise ConfigError(
        f"encoder weights {weights!r}: must be 'random', 'imagenet', or the path of a file"
    )


def fill(
    network: nn.Module,
    name: str,
    origin: str,
    state: Mapping[str, Tensor],
    required: Collection[str] | None = None,
) -> None:
    """Load weights into timm's network ``name``, or into what an `Encoder` keeps of it.

    Args:
        network: The network.
        name: As for `create_encoder`.
        origin: Where the weights are from, for messages.
        state: Weights in timm's layout of the whole network, or of a part.
        required: Names of the tensors that ``state`` must have, None for all; others keep their
            values where ``state`` lacks them.

    Raises:
        InputError: The weights are those of another network.
    """
    if timm_name(name).startswith("swin_"):  # files of the first Swin release have other names
        state = swin_layout_of(dict(state), network)
    expected = network.state_dict()
    with torch.device("meta"):
        whole = create_network(name, 3).state_dict()

    state = dict(state)
    first = f"{_first_convolution(network)}.weight"
    if first in state:
        state[first] = _adapt(state[first], expected[first].shape[1])
    demanded = {
        key: tensor
        for key, tensor in expected.items()
        if required is None or key in required or key in state
    }
    if problems := differences(demanded, state, also_allowed=whole.keys()):
        raise InputError(f"{origin}: not the weights of timm's {timm_name(name)}. {problems}")
    network.load_state_dict({key: state.get(key, expected[key]) for key in expected})


def _fetch_imagenet(name: str) -> dict[str, Tensor]:
    if not timm.is_model_pretrained(timm_name(name)):
        raise ConfigError(
            f"there are no ImageNet weights of {name}. Give a file with --student.encoder-weights "
            "PATH, or choose an untrained encoder with --student.encoder-weights random."
        )
    try:
        return create_network(name, 3, pretrained=True).state_dict()
    except OSError as error:  # what huggingface_hub raises without a network or a cached copy
        raise ConfigError(
            f"the ImageNet weights of {name} (timm: {timm_name(name)}) cannot be fetched: {error}\n"
            "Fetch them on a machine with a network and give the file with "
            "--student.encoder-weights PATH, or choose an untrained encoder with "
            "--student.encoder-weights random."
        ) from error


def _first_convolution(network: nn.Module) -> str:
    return next(key for key, module in network.named_modules() if isinstance(module, nn.Conv2d))


def _adapt(weight: Tensor, in_channels: int) -> Tensor:
    if weight.ndim == 4 and weight.shape[1] == 3:
        return adapt_input_conv(in_channels, weight)
    return weight
