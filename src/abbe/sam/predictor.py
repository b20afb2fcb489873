"""SAM's familiar calls on a network in torch."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from abbe.imaging.promptable.calls import CheckedPrompt, MaskPrediction, PromptableCalls
from abbe.sam.letterbox import THRESHOLD, Letterbox
from abbe.sam.model import SAM
from abbe.sam.prompts import Prompts
from abbe.sam.two_way import ImageTokens


@dataclass(frozen=True)
class Embedded:
    """An image that was set: its place in the square, its embedding, and its tokens."""

    letterbox: Letterbox
    embedding: Tensor
    tokens: ImageTokens

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image in px."""
        return self.letterbox.size


class PromptablePredictor(PromptableCalls[Embedded]):
    """One image, and masks for any prompts on it.

    Args:
        sam: The network; it stays on its device and in its mode.
    """

    def __init__(self, sam: SAM) -> None:
        self.sam = sam

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.sam.parameters()).device

    def get_image_embedding(self) -> Tensor:
        """The image's embedding (1, 256, h, w).

        Raises:
            InputError: No image has been set.
        """
        return self._set().embedding

    @torch.inference_mode()
    def _embed(self, rgb: NDArray[np.uint8]) -> None:
        letterbox = Letterbox.of((rgb.shape[0], rgb.shape[1]), self.sam.side)
        embedding = self.sam.encode(letterbox.image(rgb)[None].to(self.device))
        self._image = Embedded(letterbox, embedding, self.sam.prepare(embedding))

    @torch.inference_mode()
    def _predict(
        self, image: Embedded, prompt: CheckedPrompt, *, several: bool, logits: bool
    ) -> MaskPrediction:
        prompts = self._prompts(image.letterbox, prompt)
        tokens = image.tokens
        if prompts.masks is not None:
            tokens = self.sam.prepare(image.embedding, prompts.masks)
        attended = self.sam.attend(tokens, prompts)
        low = self.sam.decode_masks(attended, multimask=several).float()
        scores = attended.scores(several)[0].float().cpu().numpy()
        found = image.letterbox.masks(low)[0]
        masks = found if logits else found > THRESHOLD
        return MaskPrediction(masks.cpu().numpy(), scores, low[0].cpu().numpy())

    def _prompts(self, letterbox: Letterbox, prompt: CheckedPrompt) -> Prompts:
        points = None if prompt.points is None else letterbox.points(prompt.points)[None]
        labels = None if prompt.labels is None else torch.from_numpy(prompt.labels)[None]
        boxes = None if prompt.box is None else letterbox.boxes(prompt.box)[None]
        return Prompts(points, labels, boxes, _as_masks(prompt.mask)).to(self.device)


def _as_masks(mask: ArrayLike | None) -> Tensor | None:
    if mask is None:
        return None
    logits = torch.from_numpy(np.asarray(mask, dtype=np.float32))
    return logits[None, None] if logits.ndim == 2 else logits[None]
