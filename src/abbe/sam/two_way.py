"""SAM's two-way transformer: prompt tokens and image tokens attend to each other.

Written for many prompts on one image. Before the first block has ended, all prompts see the same
image tokens, which are projected once. Afterwards each prompt has thousands of image tokens of its
own and a handful of prompt tokens, so the projections of the image tokens are moved to the other
side of the products: ``(x W) qᵀ = x (W qᵀ)``, the same numbers for half of the work.
"""

from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from abbe.sam.layers import MLPBlock

WIDTH, HEADS, HIDDEN = 256, 8, 2048


class ImageTokens(NamedTuple):
    """What prompts on an image share. Row g of G serves N / G prompts in a row.

    Args:
        tokens: (G, h · w, 256) image embedding, with the prompts' masks added.
        places: (h · w, 256) position of each token.
        key: (G, 8, h · w, 16) what the prompts look at in the first block.
        value: (G, 8, h · w, 16) what they see there.
        query: (G, 8, h · w, 16) what the image asks the prompts in the first block.
    """

    tokens: Tensor
    places: Tensor
    key: Tensor
    value: Tensor
    query: Tensor


class TwoWayTransformer(nn.Module):
    """Two blocks, and a last look of the tokens at the image."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock() for _ in range(2))
        self.final_attn_token_to_image = Attention(WIDTH // 2)
        self.norm_final_attn = nn.LayerNorm(WIDTH)

    def prepare(self, image: Tensor, places: Tensor) -> ImageTokens:
        """Compute what depends on neither points nor boxes.

        Args:
            image: (G, 256, h, w).
            places: (h · w, 256).
        """
        tokens = image.flatten(2).transpose(1, 2)
        placed = tokens + places
        first = cast(TwoWayBlock, self.layers[0])
        into, back = first.cross_attn_token_to_image, first.cross_attn_image_to_token
        key, value = split(into.k_proj(placed)), split(into.v_proj(tokens))
        return ImageTokens(tokens, places, key, value, split(back.q_proj(placed)))

    def forward(self, image: ImageTokens, prompts: Tensor) -> tuple[Tensor, Tensor]:
        """Let them attend to each other.

        Args:
            image: of G images; G divides N.
            prompts: (N, T, 256).

        Returns:
            Prompt tokens (N, T, 256) and image tokens (N, h · w, 256).
        """
        first, second = cast(tuple[TwoWayBlock, TwoWayBlock], tuple(self.layers))
        groups, cells = image.tokens.shape[:2]

        tokens = first.norm1(first.self_attn(prompts, prompts, prompts))
        seen = first.cross_attn_token_to_image.look_at_shared(
            tokens + prompts, image.key, image.value
        )
        tokens = first.after_look(tokens, seen)
        seen = first.cross_attn_image_to_token.be_looked_at_shared(
            image.query, tokens + prompts, tokens
        )
        shared = image.tokens.unsqueeze(1) + seen.view(groups, -1, cells, WIDTH)
        keys = first.norm4(shared.flatten(0, 1))

        asking = tokens + prompts
        tokens = second.norm1(tokens + second.self_attn(asking, asking, tokens))
        placed = keys + image.places
        seen = second.cross_attn_token_to_image.look(tokens + prompts, placed, keys)
        tokens = second.after_look(tokens, seen)
        seen = second.cross_attn_image_to_token.be_looked_at(placed, tokens + prompts, tokens)
        keys = second.norm4(keys + seen)

        seen = self.final_attn_token_to_image.look(tokens + prompts, keys + image.places, keys)
        return self.norm_final_attn(tokens + seen), keys


class TwoWayBlock(nn.Module):
    """The layers of one block; the transformer says in which order they act."""

    def __init__(self) -> None:
        super().__init__()
        self.self_attn = Attention(WIDTH)
        self.norm1 = nn.LayerNorm(WIDTH)
        self.cross_attn_token_to_image = Attention(WIDTH // 2)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = MLPBlock(WIDTH, HIDDEN, F.relu)
        self.norm3 = nn.LayerNorm(WIDTH)
        self.norm4 = nn.LayerNorm(WIDTH)
        self.cross_attn_image_to_token = Attention(WIDTH // 2)

    def after_look(self, tokens: Tensor, seen: Tensor) -> Tensor:
        """Add what the tokens (N, T, 256) saw of the image, and think about it."""
        tokens = self.norm2(tokens + seen)
        return self.norm3(tokens + self.mlp(tokens))


class Attention(nn.Module):
    """Attention with ``inner`` channels, in eight heads."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.q_proj = nn.Linear(WIDTH, inner)
        self.k_proj = nn.Linear(WIDTH, inner)
        self.v_proj = nn.Linear(WIDTH, inner)
        self.out_proj = nn.Linear(inner, WIDTH)
        self.depth = inner // HEADS
        self.scale = self.depth**-0.5

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attend as usual: q (N, T, 256), k and v (N, S, 256), to (N, T, 256)."""
        q, k, v = split(self.q_proj(q)), split(self.k_proj(k)), split(self.v_proj(v))
        return self.out_proj(merge(F.scaled_dot_product_attention(q, k, v)))

    def look_at_shared(self, q: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Few queries (N, T, 256), projected keys and values (G, 8, S, d), to (N, T, 256)."""
        rows, tokens, _ = q.shape
        folded = split(self.q_proj(q.reshape(len(key), -1, WIDTH)))
        seen = merge(F.scaled_dot_product_attention(folded, key, value))
        return self.out_proj(seen.view(rows, tokens, -1))

    def be_looked_at_shared(self, query: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Projected queries (G, 8, S, d), few keys and values (N, T, 256), to (N, S, 256)."""
        rows, tokens, _ = k.shape
        groups, _, cells, _ = query.shape
        key = split(self.k_proj(k.reshape(groups, -1, WIDTH)))
        scores = (key * self.scale) @ query.transpose(-1, -2)
        scores = scores.view(groups, HEADS, -1, tokens, cells).transpose(1, 2)
        return self._spread(scores.reshape(rows, HEADS, tokens, cells), v)

    def look(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Few queries (N, T, 256), many keys and values (N, S, 256), to (N, T, 256)."""
        query = split(self.q_proj(q)) * self.scale
        weights = _scores(query, self.k_proj, k).softmax(-1)
        seen = (weights @ v).view(*query.shape[:3], WIDTH)
        seen = merge(seen @ _by_head(self.v_proj.weight).transpose(-1, -2))
        return self.out_proj(seen + self.v_proj.bias)  # the weights of a query sum to 1

    def be_looked_at(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Many queries (N, S, 256), few keys and values (N, T, 256), to (N, S, 256)."""
        key = split(self.k_proj(k)) * self.scale
        return self._spread(_scores(key, self.q_proj, q).view(*key.shape[:3], -1), v)

    def _spread(self, scores: Tensor, v: Tensor) -> Tensor:
        """Give the values (N, T, 256) to the queries by scores (N, 8, T, S): (N, S, 256)."""
        weights = scores.softmax(2).flatten(1, 2).transpose(1, 2)
        values = split(self.v_proj(v)) @ _by_head(self.out_proj.weight.T)
        bias = self.out_proj.bias.expand(len(v), 1, WIDTH)
        return torch.baddbmm(bias, weights, values.flatten(1, 2))


def _scores(few: Tensor, layer: nn.Linear, many: Tensor) -> Tensor:
    """Products of ``few`` (N, 8, T, d) with ``layer(many)``, many (N, S, 256): (N, 8 T, S)."""
    lifted = few @ _by_head(layer.weight)
    constant = few @ layer.bias.view(HEADS, -1, 1)
    return torch.baddbmm(constant.flatten(1, 2), lifted.flatten(1, 2), many.transpose(1, 2))


def split(x: Tensor) -> Tensor:
    """(N, T, channels) to heads (N, 8, T, channels / 8)."""
    return x.view(x.shape[0], x.shape[1], HEADS, -1).transpose(1, 2)


def merge(x: Tensor) -> Tensor:
    """Heads (N, 8, T, d) to (N, T, 8 d)."""
    return x.transpose(1, 2).flatten(2)


def _by_head(weight: Tensor) -> Tensor:
    """A projection's weight (8 d, 256) as (8, d, 256)."""
    return weight.reshape(HEADS, -1, WIDTH)
