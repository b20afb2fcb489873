"""SAM's familiar calls: set an image, then ask for masks."""

from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from abbe.errors import InputError
from abbe.imaging.prompt_checks import (
    as_rgb,
    checked_box,
    checked_labels,
    checked_points,
    in_rgb_order,
)
from abbe.sam.frame import THRESHOLD, Frame
from abbe.sam.model import SAM
from abbe.sam.prompts import Prompts
from abbe.sam.two_way import ImageTokens


class PromptablePredictor:
    """One image, and masks for any prompts on it.

    The calls, their arguments and their answers are those of segment-anything's ``SamPredictor``.
    What prompts cannot mean is refused: SAM itself answers a point outside the image.

    Args:
        sam: the network; it stays on its device and in its mode.
    """

    def __init__(self, sam: SAM) -> None:
        self.sam = sam
        self._image: tuple[Frame, Tensor, ImageTokens] | None = None

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return next(self.sam.parameters()).device

    @torch.inference_mode()
    def set_image(
        self, image: NDArray[np.uint8], image_format: Literal["RGB", "BGR"] = "RGB"
    ) -> None:
        """Embed an image, for the prompts to come.

        Args:
            image: (H, W, 3) RGB, (H, W, 4) RGBA, whose opacity is not looked at, or (H, W) grey,
                which fills all three channels. 8-bit.
            image_format: The order of the colours, RGB, or BGR as OpenCV has them.

        Raises:
            InputError: The image has another form.
        """
        self.reset_image()  # what cannot be embedded must not leave the last image behind
        rgb = as_rgb(in_rgb_order(image, image_format))
        frame = Frame.of((rgb.shape[0], rgb.shape[1]), self.sam.side)
        embedding = self.sam.encode(frame.image(rgb)[None].to(self.device))
        self._image = (frame, embedding, self.sam.prepare(embedding))

    def reset_image(self) -> None:
        """Forget the image."""
        self._image = None

    def get_image_embedding(self) -> Tensor:
        """The image's embedding (1, 256, h, w).

        Raises:
            InputError: No image has been set.
        """
        return self._set()[1]

    @torch.inference_mode()
    def predict(
        self,
        point_coords: ArrayLike | None = None,
        point_labels: ArrayLike | None = None,
        box: ArrayLike | None = None,
        mask_input: ArrayLike | None = None,
        multimask_output: bool = True,
        return_logits: bool = False,
    ) -> tuple[NDArray[np.bool_] | NDArray[np.float32], NDArray[np.float32], NDArray[np.float32]]:
        """Answer one prompt: points, a box, an earlier mask, or several of these together.

        Args:
            point_coords: (P, 2) x and y in pixels of the image, 0 at the left and the top.
            point_labels: (P,) 1 inside the object, 0 outside.
            box: (4,) left, top, right, bottom in pixels.
            mask_input: (1, 4h, 4w) logits of an earlier answer.
            multimask_output: three masks instead of one: whole, part, subpart.
            return_logits: logits instead of masks.

        Returns:
            Masks (M, H, W) bool, or logits float32; the IoU that the network expects of each (M,);
            and logits (M, 4h, 4w), which a later call takes as ``mask_input``, one at a time.

        Raises:
            InputError: No image has been set, no prompt was given, or a prompt lies outside the
                image, has no area, or has another form.
        """
        frame, embedding, image = self._set()
        prompts = self._prompts(frame, point_coords, point_labels, box, mask_input)
        if prompts.masks is not None:
            image = self.sam.prepare(embedding, prompts.masks)
        attended = self.sam.attend(image, prompts)
        low = self.sam.draw(attended, multimask=multimask_output).float()
        scores = attended.scores(multimask_output)[0].float().cpu().numpy()
        logits = frame.masks(low)[0]
        masks = logits if return_logits else logits > THRESHOLD
        return masks.cpu().numpy(), scores, low[0].cpu().numpy()

    def _set(self) -> tuple[Frame, Tensor, ImageTokens]:
        if self._image is None:
            raise InputError("no image has been set: call set_image(image) first")
        return self._image

    def _prompts(
        self,
        frame: Frame,
        coords: ArrayLike | None,
        labels: ArrayLike | None,
        box: ArrayLike | None,
        mask: ArrayLike | None,
    ) -> Prompts:
        if (coords is None) != (labels is None):
            raise InputError("point_coords and point_labels must be given together")
        points = None if coords is None else frame.points(checked_points(coords, frame.size))[None]
        meanings = None
        if coords is not None and labels is not None:
            count = len(np.asarray(coords))
            meanings = torch.from_numpy(checked_labels(labels, count))[None]
        boxes = None if box is None else frame.boxes(checked_box(box, frame.size))[None]
        masks = None
        if mask is not None:
            masks = torch.from_numpy(np.asarray(mask, dtype=np.float32))
            masks = masks[None, None] if masks.ndim == 2 else masks[None]
        return Prompts(points, meanings, boxes, masks).to(self.device)
