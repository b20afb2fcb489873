"""Which layout of tensors trains fastest."""

import torch

from abbe.training.layout import memory_format

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def test_only_fp32_on_a_cpu_is_laid_out_plainly():
    assert memory_format(CPU, "no") is torch.contiguous_format
    assert memory_format(CPU, "bf16") is torch.channels_last
    assert memory_format(GPU, "no") is torch.channels_last
