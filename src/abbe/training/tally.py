"""What training adds up between two reports: the loss, the terms and their weights."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator

from abbe.training.stage import Term


class Tally:
    """Sums since the last report; no number leaves the device before it is asked for."""

    def __init__(self, terms: Sequence[Term], accelerator: Accelerator) -> None:
        self._accelerator = accelerator
        self._names = [("terms", name) for term in terms for name in term.logged]
        self._names += [("weights", term.name) for term in terms]
        self._clear()

    def _clear(self) -> None:
        self._loss: torch.Tensor | float = 0.0
        self._sums: dict[tuple[str, str], tuple[Any, int]] = {}

    def add(self, loss: torch.Tensor, terms: Mapping[str, Any], weights: Mapping[str, Any]) -> None:
        """Count a step: its loss, and by name its terms and their weights."""
        self._loss = self._loss + loss.detach()
        for kind, values in (("terms", terms), ("weights", weights)):
            for name, value in values.items():
                total, count = self._sums.get((kind, name), (0.0, 0))
                self._sums[kind, name] = (total + value, count + 1)

    def means(self, steps: int) -> tuple[float, dict[str, dict[str, float]]]:
        """Means of the loss, the terms and their weights over all processes; it begins anew.

        Args:
            steps: That were counted.
        """
        sums = [self._sums.get(key, (0.0, 0)) for key in self._names]
        table = [[float(self._loss), steps], *([float(total), count] for total, count in sums)]
        whole = torch.tensor(table, device=self._accelerator.device)
        reduced: Any = self._accelerator.reduce(whole, reduction="sum")
        (loss, steps_taken), *sums = reduced.tolist()
        means: dict[str, dict[str, float]] = {"terms": {}, "weights": {}}
        for (kind, name), (total, count) in zip(self._names, sums, strict=True):
            if count:
                means[kind][name] = total / count
        self._clear()
        return loss / steps_taken, means
