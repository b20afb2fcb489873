"""``csat_like``: convolutions with a spatial attention computed by a small transformer.

Kim et al. (RCKD, Bioengineering 2023, 10(11), 1279) give the name CSAT, "convolutional neural
network with spatial attention by transformers", and its budget: 3 million parameters and 1.08
billion MACs at 224 x 224 px. They do not give the layout in what could be read. The layout here is
Abbe's own, made to meet that budget. It is not the authors' network, nothing measured with it is a
measurement of theirs, and it is another network than timm's ``csatv2``.

The network has timm's interface and is registered with timm, so that one path serves all encoders:
``import abbe.students.csat`` makes ``timm.create_model("csat_like")`` work.
"""

from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import torch
import torch.nn.functional as F
from timm.models import build_model_with_cfg, generate_default_cfgs, register_model
from torch import Tensor, nn


class _Stage(NamedTuple):
    """One row of the layout: ``blocks`` of so many channels, the last perhaps with attention."""

    blocks: int
    channels: int
    attention_width: int = 0
    heads: int = 0


# Channels are multiples of 32: others cost a CPU what the next multiple does.
_STEM_CHANNELS = 32
_STAGES = (_Stage(1, 96), _Stage(2, 128), _Stage(2, 192, 32, 2), _Stage(1, 224, 64, 4))
_GRID = 7
"""Rows and columns of the transformers' tokens."""
_EARLIER = "stages.0.1.attention.position.weight"
"""A tensor of the first layout, which had attention in every stage."""

# timm looks for this name in the module of a registered model.
default_cfgs = generate_default_cfgs(
    {
        "csat_like.untrained": {
            "num_classes": 1000,
            "input_size": (3, 224, 224),
            "first_conv": "stem.0",
            "classifier": "head.classifier",
        }
    }
)


class CsatLike(nn.Module):
    """Stem, four stages of residual blocks, and a classifier; 3.03 M parameters.

    The convolutions are whole 3 x 3 ones: at this budget, depthwise ones need half as long again
    on a CPU for the same number of MACs.

    Every stage halves the map in its first block. In the last two stages, the last block's output
    is multiplied by a gate that a transformer layer computes over a grid of 7 x 7, whatever the
    size of the image: cost and memory grow linearly with its area.

    Attributes:
        num_classes: Classes of the head; 0 for none.
        num_features: Channels of the last feature map (stride 32).
        head_hidden_size: Channels in front of the classifier.
        feature_info: Channels and strides of the maps, as timm describes them.
    """

    def __init__(self, in_chans: int = 3, num_classes: int = 1000, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.num_classes = num_classes
        self.num_features = _STAGES[-1].channels
        self.head_hidden_size = self.num_features
        self.stem = nn.Sequential(*_convolution(in_chans, _STEM_CHANNELS, stride=2))
        self.feature_info = [{"num_chs": _STEM_CHANNELS, "reduction": 2, "module": "stem"}]
        stages: list[nn.Module] = []
        channels = _STEM_CHANNELS
        for number, stage in enumerate(_STAGES):
            stages.append(_stage(channels, stage))
            channels = stage.channels
            self.feature_info.append(
                {"num_chs": channels, "reduction": 4 << number, "module": f"stages.{number}"}
            )
        self.stages = nn.Sequential(*stages)
        self.head = _Head(channels, num_classes, drop_rate)
        self.apply(_initialise)

    def forward(self, image: Tensor) -> Tensor:
        """Class logits (B, classes) of images (B, C, H, W)."""
        return self.forward_head(self.forward_features(image))

    def forward_features(self, image: Tensor) -> Tensor:
        """The map at stride 32, (B, 224, H / 32, W / 32)."""
        return self.stages(self.stem(image))

    def forward_head(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        """From the last map to logits, or to the vector in front of the classifier."""
        return self.head(x, pre_logits=pre_logits)

    def forward_intermediates(
        self,
        image: Tensor,
        indices: list[int] | int | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """The maps at strides 2, 4, 8, 16 and 32, or those of ``indices``; timm's signature."""
        chosen = self._chosen(indices)
        last = max(chosen) if stop_early else len(self.stages)
        maps = []
        x = self.stem(image)
        for index in range(last + 1):
            x = self.stages[index - 1](x) if index else x
            if index in chosen:
                maps.append(x)
        return maps if intermediates_only else (x, maps)

    def prune_intermediate_layers(
        self,
        indices: list[int] | int = 1,
        prune_norm: bool = False,
        prune_head: bool = True,
    ) -> list[int]:
        """Drop what the maps of ``indices`` do not need; timm's signature."""
        chosen = self._chosen(indices)
        self.stages = self.stages[: max(chosen)]
        if prune_head:
            self.head = nn.Identity()
        return chosen

    def get_classifier(self) -> nn.Module:
        """The last linear layer."""
        return self.head.get_submodule("classifier")

    def reset_classifier(self, num_classes: int, global_pool: str | None = None) -> None:
        """Give the network a new last layer, for other classes."""
        self.num_classes = num_classes
        self.head = _Head(self.num_features, num_classes)

    def _chosen(self, indices: list[int] | int | None) -> list[int]:
        count = len(_STAGES) + 1
        if indices is None:
            return list(range(count))
        if isinstance(indices, int):  # the last so many
            return list(range(count - indices, count))
        return [index % count for index in indices]


class ResidualBlock(nn.Module):
    """Two 3 x 3 convolutions (He et al. 2016), perhaps with spatial attention.

    The attention's gate multiplies the second convolution, before the input is added where shapes
    match.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        attention: nn.Module | None = None,
    ) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_convolution(in_channels, out_channels, stride=stride),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.attention = attention
        self.residual = stride == 1 and in_channels == out_channels
        self.activation = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) to (B, out_channels, H / stride, W / stride)."""
        y = self.layers(x)
        if self.attention is not None:
            y = y * self.attention(y)
        return self.activation(x + y if self.residual else y)


class SpatialAttention(nn.Module):
    """A gate in [0, 1] for every value of a map, from one transformer layer over a coarse grid.

    The map is brought to ``width`` channels, averaged onto a grid of fixed size, given its place by
    a depthwise 3 x 3 convolution, passed through one pre-norm transformer layer, brought back to
    the map's channels, squashed by a sigmoid, and enlarged bilinearly.
    """

    def __init__(self, channels: int, width: int, heads: int, grid: int = _GRID) -> None:
        super().__init__()
        self.grid = grid
        self.reduce = nn.Conv2d(channels, width, 1)
        self.position = nn.Conv2d(width, width, 3, padding=1, groups=width)
        self.transformer = TransformerLayer(width, heads)
        self.expand = nn.Conv2d(width, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """The gate (B, C, H, W) of a map (B, C, H, W)."""
        tokens = pool_to_grid(self.reduce(x), self.grid)
        tokens = tokens + self.position(tokens)
        tokens = self.transformer(tokens.flatten(2).transpose(1, 2)).transpose(1, 2)
        gate = self.expand(tokens.unflatten(2, (self.grid, self.grid))).sigmoid()
        return F.interpolate(gate, size=x.shape[-2:], mode="bilinear", align_corners=False)


class TransformerLayer(nn.Module):
    """One pre-norm transformer layer: self-attention, then a GELU network of twice the width."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.projection = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width)
        )

    def forward(self, tokens: Tensor) -> Tensor:
        """(B, N, width) to the same."""
        tokens = tokens + self._attend(self.norm1(tokens))
        return tokens + self.mlp(self.norm2(tokens))

    def _attend(self, tokens: Tensor) -> Tensor:
        # (B, N, 3 · width) to three times (B, heads, N, width / heads)
        parts = self.qkv(tokens).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = parts.unbind(0)
        # Written out: at 49 tokens a fused kernel gains nothing, and every exporter
        # and every counter of operations knows matrix products.
        weights = (query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)
        return self.projection((weights.softmax(-1) @ value).transpose(1, 2).flatten(2))


def pool_to_grid(x: Tensor, grid: int) -> Tensor:
    """What ``adaptive_avg_pool2d(x, grid)`` gives, as two matrix products.

    Exporters fix adaptive pooling to the size of the traced image; products stay free in it.

    Args:
        x: (B, C, H, W) of any size.
        grid: Rows and columns of the result.

    Returns:
        (B, C, grid, grid).
    """
    rows, columns = (_averaging(side, grid, x) for side in x.shape[-2:])
    return rows @ (x @ columns.transpose(0, 1))


def _averaging(length: int, grid: int, like: Tensor) -> Tensor:
    """The matrix (grid, length) that averages positions floor(i L / g) to ceil((i + 1) L / g)."""
    cell = torch.arange(grid, device=like.device)[:, None]
    position = torch.arange(length, device=like.device)[None]
    # i L / g < p + 1 and p < (i + 1) L / g, without division
    inside = (cell * length < (position + 1) * grid) & (position * grid < (cell + 1) * length)
    weights = inside.to(like.dtype)
    return weights / weights.sum(1, keepdim=True)


def earlier_layout(names: Iterable[str]) -> str:
    """What to say of tensors that belong to csat-like's first layout; empty for others."""
    if not any(name.endswith(_EARLIER) for name in names):
        return ""
    return (
        " This is csat-like's first layout, with attention in every stage: train it again, or go "
        "on with the version of Abbe that made it."
    )


class _Head(nn.Module):
    """Global average, dropout, linear layer."""

    def __init__(self, channels: int, classes: int, drop_rate: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(drop_rate)
        self.classifier = nn.Linear(channels, classes) if classes else nn.Identity()

    def forward(self, x: Tensor, pre_logits: bool = False) -> Tensor:
        x = self.dropout(x.mean((2, 3)))
        return x if pre_logits else self.classifier(x)


def _stage(in_channels: int, stage: _Stage) -> nn.Sequential:
    blocks: list[nn.Module] = []
    for number in range(stage.blocks):
        attention = None
        if stage.attention_width and number == stage.blocks - 1:
            attention = SpatialAttention(stage.channels, stage.attention_width, stage.heads)
        first = number == 0
        blocks.append(
            ResidualBlock(
                in_channels if first else stage.channels,
                stage.channels,
                stride=2 if first else 1,
                attention=attention,
            )
        )
    return nn.Sequential(*blocks)


def _convolution(
    in_channels: int, out_channels: int, *, stride: int = 1
) -> tuple[nn.Module, nn.Module, nn.Module]:
    convolution = nn.Conv2d(in_channels, out_channels, 3, stride, 1, bias=False)
    return convolution, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True)


def _initialise(module: nn.Module) -> None:
    """He's variance for convolutions, 0.02 for the transformer and the classifier."""
    if isinstance(module, nn.Conv2d):
        nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    elif isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
    if isinstance(module, nn.Conv2d | nn.Linear) and module.bias is not None:
        nn.init.zeros_(module.bias)


@register_model
def csat_like(pretrained: Literal[False] = False, **arguments: Any) -> nn.Module:
    """What ``timm.create_model("csat_like")`` calls; there are no published weights."""
    return build_model_with_cfg(
        CsatLike,
        "csat_like",
        pretrained,
        feature_cfg={"out_indices": (0, 1, 2, 3, 4), "feature_cls": "getter"},
        **arguments,
    )
