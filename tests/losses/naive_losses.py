"""The losses once more, pixel by pixel, as the formulas say."""

import math
from typing import Any

import numpy as np


def sigmoid(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def bce(p: Any, y: Any) -> float:
    return -y * math.log(p) - (1 - y) * math.log(1 - p)


def neighbours(image: np.ndarray, row: int, column: int) -> np.ndarray:
    return image[max(row - 1, 0) : row + 2, max(column - 1, 0) : column + 2]


def edges(image: np.ndarray) -> np.ndarray:
    result = np.zeros_like(image)
    for row, column in np.ndindex(image.shape):
        around = neighbours(image, row, column)
        result[row, column] = around.max() - around.min()
    return result


def surely(valid: np.ndarray) -> np.ndarray:
    result = np.zeros_like(valid)
    for row, column in np.ndindex(valid.shape):
        result[row, column] = neighbours(valid, row, column).all()
    return result


def dice(p: np.ndarray, y: np.ndarray, valid: np.ndarray) -> float:
    p, y = p[valid], y[valid]
    return 1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)


def per_image(one_image, logits, truth, valid) -> float:
    """Mean of ``one_image(z, y, valid)`` over the images for which it has something to say."""
    values = [one_image(z, y, v) for z, y, v in zip(logits, truth, valid, strict=True)]
    values = [value for value in values if value is not None]
    return float(np.mean(values)) if values else 0.0


def mean(values: list[Any]) -> float | None:
    return sum(values) / len(values) if values else None


def supervised(z, y, valid):
    if not valid.any():
        return None
    p = sigmoid(z)
    cross_entropy = [bce(p[i], y[i]) for i in np.ndindex(z.shape) if valid[i]]
    return sum(cross_entropy) / len(cross_entropy) + dice(p, y, valid)


def probability_mse(z, q, valid):
    return mean([(sigmoid(z[i]) - q[i]) ** 2 for i in np.ndindex(z.shape) if valid[i]])


def soft_bce(z, q, valid):
    return mean([bce(sigmoid(z[i]), q[i]) for i in np.ndindex(z.shape) if valid[i]])


def logit_mse(z, q, valid):
    q = np.clip(q, 1 / 510, 1 - 1 / 510)
    return mean(
        [(z[i] - math.log(q[i] / (1 - q[i]))) ** 2 for i in np.ndindex(z.shape) if valid[i]]
    )


def cwd(z, q, valid):
    if not valid.any():
        return None
    q = np.clip(q[valid], 1 / 510, 1 - 1 / 510)
    teacher, student = np.exp(np.log(q / (1 - q)) / 4), np.exp(z[valid] / 4)
    teacher, student = teacher / teacher.sum(), student / student.sum()
    return 16 * sum(t * math.log(t / s) for t, s in zip(teacher, student, strict=True))


def dist(z, q, valid):
    if not valid.any() or np.ptp(q[valid]) == 0:
        return None
    return 1 - np.corrcoef(sigmoid(z[valid]), q[valid])[0, 1]


def boundary_dice(z, y, valid):
    known = surely(valid)
    y = np.where(valid, y, 0)
    return dice(edges(sigmoid(z)), edges(y), known) if known.any() else None


def boundary_weighted_bce(z, y, valid):
    y = np.where(valid, y, 0)
    p, weight = sigmoid(z), 1 + 4 * edges(y) * surely(valid)
    return mean([weight[i] * bce(p[i], y[i]) for i in np.ndindex(z.shape) if valid[i]])


def sobel_mse(z, y, valid):
    kernel = np.array([[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]) / 8
    difference = np.pad(sigmoid(z) - np.where(valid, y, 0), 1, mode="edge")
    known = surely(valid)
    values = []
    for row, column in np.ndindex(z.shape):
        if known[row, column]:
            around = difference[row : row + 3, column : column + 3]
            values.append((around * kernel).sum() ** 2 + (around * kernel.T).sum() ** 2)
    return mean(values)
