"""U-Nets on timm encoders, with one logit map for each named output."""

from collections.abc import Sequence

import torch.nn.functional as F
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoderBlock
from torch import Tensor, nn

from abbe.errors import ConfigError
from abbe.students.encoders import ENCODERS, Encoder, EncoderWeights, create_encoder, is_encoder
from abbe.students.standardisation import Standardisation

ARCHITECTURES: tuple[str, ...] = tuple(f"unet-{name}" for name in ENCODERS)
"""The named ones; "unet-timm-" and a name of timm's makes others."""

_DECODER_CHANNELS = (256, 128, 64, 32, 16)
_LIGHT_DECODER_CHANNELS = (128, 96, 64, 32)


class UNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) whose encoder is a classification network.

    The decoder is that of segmentation_models_pytorch: five blocks of nearest upsampling, joining
    the encoder's map of that stride where there is one, and twice 3 x 3 convolution, batch norm and
    ReLU, with 256, 128, 64, 32 and 16 channels. The head is one 3 x 3 convolution.

    On csat-like the decoder is as light as the encoder: four blocks of 128, 96, 64 and 32 channels
    up to half the image's resolution, a 1 x 1 convolution, and the logits enlarged bilinearly.

    Attributes:
        architecture: One of `ARCHITECTURES`, or "unet-timm-" and a name of timm's.
        in_channels: Channels of the image.
        outputs: Names of the K logit maps, in order.
        divisor: Height and width must be multiples of this many px.
    """

    divisor = 32

    def __init__(
        self, architecture: str, encoder: Encoder, in_channels: int, outputs: Sequence[str]
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.in_channels = in_channels
        self.outputs = tuple(outputs)
        self.encoder = encoder
        light = architecture == "unet-csat-like"
        widths = _LIGHT_DECODER_CHANNELS if light else _DECODER_CHANNELS
        self.decoder = _decoder(encoder, widths)
        kernel = 1 if light else 3
        self.head = nn.Conv2d(widths[-1], len(self.outputs), kernel, padding=kernel // 2)
        initialize_decoder(self.decoder)
        initialize_head(self.head)

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, K, H, W) of images (B, C, H, W) in [0, 1].

        Raises:
            ValueError: H or W is no multiple of `divisor`, or C is not `in_channels`.
        """
        self._check(image)
        return self.decode(self.encoder(image))

    def decode(self, features: Sequence[Tensor]) -> Tensor:
        """Logits (B, K, H, W) from the encoder's maps of an image, the finest first."""
        features = list(features)
        x = features.pop()
        for block in self.decoder:
            height, width = 2 * x.shape[-2], 2 * x.shape[-1]
            x = block(x, height, width, features.pop() if features else None)
        logits = self.head(x)
        if len(self.decoder) == len(_DECODER_CHANNELS):
            return logits
        return F.interpolate(logits, scale_factor=2, mode="bilinear", align_corners=False)

    def _check(self, image: Tensor) -> None:
        _, channels, height, width = image.shape
        if channels != self.in_channels:
            raise ValueError(
                f"the image has {channels} channels, {self.architecture} was built for "
                f"{self.in_channels}"
            )
        if height % self.divisor or width % self.divisor:
            raise ValueError(
                f"the image is {height} x {width} px; {self.architecture} needs height and width "
                f"to be multiples of {self.divisor} px (predict() pads to that)"
            )


def _decoder(encoder: Encoder, widths: Sequence[int]) -> nn.ModuleList:
    skips = dict(zip(encoder.strides, encoder.channels, strict=True))
    channels = skips[32]
    blocks = nn.ModuleList()
    for stride, out_channels in zip((16, 8, 4, 2, 1), widths, strict=False):
        blocks.append(UnetDecoderBlock(channels, skips.get(stride, 0), out_channels))
        channels = out_channels
    return blocks


def build(
    architecture: str,
    *,
    in_channels: int,
    outputs: Sequence[str] = ("foreground", "boundary"),
    encoder_weights: EncoderWeights,
    standardisation: Standardisation | None = None,
) -> UNet:
    """Build a student.

    Args:
        architecture: One of `ARCHITECTURES`, or "unet-timm-" and a name of timm's.
        in_channels: Channels of the image, 1 to any number.
        outputs: Names of the logit maps.
        encoder_weights: ``"random"``, ``"imagenet"`` or a file; see `create_encoder`. There is no
            default, so that nobody trains an untrained encoder unawares.
        standardisation: What the encoder wants done to images in [0, 1], where that is another
            than its weights say.

    Raises:
        ConfigError: An argument is wrong, or ImageNet weights cannot be fetched.
        InputError: The file of encoder weights is missing, damaged or of another network.
    """
    encoder_name = encoder_name_of(architecture)
    if in_channels < 1:
        raise ConfigError(f"in_channels {in_channels}: a student sees at least one channel")
    if not outputs or len(set(outputs)) != len(outputs):
        raise ConfigError(f"outputs {list(outputs)}: needs one or more different names")
    encoder = create_encoder(encoder_name, in_channels, encoder_weights, standardisation)
    return UNet(architecture, encoder, in_channels, outputs)


def is_architecture(name: str) -> bool:
    """Whether there is such a U-Net: one of `ARCHITECTURES`, or "unet-timm-" and a timm name."""
    return name.startswith("unet-") and is_encoder(name.removeprefix("unet-"))


def encoder_name_of(architecture: str) -> str:
    """The encoder of an architecture: "unet-csat-like" → "csat-like".

    Raises:
        ConfigError: There is no such architecture.
    """
    if not is_architecture(architecture):
        raise ConfigError(
            f"student '{architecture}': unknown. Choose one of {', '.join(ARCHITECTURES)}, or "
            "unet-timm-NAME for a network of timm."
        )
    return architecture.removeprefix("unet-")
