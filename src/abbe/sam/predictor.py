"""SAM's familiar calls: set an image, then ask for masks."""

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from abbe.errors import InputError
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
    def set_image(self, image: NDArray[np.uint8]) -> None:
        """Embed an image, for the prompts to come.

        Args:
            image: (H, W, 3) RGB, (H, W, 4) RGBA, whose opacity is not looked at, or (H, W) grey,
                which fills all three channels. 8-bit.

        Raises:
            InputError: The image has another form.
        """
        rgb = as_rgb(image)
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
        meanings = None if labels is None else checked_labels(labels)[None]
        boxes = None if box is None else frame.boxes(checked_box(box, frame.size))[None]
        masks = None
        if mask is not None:
            masks = torch.from_numpy(np.asarray(mask, dtype=np.float32))
            masks = masks[None, None] if masks.ndim == 2 else masks[None]
        return Prompts(points, meanings, boxes, masks).to(self.device)


def as_rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Bring a grey (H, W) or RGBA (H, W, 4) image to RGB (H, W, 3).

    Raises:
        InputError: The image is none of these, or not 8-bit.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise InputError(
            f"the image is {image.shape} {image.dtype}; 8-bit (uint8) grey (H, W), RGB (H, W, 3) "
            "or RGBA (H, W, 4) is needed"
        )
    if image.ndim == 2:
        return np.repeat(image[:, :, None], 3, axis=2)
    if image.shape[2] not in (3, 4):
        raise InputError(f"the image has {image.shape[2]} channels on its last axis, not 3 or 4")
    return np.ascontiguousarray(image[:, :, :3])


def checked_points(coords: ArrayLike, size: tuple[int, int]) -> NDArray[np.float64]:
    """Points (P, 2), x and y, of which there are some, all on an image of this (height, width).

    Raises:
        InputError: They are not.
    """
    points = np.asarray(coords, dtype=np.float64)
    if points.ndim != 2 or points.shape[1] != 2 or len(points) == 0:
        raise InputError(f"point_coords has the shape {points.shape}; (P, 2) with P ≥ 1 is needed")
    height, width = size
    # As a negation, so that NaN is outside.
    outside = ~((points >= 0).all(axis=1) & (points < (width, height)).all(axis=1))
    if outside.any():
        first = ", ".join(f"{value:g}" for value in points[outside][0])
        raise InputError(
            f"{outside.sum()} of {len(points)} points lie outside the image of {width} × {height} "
            f"pixels, the first at (x, y) = ({first})"
        )
    return points


def checked_labels(labels: ArrayLike) -> Tensor:
    """Labels (P,) of points: 1 inside, 0 outside, −1 no point.

    Raises:
        InputError: They are not.
    """
    values = np.asarray(labels)
    if values.ndim != 1 or not np.isin(values, (-1, 0, 1)).all():
        raise InputError(f"point_labels is {values.tolist()}; one 1 or 0 a point is needed")
    return torch.from_numpy(values.astype(np.int64))


def checked_box(box: ArrayLike, size: tuple[int, int]) -> NDArray[np.float64]:
    """A box (4,): left, top, right, bottom, with an area, on an image of this (height, width).

    Raises:
        InputError: It is not.
    """
    corners = np.asarray(box, dtype=np.float64)
    if corners.size != 4:
        raise InputError(f"box has the shape {corners.shape}; left, top, right, bottom are needed")
    corners = corners.reshape(4)
    left, top, right, bottom = corners
    height, width = size
    shown = f"box ({left:g}, {top:g}, {right:g}, {bottom:g})"
    if not (left < right and top < bottom):
        raise InputError(f"{shown} has no area: left < right and top < bottom are needed")
    if not (left >= 0 and top >= 0 and right <= width and bottom <= height):
        raise InputError(f"{shown} reaches outside the image of {width} × {height} pixels")
    return corners
