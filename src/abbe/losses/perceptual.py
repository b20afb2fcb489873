"""Losses between the embeddings of a student and of SAM (KD SAM's first stage).

Patil, Palani and Krishnamurthi, arXiv 2501.16740, add an element-wise mean square and a perceptual
loss through a pretrained network "such as VGG". How 256 channels enter a network of three is not
published; the modes here are ours:

- ``pca3``: the three principal directions of the teacher's embeddings (`Projection`);
- ``triplets``: channels three at a time, drawn anew each step, so that all of them count alike;
- through SAM's own mask decoder instead of a VGG (`DecoderLoss`).

A learned 1 x 1 convolution shared by both branches is left out: it can map both embeddings to a
constant, and the loss is 0 for any student.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from abbe.errors import ConfigError, InputError
from abbe.losses.feature_networks import FeatureNetwork
from abbe.sam import SAM, Prompts

PerceptualMode: TypeAlias = Literal["pca3", "triplets"]


def embedding_mse(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference over all elements, in float32: (B, C, h, w) twice → scalar.

    Raises:
        ValueError: The shapes differ.
    """
    _check(student, teacher)
    return F.mse_loss(student.float(), teacher.float())


@dataclass(frozen=True)
class Projection:
    """What is known of a teacher's embeddings: their channels, and their main directions.

    Attributes:
        directions: (3, C) orthonormal rows, of the largest variance first.
        mean: (C,) of each channel, over images and places.
        deviation: (C,) standard deviation of each channel.
        spread: (3,) standard deviation along each direction.
    """

    directions: Tensor
    mean: Tensor
    deviation: Tensor
    spread: Tensor


def fit_projection(embeddings: Iterable[Tensor]) -> Projection:
    """Find the mean, the deviation and the three principal directions of embeddings.

    Each place of each image counts as one observation of C channels. Of a direction and its
    opposite the one is taken whose largest component is positive.

    Args:
        embeddings: Each (B, C, h, w), seen once; a few hundred images are enough.

    Raises:
        InputError: There are none, or they hold NaN or infinity, have fewer than three channels or
            vary along fewer than three directions.
    """
    count, total, products = 0, torch.zeros(()), torch.zeros(())
    for embedding in embeddings:
        rows = embedding.detach().double().transpose(0, 1).flatten(1).cpu()
        count += rows.shape[1]
        total = total + rows.sum(1)
        products = products + rows @ rows.T
    if not count:
        raise InputError("there is no embedding of the teacher to fit a projection to")
    if not products.isfinite().all():
        raise InputError("the teacher's embeddings hold NaN or infinity: check the teacher")
    mean = total / count
    covariance = products / count - torch.outer(mean, mean)
    variances, vectors = torch.linalg.eigh(covariance)
    if len(variances) < 3 or variances[-3] <= 1e-9 * variances[-1] or variances[-1] <= 0:
        raise InputError(
            f"the teacher's embeddings vary along fewer than three directions ({count} places of "
            f"{len(mean)} channels): there is nothing for a perceptual loss to see"
        )
    directions = vectors[:, -3:].flip(1).T
    largest = directions.gather(1, directions.abs().argmax(1, keepdim=True))
    return Projection(
        directions=(directions * largest.sign()).float(),
        mean=mean.float(),
        deviation=covariance.diagonal().clamp(min=0).sqrt().float(),
        spread=variances[-3:].flip(0).sqrt().float(),
    )


class PerceptualLoss(nn.Module):
    """Mean squared differences of the features of two embeddings, seen as pictures.

    Three channels are made of the embedding, standardised with the teacher's statistics, enlarged
    to twice the size, and given to the feature network φ: ``L_P = Σ_l mean((φ_l(s) − φ_l(t))²)``,
    the mean over images, channels and places of layer l; with several pictures an embedding, over
    these too. The gradient reaches the student's embedding alone.

    Args:
        network: φ, frozen.
        projection: Of the teacher's embeddings.
        mode: ``"pca3"`` or ``"triplets"``; see the module.
        triplets: Drawn each step, in that mode.

    Raises:
        ConfigError: There is no such mode, or no triplet.
        InputError: A channel of the teacher's is constant, and triplets would divide by nothing.
    """

    directions: Tensor
    mean: Tensor
    deviation: Tensor
    spread: Tensor

    def __init__(
        self,
        network: FeatureNetwork,
        projection: Projection,
        mode: PerceptualMode = "pca3",
        triplets: int = 8,
    ) -> None:
        super().__init__()
        if mode not in ("pca3", "triplets"):
            raise ConfigError(f"perceptual mode '{mode}': must be 'pca3' or 'triplets'")
        if triplets < 1:
            raise ConfigError(f"perceptual triplets is {triplets}; it must be at least 1")
        deviation = projection.deviation
        dead = (deviation <= 1e-6 * deviation.max()).nonzero().flatten().tolist()
        if mode == "triplets" and dead:
            raise InputError(
                f"channels {dead[:5]} of the teacher's embeddings are constant and cannot be "
                "standardised: choose the perceptual mode 'pca3'"
            )
        self.network = network
        self.mode: PerceptualMode = mode
        self.triplets = triplets
        for name in ("directions", "mean", "deviation", "spread"):
            self.register_buffer(name, getattr(projection, name), persistent=False)

    def forward(self, student: Tensor, teacher: Tensor, draw: int = 0) -> Tensor:
        """Compare embeddings (B, C, h, w): a scalar, 0 where they are equal.

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
        pairs = zip(found, wanted, strict=True)
        return torch.stack([F.mse_loss(f.float(), w.float()) for f, w in pairs]).sum()

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


def triplets_of(draw: int, channels: int, count: int) -> Tensor:
    """``count`` triplets of different channels, (count, 3), a pure function of the arguments."""
    generator = torch.Generator().manual_seed(draw)
    each = [torch.randperm(channels, generator=generator)[:3] for _ in range(count)]
    return torch.stack(each)


class DecoderLoss(nn.Module):
    """Mean squared differences of what the teacher's mask decoder makes of two embeddings.

    Compared are the image tokens and the mask tokens after the two-way transformer has let prompts
    and image attend to each other: from these two alone, masks are drawn. What the decoder cannot
    see in an embedding does not count. The decoder is a frozen copy of the teacher's.

    Args:
        teacher: Whose prompt encoder and mask decoder are copied.
        side: Of the square that the compared embeddings see, in px, where it is not the teacher's;
            prompts are in its pixels.
    """

    def __init__(self, teacher: SAM, side: int | None = None) -> None:
        super().__init__()
        self.decoder = SAM(nn.Identity(), side or teacher.side)
        for part in ("prompt_encoder", "mask_decoder"):
            state = teacher.get_submodule(part).state_dict()
            self.decoder.get_submodule(part).load_state_dict(state)
        self.requires_grad_(False)
        self.eval()

    def train(self, mode: bool = True) -> "DecoderLoss":
        """Stay in evaluation mode, whatever ``mode`` is."""
        return super().train(False)

    def forward(self, student: Tensor, teacher: Tensor, prompts: Prompts) -> Tensor:
        """Compare embeddings (B, 256, h, w) as B · K prompts see them: a scalar."""
        _check(student, teacher)
        with torch.no_grad():
            wanted = self._tokens(teacher, prompts)
        found = self._tokens(student, prompts)
        pairs = zip(found, wanted, strict=True)
        return torch.stack([F.mse_loss(f.float(), w.float()) for f, w in pairs]).sum()

    def _tokens(self, embedding: Tensor, prompts: Prompts) -> tuple[Tensor, Tensor]:
        image = self.decoder.prepare(embedding, prompts.masks)
        attended = self.decoder.attend(image, prompts)
        return attended.image, attended.masks


def _check(student: Tensor, teacher: Tensor) -> None:
    if student.ndim != 4 or student.shape != teacher.shape:
        raise ValueError(
            f"embeddings must be (B, C, h, w) alike, but the student's is {tuple(student.shape)} "
            f"and the teacher's {tuple(teacher.shape)}"
        )
