"""The loss is part of what trains: a network with the terms and the weighting of its stage."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from abbe.datasets.training.batches import Batch
from abbe.errors import AbbeError
from abbe.training.stage import Term, on_image


class LossOf(nn.Module):
    """A network with the terms and the weighting of its stage: from a batch to a loss."""

    def __init__(
        self,
        network: nn.Module,
        terms: tuple[Term, ...],
        weighting: nn.Module,
        answer: Callable[[nn.Module, Batch], Any] = on_image,
    ) -> None:
        super().__init__()
        self.network, self.weighting, self._terms, self._answer = network, weighting, terms, answer

    def forward(self, batch: Batch) -> tuple[torch.Tensor, dict[str, Any], dict[str, Any]]:
        """The loss, the values of each term and its parts, and each term's weight."""
        output = self._answer(self.network, batch)
        values = {term.name: term.values(output, batch) for term in self._terms}
        present = {name: found[name] for name, found in values.items() if found}
        if not present:
            raise AbbeError(
                "a training batch holds neither labels nor targets for any term of the loss: "
                "raise training.labelled_share, or teach the unlabelled images"
            )
        loss, weights = self.weighting(present)
        logged = {name: value for found in values.values() for name, value in found.items()}
        return loss, {name: value.detach() for name, value in logged.items()}, weights
