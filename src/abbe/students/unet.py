"""U-Nets on timm encoders, with one logit map for each named output."""

from collections.abc import Sequence

import torch.nn.functional as F
from segmentation_models_pytorch.base.initialization import initialize_decoder, initialize_head
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoderBlock
from torch import Tensor, nn

from abbe.errors import ConfigError
from abbe.students.encoders import (
    DEPTH,
    ENCODERS,
    Encoder,
    EncoderWeights,
    create_encoder,
    is_encoder,
)
from abbe.students.local_pooling import REACH, has_local_pooling
from abbe.students.standardisation import Standardisation
from abbe.students.upsampling import decode_block

ARCHITECTURES: tuple[str, ...] = tuple(f"unet-{name}" for name in ENCODERS)
"""The named ones; "unet-timm-" and a name of timm's makes others."""

PLAIN_REACH = 64
"""px; what is measured of ResNet18 (docs/deploy.md)."""
_DECODER_CHANNELS = (256, 128, 64, 32, 16)
_LIGHT_DECODER_CHANNELS = (128, 96, 64, 32)


class UNet(nn.Module):
    """A U-Net (Ronneberger et al. 2015) whose encoder is a classification network.

    The decoder is that of segmentation_models_pytorch: blocks of nearest upsampling, joining the
    encoder's map of that stride where there is one, and twice 3 x 3 convolution, batch norm and
    ReLU. As many blocks as the encoder is deep end at the image's resolution, and the head is one
    3 x 3 convolution; one block fewer ends at half of it, where a 1 x 1 convolution makes logits
    that are enlarged bilinearly. Five blocks of 256, 128, 64, 32 and 16 channels are usual; on
    csat-like, four of 128, 96, 64 and 32, as light as the encoder.

    Args:
        architecture: One of `ARCHITECTURES`, or "unet-timm-" and a name of timm's.
        encoder: The encoder.
        in_channels: Channels of the image.
        outputs: Names of the K logit maps, in order.
        decoder_widths: Channels of the decoder's blocks, the coarsest first; those of
            `usual_widths` where omitted.

    Attributes:
        architecture, in_channels, outputs, decoder_widths: As given.
        depth: How often the encoder halves the resolution.
        divisor: Height and width must be multiples of this many px.

    Raises:
        ConfigError: There are neither as many widths as the encoder is deep nor one fewer.
    """

    def __init__(
        self,
        architecture: str,
        encoder: Encoder,
        in_channels: int,
        outputs: Sequence[str],
        decoder_widths: Sequence[int] | None = None,
    ) -> None:
        super().__init__()
        self.architecture = architecture
        self.in_channels = in_channels
        self.outputs = tuple(outputs)
        self.encoder = encoder
        self.divisor = encoder.strides[-1]
        self.depth = self.divisor.bit_length() - 1
        widths = tuple(decoder_widths or usual_widths(architecture, self.depth))
        if len(widths) not in (self.depth, self.depth - 1):
            raise ConfigError(
                f"decoder widths {list(widths)}: an encoder of depth {self.depth} wants "
                f"{self.depth} of them, or {self.depth - 1} to end at half the image's resolution "
                "(--student.decoder-widths)"
            )
        self.decoder_widths = widths
        self.decoder = _decoder(encoder, widths)
        kernel = 3 if len(widths) == self.depth else 1
        self.head = nn.Conv2d(widths[-1], len(self.outputs), kernel, padding=kernel // 2)
        initialize_decoder(self.decoder)
        initialize_head(self.head)

    @property
    def reach(self) -> int:
        """px from a cut at which its answer is nearly that without the cut, for packages."""
        return REACH if has_local_pooling(self.encoder) else PLAIN_REACH

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
            assert isinstance(block, UnetDecoderBlock)
            x = decode_block(block, x, features.pop() if features else None)
        logits = self.head(x)
        if len(self.decoder) == self.depth:
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
    stride = encoder.strides[-1]
    channels = skips[stride]
    blocks = nn.ModuleList()
    for out_channels in widths:
        stride //= 2
        blocks.append(UnetDecoderBlock(channels, skips.get(stride, 0), out_channels))
        channels = out_channels
    return blocks


def usual_widths(architecture: str, depth: int = DEPTH) -> tuple[int, ...]:
    """Channels of the decoder's blocks where nothing is said, the coarsest first.

    >>> usual_widths("unet-resnet18")
    (256, 128, 64, 32, 16)
    >>> usual_widths("unet-resnet18", depth=4)
    (128, 64, 32, 16)
    """
    light = architecture == "unet-csat-like"
    return (_LIGHT_DECODER_CHANNELS if light else _DECODER_CHANNELS)[DEPTH - depth :]


def build(
    architecture: str,
    *,
    in_channels: int,
    outputs: Sequence[str] = ("foreground", "boundary"),
    encoder_weights: EncoderWeights,
    standardisation: Standardisation | None = None,
    depth: int = DEPTH,
    decoder_widths: Sequence[int] | None = None,
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
        depth: How often the encoder halves the resolution, 3 to 5.
        decoder_widths: See `UNet`.

    Raises:
        ConfigError: An argument is wrong, or ImageNet weights cannot be fetched.
        InputError: The file of encoder weights is missing, damaged or of another network.
    """
    encoder_name = encoder_name_of(architecture)
    if in_channels < 1:
        raise ConfigError(f"in_channels {in_channels}: a student sees at least one channel")
    if not outputs or len(set(outputs)) != len(outputs):
        raise ConfigError(f"outputs {list(outputs)}: needs one or more different names")
    if not 3 <= depth <= DEPTH:
        raise ConfigError(f"depth {depth}: an encoder halves the resolution 3 to {DEPTH} times")
    encoder = create_encoder(encoder_name, in_channels, encoder_weights, standardisation, depth)
    return UNet(architecture, encoder, in_channels, outputs, decoder_widths)


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
