"""How large a network of SAM's family is, and how much its image encoder computes."""

import copy
from typing import NamedTuple

import torch

from abbe.network_size import macs_of, parameters_of
from abbe.sam.model import SAM


class SamSize(NamedTuple):
    """Parameters of the whole network and of its image encoder, and the encoder's MACs.

    The MACs are those of one image at the network's own side, ``macs_image_size`` px.
    """

    parameters: int
    macs: int
    macs_image_size: int
    encoder_parameters: int
    encoder_macs: int


def size_of(network: SAM) -> SamSize:
    """Count a network's size; nothing is computed, only shapes are followed."""
    encoder, side = network.image_encoder, network.side
    images = torch.empty(1, 3, side, side, device="meta")
    macs = macs_of(copy.deepcopy(encoder).to("meta").eval(), images)
    return SamSize(parameters_of(network), macs, side, parameters_of(encoder), macs)
