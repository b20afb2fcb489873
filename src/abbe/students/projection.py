"""What stands between an encoder and a contrastive term during pretraining, and goes afterwards."""

from collections import OrderedDict

import torch.nn.functional as F
from torch import Tensor, nn


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
