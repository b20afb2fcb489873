"""The student as it was trained: eager torch, fp32, on the CPU. What every engine is held to."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn


def eager_probabilities(student: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """A function (B, C, H, W) float32 → (B, K, H, W) float32 sigmoids."""
    student.eval()

    def probabilities(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return student(torch.from_numpy(np.ascontiguousarray(batch))).sigmoid().numpy()

    return probabilities
