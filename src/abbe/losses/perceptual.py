"""Losses between the embeddings of a student and of SAM (KD SAM's first stage).

Patil, Palani and Krishnamurthi, arXiv 2501.16740, add an element-wise mean square and a perceptual
loss through a pretrained network "such as VGG". How 256 channels enter a network of three is not
published; the modes here are ours:

- ``triplets``: channels three at a time, drawn anew each step, so that each is seen as often;
- ``pca3``: the three principal directions of the teacher's embeddings (`Projection`), and no other;
- through SAM's own mask decoder instead of a VGG (`DecoderLoss`).

A learned 1 x 1 convolution shared by both branches is left out: it can map both embeddings to a
constant, and the loss is 0 for any student.

All are relative, so that weights mean the same for every teacher and every network: an embedding
that is nothing but the teacher's mean costs 1. Square differences of embeddings are divided by the
variance of the teacher's, those of features by their energy (`energies_of`). Both are measured
once, on the teacher's embeddings of training images, and are the same in every step and process.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abbe.errors import ConfigError, InputError
from abbe.losses.feature_networks import FeatureNetwork
from abbe.losses.projection import Projection
from abbe.sam import SAM, Prompts

PerceptualMode: TypeAlias = Literal["triplets", "pca3"]

SMALLEST_ENERGY = 1e-6
"""Of a layer's features, as a share of their mean square: constant ones divide by that."""


def embedding_mse(student: Tensor, teacher: Tensor, variance: float) -> Tensor:
    """Mean squared difference over all elements, in float32, divided by ``variance``.

    Args:
        student: (B, C, h, w).
        teacher: The same.
        variance: Of the teacher's embeddings about the mean of each channel; see `Projection`.

    Returns:
        A scalar; 1 where each of the student's channels is the teacher's mean everywhere.

    Raises:
        ValueError: The shapes differ.
    """
    _check(student, teacher)
    return F.mse_loss(student.float(), teacher.float()) / variance


def energies_of(features: Iterable[tuple[Sequence[Tensor], Sequence[Tensor]]]) -> Tensor:
    """How far features are from those of the mean embedding: mean square by layer, (L,) float32.

    Not less than `SMALLEST_ENERGY` of their own mean square, so that constant features divide by
    no zero.

    Args:
        features: For some embeddings of the teacher's, the maps of each of L layers, and those that
            the teacher's mean embedding gives.
    """
    energies, squares, count = [], [], 0
    for found, of_mean in features:
        pairs = [(f.float(), m.float()) for f, m in zip(found, of_mean, strict=True)]
        energies.append(torch.stack([(f - m).square().mean() for f, m in pairs]))
        squares.append(torch.stack([f.square().mean() for f, _ in pairs]))
        count += 1
    if not count:
        raise InputError("there is no embedding of the teacher to measure its features on")
    energy, square = torch.stack(energies).mean(0), torch.stack(squares).mean(0)
    smallest = (SMALLEST_ENERGY * square).clamp(min=torch.finfo(torch.float32).tiny)
    return torch.maximum(energy, smallest)


def relative_differences(
    found: Sequence[Tensor], wanted: Sequence[Tensor], energies: Tensor
) -> Tensor:
    """Mean squared differences by layer (L,), in float32, each divided by the layer's energy."""
    pairs = zip(found, wanted, strict=True)
    return torch.stack([F.mse_loss(f.float(), w.float()) for f, w in pairs]) / energies


class PerceptualLoss(nn.Module):
    """Relative differences of the features of two embeddings, seen as pictures.

    Three channels are made of the embedding, centred and scaled with the teacher's statistics,
    enlarged to twice the size, and given to the feature network φ. Layer l costs
    ``mean((φ_l(s) − φ_l(t))²) / E_l``, the mean over images, channels, places and, with several
    pictures an embedding, these too; ``E_l`` is what the mean embedding would cost there
    (`energies_of`). The gradient reaches the student's embedding alone.

    Args:
        network: φ, frozen; what is kept here goes to its device.
        projection: Of the teacher's embeddings.
        embeddings: Some of the teacher's, each (B, C, h, w), to measure the energies on: a dozen
            will do. Of the size that will be compared.
        mode: ``"triplets"`` or ``"pca3"``; see the module.
        triplets: Drawn each step, in that mode.

    Attributes:
        layers: Names of the layers.

    Raises:
        ConfigError: There is no such mode, or no triplet.
        InputError: There are no embeddings.
    """

    directions: Tensor
    mean: Tensor
    deviation: Tensor
    spread: Tensor
    energies: Tensor

    def __init__(
        self,
        network: FeatureNetwork,
        projection: Projection,
        embeddings: Iterable[Tensor],
        mode: PerceptualMode = "triplets",
        triplets: int = 8,
    ) -> None:
        super().__init__()
        if mode not in ("triplets", "pca3"):
            raise ConfigError(f"perceptual mode '{mode}': must be 'triplets' or 'pca3'")
        if triplets < 1:
            raise ConfigError(f"perceptual triplets is {triplets}; it must be at least 1")
        self.network = network
        self.layers = network.layers
        self.mode: PerceptualMode = mode
        self.triplets = triplets
        device = next(network.parameters()).device
        # Channels that vary less than usual keep to the usual scale: errors in nearly constant ones
        # would outweigh all others if divided by their own deviation.
        usual = projection.variance**0.5
        kept = {
            "directions": projection.directions,
            "mean": projection.mean,
            "deviation": projection.deviation.clamp(min=usual),
            "spread": projection.spread,
        }
        for name, tensor in kept.items():
            self.register_buffer(name, tensor.to(device), persistent=False)
        self.register_buffer("energies", self._energies(embeddings), persistent=False)

    def forward(self, student: Tensor, teacher: Tensor, draw: int = 0) -> Tensor:
        """Compare embeddings (B, C, h, w): a value a layer (L,), 0 where they are equal.

        Args:
            student: The student's.
            teacher: The teacher's.
            draw: Which triplets: the step, so that a run that is taken up again draws the same.

        Raises:
            ValueError: The shapes differ, or the channels are not those of the projection.
        """
        _check(student, teacher)
        if student.shape[1] != len(self.mean):
            raise ValueError(
                f"the embeddings have {student.shape[1]} channels, the projection {len(self.mean)}"
            )
        with torch.no_grad():
            wanted = self.network(self.pictures(teacher, draw))
        found = self.network(self.pictures(student, draw))
        return relative_differences(found, wanted, self.energies)

    def pictures(self, embedding: Tensor, draw: int = 0) -> Tensor:
        """What the feature network sees: (B, 3, 2h, 2w), or (B · triplets, 3, 2h, 2w)."""
        centred = embedding.float() - self.mean[:, None, None]
        if self.mode == "pca3":
            seen = torch.einsum("kc,bchw->bkhw", self.directions, centred)
            seen = seen / self.spread[:, None, None]
        else:
            chosen = triplets_of(draw, len(self.mean), self.triplets).to(centred.device)
            seen = (centred / self.deviation[:, None, None])[:, chosen].flatten(0, 1)
        return F.interpolate(seen, scale_factor=2, mode="bilinear", align_corners=False)

    @torch.no_grad()
    def _energies(self, embeddings: Iterable[Tensor]) -> Tensor:
        def features() -> Iterable[tuple[Sequence[Tensor], Sequence[Tensor]]]:
            for draw, embedding in enumerate(embeddings):
                pictures = self.pictures(embedding.to(self.mean.device), draw)
                # The mean embedding's pictures are all alike: 0 everywhere.
                yield self.network(pictures), self.network(torch.zeros_like(pictures[:1]))

        return energies_of(features())


def triplets_of(draw: int, channels: int, count: int) -> Tensor:
    """``count`` triplets of different channels, (count, 3), a pure function of the arguments."""
    generator = torch.Generator().manual_seed(draw)
    each = [torch.randperm(channels, generator=generator)[:3] for _ in range(count)]
    return torch.stack(each)


def random_points(draw: int, count: int, side: int) -> Prompts:
    """``count`` points on a square of ``side`` px, a pure function of the arguments."""
    generator = torch.Generator().manual_seed(draw)
    points = side * torch.rand(count, 1, 2, generator=generator)
    return Prompts(points=points, point_labels=torch.ones(count, 1, dtype=torch.int64))


class DecoderLoss(nn.Module):
    """Relative differences of what the teacher's mask decoder makes of two embeddings.

    Compared are the image tokens and the mask tokens after the two-way transformer has let prompts
    and image attend to each other: from these two alone, masks are drawn. What the decoder cannot
    see in an embedding does not count. Each costs its mean squared difference, divided by what the
    mean embedding would cost (`energies_of`). The decoder is a frozen copy of the teacher's.

    Args:
        teacher: Whose prompt encoder and mask decoder are copied; they stay on its device.
        mean: (256,) of the teacher's embeddings; see `Projection`.
        embeddings: Some of the teacher's, each (B, 256, h, w), to measure the energies on, of the
            size that will be compared.
        side: Of the square that the compared embeddings see, in px, where it is not the teacher's;
            prompts are in its pixels.
        points: Random ones an image, through which embeddings are seen.

    Attributes:
        layers: Names of what is compared.
    """

    layers = ("image", "masks")
    energies: Tensor

    def __init__(
        self,
        teacher: SAM,
        mean: Tensor,
        embeddings: Iterable[Tensor],
        side: int | None = None,
        points: int = 8,
    ) -> None:
        super().__init__()
        self.points = points
        self.decoder = SAM(nn.Identity(), side or teacher.side)
        for part in ("prompt_encoder", "mask_decoder"):
            state = teacher.get_submodule(part).state_dict()
            self.decoder.get_submodule(part).load_state_dict(state)
        self.requires_grad_(False)
        self.eval()
        self.to(next(teacher.mask_decoder.parameters()).device)
        self.register_buffer("energies", self._energies(mean, embeddings), persistent=False)

    def train(self, mode: bool = True) -> "DecoderLoss":
        """Stay in evaluation mode, whatever ``mode`` is."""
        return super().train(False)

    def forward(self, student: Tensor, teacher: Tensor, draw: int = 0) -> Tensor:
        """Compare embeddings (B, 256, h, w): a value for each of `layers`, (2,).

        Args:
            student: The student's.
            teacher: The teacher's.
            draw: Which points: the step, so that a run that is taken up again draws the same.

        Raises:
            ValueError: The shapes differ.
            InputError: The embeddings are not of this square.
        """
        _check(student, teacher)
        prompts = self._prompts(student, draw)
        with torch.no_grad():
            wanted = self._tokens(teacher, prompts)
        found = self._tokens(student, prompts)
        return relative_differences(found, wanted, self.energies)

    def _prompts(self, embedding: Tensor, draw: int) -> Prompts:
        count = self.points * len(embedding)
        return random_points(draw, count, self.decoder.side).to(embedding.device)

    def _tokens(self, embedding: Tensor, prompts: Prompts) -> tuple[Tensor, Tensor]:
        attended = self.decoder.attend(self.decoder.prepare(embedding), prompts)
        return attended.image, attended.masks

    @torch.no_grad()
    def _energies(self, mean: Tensor, embeddings: Iterable[Tensor]) -> Tensor:
        device = next(self.decoder.parameters()).device

        def tokens() -> Iterable[tuple[Sequence[Tensor], Sequence[Tensor]]]:
            for draw, embedding in enumerate(embeddings):
                embedding = embedding.to(device)
                prompts = self._prompts(embedding, draw)
                flat = mean.to(device)[:, None, None].expand_as(embedding)
                yield self._tokens(embedding, prompts), self._tokens(flat, prompts)

        return energies_of(tokens())


def _check(student: Tensor, teacher: Tensor) -> None:
    if student.ndim != 4 or student.shape != teacher.shape:
        raise ValueError(
            f"embeddings must be (B, C, h, w) alike, but the student's is {tuple(student.shape)} "
            f"and the teacher's {tuple(teacher.shape)}"
        )
