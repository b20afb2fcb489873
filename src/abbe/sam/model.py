"""A network of the Segment Anything family: image encoder, prompt encoder, mask decoder."""

import torch
from torch import Tensor, nn

from abbe.errors import ConfigError, InputError
from abbe.sam.decoder import Attended, MaskDecoder
from abbe.sam.layout import PATCH, Layout
from abbe.sam.prompts import PromptEncoder, Prompts
from abbe.sam.tiny_vit import TinyViT
from abbe.sam.two_way import ImageTokens
from abbe.sam.vit import ImageEncoderViT


class SAM(nn.Module):
    """Masks for prompts (Segment Anything, arXiv 2304.02643).

    Parameters have the names of the original checkpoints. ``Letterbox`` brings images and prompts
    into the square the network sees, and masks back.

    Args:
        image_encoder: maps (B, 3, side, side) to (B, 256, side / 16, side / 16).
        side: of the square input in pixels, a multiple of 16.
        layout: of a published kind of encoder; None for another.
    """

    def __init__(self, image_encoder: nn.Module, side: int, layout: Layout | None = None) -> None:
        super().__init__()
        if side <= 0 or side % PATCH:
            raise ConfigError(f"side is {side}; it must be a positive multiple of {PATCH}")
        self.side = side
        self.layout = layout
        self.image_encoder = image_encoder
        self.prompt_encoder = PromptEncoder(side)
        self.mask_decoder = MaskDecoder()

    def encode(self, images: Tensor) -> Tensor:
        """Embed images (B, 3, side, side), normalised: (B, 256, side / 16, side / 16).

        Raises:
            InputError: The images are not of this network's size.
        """
        if images.ndim != 4 or images.shape[1:] != (3, self.side, self.side):
            raise InputError(
                f"images have the shape {tuple(images.shape)}; this network takes "
                f"(B, 3, {self.side}, {self.side}), which Letterbox makes of any image"
            )
        return self.image_encoder(images)

    def decode(
        self, embedding: Tensor, prompts: Prompts, *, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Draw masks for N prompts on one image.

        Args:
            embedding: (1, 256, h, w).
            prompts: N prompts.
            multimask: three masks a prompt, whole, part and subpart, instead of one.

        Returns:
            Logits (N, M, 4h, 4w), positive inside, and the expected IoU (N, M); M is 3 or 1.

        Raises:
            InputError: There is more than one embedding, or its size is another.
        """
        if len(embedding) != 1:
            raise InputError(f"{len(embedding)} embeddings where one is needed; see decode_each")
        return self.decode_each(embedding, prompts, multimask=multimask)

    def decode_each(
        self, embeddings: Tensor, prompts: Prompts, *, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Draw masks for prompts on a batch of images, equally many on each.

        Args:
            embeddings: (B, 256, h, w).
            prompts: B · K prompts, the K of the first image first.
            multimask: three masks a prompt instead of one.

        Returns:
            Logits (B · K, M, 4h, 4w) and the expected IoU (B · K, M).

        Raises:
            InputError: The prompts cannot be shared out equally, or a size does not fit.
        """
        attended = self.attend(self.prepare(embeddings, prompts.masks), prompts)
        return self.decode_masks(attended, multimask=multimask), attended.scores(multimask)

    def prepare(self, embeddings: Tensor, masks: Tensor | None = None) -> ImageTokens:
        """Compute once what prompts on an image share, for ``attend``.

        Args:
            embeddings: (B, 256, h, w).
            masks: (B · K, 1, 4h, 4w), the prompts' masks, where they have any; these belong to a
                prompt, so that less is shared.

        Raises:
            InputError: A size is not this network's.
        """
        grid = self.side // PATCH
        if embeddings.ndim != 4 or embeddings.shape[1:] != (256, grid, grid):
            raise InputError(
                f"embeddings have the shape {tuple(embeddings.shape)}; this network's are "
                f"(B, 256, {grid}, {grid})"
            )
        if masks is not None:
            if masks.shape[1:] != (1, 4 * grid, 4 * grid) or len(masks) % len(embeddings):
                raise InputError(
                    f"prompt masks have the shape {tuple(masks.shape)}; {len(embeddings)} images "
                    f"of this network need (a multiple, 1, {4 * grid}, {4 * grid})"
                )
            embeddings = embeddings.repeat_interleave(len(masks) // len(embeddings), dim=0)
        image = embeddings + self.prompt_encoder.dense(masks)
        return self.mask_decoder.prepare(image, self.prompt_encoder.places())

    def attend(self, image: ImageTokens, prompts: Prompts) -> Attended:
        """Let prompts see the image, which rates their masks before any is drawn.

        Args:
            image: of B images, from ``prepare``, with the prompts' masks if they have any.
            prompts: B · K prompts.

        Raises:
            InputError: The prompts cannot be shared out equally.
        """
        if len(prompts) % len(image.tokens):
            raise InputError(
                f"{len(prompts)} prompts cannot be shared out equally to {len(image.tokens)} images"
            )
        grid = self.side // PATCH
        return self.mask_decoder.attend(image, self.prompt_encoder.sparse(prompts), (grid, grid))

    def decode_masks(
        self, attended: Attended, rows: Tensor | None = None, *, multimask: bool | None
    ) -> Tensor:
        """Draw the masks of some prompts only.

        Args:
            attended: of N prompts, from ``attend``.
            rows: (R,) which prompts; all where None.
            multimask: three masks a prompt instead of one; None for that one and the three.

        Returns:
            Logits (R, M, 4h, 4w), positive inside.
        """
        if rows is not None:
            attended = attended._replace(image=attended.image[rows], masks=attended.masks[rows])
        return self.mask_decoder.decode_masks(attended, multimask)


def network(layout: Layout) -> SAM:
    """Build a network as torch initialises it; weights are to be loaded, or see ``build_sam``."""
    encoder = TinyViT() if layout.encoder == "tiny_vit" else ImageEncoderViT(layout)
    return SAM(encoder, layout.image_size, layout)


def build_sam(layout: Layout, seed: int) -> SAM:
    """Build a network with random weights, which depend on the seed alone.

    Linear layers of the image encoder, tokens and positions are drawn as vision transformers are
    (normal, deviation 0.02); the rest is torch's own. Nothing drawn by such a network means
    anything until it has been trained: whoever uses one must say so.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        sam = network(layout)
        for name, parameter in sam.image_encoder.named_parameters():
            relative = "rel_pos" in name or "attention_biases" in name
            if parameter.ndim == 2 or relative or name == "pos_embed":
                nn.init.trunc_normal_(parameter, std=0.02)
    return sam
