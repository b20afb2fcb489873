"""From several terms to one scalar: weights that are learned, or fixed."""

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

Terms = Mapping[str, Tensor | None]


class UncertaintyWeighting(nn.Module):
    """Learned weights after Kendall, Gal & Cipolla (CVPR 2018).

    L = Σ ½ exp(−sᵢ) Lᵢ + ½ sᵢ, with one learned log-variance sᵢ = log σᵢ² a term, 0 at first. At
    rest exp(sᵢ) = Lᵢ: every term is brought to the same size, and the clamp bounds the weights to
    ½ exp(±4). The parameter itself is clamped before use, so that after an optimiser's step beyond
    a bound the gradient still passes and can bring it back.

    Give its parameters to the optimiser in a group without weight decay, which would pull the
    weights to ½.

    Attributes:
        names: The terms, in the order of ``log_variances``.
        log_variances: sᵢ, (terms,).
        shares: How much of a term counts, from 0 to 1; 1 where nothing is said. All of its summand,
            ½ exp(−sᵢ) Lᵢ + ½ sᵢ, is multiplied by it: a factor of Lᵢ alone would be learned away.
    """

    def __init__(
        self,
        names: Sequence[str],
        clamp: tuple[float, float] = (-4.0, 4.0),
        shares: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.names = tuple(names)
        self.clamp = clamp
        self.shares = dict.fromkeys(self.names, 1.0) | dict(shares or {})
        self.log_variances = nn.Parameter(torch.zeros(len(self.names)))

    def forward(self, terms: Terms) -> tuple[Tensor, dict[str, Tensor]]:
        """Weigh and sum the terms.

        Args:
            terms: Scalars by name. A term that is None or left out has nothing to say in this
                batch: neither its loss nor its ½ sᵢ is counted.

        Returns:
            The sum, and of each term present its weight, share · ½ exp(−sᵢ), detached.

        Raises:
            ValueError: A name is unknown.
        """
        present = _present(terms, self.names)
        with torch.no_grad():
            self.log_variances.clamp_(*self.clamp)
        total = 0 * self.log_variances.sum()
        weights = {}
        for name, loss in present.items():
            log_variance = self.log_variances[self.names.index(name)]
            weight = 0.5 * torch.exp(-log_variance)
            share = self.shares[name]
            total = total + share * weight * loss + share * 0.5 * log_variance
            weights[name] = share * weight.detach()
        return total, weights


class FixedWeighting(nn.Module):
    """Fixed weights: L = Σ wᵢ Lᵢ. Called as `UncertaintyWeighting` is; it has no parameters.

    Attributes:
        weights: The weight of each term.
    """

    def __init__(self, weights: Mapping[str, float]) -> None:
        super().__init__()
        self.weights = dict(weights)

    def forward(self, terms: Terms) -> tuple[Tensor, dict[str, Tensor]]:
        """Weigh and sum the terms; see `UncertaintyWeighting.forward`."""
        present = _present(terms, tuple(self.weights))
        total = torch.zeros((), requires_grad=True)  # a batch without terms has a gradient too
        weights = {}
        for name, loss in present.items():
            weights[name] = loss.new_tensor(self.weights[name])
            total = total + weights[name] * loss
        return total, weights


def _present(terms: Terms, names: tuple[str, ...]) -> dict[str, Tensor]:
    unknown = [name for name in terms if name not in names]
    if unknown:
        raise ValueError(f"terms {unknown}: no weight for them; there are {list(names)}")
    return {name: loss for name, loss in terms.items() if loss is not None}
