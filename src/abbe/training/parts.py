"""Which weights of a network train, which decay and how fast each part learns."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from abbe.training.loss_of import LossOf

WEIGHTING_RATE = 20
"""Log-variances learn so many times faster than the network. At its rate they would need thousands
of steps to come to rest, and until then a small term such as a mean squared error hardly counts."""


def frozen_parts(network: nn.Module) -> list[nn.Module]:
    """Parts of a network in which nothing trains, the largest ones: they are to evaluate.

    Their running means must stay, too. To look for them takes longer than a step should wait.
    """
    weights = list(network.parameters())
    if weights and not any(weight.requires_grad for weight in weights):
        return [network]
    return [part for child in network.children() for part in frozen_parts(child)]


def only_parts_train(network: nn.Module, parts: Mapping[str, float] | None) -> None:
    """Freeze every parameter that belongs to none of the parts; None leaves all as they are."""
    if parts is None:
        return
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(name.startswith(tuple(parts)))
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise ValueError(f"no parameter belongs to a part that trains: {', '.join(parts)}")


def parameter_groups(
    module: LossOf, weight_decay: float, parts: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Decay on matrices and kernels; none on biases, norms and the weighting's variances."""
    groups: list[dict[str, Any]] = []
    for part, rate in parts.items():
        trained = [
            parameter
            for name, parameter in module.network.named_parameters()
            if parameter.requires_grad and name.startswith(part)
        ]
        decayed = [parameter for parameter in trained if parameter.ndim >= 2]
        free = [parameter for parameter in trained if parameter.ndim < 2]
        groups += [
            {"params": decayed, "weight_decay": weight_decay, "faster": rate},
            {"params": free, "weight_decay": 0.0, "faster": rate},
        ]
    variances = list(module.weighting.parameters())
    if variances:
        groups.append({"params": variances, "weight_decay": 0.0, "faster": WEIGHTING_RATE})
    return groups
