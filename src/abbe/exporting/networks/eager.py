"""The student as it was trained: eager torch, fp32, on the CPU. What every engine is held to."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn


def eager_probabilities(student: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """A function (B, C, H, W) float32 → (B, K, H, W) float32 sigmoids."""
    return _eager(student, torch.sigmoid)


def eager_softmax(student: nn.Module) -> Callable[[np.ndarray], np.ndarray]:
    """The same for classes that exclude each other: (B, K, H, W), or (B, K), over K."""
    return _eager(student, lambda logits: logits.softmax(1))


def _eager(
    student: nn.Module, activation: Callable[[torch.Tensor], torch.Tensor]
) -> Callable[[np.ndarray], np.ndarray]:
    student.eval()

    def probabilities(batch: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return activation(student(torch.from_numpy(np.ascontiguousarray(batch)))).numpy()

    return probabilities
