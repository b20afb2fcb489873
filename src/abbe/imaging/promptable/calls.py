"""SAM's familiar calls, whatever computes the answers: set an image, then ask for masks."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Generic, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from abbe.errors import InputError
from abbe.imaging.promptable.prompt_checks import (
    as_rgb,
    checked_box,
    checked_labels,
    checked_points,
    in_rgb_order,
)


class _OfAnImage(Protocol):
    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the image in px."""
        ...


Embedded = TypeVar("Embedded", bound=_OfAnImage)


@dataclass(frozen=True)
class CheckedPrompt:
    """A prompt that goes with its image, in px of it; what was not given is None.

    Attributes:
        points: (P, 2) x and y.
        labels: (P,) 1 inside the object, 0 outside, −1 no point.
        box: (4,) left, top, right, bottom.
        mask: Logits of an earlier answer, as they were given.
    """

    points: NDArray[np.float64] | None
    labels: NDArray[np.int64] | None
    box: NDArray[np.float64] | None
    mask: ArrayLike | None


@dataclass(frozen=True)
class MaskPrediction:
    """Masks (M, H, W) bool or logits, their expected IoU (M,), low logits (M, l, l)."""

    masks: NDArray[np.bool_] | NDArray[np.float32]
    scores: NDArray[np.float32]
    low: NDArray[np.float32]


class PromptableCalls(ABC, Generic[Embedded]):
    """One image, and masks for any prompts on it.

    The calls, their arguments and their answers are those of segment-anything's ``SamPredictor``.
    What prompts cannot mean is refused: SAM itself answers a point outside the image.
    """

    _image: Embedded | None = None

    @abstractmethod
    def _embed(self, rgb: NDArray[np.uint8]) -> None:
        """Remember the embedding of an image (H, W, 3)."""

    @abstractmethod
    def _predict(
        self, image: Embedded, prompt: CheckedPrompt, *, several: bool, logits: bool
    ) -> MaskPrediction:
        """One mask or three (``several``), as bool or as logits."""

    def set_image(
        self, image: NDArray[np.generic], image_format: Literal["RGB", "BGR"] = "RGB"
    ) -> None:
        """Embed an image, for the prompts to come.

        Args:
            image: 8-bit (H, W, 3) RGB, as it is; (H, W, 4) RGBA, whose opacity is not looked at;
                or (H, W) grey, which fills all three channels.
            image_format: The order of the colours, RGB, or BGR as OpenCV has them.

        Raises:
            InputError: The image has another form.
        """
        self.reset_image()  # what cannot be embedded must not leave the last image behind
        self._embed(as_rgb(in_rgb_order(np.asarray(image), image_format)))

    def reset_image(self) -> None:
        """Forget the image."""
        self._image = None

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
            point_coords: (P, 2) x and y in px of the image, 0 at the left and the top.
            point_labels: (P,) 1 inside the object, 0 outside.
            box: (4,) left, top, right, bottom in px.
            mask_input: (1, side / 4, side / 4) logits of an earlier answer.
            multimask_output: Three masks instead of one: whole, part, subpart.
            return_logits: Logits instead of masks.

        Returns:
            Masks (M, H, W) bool, or logits float32; the IoU that the network expects of each (M,);
            and logits (M, side / 4, side / 4), which a later call takes as ``mask_input``, one at
            a time.

        Raises:
            InputError: No image has been set, no prompt was given, or a prompt lies outside the
                image, has no area, or has another form.
            PackageError: The network of a package fails.
        """
        image = self._set()
        if all(each is None for each in (point_coords, point_labels, box, mask_input)):
            raise InputError("no prompt was given: there must be a point, a box or a mask")
        if (point_coords is None) != (point_labels is None):
            raise InputError("point_coords and point_labels must be given together")
        points = labels = None
        if point_coords is not None and point_labels is not None:
            points = checked_points(point_coords, image.size)
            labels = checked_labels(point_labels, len(points))
        corners = None if box is None else checked_box(box, image.size)
        prompt = CheckedPrompt(points, labels, corners, mask_input)
        answer = self._predict(image, prompt, several=multimask_output, logits=return_logits)
        return answer.masks, answer.scores, answer.low

    def _set(self) -> Embedded:
        if self._image is None:
            raise InputError("no image has been set: call set_image(image) first")
        return self._image
