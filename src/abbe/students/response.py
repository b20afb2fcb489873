"""A U-Net that learns a teacher's response, with a projection for a contrastive term beside it."""

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn

from abbe.students.unet import UNet


class Projection(nn.Module):
    """From the encoder's last map to a unit vector: global mean, then d → d → ReLU → ``width``.

    SimCLR's projection head (Chen et al. 2020).
    """

    def __init__(self, channels: int, width: int = 128) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            OrderedDict(
                hidden=nn.Linear(channels, channels), relu=nn.ReLU(), out=nn.Linear(channels, width)
            )
        )

    def forward(self, features: Tensor) -> Tensor:
        """(B, width) unit vectors of maps (B, C, H, W)."""
        return F.normalize(self.layers(features.mean((2, 3))), dim=1)


class ResponseNetwork(nn.Module):
    """What pretraining trains; afterwards the encoder is taken out of it.

    Attributes:
        unet: Encoder and decoder; its maps answer for the teacher's.
        projection: From the encoder's last map to a unit vector.
    """

    def __init__(self, unet: UNet) -> None:
        super().__init__()
        self.unet = unet
        self.projection = Projection(unet.encoder.channels[-1])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, K, H, W) and unit vectors (B, 128) of images (B, C, H, W)."""
        features = self.unet.encoder(image)
        vectors = self.projection(features[-1])
        return self.unet.decode(features), vectors

    def respond(self, image: Tensor) -> Tensor:
        """The logits alone."""
        return self.unet(image)

    def project(self, image: Tensor) -> Tensor:
        """The unit vectors alone."""
        return self.projection(self.unet.encoder(image)[-1])
