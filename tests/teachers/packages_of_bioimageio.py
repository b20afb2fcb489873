"""Descriptions of bioimage.io packages, and what the network in them answers."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.special import expit

CHANNELS = ("nucleus", "membrane")
KERNEL = np.array([[[[1.0]], [[-0.5]]]])
Package = Callable[..., Path]


def standardised(pixels: np.ndarray) -> np.ndarray:
    values = pixels.astype(np.float64)
    deviation = values.std((1, 2), keepdims=True) + 1e-6
    return (values - values.mean((1, 2), keepdims=True)) / deviation


def expected(pixels: np.ndarray) -> np.ndarray:
    values = standardised(pixels)
    return expit(values[:1] - 0.5 * values[1:])


STANDARDISE_05 = {"id": "zero_mean_unit_variance", "kwargs": {"axes": ["x", "y"]}}
FORMATS: dict[str, dict[str, Any]] = {
    "0.5": {
        "name": "squares",
        "description": "Finds\nsquares.",
        "license": "MIT",
        "training_data": {"id": "some/data", "license": "CC0-1.0"},
        "inputs": [
            {
                "id": "raw",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": ["nucleus", "membrane"]},
                    {"type": "space", "id": "y", "size": {"min": 16, "step": 8}},
                    {"type": "space", "size": {"min": 16, "step": 8}},
                ],
                "preprocessing": [STANDARDISE_05],
                "test_tensor": {"source": "in.npy"},
            }
        ],
        "outputs": [
            {
                "id": "probability",
                "axes": [
                    {"type": "batch"},
                    {"type": "channel", "channel_names": ["probability"]},
                    {"type": "space", "id": "y", "halo": 4},
                    {"type": "space", "id": "x", "halo": 4},
                ],
                "postprocessing": [{"id": "sigmoid"}],
                "test_tensor": {"source": "out.npy"},
            }
        ],
        "weights": {"onnx": {"source": "weights.onnx"}},
    },
    "0.4": {
        "name": "old squares",
        "license": "BSD-3-Clause",
        "inputs": [
            {
                "name": "raw",
                "axes": "bcyx",
                "shape": {"min": [1, 2, 16, 16], "step": [0, 0, 8, 8]},
                "preprocessing": [
                    {
                        "name": "zero_mean_unit_variance",
                        "kwargs": {"axes": "xy", "mode": "per_sample"},
                    }
                ],
            }
        ],
        "outputs": [
            {
                "name": "probability",
                "axes": "bcyx",
                "halo": [0, 0, 4, 4],
                "postprocessing": [{"name": "sigmoid"}],
            }
        ],
        "test_inputs": ["in.npy"],
        "test_outputs": ["out.npy"],
        "weights": {"onnx": {"source": "weights.onnx"}},
    },
}
