"""Which layout of tensors trains fastest."""

import torch


def memory_format(device: torch.device, mixed_precision: str) -> torch.memory_format:
    """Channels-last wherever half precision or a GPU computes; fp32 on a CPU is faster without."""
    plain = device.type == "cpu" and mixed_precision == "no"
    return torch.contiguous_format if plain else torch.channels_last
