"""How large a network is: parameters, and multiply-accumulate operations for one image."""

import copy
from typing import NamedTuple

import torch
from torch import nn

from abbe.network_size import macs_of, parameters_of
from abbe.students.classifier import Classifier
from abbe.students.files.encoders import encoder_of


class Size(NamedTuple):
    """Parameters and multiply-accumulates (MACs) of a network and of its encoder."""

    parameters: int
    macs: int
    encoder_parameters: int
    encoder_macs: int


def count(model: nn.Module, in_channels: int, size: int | tuple[int, int]) -> Size:
    """Count parameters and MACs of ``model`` for one image.

    MACs are those of `abbe.network_size.macs_of`. Nothing is computed, only shapes are followed.

    Args:
        model: A network with a submodule ``encoder``, or a classifier.
        in_channels: Channels of the image.
        size: Height and width of the image in px, or one number for both.
    """
    height, width = (size, size) if isinstance(size, int) else size
    hollow = copy.deepcopy(model).to("meta").eval()
    image = torch.empty(1, in_channels, height, width, device="meta")
    classifies = isinstance(hollow, Classifier)
    encoder = encoder_of(hollow) if classifies else hollow.get_submodule("encoder")
    return Size(
        parameters_of(hollow),
        macs_of(hollow, image),
        parameters_of(encoder),
        macs_of(encoder, image),
    )
