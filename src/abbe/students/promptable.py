"""Promptable students: the SAM family's prompts and masks on a small image encoder (KD SAM).

After Patil, Palani and Krishnamurthi, arXiv 2501.16740: a ResNet-50 learns the embedding of SAM's
encoder. How its map becomes SAM's embedding is not published; see `neck_of`.
"""

from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn

from abbe.errors import ConfigError, InputError
from abbe.files.tensors import differences
from abbe.sam import SAM, Layout, build_sam, load_sam
from abbe.sam.layout import PATCH
from abbe.students.encoders import Encoder, EncoderWeights, create_encoder, is_encoder
from abbe.students.standardisation import Standardisation

Neck: TypeAlias = Literal["default", "nanosam"]

SAMS = Standardisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Mean and deviation of `abbe.imaging.promptable.letterbox`, for images in [0, 1]: ImageNet's."""

EMBEDDING = 256
"""Channels of the SAM family's embedding."""

_PREFIX = "promptable-"
_MOBILE_SAM = "promptable-mobilesam"
_ENCODERS = {
    "promptable-resnet50": "resnet50",
    "promptable-resnet18": "resnet18",
    "promptable-mobilenetv3-large": "mobilenetv3-large",
    "promptable-tiny-vit-5m": "timm-tiny_vit_5m_224",
    "promptable-repvit-m0.9": "timm-repvit_m0_9",
    "promptable-repvit-m1": "timm-repvit_m1",
}
"""Architecture → encoder."""

PROMPTABLE_ARCHITECTURES: tuple[str, ...] = (*_ENCODERS, _MOBILE_SAM)
"""The named ones; "promptable-timm-" and a name of timm's makes others."""


class PromptableEncoder(nn.Module):
    """Images (B, 3, side, side) as SAM reads them, to embeddings (B, 256, side / 16, side / 16).

    Attributes:
        architecture: One of `PROMPTABLE_ARCHITECTURES`, or "promptable-timm-" and a name of timm's.
        neck_name: Which neck it has.
        trunk: Gives maps, of which the last, at stride 32, is used.
        neck: From that map to the embedding.
    """

    def __init__(self, trunk: Encoder, neck: nn.Module, architecture: str, neck_name: Neck) -> None:
        super().__init__()
        self.trunk = trunk
        self.neck = neck
        self.architecture = architecture
        self.neck_name: Neck = neck_name

    def forward(self, images: Tensor) -> Tensor:
        """Embed the images; no activation follows."""
        return self.neck(self.trunk(images)[-1])


class PlacedNeck(nn.Module):
    """A neck that adds a learned value for each channel and place."""

    def __init__(self, layers: nn.Module, grid: int) -> None:
        super().__init__()
        self.layers = layers
        self.places = nn.Parameter(1e-5 * torch.randn(1, EMBEDDING, grid, grid))

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, channels, h, w) to (B, 256, 2h, 2w)."""
        return self.layers(x) + self.places


def neck_of(name: Neck, channels: int, grid: int) -> nn.Module:
    """Layers from a map at stride 32 to the embedding at stride 16.

    - ``default``: 1 x 1 convolution to 256 channels, GELU, bilinear enlargement to twice the size,
      three times 3 x 3 and GELU, and 3 x 3. On ResNet-50 this makes the 26.4 M parameters that KD
      SAM states; other layouts would, too, so that the sum alone is the source's.
    - ``nanosam``: the layout of NVIDIA's NanoSAM, which distilled MobileSAM into ResNet-18: three
      times 3 x 3 and GELU at stride 32, a transposed convolution and GELU, 3 x 3, GELU and 1 x 1,
      and a learned value for each place of the embedding.

    Args:
        name: Which.
        channels: Of the map.
        grid: Side of the embedding.

    Raises:
        ConfigError: There is no such neck.
    """
    if name == "default":
        first = (nn.Conv2d(channels, EMBEDDING, kernel_size=1), nn.GELU())
        enlarge = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False)
        middle = [layer for _ in range(3) for layer in (_convolution(EMBEDDING), nn.GELU())]
        return nn.Sequential(*first, enlarge, *middle, _convolution(EMBEDDING))
    if name == "nanosam":
        layers = [
            layer for wide in (channels, 256, 256) for layer in (_convolution(wide), nn.GELU())
        ]
        enlarge = nn.ConvTranspose2d(EMBEDDING, EMBEDDING, 3, 2, padding=1, output_padding=1)
        last = (_convolution(EMBEDDING), nn.GELU(), nn.Conv2d(EMBEDDING, EMBEDDING, kernel_size=1))
        return PlacedNeck(nn.Sequential(*layers, enlarge, nn.GELU(), *last), grid)
    raise ConfigError(f"neck '{name}': must be 'default' or 'nanosam'")


def _convolution(channels: int) -> nn.Conv2d:
    return nn.Conv2d(channels, EMBEDDING, kernel_size=3, padding=1)


def is_promptable(architecture: str) -> bool:
    """Whether there is such a promptable student."""
    other = architecture.removeprefix(_PREFIX)
    timms = architecture.startswith(f"{_PREFIX}timm-") and is_encoder(other)
    return architecture in PROMPTABLE_ARCHITECTURES or timms


def trunk_name_of(architecture: str) -> str:
    """The encoder of a promptable student: "promptable-timm-tinynet_e" → "timm-tinynet_e"."""
    return _ENCODERS.get(architecture) or architecture.removeprefix(_PREFIX)


def build_promptable(
    architecture: str,
    *,
    side: int,
    encoder_weights: EncoderWeights,
    neck: Neck = "default",
    standardisation: Standardisation | None = None,
) -> SAM:
    """Build a promptable student.

    Its prompt encoder and mask decoder are as torch initialises them: give it the teacher's with
    `copy_decoder`.

    Args:
        architecture: One of `PROMPTABLE_ARCHITECTURES`, or "promptable-timm-" and a name of timm's.
        side: Of the square input in px, a multiple of 32; SAM's is 1024.
        encoder_weights: ``"random"``, ``"imagenet"`` or a file in timm's layout of the trunk, which
            for ResNets is torchvision's; see `create_encoder`. For promptable-mobilesam it is
            ``"random"`` or a file of the whole MobileSAM; see `abbe.sam.load_sam`.
        neck: See `neck_of`. MobileSAM has its own, and takes "default" alone.
        standardisation: What the trunk wants done to images in [0, 1], where that is another than
            its weights say; SAM's own, which images come with, is taken into account.

    Raises:
        ConfigError: The architecture, the side, the neck or the choice of weights is none.
        InputError: The file of weights is missing or damaged, or holds another network.
    """
    if not is_promptable(architecture):
        raise ConfigError(
            f"'{architecture}' is no promptable student. Choose one of "
            f"{', '.join(PROMPTABLE_ARCHITECTURES)}, or {_PREFIX}timm-NAME for another of timm's"
        )
    if side <= 0 or side % (2 * PATCH):
        raise ConfigError(f"side is {side} px; it must be a positive multiple of {2 * PATCH}")
    if architecture == _MOBILE_SAM:
        if standardisation is not None:
            raise ConfigError(f"{_MOBILE_SAM} sees images as SAM does: give no mean and deviation")
        return _mobile_sam(side, encoder_weights, neck)
    trunk = create_encoder(trunk_name_of(architecture), 3, encoder_weights, standardisation)
    if encoder_weights != "random" or standardisation is not None:
        trunk.set_standardisation(trunk.standardisation.after(SAMS), 3)
    layers = neck_of(neck, trunk.channels[-1], side // PATCH)
    return SAM(PromptableEncoder(trunk, layers, architecture, neck), side)


def _mobile_sam(side: int, weights: EncoderWeights, neck: Neck) -> SAM:
    layout = Layout("tiny_vit", image_size=side)
    if neck != "default":
        raise ConfigError(f"{_MOBILE_SAM} has a neck of its own: leave out the neck '{neck}'")
    if weights == "imagenet":
        raise ConfigError(
            f"there are no ImageNet weights of {_MOBILE_SAM}: give the file of the published "
            "MobileSAM (mobile_sam.pt), or choose 'random'"
        )
    if weights == "random":
        return build_sam(layout, seed=int(torch.randint(2**31, ())))
    return load_sam(weights, layout=layout)[0]


def architecture_of(network: SAM) -> tuple[str, Neck]:
    """The names by which `build_promptable` builds such a network, and its neck.

    Raises:
        InputError: It is none of those, but a SAM with a vision transformer.
    """
    if isinstance(network.image_encoder, PromptableEncoder):
        return network.image_encoder.architecture, network.image_encoder.neck_name
    if network.layout is not None and network.layout.encoder == "tiny_vit":
        return _MOBILE_SAM, "default"
    raise InputError(
        f"this network is no promptable student: its image encoder is a "
        f"{type(network.image_encoder).__name__}, which build_promptable does not build"
    )


def copy_decoder(student: SAM, teacher: SAM) -> None:
    """Give a student copies of the teacher's prompt encoder and mask decoder.

    Both then answer the same embedding with the same masks, if they see squares of one side; the
    matrix that turns places into positions is the teacher's, too.

    Raises:
        InputError: The teacher's parts have other tensors than the student's.
    """
    for part in ("prompt_encoder", "mask_decoder"):
        ours, theirs = student.get_submodule(part), teacher.get_submodule(part)
        if problems := differences(ours.state_dict(), theirs.state_dict()):
            raise InputError(f"the teacher's {part} does not fit the student's. {problems}")
        ours.load_state_dict(theirs.state_dict())
