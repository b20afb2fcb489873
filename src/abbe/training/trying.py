"""Whether a network can be trained on batches of a size at all."""

import copy

import torch
from torch import nn

from abbe.errors import ConfigError


def require_varied(
    network: nn.Module,
    channels: int,
    crop: int,
    batch_size: int,
    *,
    processes: int = 1,
    synchronised: bool = False,
    section: str = "training",
) -> None:
    """Refuse batches of which a batch norm would see one value a channel, which never varies.

    Only where a process has a single crop is there anything to try; the network stays as it is.

    Args:
        network: answers images (B, C, H, W).
        channels: C.
        crop: H and W in px.
        batch_size: over all processes.
        processes: how many share a batch.
        synchronised: whether they share the statistics of batch norm, too.
        section: of the experiment file, for the message.

    Raises:
        ConfigError: so it is.
    """
    if batch_size > (1 if synchronised else processes):
        return
    tried = copy.deepcopy(network).train()
    try:
        with torch.no_grad():
            tried(torch.zeros(1, channels, crop, crop))
    except ValueError as error:  # torch's "Expected more than 1 value per channel when training"
        raise ConfigError(
            f"{section}.batch_size {batch_size}, {section}.crop {crop}: a single crop of {crop} px "
            f"is too little for the network's batch norm ({error}). Give each process 2 crops or "
            "more, or larger ones"
        ) from error
